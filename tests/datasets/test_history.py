"""Histories against loops over all flares and rows, and their blindness to the future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY, add_changes, disk_history, region_history
from kflare.datasets.region_table import region_flares_by_noaa
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList, class_to_flux
from kflare.flares.repairing import read_flares

T0 = pd.Timestamp("2014-03-18T00:00Z")
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
NAMES = [*REGION_HISTORY, *DISK_HISTORY]
TIME = "datetime64[us, UTC]"

# Half hours over two weeks, so that ties and window edges are met.
STEPS = st.integers(-300, 300)
CLASSES = st.sampled_from(["B5.0", "C1.0", "C9.9", "M1.0", "M9.9", "X1.0", "X20.0"])
FLARES = st.lists(
    st.tuples(STEPS, st.one_of(st.none(), st.integers(0, 5)), CLASSES, st.sampled_from(["A", "B", ""])), max_size=15
)
SAMPLES = st.lists(st.tuples(STEPS, st.sampled_from(["A", "B", "C"])), min_size=1, max_size=10, unique=True)


def add_history(samples, region_flares, flares):
    histories = [region_history(samples, region_flares), disk_history(samples["time"], flares)]
    return pd.concat([samples, *histories], axis=1)


def moment(step):
    return pd.NaT if step is None else T0 + step * HOUR / 2


def sample_table(samples, **columns):
    return pd.DataFrame(
        {
            "time": pd.Series([moment(step) for step, _ in samples], dtype=TIME),
            "region": pd.Series([region for _, region in samples], dtype="str"),
            **columns,
        }
    )


def flare_table(flares):
    """Rows (start, duration of the rise or None, class, region or ""): those of regions, and all as a FlareList."""
    peaks = [None if rise is None else start + rise for start, rise, *_ in flares]
    table = pd.DataFrame(
        {
            "start": pd.Series([moment(start) for start, *_ in flares], dtype=TIME),
            "peak": pd.Series([moment(peak) for peak in peaks], dtype=TIME),
            "goes_class": pd.Series([goes_class for _, _, goes_class, _ in flares], dtype="str"),
            "region": pd.Series([region for *_, region in flares], dtype="str"),
        }
    )  # fmt: skip
    table["flux"] = pd.Series([class_to_flux(goes_class) for _, _, goes_class, _ in flares], dtype="float64")
    return table[table["region"] != ""], FlareList(table, "test list")


def known(flares, step):
    """(age in half hours, class letter, region) of the flares whose peak has come; open peaks: an hour after start."""
    peaks = [
        (start + (2 if rise is None else rise), goes_class[0], region) for start, rise, goes_class, region in flares
    ]
    return [(step - peak, letter, region) for peak, letter, region in peaks if peak <= step]  # fmt: skip


def slow_history(flares, step, region):
    past = known(flares, step)
    own = [(age, letter) for age, letter, owner in past if owner == region]
    return [
        *(sum(of == letter for _, of in own) for letter in "CMX"),
        *(sum(of == letter and age < 48 for age, of in own) for letter in "CMX"),
        *(sum(of in letters and age < 48 for age, of, _ in past) for letters in ("CMX", "MX")),
        *(sum(of in letters and age < 7 * 48 for age, of, _ in past) for letters in ("CMX", "MX")),
    ]


@settings(max_examples=60)
@given(SAMPLES, FLARES)
def test_history_is_that_of_a_loop_over_all_flares(samples, flares):
    out = add_history(sample_table(samples), *flare_table(flares))
    assert set(out.columns) == {"time", "region", *NAMES}
    assert (out[NAMES].dtypes == np.float64).all()
    assert out[NAMES].to_numpy().tolist() == [slow_history(flares, step, region) for step, region in samples]


@settings(max_examples=60)
@given(SAMPLES, FLARES, FLARES, STEPS)
def test_what_peaks_later_changes_no_history(samples, flares, others, now):
    """The flares known at `now` are kept, all others exchanged for flares of which none peaks until `now`."""

    def peak(flare):
        return flare[0] + (2 if flare[1] is None else flare[1])

    before = [flare for flare in flares if peak(flare) <= now]
    later = [(max(start, now + 1), rise, *rest) for start, rise, *rest in others]
    past = sample_table(samples)["time"] <= moment(now)
    one = add_history(sample_table(samples), *flare_table(flares))[past]
    two = add_history(sample_table(samples), *flare_table([*later, *before]))[past]
    pd.testing.assert_frame_equal(one, two)


def test_a_flare_is_known_from_its_peak_on_and_for_24_hours():
    # M2.0 of region A starts at 10:00, peaks at 10:30: "the last 24 h" is (t - 24 h, t].
    own, disk = flare_table([(20, 1, "M2.0", "A")])
    steps = [20, 21, 21 + 47, 21 + 48, 21 + 7 * 48 - 1, 21 + 7 * 48]
    out = add_history(sample_table([(step, "A") for step in steps]), own, disk)
    assert out["Mhis"].tolist() == [0, 1, 1, 1, 1, 1]
    assert out["Mhis1d"].tolist() == [0, 1, 1, 0, 0, 0]
    assert out["diskC1d"].tolist() == out["diskM1d"].tolist() == [0, 1, 1, 0, 0, 0]
    assert out["diskC7d"].tolist() == [0, 1, 1, 1, 1, 0]
    assert (out[["Chis", "Xhis", "Chis1d", "Xhis1d"]] == 0).all(axis=None)


def test_history_of_yi_et_als_day(real_data):
    flares = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv", scale="as listed")
    samples = pd.DataFrame(
        {
            "time": pd.to_datetime(["2013-10-24T00:00Z", "2013-10-24T00:07Z", "2013-10-24T00:08Z"], format="ISO8601"),
            "region": "HARP 3291",
            "noaa": 11875,
        }
    )
    out = add_history(samples, region_flares_by_noaa(samples, flares.table), flares)
    # docs/science.md: 7 C; M2.7 and M1.4 before midnight; the M3.1 of 23:58 peaks at 00:08 and is not known before.
    assert out["Chis1d"].tolist() == [7, 7, 7]
    assert out["Mhis1d"].tolist() == [2, 2, 3]
    # The disk has two C flares of 11877 besides: 7 + 2 + 2 = 11 of at least C1.0.
    assert out["diskC1d"].tolist() == [11, 11, 12]
    assert out["diskM1d"].tolist() == [2, 2, 3]


def slow_change(rows, step, region, *, hours=24, tolerance_minutes=60):
    """Value now minus the value nearest to `hours` ago, of two equally near ones the earlier."""
    now = next(value for at, owner, value in rows if (at, owner) == (step, region))
    past = [
        (abs(step - 2 * hours - at), at, value)
        for at, owner, value in rows
        if owner == region and abs(step - 2 * hours - at) * 30 <= tolerance_minutes
    ]
    return now - min(past)[2] if past else np.nan


ROWS = st.lists(
    st.tuples(st.integers(0, 110), st.sampled_from("AB"), st.integers(-1000, 1000)),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=60)
@given(ROWS, st.sampled_from([(24, 60), (24, 0), (6, 90), (48, 30)]))
def test_changes_are_those_of_a_loop_over_all_rows(rows, setting):
    hours, tolerance = setting
    table = sample_table([row[:2] for row in rows], AREA=[float(value) for *_, value in rows])
    out = add_changes(table, ["AREA"], hours=hours, tolerance_minutes=tolerance)
    name = f"dt{hours:02d}AREA"
    assert list(out.columns) == ["time", "region", "AREA", name]
    expected = [slow_change(rows, *row[:2], hours=hours, tolerance_minutes=tolerance) for row in rows]
    np.testing.assert_array_equal(out[name], expected)


@settings(max_examples=60)
@given(ROWS, ROWS, st.integers(0, 110))
def test_what_is_measured_later_changes_no_change(rows, others, now):
    past = [row for row in rows if row[0] <= now]
    later = [row for row in others if row[0] > now]

    def changes(table):
        out = add_changes(sample_table([row[:2] for row in table], AREA=[float(row[2]) for row in table]), ["AREA"])
        return {(time, region): value for time, region, _, value in out.itertuples(index=False) if time <= moment(now)}

    one, two = changes(rows), changes([*later, *past])
    assert one.keys() == two.keys()
    np.testing.assert_array_equal([one[key] for key in one], [two[key] for key in one])


def test_a_change_over_an_unmeasured_value_is_not_measured():
    # The third row is 24 h after the first (no value), the fourth 24 h after the second: 7 - 2 = 5.
    table = sample_table([(0, "A"), (2, "A"), (48, "A"), (50, "A")], AREA=[np.nan, 2.0, 3.0, 7.0])
    np.testing.assert_array_equal(add_changes(table, ["AREA"])["dt24AREA"], [np.nan, np.nan, np.nan, 5.0])
    nullable = table.assign(AREA=pd.array([None, 2, 3, 7], dtype="Int64"))
    np.testing.assert_array_equal(add_changes(nullable, ["AREA"])["dt24AREA"], [np.nan, np.nan, np.nan, 5.0])


def test_of_two_rows_equally_near_the_earlier_is_the_past_and_the_tolerance_is_held_to_the_second():
    # 24 h before 25:00 is 01:00; 00:00 and 02:00 are both 60 minutes off.
    table = sample_table([(0, "A"), (4, "A"), (50, "A")], AREA=[1.0, 2.0, 10.0])
    assert add_changes(table, ["AREA"])["dt24AREA"].iloc[2] == 9.0
    late = table.iloc[[0, 2]].assign(time=[table["time"][0], table["time"][2] + pd.Timedelta(seconds=1)])
    assert add_changes(late, ["AREA"])["dt24AREA"].isna().all()


def test_neither_a_row_itself_nor_a_later_one_is_its_past():
    # With a tolerance longer than the step, 01:00 and 01:30 are near enough to 01:00 - 30 min.
    table = sample_table([(2, "A"), (3, "A")], AREA=[1.0, 2.0])
    out = add_changes(table, ["AREA"], hours=0.5, tolerance_minutes=120)
    np.testing.assert_array_equal(out.iloc[:, -1], [np.nan, 1.0])


def test_another_region_is_no_past():
    table = sample_table([(0, "A"), (48, "B")], AREA=[1.0, 2.0])
    assert add_changes(table, ["AREA"])["dt24AREA"].isna().all()


def test_histories_do_not_write_into_the_table_given():
    table = sample_table([(0, "A"), (48, "A")], AREA=[1.0, 2.0])
    before = table.copy()
    add_changes(table, ["AREA"])
    add_history(table, *flare_table([(3, 1, "C1.0", "A")]))
    pd.testing.assert_frame_equal(table, before)


def test_rows_given_twice_and_missing_columns_are_refused():
    table = sample_table([(2, "A"), (0, "A"), (2, "A")], AREA=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="`region` A has two rows at 2014-03-18T01:00Z: keep one"):
        add_changes(table, ["AREA"])
    with pytest.raises(DataError, match="the region table lacks `USFLUX`, `R_VALUE`: it has time, region, AREA"):
        add_changes(table, ["AREA", "USFLUX", "R_VALUE"])
