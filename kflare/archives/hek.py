"""GOES flares asked of the Heliophysics Event Knowledgebase (HEK), through sunpy."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from kflare.archives.web import NoAnswerError, Web, public_url
from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.hek import flares_from_hek

__all__ = ["HEK_URL", "query_hek_flares"]
HEK_URL: Final = "https://www.lmsal.com/hek/her?"
_MOST_PAGES: Final = 500


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
        raise NoAnswerError(f"`{public_url(url)}` answered with something unusable: {error}") from error


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
                    raise NoAnswerError(f"`{public_url(url)}` does not answer as the HEK does: it has no `result`")
                records.extend(entry for entry in answer["result"] if isinstance(entry, dict))
                if not answer.get("overmax"):
                    return Table()
            raise NoAnswerError(f"`{public_url(url)}` has no end after {_MOST_PAGES} pages; ask for a shorter span")

    span = a.Time(start.replace(tzinfo=None), end.replace(tzinfo=None))
    Client(url=url).search(span, a.hek.EventType("FL"), a.hek.FRM.Name == method)
    return records
