"""Labels and outcomes: the largest flare that *starts* in a window, and whether it reaches a class.

Yi et al. (2021, section 2) label a magnetogram by the flares of the following day, Nishizuka et al. (2021, section 2.3)
a region by the flares within 24 h after the observation. The start time decides, because only with it the catalogue
gives the counts that Yi et al. state for 2013-10-23 (7 C and 3 M of region 11875; the third M flare peaks a day later).
A window [begin, end) holds its begin but not its end. Labels for training and outcomes of forecasts are both made here.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.catalogue import CLASS_SLACK, CLASS_THRESHOLDS, FlareList, class_to_flux
from kflare.io.arrays import ArrayLike, BoolArray, Float64Array, IntArray

LEAD_HOURS = 24.0
"""Length of the forecast window in hours, in both papers."""

# Seconds since 1970 stay below 2**33 until the year 2242, so a region's number fits above them in one int64 key.
_REGION_SHIFT = 1 << 34

HALF_DAY = timedelta(hours=12)  # so much of the past a list may leave untold: feeds lag by hours


def in_seconds(times: pd.Series | pd.DatetimeIndex) -> IntArray:
    """UTC seconds since 1970 of aware times; a naive column raises `DataError`."""
    index = pd.DatetimeIndex(times)
    if index.tz is None:
        raise DataError("`time` must be in UTC with a time zone, got naive times: write them with a trailing Z")
    if index.hasnans:
        raise DataError(f"`time` must not be empty, got {int(index.isna().sum())} empty cells")
    return index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)


def region_codes(*columns: pd.Series) -> list[IntArray]:
    """One integer per region name, the same in every column given, shape (N,) each."""
    codes, _ = pd.factorize(pd.concat([column.astype(str) for column in columns], ignore_index=True))
    ends = np.cumsum([len(column) for column in columns])
    return [part.astype(np.int64) for part in np.split(codes, ends[:-1])]


def keys(seconds: IntArray, codes: IntArray) -> IntArray:
    """Sortable int64 keys: regions apart, times in order within a region."""
    return codes * _REGION_SHIFT + seconds


def known_from(flares: pd.DataFrame) -> IntArray:
    """Seconds since 1970 from which the class of each flare is known: its peak, or an hour after its start."""
    # Catalogues leave the peak of a few flares in ten thousand open; most flares peak within an hour.
    return in_seconds(flares["peak"].fillna(flares["start"] + pd.Timedelta(hours=1)))


def reaches(flux: ArrayLike, goes_class: str | float) -> BoolArray:
    """Whether a flare of a 1-8 Å peak flux in W m^-2 (0 and NaN reach nothing) is of at least a class.

    `goes_class` is "C", "M", "X" (C1.0 is 1e-6 W m^-2, included), another class ("M5.0"; else DataError), or its flux.
    """
    lowest = goes_class
    if isinstance(lowest, str):
        lowest = CLASS_THRESHOLDS[lowest] if lowest in CLASS_THRESHOLDS else class_to_flux(lowest)
    return np.asarray(flux, np.float64) >= lowest * CLASS_SLACK


def largest_flux(begin: IntArray, end: IntArray, event: IntArray, flux: Float64Array) -> Float64Array:
    """Largest flux of the events in each window [begin, end), float64, shape (N,); 0 where none starts in it.

    Windows and events are in seconds or as region-and-time keys, int64; `flux` is of the events, W m^-2.
    """
    order = np.argsort(event, kind="stable")
    event, flux = event[order], flux[order]
    first = np.searchsorted(event, begin, side="left")
    last = np.searchsorted(event, end, side="left")
    # reduceat takes the maximum of [first, last); the zero behind the end keeps every index valid.
    padded = np.append(flux, 0.0)
    pairs = np.column_stack([first, last]).ravel()
    largest = np.maximum.reduceat(padded, pairs)[::2] if len(begin) else np.zeros(0)
    return np.where(last > first, largest, 0.0)


def window_flux(windows: pd.DataFrame, flares: pd.DataFrame) -> Float64Array:
    """Peak flux (W m^-2, 0 = none) of the largest flare that starts in each of N windows, float64 (N,).

    `windows` have the columns `begin` and `end` (UTC), `flares` `start` (UTC) and `flux` (W m^-2); where both have
    `region`, only flares of that region count. The flares' list must cover the windows, which only the caller can
    check: see `require_covered`.
    """
    begin, end, start = (in_seconds(times) for times in (windows["begin"], windows["end"], flares["start"]))
    if "region" in windows:
        of_window, of_flare = region_codes(windows["region"], flares["region"])
        begin, end, start = keys(begin, of_window), keys(end, of_window), keys(start, of_flare)
    return largest_flux(begin, end, start, flares["flux"].to_numpy(np.float64))


def disk_flux(times: pd.Series, flares: FlareList) -> Float64Array:
    """Peak flux (W m^-2, 0 = none) of the disk's largest flare that starts in the 24 h from t on, for N times (UTC).

    DataError: the list ends before, or begins after, a window: absent flares would become false "no flare" labels.
    """
    require_covered(times, flares)
    return window_flux(_after(times), flares.table)


def region_flux(samples: pd.DataFrame, region_flares: pd.DataFrame) -> Float64Array:
    """Peak flux (W m^-2, 0 = none) of each region's own largest flare that starts in the 24 h from t on.

    `samples` have the columns `time` (UTC) and `region`; `region_flares` are as for `window_flux`.
    """
    return window_flux(_after(samples["time"]).assign(region=samples["region"].to_numpy()), region_flares)


def _after(times: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"begin": (begin := pd.DatetimeIndex(times)), "end": begin + pd.Timedelta(hours=LEAD_HOURS)})


def require_covered(
    times: pd.Series, flares: FlareList, *, untold: timedelta = timedelta(0), some: bool = False
) -> BoolArray:
    """Whether a flare list tells of the 24 h from each of N times (UTC) on, all but `untold` of them, bool (N,).

    DataError if it does not of all, or with `some` of any: absent flares would become false "no flare" labels.
    """
    windows, (_, last) = _after(times), flares.span
    told = windows_told(windows["begin"], windows["end"], flares.told, untold=untold)
    if len(lacking := windows[~told]) > (len(windows) - 1 if some else 0):
        (since, _), *gaps, (_, until) = flares.told[0], *flares.told[1:], flares.told[-1]
        covers = f"{since:%FT%H:%MZ} to {until:%FT%H:%MZ}{f' with {len(gaps)} gaps' * bool(gaps)}"
        need = f"{lacking['begin'].min():%FT%H:%MZ} to {lacking['end'].max():%FT%H:%MZ}"
        raise DataError(
            f"`flares`: {flares.source} covers {covers} (last flare {last:%FT%H:%MZ}), but {len(lacking)} of "
            f"{len(windows)} samples need {need}: give a list that covers them, leave them out, or say in columns "
            "`told_from` and `told_until` from when until when it is complete"
        )
    return told


def windows_told(
    begin: pd.Series, end: pd.Series, spans: Iterable[tuple[datetime, datetime]], *, untold: timedelta = timedelta(0)
) -> BoolArray:
    """Whether spans of time hold all of each of N windows (aware), but `untold` of it at most; bool (N,)."""
    first, last = in_seconds(begin), in_seconds(end)
    lacking = last - first
    for span in spans:
        since, until = in_seconds(pd.DatetimeIndex(span))
        lacking -= np.clip(np.minimum(last, until) - np.maximum(first, since), 0, None)
    return lacking <= untold.total_seconds()


def week_told(times: pd.Series, flares: FlareList) -> BoolArray:
    """Whether a list tells of the week before each of N times (UTC), all but half a day at most, bool (N,).

    Where it does not, no flare told of is not no flare: past flares are not known.
    """
    return windows_told(times - pd.Timedelta(days=7), times, flares.told, untold=HALF_DAY)


def merged_spans(spans: Iterable[tuple[datetime, datetime]]) -> tuple[tuple[datetime, datetime], ...]:
    """Spans of time that overlap or touch as one, in order."""
    merged: list[tuple[datetime, datetime]] = []
    for since, until in sorted(spans):
        before = merged.pop() if merged and since <= merged[-1][1] else (since, until)
        merged.append((before[0], max(until, before[1])))
    return tuple(merged)
