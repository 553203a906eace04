"""NOAA's numbers of active regions, which many sources shorten to four digits and some lists of flares lack."""

from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import LEAD_HOURS, in_seconds, known_from, reaches, week_told
from kflare.io.arrays import BoolArray, IntArray
from kflare.io.table_file import numbers
from kflare.sun.times import DAY_SECONDS

PASSAGE_DAYS: Final = 14.0
"""A region crosses the disk in these days, and gets a new number when it comes back."""

# Of 1996 to 2003 NOAA's lists name the region of half of the flares of C and above, since 2010 of nine in ten. R.
_SHARE: Final = 1 / 3
# Of fewer flares the share says little: those of the whole passage decide.
_FEW: Final = 3

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
    codes, distinct = pd.factorize(given if pd.api.types.is_numeric_dtype(given) else given.astype("str"))
    number = pd.DataFrame({"cell": codes}, given.index).join(_written_numbers(pd.Series(distinct)), on="cell")["number"]
    dates = pd.to_datetime(times, utc=True).reindex(number.index)
    expected = 10_000 + (dates - _REGION_10000).dt.total_seconds() / 86_400 * _PER_DAY
    missing = ((expected.astype("Float64") - number) / 10_000).round()
    whole = (number > 9999) | (missing <= 0) | (dates < _FIRST_SHORT)
    return number.where(whole.fillna(value=True), number + 10_000 * missing).astype("Int64")


def _written_numbers(given: pd.Series) -> pd.Series:
    """The numbers, Float64, in each of the cells, one row each, of the index of its cell; <NA> for none of a region."""
    cells = given
    if not pd.api.types.is_numeric_dtype(given):
        words = given.str.upper()
        # The number of a HARP or TARP is none of NOAA's.
        words = words.where(~words.str.contains("HARP|TARP"), "").str.replace("NOAA|AR|[#*?'\"]", " ", regex=True)
        words = words.str.replace("([0-9])[-–—]([0-9])", r"\1 \2", regex=True)
        cells = words.str.strip(" ,;[](){}").str.split(r"[\s,;:/&+|]+").explode()
    number = pd.Series(numbers(cells), cells.index, dtype="Float64", name="number")
    return number.where((number > 0) & (number < 100_000) & (number % 1 == 0))


def flares_assigned(
    times: pd.Series, flares: FlareList, *, days: float, lowest: str = "C", below: str | float = np.inf
) -> BoolArray:
    """Whether it is known whose the flares in (t - days, t] are, bool (N,), for N times t (UTC).

    Of flares of class `lowest` and above, below another class or flux in W m^-2. Some lists name the region of part of
    their flares, or of none. It is known where each of these flares has a NOAA number, or where a third of those of C
    and above in the window have one; if they are fewer than three, of those in the `PASSAGE_DAYS` before t.
    """
    until = in_seconds(times)
    named, flux = flares.table["noaa"].notna().to_numpy(), flares.table["flux"].to_numpy()
    peak, strong = known_from(flares.table), reaches(flux, "C")

    def within(which: BoolArray, span: float) -> IntArray:
        event = np.sort(peak[which])
        after = until - round(span * DAY_SECONDS)
        return np.searchsorted(event, until, side="right") - np.searchsorted(event, after, side="right")

    few = within(strong, days) < _FEW
    share = {span: within(strong & named, span) >= _SHARE * within(strong, span) for span in (days, PASSAGE_DAYS)}
    nameless = within(reaches(flux, lowest) & ~reaches(flux, below) & ~named, days)
    return (nameless == 0) | np.where(few, share[PASSAGE_DAYS], share[days])


def outcome_assigned(times: pd.Series, flares: FlareList) -> BoolArray:
    """Whether it is known whose the flares in the 24 h after each of N times are, bool (N,).

    As `flares_assigned` at their end, of the day or of the passage: what is past is not numbered later than the rest.
    """
    end = times + pd.Timedelta(hours=LEAD_HOURS)
    return flares_assigned(end, flares, days=LEAD_HOURS / 24) | flares_assigned(end, flares, days=PASSAGE_DAYS)


def unassigned_rows(times: pd.Series, flares: FlareList) -> BoolArray:
    """Whether the history of a region at each of N times lacks some flares, bool (N,): see `flares_assigned`."""
    day, passage = (flares_assigned(times, flares, days=days) for days in (1.0, PASSAGE_DAYS))
    return ~(day & passage)


def unassigned_note(times: pd.Series, flares: FlareList) -> str:
    """At how many times past flares are not known, why, and what to do, in a line; "" if at none."""
    notes, rows = [], f"of {len(times)} rows: their"
    if unknown := int(unassigned_rows(times, flares).sum()):
        named = flares.table["noaa"][reaches(flares.table["flux"], "C")].notna()
        notes.append(
            f"{flares.source} names the region of {named.sum()} of its {len(named)} flares of class C and above, too "
            f"few before the times of {unknown} {rows} flare history is not known; give a list with NOAA's region "
            "numbers, such as SWPC's daily events (kflare fetch flares)"
        )
    if untold := int((~week_told(times, flares)).sum()):
        why = f"{flares.source} does not tell of all the week before {untold}"
        notes.append(f"{why} {rows} past flares are not known; give a list that does")
    return "; ".join(notes)


def require_assigned(times: pd.Series, flares: FlareList) -> None:
    """`DataError` where the history lacks flares at most of the times: for training it is as if there were none."""
    if unassigned_rows(times, flares).mean() > 1 / 2:
        raise DataError(f"`flares`: {unassigned_note(times, flares)}")
