"""Whose the flares of a list are: where it tells, and where it does not."""

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.region_numbers import (
    PASSAGE_DAYS,
    flares_assigned,
    outcome_assigned,
    require_assigned,
    unassigned_note,
    unassigned_rows,
)
from kflare.flares.repairing import read_flares

NOON = pd.Timestamp("2014-03-18T12:00Z")


def listed(*flares):
    """A list of (hours before NOON, class, NOAA number or None)."""
    start = [NOON - pd.Timedelta(hours=hours) for hours, *_ in flares]
    table = pd.DataFrame({"start": pd.to_datetime(start), "peak": start, "goes_class": [flare[1] for flare in flares]})
    return FlareList(table.assign(noaa=pd.array([flare[2] for flare in flares], "Int64")), "some.csv")


def told(flares, days=1.0, **which):
    (one,) = flares_assigned(pd.Series([NOON]), flares, days=days, **which)
    return bool(one)


def test_without_a_nameless_flare_in_the_window_all_is_known():
    quiet = listed((30, "C1.0", None), (20, "B5.0", None))
    assert told(quiet)  # the flare of class B is none of C
    assert not told(quiet, PASSAGE_DAYS)
    # No flare of class M or above is nameless, so of these all is known.
    assert told(quiet, PASSAGE_DAYS, lowest="M")
    assert told(listed((20, "M1.0", None)), lowest="C", below="M")
    # A window holds its end and not its begin.
    assert told(listed((24, "C1.0", None)))
    assert not told(listed((0, "C1.0", None)))
    assert told(listed((-1, "C1.0", None)))


@pytest.mark.parametrize(("named", "nameless", "known"), [(0, 3, False), (1, 2, True), (1, 3, False), (4, 8, True)])
def test_a_third_of_the_flares_must_have_a_number(named, nameless, known):
    flares = listed(*[(hours / 2, "C2.0", 12010 if hours < named else None) for hours in range(named + nameless)])
    assert told(flares) is told(flares, PASSAGE_DAYS) is known


def test_of_a_few_flares_those_of_the_fortnight_decide():
    before = [(24 * day, "C1.0", 12010) for day in range(2, 6)]
    assert told(listed((1, "C1.0", None), *before))
    assert not told(listed((1, "C1.0", None)))
    # Numbers that come late: those of the last day are not there yet.
    late = listed(*[(hour, "C1.0", None) for hour in (1, 2, 3)], *before)
    assert not told(late)
    assert told(late, PASSAGE_DAYS)
    # What came after is past when it is looked at, and its numbers, as good as those of the rest, are all that come.
    assert outcome_assigned(pd.Series([NOON - pd.Timedelta(hours=24)]), late).all()


def test_it_is_said_what_is_not_known_and_what_to_do():
    week = [(24 * day, "B1.0", None) for day in range(2, 14)]
    flares = listed((1, "C1.0", None), (1, "B1.0", 12010), *week)
    times = pd.Series([NOON, NOON - pd.Timedelta(days=3), NOON])
    assert unassigned_rows(times, flares).tolist() == [True, False, True]
    note = unassigned_note(times, flares)
    assert note.startswith(
        "some.csv names the region of 0 of its 1 flares of class C and above, too few before the times of 2 of 3 rows: "
    )
    assert "give a list with NOAA's region numbers" in note
    assert unassigned_note(times[1:2], flares) == ""
    with pytest.raises(DataError, match=r"`flares`: some\.csv names the region of 0 of its 1 flares"):
        require_assigned(times, flares)
    require_assigned(times[:2], flares)


def test_lists_that_people_have(real_data):
    times = pd.Series(pd.date_range("2011-01-01", "2018-01-01", freq="6h", tz="UTC"))
    shares = {
        name: np.mean(unassigned_rows(times, read_flares(real_data / "goes" / name)))
        for name in ("swpc_flares_2010-2025.csv", "swpc_flares_1996-2018.csv", "flares_1996-2024.csv")
    }
    # Where no flare of class C happened for a fortnight the list without numbers tells as much as any.
    assert shares["swpc_flares_2010-2025.csv"] < 0.03
    assert shares["swpc_flares_1996-2018.csv"] < 0.03
    assert shares["flares_1996-2024.csv"] > 0.9
