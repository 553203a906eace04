"""GOES flares of the Heliophysics Event Knowledgebase (HEK), asked through sunpy.

The HEK collects the reports of many methods. Flares with a GOES class are SWPC's and those of "SSW Latest Events",
which are the same flares with better positions; everything else (EUV detections, say) has no class and is left out.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.observations.flare_formats import columns_of_records
from kflare.observations.flares import FlareList, flares_of_columns
from kflare.observations.web import NoAnswerError, Web, shown_url

__all__ = ["HEK_URL", "flares_from_hek", "query_hek_flares"]

HEK_URL: Final = "https://www.lmsal.com/hek/her?"
_COLUMNS: Final = (
    *("event_starttime", "event_peaktime", "event_endtime", "fl_goescls"),
    *("ar_noaanum", "hgs_x", "hgs_y", "frm_name"),
)
_MOST_PAGES: Final = 500


def flares_from_hek(table: Any, *, source: str = "HEK") -> FlareList:
    """Flare list of an answer of the HEK.

    Parameters
    ----------
    table : sunpy.net.hek.HEKTable, astropy.table.Table, pandas.DataFrame or sequence of mapping
        Flares by the HEK's names: `event_starttime`, `event_peaktime`, `event_endtime`, `fl_goescls` and, where there,
        `ar_noaanum`, `hgs_x`, `hgs_y`, `frm_name`. Both sunpy's parsed table and its `raw` one are understood.
    source : str
        Name of the list, for messages.

    Returns
    -------
    FlareList
        Rows without a GOES class are left out and counted (`not_goes`); the same flare of several methods is merged,
        SWPC's first (`kflare.observations.flare_merge`); 4-digit region numbers are completed; a position of 0, 0
        means unknown.

    Raises
    ------
    DataError
        If a needed column is missing, or there are flares but none is readable.
    """
    return flares_of_columns(columns_of_records(_records(table), source), source)


def query_hek_flares(
    start: datetime,
    end: datetime,
    *,
    methods: Sequence[str] = ("SWPC", "SSW Latest Events"),
    web: Web | None = None,
    url: str = HEK_URL,
) -> FlareList:
    """Ask the HEK for the GOES flares of a span of time.

    Parameters
    ----------
    start, end : datetime.datetime
        Aware; flares that overlap [start, end].
    methods : sequence of str
        Values of `FRM_NAME`, each asked for in turn.
    web : Web, optional
        How the HEK is spoken to: time-outs and retries; None takes the defaults.
    url : str
        Of the HEK's search service.

    Returns
    -------
    FlareList
        Empty if the HEK knows none.

    Raises
    ------
    SettingError
        If `start` or `end` has no time zone, or `end` is not later.
    NoAnswerError
        If the HEK gives no usable answer.
    """
    for name, value in (("start", start), ("end", end)):
        if value.utcoffset() is None:
            raise SettingError(f"`{name}` must carry a time zone (UTC), got {value!r}")
    if not start < end:
        raise SettingError(f"`end` must be later than `start`, got {start} and {end}")
    records = []
    with Web() if web is None else nullcontext(web) as visitor:
        for method in methods:
            records += _search(start.astimezone(UTC), end.astimezone(UTC), method, visitor, url)
    try:
        return flares_from_hek(records, source="HEK")
    except DataError as error:
        raise NoAnswerError(f"`{shown_url(url)}` answered with something unusable: {error}") from error


def _search(start: datetime, end: datetime, method: str, web: Web, url: str) -> list[dict[str, object]]:
    from astropy.table import Table
    from sunpy.net import attrs as a
    from sunpy.net.hek import HEKClient

    records: list[dict[str, object]] = []

    class Client(HEKClient):  # type: ignore[misc, unused-ignore]
        """sunpy's client, with a time-out and an end to its pages; the answer is kept as the HEK gave it."""

        def _download(self, data: Mapping[str, str]) -> Table:
            # The HEK calls "opN" what sunpy calls "operatorN".
            query = {key.replace("operator", "op"): value for key, value in data.items()}
            for page in range(1, _MOST_PAGES + 1):
                answer = web.json(self.url + urlencode({**query, "page": page}))
                if not isinstance(answer, dict) or not isinstance(answer.get("result"), list):
                    raise NoAnswerError(f"`{shown_url(url)}` does not answer as the HEK does: it has no `result`")
                records.extend(entry for entry in answer["result"] if isinstance(entry, dict))
                if not answer.get("overmax"):
                    return Table()
            raise NoAnswerError(f"`{shown_url(url)}` has no end after {_MOST_PAGES} pages; ask for a shorter span")

    span = a.Time(start.replace(tzinfo=None), end.replace(tzinfo=None))
    Client(url=url).search(span, a.hek.EventType("FL"), a.hek.FRM.Name == method)
    return records


def _records(table: Any) -> list[dict[str, object]]:
    raw = getattr(table, "raw", None)
    table = table if raw is None else raw
    if isinstance(table, pd.DataFrame):
        return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]
    if hasattr(table, "colnames"):
        names = [name for name in _COLUMNS if name in table.colnames] or list(table.colnames)
        return [{name: _plain(row[name]) for name in names} for row in table]
    if isinstance(table, Sequence) and all(isinstance(row, Mapping) for row in table):
        return [dict(row) for row in table]
    raise DataError(f"`table` must be a table of the HEK, a DataFrame or a list of records, got {type(table).__name__}")


def _plain(value: Any) -> object:
    """Text, number or None of a cell of an astropy table, which may be a time, a quantity or masked."""
    if value is None or getattr(value, "mask", False) is True or type(value).__name__ == "MaskedConstant":
        return None
    if hasattr(value, "isot"):  # astropy Time
        return None if bool(getattr(value, "masked", False)) else str(value.isot)
    if isinstance(value, datetime):
        return None if pd.isna(value) else value.isoformat()
    value = getattr(value, "value", value)  # astropy Quantity
    return value.item() if hasattr(value, "item") else value
