"""Regions keep their identity while the Sun turns, through gaps, merges and splits."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.regions.detection import Detection, Region, detect_regions
from kflare.regions.tracking import Tracker, TrackingOptions
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry, rotated
from kflare.synthetic.sun import SyntheticSun

TIME = datetime(2014, 1, 1, tzinfo=UTC)
VIEW = DiskGeometry(Disk(255.5, 255.5, 225.0), (512, 512))


def seen(hours: float, *boxes: tuple[float, float, float, float]) -> Detection:
    """A detection of boxes that were at lon_min, lon_max, lat_min, lat_max at TIME, turned by the Sun since."""
    regions = []
    for number, (left, right, low, high) in enumerate(boxes, start=1):
        middle = (left + right) / 2, (low + high) / 2
        turned = float(rotated(*middle, seconds=hours * 3600)) - middle[0]
        place = left + turned, right + turned, low, high
        regions.append(Region(number, 0, 0, 1, 1, middle[0] + turned, middle[1], *place, 100.0, 1e21, limb=False))
    return Detection(TIME + timedelta(hours=hours), VIEW, tuple(regions))


A, B = (-10.0, -2.0, 8.0, 14.0), (0.0, 6.0, 9.0, 13.0)
BOTH = (-10.0, 6.0, 8.0, 14.0)


def test_a_day_of_the_synthetic_sun():
    sun = SyntheticSun(TIME, 3, seed=5)
    tracker = Tracker()
    first = detect_regions(sun.magnetogram(TIME))
    names = dict(zip(first.regions, tracker.update(first), strict=True))
    for hours in range(3, 25, 3):
        found = detect_regions(sun.magnetogram(TIME + timedelta(hours=hours)))
        now = tracker.update(found)
        for region, name in names.items():
            # The Sun turns by 13 degrees in the day: where the region is now is known.
            x, y, _ = found.geometry.pixel(rotated(region.lon, region.lat, seconds=hours * 3600), region.lat)
            here = [n for n, (x0, y0, x1, y1) in zip(now, found.boxes(), strict=True) if x0 <= x < x1 and y0 <= y < y1]
            if region.area_uhem > 100:  # a smaller one may decay below the least area within the day
                assert here == [name]
    assert sum(region.area_uhem > 100 for region in names) >= 2


def test_identity_is_the_time_and_number_of_the_first_appearance():
    tracker = Tracker()
    assert tracker.update(seen(0, A)) == ["20140101T0000-1"]
    assert tracker.update(seen(1, (-40, -35, -12, -8), A)) == ["20140101T0100-1", "20140101T0000-1"]
    assert tracker.events == []


def test_gaps():
    tracker = Tracker()
    first = tracker.update(seen(0, A, B))
    assert tracker.update(seen(6, A, B)) == first
    assert tracker.update(seen(9, A)) == first[:1]
    assert tracker.update(seen(12, B, A)) == first[::-1]  # B was not seen for 6 h, which is not too long
    later = tracker.update(seen(18.1, A, B))
    assert not set(later) & set(first)
    assert tracker.update(Detection(TIME + timedelta(hours=19), VIEW, ())) == []
    assert tracker.update(seen(20, A, B)) == later
    assert tracker.events == []


def test_a_day_in_one_step_where_that_is_allowed():
    tracker = Tracker(TrackingOptions(max_gap_hours=24))
    assert tracker.update(seen(0, A, B)) == tracker.update(seen(24, A, B))


def test_merge_and_split():
    tracker = Tracker()
    a, b = tracker.update(seen(0, A, B))
    assert tracker.update(seen(1, BOTH)) == [a]  # it has more in common with the larger part
    assert tracker.update(seen(2, BOTH)) == [a]
    assert tracker.update(seen(3, A, B)) == [a, b]
    assert [(event.kind, event.before, event.after) for event in tracker.events] == [
        ("merge", (a, b), (a,)),
        ("split", (a,), (a, b)),
    ]
    assert [event.time for event in tracker.events] == [TIME + timedelta(hours=hours) for hours in (1, 3)]


def test_a_piece_that_was_never_seen_alone_is_new():
    tracker = Tracker()
    (whole,) = tracker.update(seen(0, BOTH))
    names = tracker.update(seen(1, A, B))
    assert names == [whole, "20140101T0100-2"]
    assert [(event.kind, event.before, event.after) for event in tracker.events] == [("split", (whole,), tuple(names))]


def test_a_part_that_stays_merged_for_longer_than_the_gap_is_new():
    tracker = Tracker()
    a, b = tracker.update(seen(0, A, B))
    for hours in range(1, 8):
        assert tracker.update(seen(hours, BOTH)) == [a]
    names = tracker.update(seen(8, A, B))
    assert names[0] == a
    assert names[1] not in {a, b}


def test_going_on_from_a_state():
    series = [seen(0, A, B), seen(1, BOTH), seen(3, A, B), seen(20, A)]
    whole, broken = Tracker(), Tracker()
    for detection in series:
        expected = whole.update(detection)
        broken = Tracker.from_state(json.loads(json.dumps(broken.state())))
        assert broken.update(detection) == expected
    assert broken.events == whole.events
    assert broken.state() == whole.state()


def test_the_same_image_once_more():
    tracker = Tracker()
    first = tracker.update(seen(0, A, B))
    assert tracker.update(seen(0, A, B)) == first
    # Another image of the same minute: what is new in it gets a number that is free.
    assert tracker.update(seen(0, (-40, -35, -12, -8), A)) == ["20140101T0000-3", first[0]]


def test_going_back_in_time():
    tracker = Tracker()
    tracker.update(seen(1, A))
    with pytest.raises(DataError, match=r"2014-01-01T01:00:00Z; got 2014-01-01T00:00:00Z"):
        tracker.update(seen(0, A))


@pytest.mark.parametrize("state", [{}, {"options": {}, "time": "noon", "tracks": [], "events": []}])
def test_no_state(state):
    with pytest.raises(DataError, match="no state of a tracker"):
        Tracker.from_state(state)


@pytest.mark.parametrize("wrong", [{"max_gap_hours": 0}, {"overlap": 0}, {"overlap": 1.1}])
def test_options_out_of_range(wrong):
    with pytest.raises(SettingError, match=f"`{next(iter(wrong))}`"):
        TrackingOptions(**wrong)


CELLS = st.lists(st.tuples(st.integers(-4, 2), st.integers(-4, 3)), min_size=1, max_size=8, unique=True)


@settings(max_examples=30)
@given(CELLS, st.lists(st.floats(0.1, 6), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_regions_that_only_turn_keep_their_identity(cells, steps, random):
    # One box in a cell of 12 × 10 degrees each, so that differential rotation brings none to another.
    boxes = [(12 * i, 12 * i + 8, 10 * j, 10 * j + 6) for i, j in cells]
    tracker = Tracker()
    names = dict(zip(boxes, tracker.update(seen(0, *boxes)), strict=True))
    hours = 0.0
    for step in steps:
        hours += step
        random.shuffle(boxes)
        assert dict(zip(boxes, tracker.update(seen(hours, *boxes)), strict=True)) == names
    assert tracker.events == []
