"""SHARP keywords of a span of time from JSOC, as a region table."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from kflare.archives.jsoc import Jsoc, slot_length, slot_of
from kflare.archives.web import NoAnswerError
from kflare.errors import DataError
from kflare.sharp.keywords import REQUESTED, sharp_table
from kflare.sun.times import require_span

#: Definitive SHARPs; those of near real time are `hmi.sharp_cea_720s_nrt`.
SERIES: Final = "hmi.sharp_cea_720s"
_QUERY: Final = timedelta(days=1)  # some thousand records


def query_sharp_keywords(
    jsoc: Jsoc, since: datetime, until: datetime, *, series: str = SERIES, harpnum: int | None = None,
    cadence: timedelta | None = None, done: Callable[[], object] = lambda: None
) -> pd.DataFrame:  # fmt: skip
    """Ask JSOC for the SHARP keywords of all regions, or one (`harpnum`), day by day, `done` being called after each.

    From `since` to `until` (exclusive; aware), of `hmi.sharp_cea_720s`, `hmi.sharp_720s` or either with `_nrt`: all
    records, or with a `cadence` only those at `since` and whole steps after it, in whole slots of the series. The
    region table, in kflare's units, is that of `kflare.sharp.keywords.sharp_table`; empty if there is none.

    SettingError: a time without zone, or `until` not later; NoAnswerError: no usable answer; DataError: JSOC refuses.
    """
    require_span(since, until)
    rows: list[dict[str, str]] = []
    before = "[]" if harpnum is None else f"[{harpnum:d}]"
    query = _QUERY if cadence is None else max(_QUERY // cadence, 1) * cadence
    while since < until:
        end = min(since + query, until)
        # Steps are counted from a slot; those of the next query begin anew, since a leap second moves them.
        first, last = (since, end) if cadence is None else (slot_of(time, slot_length(series)) for time in (since, end))
        records = jsoc.records(series, first, last, every=cadence, before=before, keys=REQUESTED)
        rows += [dict(record.keywords) for record in records if first <= record.time < last]
        since = end
        done()
    try:
        return sharp_table(pd.DataFrame(rows), source=series)
    except DataError as error:
        raise NoAnswerError(f"JSOC's answer for `{series}` is unusable: {error}") from error
