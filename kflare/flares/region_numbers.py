"""NOAA's numbers of active regions, which many sources shorten to four digits."""

import pandas as pd

from kflare.io.table_file import numbers

# Region 10000 was assigned on 2002-06-14; since 1972 about 250 regions a year got a number.
_REGION_10000 = pd.Timestamp("2002-06-14", tz="UTC")
_FIRST_SHORT = pd.Timestamp("2002-06-01", tz="UTC")
_PER_DAY = 250 / 365.25


def full_region_numbers(given: pd.Series, times: pd.Series) -> pd.Series:
    """Full NOAA numbers, Int64: 11875 of 1875 in 2013; <NA> for what is no number of a region, such as 0.

    `given` are numbers or text ("1875", "AR 11875"; of several in one cell the first), as a source gives them for the
    `times`, UTC. Of the numbers that four digits may stand for, it is the one that is nearest to those of its date:
    9997 in June 2002 is 9997, and 1 is 10001.
    """
    found = listed_region_numbers(given.reset_index(drop=True), times.reset_index(drop=True))
    return found.groupby(level=0).first().set_axis(given.index)


def listed_region_numbers(given: pd.Series, times: pd.Series) -> pd.Series:
    """Likewise of cells that may hold several numbers, such as "11990,11992": one row each, of the same index."""
    if pd.api.types.is_numeric_dtype(given):
        cells = given
    else:
        words = given.astype("str").str.upper()
        # The number of a HARP or TARP is none of NOAA's.
        words = words.where(~words.str.contains("HARP|TARP"), "").str.replace("NOAA|AR|[#*?'\"]", " ", regex=True)
        words = words.str.replace("([0-9])[-–—]([0-9])", r"\1 \2", regex=True)
        cells = words.str.strip(" ,;[](){}").str.split(r"[\s,;:/&+|]+").explode()
    number = pd.Series(numbers(cells), cells.index, dtype="Float64")
    number = number.where((number > 0) & (number < 100_000) & (number % 1 == 0))
    dates = pd.to_datetime(times, utc=True).reindex(cells.index)
    expected = 10_000 + (dates - _REGION_10000).dt.total_seconds() / 86_400 * _PER_DAY
    missing = ((expected.astype("Float64") - number) / 10_000).round()
    whole = (number > 9999) | (missing <= 0) | (dates < _FIRST_SHORT)
    return number.where(whole.fillna(value=True), number + 10_000 * missing).astype("Int64")
