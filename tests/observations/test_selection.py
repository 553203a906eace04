"""The image of a time: that one, else the nearest earlier one within the limit, never a later one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import SettingError
from kflare.observations.selection import NOMINAL_TOLERANCE, select_for

MIDNIGHT = datetime(2013, 10, 23, tzinfo=UTC)
DAY = timedelta(hours=24)


def at(*minutes):
    return [MIDNIGHT + timedelta(minutes=minute) for minute in minutes]


def test_the_image_of_the_time_itself():
    # HMI's image "of 00:00" is of 00:00:54, MDI's of 00:02:56.
    times = at(-96, 0.9, 12)
    seen = select_for(MIDNIGHT, times, limit=DAY)
    assert (seen.index, seen.note) == (1, "")
    assert select_for(MIDNIGHT, at(-5, 3, 30), limit=DAY).index == 1


def test_the_nearest_earlier_one_is_recorded():
    seen = select_for(MIDNIGHT, at(-300, 96, -90, -96), limit=DAY)
    assert seen.index == 2
    assert seen.note == "image of 2013-10-22T22:30:00Z for 2013-10-23T00:00:00Z, 1.5 h earlier"


def test_the_next_record_is_later_and_never_taken():
    # 00:07 rounds to 00:12 on HMI's grid of 720 s.
    seen = select_for(MIDNIGHT, at(7, 60), limit=DAY)
    assert seen.index is None
    assert seen.note == "no image for 2013-10-23T00:00:00Z: there is no earlier one"


def test_limit():
    limit = timedelta(hours=2)
    assert select_for(MIDNIGHT, at(-120), limit=limit).index == 0
    seen = select_for(MIDNIGHT, at(-121, 96), limit=limit)
    assert seen.index is None
    assert seen.note.endswith("of 2013-10-22T21:59:00Z, is 2.02 h old, at most 2 h are allowed")
    assert select_for(MIDNIGHT, at(-121), limit=DAY).index == 0


def test_nothing_at_all():
    assert select_for(MIDNIGHT, [], limit=DAY).note == "no image for 2013-10-23T00:00:00Z: there is none at all"


def test_time_zones():
    tokyo = timezone(timedelta(hours=9))
    seen = select_for(MIDNIGHT.astimezone(tokyo), at(-60), limit=DAY)
    assert seen.note == "image of 2013-10-22T23:00:00Z for 2013-10-23T00:00:00Z, 1 h earlier"
    with pytest.raises(SettingError, match="`candidates` must carry a time zone"):
        select_for(MIDNIGHT, [datetime(2013, 10, 23)], limit=DAY)  # noqa: DTZ001
    with pytest.raises(SettingError, match="negative"):
        select_for(MIDNIGHT, [], limit=timedelta(-1))


@given(st.lists(st.integers(-3000, 3000), max_size=20), st.integers(0, 2000))
def test_never_later_and_never_farther_than_need_be(minutes, limit):
    times = at(*minutes)
    seen = select_for(MIDNIGHT, times, limit=timedelta(minutes=limit))
    usable = [t for t in times if t - MIDNIGHT <= NOMINAL_TOLERANCE and MIDNIGHT - t <= timedelta(minutes=limit)]
    if seen.index is None:
        assert not [t for t in usable if t < MIDNIGHT]
        assert seen.note
    else:
        observed = times[seen.index]
        assert observed - MIDNIGHT <= NOMINAL_TOLERANCE
        assert bool(seen.note) == (abs(MIDNIGHT - observed) > NOMINAL_TOLERANCE)
        if seen.note:
            assert observed == max(t for t in times if t < MIDNIGHT)
