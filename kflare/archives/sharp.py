"""SHARP keywords of a window of time from JSOC, through drms."""

from datetime import datetime
from typing import Final

import pandas as pd

from kflare.archives.jsoc import Jsoc
from kflare.archives.web import NoAnswerError
from kflare.errors import DataError, SettingError
from kflare.sharp.keywords import REQUESTED, sharp_table

__all__ = ["SERIES", "query_sharp_keywords"]

#: Definitive SHARPs; those of near real time are `hmi.sharp_cea_720s_nrt`.
SERIES: Final = "hmi.sharp_cea_720s"


def query_sharp_keywords(
    jsoc: Jsoc, since: datetime, until: datetime, *, series: str = SERIES, harpnum: int | None = None
) -> pd.DataFrame:
    """Ask JSOC for the SHARP keywords of all regions, or one, in a window of time.

    Near real time, ask for a window and keep the newest record of each region: they come in one by one, so that the
    newest time alone may hold two of nine.

    Parameters
    ----------
    jsoc : Jsoc
        JSOC, with its time-outs and retries.
    since, until : datetime.datetime
        Both ends belong to the window; aware.
    series : str
        `hmi.sharp_cea_720s`, `hmi.sharp_720s` or either with `_nrt`.
    harpnum : int, optional
        One region only.

    Returns
    -------
    pandas.DataFrame
        Region table in kflare's units, see `kflare.sharp.keywords.sharp_table`; empty if there is none.

    Raises
    ------
    SettingError
        If `since` or `until` has no time zone.
    NoAnswerError
        If JSOC gives no usable answer.
    DataError
        If JSOC refuses the query.
    """
    for name, value in (("since", since), ("until", until)):
        if value.utcoffset() is None:
            raise SettingError(f"`{name}` must carry a time zone (UTC), got {value!r}")
    region = "[]" if harpnum is None else f"[{harpnum:d}]"
    records = jsoc.records(series, since, until, before=region, keys=REQUESTED)
    if not records:
        return sharp_table(pd.DataFrame(), source=series)
    try:
        return sharp_table(pd.DataFrame([dict(record.keywords) for record in records]), source=series)
    except DataError as error:
        raise NoAnswerError(f"JSOC's answer for `{series}` is unusable: {error}") from error
