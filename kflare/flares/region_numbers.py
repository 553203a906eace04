"""NOAA's numbers of active regions, which many sources shorten to four digits."""

import pandas as pd

__all__ = ["full_region_numbers"]

# NOAA passed 9999 in June 2002 but some sources keep four digits. Regions 7xxx-9xxx of that month are whole.
_ROLLOVER = pd.Timestamp("2002-06-01", tz="UTC")
_SHORT_BELOW = 7000


def full_region_numbers(numbers: pd.Series, times: pd.Series) -> pd.Series:
    """Full NOAA numbers, Int64: 11875 of 1875 in 2013; <NA> for what is no number of a region, such as 0.

    `numbers` are numbers or text, as a source gives them for the `times`, UTC.
    """
    number = pd.to_numeric(numbers, errors="coerce").astype("Float64")
    number = number.where((number > 0) & (number < 100_000) & (number % 1 == 0)).astype("Int64")
    short = (number < _SHORT_BELOW).fillna(value=False) & (times >= _ROLLOVER)
    return number.where(~short, number + 10_000)
