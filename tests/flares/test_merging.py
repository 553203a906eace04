"""Merging of flare lists: which flares are the same, what each list gives, and that nothing is lost or doubled."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.merging import merge_flares
from kflare.flares.repairing import read_flares

T0 = datetime(2013, 10, 23, tzinfo=UTC)


def listed(*rows, source="here", **repairs):
    """Rows of (minute of start, minute of peak or None, class, region or None, lon or None)."""
    table = pd.DataFrame(
        {
            "start": [T0 + timedelta(minutes=start) for start, *_ in rows],
            "peak": pd.to_datetime(
                [None if row[1] is None else T0 + timedelta(minutes=row[1]) for row in rows], utc=True
            ),
            "goes_class": [row[2] for row in rows],
            "noaa": pd.array([row[3] for row in rows], dtype="Int64"),
            "lon": [np.nan if row[4] is None else row[4] for row in rows],
            "lat": [np.nan if row[4] is None else 10.0 for row in rows],
        }
    )
    return FlareList(table, source, repairs)


def test_the_first_list_stands_and_the_second_fills_in_and_adds():
    first = listed((0, None, "C1.0", None, None), (60, 65, "M1.0", 11875, -4.0), source="a", duplicates=2)
    second = listed(
        (2, 9, "C1.2", 11877, 23.0), (60, 64, "M1.0", 11879, 1.0), (90, 95, "C5.0", 11875, None), source="b"
    )
    merged = merge_flares(first, second)
    table = merged.table
    assert table["start"].tolist() == [T0, T0 + timedelta(minutes=60), T0 + timedelta(minutes=90)]
    assert table["goes_class"].tolist() == ["C1.0", "M1.0", "C5.0"]
    assert table["noaa"].tolist() == [11877, 11875, 11875]
    assert table["peak"].tolist() == [T0 + timedelta(minutes=m) for m in (9, 65, 95)]
    assert table["lon"].tolist()[:2] == [23.0, -4.0]
    assert merged.source == "a + b"
    assert merged.repairs == {
        "merged_duplicates": 2,
        "times_filled": 1,
        "regions_filled": 1,
        "regions_contradicted": 1,
        "positions_filled": 1,
        "duplicates": 2,
    }
    assert "2 flares of the second list known to the first" in merged.report()


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((5, 20, "C2.0", None, None), True),  # start within 5 minutes, however the peaks differ
        ((6, 20, "C2.0", None, None), False),
        ((30, 15, "C2.0", None, None), True),  # peak within 5 minutes
        ((0, 10, "C3.0", None, None), True),  # a factor of exactly 1.5
        ((0, 10, "C3.1", None, None), False),
        ((0, 10, "C1.4", None, None), True),  # 0.7 of it: SWPC's operational scale
        ((0, None, "C2.0", None, None), True),
    ],
)
def test_what_counts_as_the_same_flare(other, same):
    one = listed((0, 10, "C2.0", None, None))
    for merged in (merge_flares(one, listed(other)), merge_flares(listed(other), one)):
        assert len(merged) == (1 if same else 2)


def test_two_flares_in_a_row_keep_their_own_partners():
    # 3 minutes apart: each could be taken for the other, the nearest are paired.
    one = listed((0, 1, "C2.0", None, None), (3, 4, "C2.0", None, None))
    two = listed((1, 1, "C2.0", 1, None), (3, 5, "C2.0", 2, None), (4, 6, "C2.0", 3, None))
    merged = merge_flares(one, two)
    assert len(merged) == 3
    assert merged.table["noaa"].tolist() == [1, 2, 3]


def test_a_crowd_is_no_flare_list():
    crowd = listed(*([(0, 1, "C2.0", None, None)] * 4500))
    with pytest.raises(DataError, match="20250000 pairs"):
        merge_flares(crowd, crowd)


def test_with_an_empty_list():
    one, none = listed((0, 1, "C2.0", 11875, None)), listed()
    for merged in (merge_flares(one, none), merge_flares(none, one)):
        pd.testing.assert_frame_equal(merged.table, one.table)
    assert len(merge_flares(none, none)) == 0


ROWS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.none() | st.integers(0, 90),
        st.sampled_from(["B9.0", "C1.0", "C1.4", "C3.0", "M1.0"]),
        st.none() | st.integers(11870, 11873),
        st.none() | st.floats(-90, 90),
    ),
    max_size=8,
)


def near(one, other):
    """Whether two rows could be one flare by their times."""
    starts, peaks = (one[0], other[0]), [row[0] + row[1] for row in (one, other) if row[1] is not None]
    return abs(starts[0] - starts[1]) <= 5 or (len(peaks) == 2 and abs(peaks[0] - peaks[1]) <= 5)


@settings(max_examples=30)
@given(ROWS, ROWS)
def test_nothing_is_lost_and_nothing_invented(a, b):
    first, second = listed(*a), listed(*b)
    merged = merge_flares(first, second)
    duplicates = merged.repairs.get("merged_duplicates", 0)
    assert len(merged) == len(a) + len(b) - duplicates
    assert duplicates <= min(len(a), len(b))
    # The other way round the same flares are the same.
    assert merge_flares(second, first).repairs.get("merged_duplicates", 0) == duplicates
    # Every flare of the first list is there as it was, but for what it did not know.
    keys = [tuple(row) for row in merged.table[["start", "goes_class"]].itertuples(index=False)]
    for row in first.table[["start", "goes_class"]].itertuples(index=False):
        assert tuple(row) in keys
    # Once merged, the second list has nothing to add, unless a flare lies near several: another may find it then.
    if all(sum(near(one, other) for other in rows) <= 1 for one in (*a, *b) for rows in (a, b)):
        event(f"merged again, {len(a)} and {len(b)} flares")
        assert len(merge_flares(merged, second)) == len(merged)


def test_merging_with_itself_changes_nothing():
    one = listed((0, None, "C1.0", None, None), (60, 65, "M1.0", 11875, -4.0))
    merged = merge_flares(one, one)
    pd.testing.assert_frame_equal(merged.table, one.table)
    assert merged.source == "here"


def test_the_catalogues_without_and_with_regions(real_data):
    # flares_1996-2024 has no regions, swpc_flares_2010-2025 has them for 89 % of the flares of C and above.
    plain = read_flares(real_data / "goes" / "flares_1996-2024.csv", scale="as listed")
    regions = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv", scale="as listed")
    t0, t1 = datetime(2010, 1, 1, tzinfo=UTC), datetime(2024, 12, 1, tzinfo=UTC)
    merged = merge_flares(plain.between(t0, t1), regions.between(t0, t1))
    strong = merged.table[merged.table["flux"] >= 1e-6]
    # 17,957 flares of C and above in the first list, 17,943 in the second, of which all but a few are the same.
    # Three of the first list have the start and end of another one.
    assert 17954 <= len(strong) <= 17965
    assert strong["noaa"].notna().mean() == pytest.approx(0.888, abs=0.005)
    # 2013-10-23 has the regions that it had.
    day = merged.between(datetime(2013, 10, 23, tzinfo=UTC), datetime(2013, 10, 24, tzinfo=UTC))
    assert len(day.table.query("noaa == 11875 and flux >= 1e-6")) == 10
