"""Two flare lists become one: which flares are the same, and what each list contributes.

The rule, in words:

1. A flare of the first list and one of the second are the same flare if they start, or peak, within 5 minutes of each
   other, and their peak fluxes differ by less than a factor of 1.5. Both lists must be on one scale.
2. Each flare has at most one partner; the pairs nearest in start, then in peak, then in flux are formed first.
3. Of a pair, the first list's times, class, region and position stand. What it does not know is taken from the second.
4. Flares of the second list without a partner are added, unless their start and end are those of a flare of the first:
   one series of X-rays cannot hold two flares of the same times.

In three catalogues of the years 1996 to 2024, read two by two, at least 99.98 % of the flares of class C and above have
their start in the other list to the minute, and 99.8 % of these the same class to the digit. The tolerances are for
near-real-time lists, whose times move when a forecaster edits them.
"""

from collections import Counter
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import merged_spans
from kflare.io.arrays import IndexArray, IntArray
from kflare.sun.times import microseconds

_TOLERANCE: Final = 5 * 60_000_000  # microseconds
_FLUX_FACTOR: Final = 1.5
_MOST_PAIRS: Final = 20_000_000
_NEVER: Final = np.iinfo(np.int64).min


def merge_flares(first: FlareList, second: FlareList) -> FlareList:
    """Merge two flare lists by the rule of this module; the first is the more trusted one.

    They may overlap wholly, partly or not at all. The `repairs` are those of both and, in addition,
    `merged_duplicates`, `regions_filled`, `positions_filled`, `times_filled` and `regions_contradicted`. SettingError
    if the lists are on two scales, DataError if too many flares for a flare list lie within 5 minutes of each other.
    """
    if first.scale != second.scale:
        scales = f"`{first.source}` is on the scale of {first.scale}, `{second.source}` on that of {second.scale}"
        raise SettingError(f"flare lists must be of one scale to be merged: {scales}; read both alike")
    ours, theirs = _partners(first, second)
    table = first.table.copy()
    partner = second.table.iloc[theirs].set_axis(ours)
    repairs = {"merged_duplicates": len(ours), "times_filled": 0}
    for name in ("peak", "end"):
        fill = table.loc[ours, name].isna() & partner[name].notna()
        table.loc[ours[fill], name] = partner.loc[fill, name]
        repairs["times_filled"] += int(fill.sum())
    known = table.loc[ours, "noaa"]
    fill = known.isna() & partner["noaa"].notna()
    table.loc[ours[fill], "noaa"] = partner.loc[fill, "noaa"]
    repairs["regions_filled"] = int(fill.sum())
    repairs["regions_contradicted"] = int((known != partner["noaa"]).fillna(value=False).sum())
    fill = table.loc[ours, ["lon", "lat"]].isna().any(axis=1) & partner[["lon", "lat"]].notna().all(axis=1)
    table.loc[ours[fill], ["lon", "lat"]] = partner.loc[fill, ["lon", "lat"]]
    repairs["positions_filled"] = int(fill.sum())
    alone = np.ones(len(second), dtype=np.bool_)
    alone[theirs] = False
    spans = pd.MultiIndex.from_frame(second.table[["start", "end"]])
    twice = alone & spans.isin(pd.MultiIndex.from_frame(first.table[["start", "end"]]))
    twice &= second.table["end"].notna().to_numpy()
    alone &= ~twice
    repairs["merged_duplicates"] += int(twice.sum())
    table = pd.concat([part for part in (table, second.table[alone]) if len(part)] or [table])
    source = first.source if first.source == second.source else f"{first.source} + {second.source}"
    # A sum of counters leaves out what did not occur.
    counts = dict(Counter(repairs) + Counter(first.repairs) + Counter(second.repairs))
    return FlareList(table, source, counts, first.scale, merged_spans([*first.told, *second.told]))


def _partners(first: FlareList, second: FlareList) -> tuple[IntArray, IntArray]:
    """Rows of the first and of the second list that are the same flare, in equal order."""
    starts, peaks = ([microseconds(flares.table[name]) for flares in (first, second)] for name in ("start", "peak"))
    ours, theirs = np.concatenate([_close(*times) for times in (starts, peaks)], axis=1)
    ours, theirs = np.divmod(np.unique(ours * len(second) + theirs), max(len(second), 1))  # rows of pairs sort slowly
    flux = [flares.table["flux"].to_numpy(dtype=np.float64) for flares in (first, second)]
    # Logarithms, so that the order of the lists does not matter. A hair of room: 1.5 itself is within the factor.
    ratio = np.abs(np.log(flux[0][ours] / flux[1][theirs]))
    same = ratio <= np.log(_FLUX_FACTOR) + 1e-9
    ours, theirs, ratio = ours[same], theirs[same], ratio[same]
    start_apart = np.abs(starts[0][ours] - starts[1][theirs])
    both = (peaks[0][ours] != _NEVER) & (peaks[1][theirs] != _NEVER)
    peak_apart = np.where(both, np.abs(peaks[0][ours] - peaks[1][theirs]), np.iinfo(np.int64).max)
    nearest = np.lexsort((theirs, ours, ratio, peak_apart, start_apart))
    free = np.ones(len(first), dtype=np.bool_), np.ones(len(second), dtype=np.bool_)
    chosen = []
    for place in nearest.tolist():
        if free[0][ours[place]] and free[1][theirs[place]]:
            free[0][ours[place]] = free[1][theirs[place]] = False
            chosen.append(place)
    return ours[chosen], theirs[chosen]


def _close(ours: IntArray, theirs: IntArray) -> IndexArray:
    """Pairs of rows, shape (2, pairs), whose times lie within 5 minutes."""
    order = np.argsort(ours, kind="stable")
    order = order[ours[order] != _NEVER]
    known = np.flatnonzero(theirs != _NEVER)
    begin = np.searchsorted(ours[order], theirs[known] - _TOLERANCE, side="left")
    count = np.searchsorted(ours[order], theirs[known] + _TOLERANCE, side="right") - begin
    total = int(count.sum())
    if total > _MOST_PAIRS:
        raise DataError(f"few flares of two lists must lie within 5 minutes, got {total} pairs; give flare lists")
    step = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([order[np.repeat(begin, count) + step], np.repeat(known, count)])
