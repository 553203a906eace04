"""Labels against the catalogues read by hand, and against a loop over all flares."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.datasets.archive import forecast_time
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList, class_to_flux, flux_to_class
from kflare.flares.labels import (
    disk_flux,
    in_seconds,
    keys,
    largest_flux,
    reaches,
    region_codes,
    region_flux,
    require_covered,
)
from kflare.flares.merging import merge_flares
from kflare.flares.repairing import read_flares
from kflare.sun.times import time_from_name

T0 = pd.Timestamp("2014-03-18T00:00Z")
HOURS = st.integers(-60, 60)
FLUXES = st.sampled_from([1e-7, 1e-6, 9.9e-6, 1e-5, 3.1e-5, 1e-4])


def flare_list(*flares):
    return FlareList(pd.DataFrame(flares, columns=["start", "goes_class"]), "test list")


def at(*hours):
    return pd.Series([T0 + pd.Timedelta(hours=hour) for hour in hours])


@given(
    st.lists(st.integers(0, 400), max_size=30),
    st.lists(st.tuples(st.integers(-100, 500), FLUXES), max_size=30),
    st.integers(1, 100),
)
def test_largest_flux_is_that_of_a_loop_over_all_flares(samples, flares, window_hours):
    """Unsorted samples and flares, ties and empty lists included."""
    expected = [
        max([flux for start, flux in flares if sample <= start < sample + window_hours], default=0.0)
        for sample in samples
    ]
    begin = np.array(samples, np.int64)
    found = largest_flux(
        begin,
        begin + window_hours,
        np.array([start for start, _ in flares], np.int64),
        np.array([flux for _, flux in flares], np.float64),
    )
    assert found.shape == (len(samples),)
    assert found.dtype == np.float64
    assert found.tolist() == expected


@given(
    st.lists(st.tuples(HOURS, st.sampled_from("ABC")), min_size=1, max_size=12),
    st.lists(st.tuples(HOURS, st.sampled_from("ABC"), FLUXES), max_size=12),
)
def test_region_flux_is_that_of_a_loop_over_the_regions_own_flares(samples, flares):
    table = pd.DataFrame({"time": at(*(hour for hour, _ in samples)), "region": [region for _, region in samples]})
    own = pd.DataFrame(
        {
            "region": pd.Series([region for _, region, _ in flares], dtype="str"),
            "start": pd.Series([T0 + pd.Timedelta(hours=hour) for hour, _, _ in flares], dtype="datetime64[us, UTC]"),
            "flux": pd.Series([flux for _, _, flux in flares], dtype="float64"),
        }
    )
    expected = [
        max((flux for start, owner, flux in flares if owner == region and hour <= start < hour + 24), default=0.0)
        for hour, region in samples
    ]
    assert region_flux(table, own).tolist() == expected


def test_the_window_holds_its_begin_but_not_its_end():
    begin, end = T0, T0 + pd.Timedelta(hours=24)
    second = pd.Timedelta(seconds=1)
    starts = (begin - second, begin, end - second, end)
    found = [float(disk_flux(at(0), flare_list((start, "M1.0"), (end, "B1.0")))[0]) for start in starts]
    assert found == [0.0, 1e-5, 1e-5, 0.0]


def test_the_start_decides_not_the_peak():
    flares = FlareList(
        pd.DataFrame(
            {
                "start": [T0 - pd.Timedelta(minutes=5), T0 + pd.Timedelta("23:58:00")],
                "peak": [T0 + pd.Timedelta(minutes=5), T0 + pd.Timedelta("24:08:00")],
                "goes_class": ["X1.0", "M3.1"],
            }
        ),
        "test list",
    )
    # The X flare peaks in the window but starts before it; the M flare starts in it and peaks behind it.
    assert disk_flux(at(0), flares).tolist() == [3.1e-5]


def test_reaches_takes_the_threshold_itself():
    flux = np.array([0.0, 9.9e-7, 1e-6, 10 * 9.99999999e-8, 9.9e-6, 1e-5, 9.9e-5, 1e-4])
    # The fourth is C1.0 but for rounding.
    assert reaches(flux, "C").tolist() == [False, False, True, True, True, True, True, True]
    assert reaches(flux, "M").tolist() == [False] * 5 + [True] * 3
    assert reaches(flux, "X").tolist() == [False] * 7 + [True]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("letter", ["C", "M", "X"])
def test_a_class_begins_at_its_own_flux_in_either_precision(kind, letter):
    # float32 holds 1e-5 as 9.99999975e-6; C9.9 and B9.9 are 1 % below the next class.
    below = {"C": "B9.9", "M": "C9.9", "X": "M9.9"}[letter]
    flux = np.array([class_to_flux(below), class_to_flux(f"{letter}1.0"), np.nan, 0.0], kind)
    assert reaches(flux, letter).tolist() == [False, True, False, False]
    assert reaches(flux, f"{letter}1.0").tolist() == [False, True, False, False]
    assert reaches(flux, f"{letter}1.1").tolist() == [False, False, False, False]
    assert [bool(reaches(value, letter)) for value in flux.tolist()] == [False, True, False, False]


def test_a_class_that_is_none_is_refused():
    with pytest.raises(DataError, match="`goes_class` must be one of the letters"):
        reaches(np.array([1e-6]), "Y")


def test_every_class_of_one_decimal_is_on_its_own_side():
    for tenth in range(10, 100):
        flux = np.array([class_to_flux(f"C{tenth / 10:.1f}"), class_to_flux(f"M{tenth / 10:.1f}")])
        assert (reaches(flux, "C").all(), reaches(flux, "M").tolist()) == (True, [False, True])


def test_keys_keep_regions_apart_and_times_in_order():
    codes = region_codes(pd.Series(["HARP 1", "HARP 2"]), pd.Series(["HARP 2", "HARP 3", "HARP 1"]))
    assert [part.tolist() for part in codes] == [[0, 1], [1, 2, 0]]
    early, late = in_seconds(pd.Series(pd.to_datetime(["1970-01-01T00:00Z", "2100-01-01T00:00Z"], format="ISO8601")))
    assert early == 0
    assert keys(np.array([late + 86_400]), np.array([0])) < keys(np.array([early]), np.array([1]))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_in_seconds_is_utc_in_any_unit_and_zone(unit):
    # 2014-03-18T00:00Z is 16147 days after 1970: 44 * 365 + 11 leap days + 31 + 28 + 17 = 16147.
    times = pd.Series([T0]).astype(f"datetime64[{unit}, UTC]")
    assert in_seconds(times).tolist() == [16147 * 86_400]
    assert in_seconds(times.dt.tz_convert("Asia/Tokyo")).tolist() == [16147 * 86_400]


def test_times_without_a_zone_and_empty_times_are_refused():
    with pytest.raises(DataError, match=r"`time` must be in UTC with a time zone, got naive times.*trailing Z"):
        in_seconds(pd.Series([datetime(2014, 3, 18)]))  # noqa: DTZ001
    with pytest.raises(DataError, match="`time` must not be empty, got 2 empty cells"):
        in_seconds(pd.Series([T0, pd.NaT, pd.NaT]))


def test_a_list_that_does_not_cover_the_windows_is_refused():
    flares = flare_list((T0, "C1.0"), (T0 + pd.Timedelta(days=10), "C1.0"))
    # A flare may follow any gap: windows begin a day before its first flare at most, and end a day after its last.
    assert disk_flux(at(-24, 24 * 10), flares).tolist() == [0.0, 1e-6]
    for hour, need in (
        (-25, "2014-03-16T23:00Z to 2014-03-17T23:00Z"),
        (241, "2014-03-28T01:00Z to 2014-03-29T01:00Z"),
    ):
        covers = r"test list covers 2014-03-17T00:00Z to 2014-03-29T00:00Z \(last flare 2014-03-28T00:00Z\)"
        with pytest.raises(DataError, match=f"`flares`: {covers}, but 1 of 2 samples need {need}: .*`told_until`"):
            disk_flux(at(0, hour), flares)
        with pytest.raises(DataError, match="`flares`"):
            require_covered(at(hour), flares)
    # Of what it says to tell there is no flare.
    told = replace(flares, told=((T0, T0 + pd.Timedelta(days=30)),))
    assert disk_flux(at(0, 24 * 29), told).tolist() == [1e-6, 0.0]
    with pytest.raises(DataError, match="need"):
        disk_flux(at(-1), told)
    with pytest.raises(DataError, match="holds no flare"):
        disk_flux(at(0), FlareList(pd.DataFrame({"start": [], "goes_class": []}), "empty list"))


def test_of_samples_up_to_today_those_without_a_label_yet_are_told():
    flares = flare_list((T0, "C1.0"), (T0 + pd.Timedelta(days=10), "C1.0"))  # tells until a day after its last
    assert require_covered(at(0, 24 * 10, 241), flares, some=True).tolist() == [True, True, False]
    assert require_covered(at(0, 24 * 10), flares).all()
    with pytest.raises(DataError, match="2 of 2 samples need"):
        require_covered(at(241, 300), flares, some=True)


def test_what_lies_between_two_lists_that_were_merged_is_not_known():
    """A month of no list between them counted as a month without a flare."""
    days = pd.Timedelta(days=1)
    merged = merge_flares(flare_list((T0, "C1.0")), flare_list((T0 + 30 * days, "C1.0"), (T0 + 32 * days, "M1.0")))
    assert disk_flux(at(0, 24 * 29, 24 * 32), merged).tolist() == [1e-6, 0.0, 1e-5]
    with pytest.raises(DataError, match=r"2014-03-17T00:00Z to 2014-04-20T00:00Z with 1 gaps .* 1 of 1 samples need"):
        disk_flux(at(24 * 15), merged)


def by_day(path, start, goes_class):
    """Largest flux of each day, from the CSV alone: {"2013-10-23": 3.1e-05}."""
    unit = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}
    largest: dict[str, float] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            letter, number = row[goes_class][:1], row[goes_class][1:].replace(",", ".")
            if letter in unit and row[start][:4] in {"2013", "2014", "2015"}:
                day = row[start][:10]
                largest[day] = max(largest.get(day, 0.0), float(number or 1) * unit[letter])
    return largest


@pytest.mark.parametrize(
    ("name", "start", "goes_class"),
    [("flares_1996-2024.csv", "start", "fl_class"), ("swpc_flares_2010-2025.csv", "start_time", "label")],
)
def test_labels_of_all_daily_magnetograms_are_what_the_catalogue_says(real_data, name, start, goes_class):
    names = sorted(path.name for path in (real_data / "hmi_daily").glob("hmi.M_*.jpg"))
    assert len(names) == 654
    times = pd.Series([forecast_time(time_from_name(name)) for name in names])
    found = disk_flux(times, read_flares(real_data / "goes" / name, scale="as listed"))

    # hmi.M_20131023_000054.jpg: the day is in characters 6 to 14 of the name.
    days = [f"{name[6:10]}-{name[10:12]}-{name[12:14]}" for name in names]
    catalogue = by_day(real_data / "goes" / name, start, goes_class)
    expected = np.array([catalogue.get(day, 0.0) for day in days])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)
    np.testing.assert_array_equal(reaches(found, "C"), expected > 0.999e-6)
    np.testing.assert_array_equal(reaches(found, "M"), expected > 0.999e-5)
    # A day of Yi et al. (2021, section 2): its largest flare is M3.1, which starts at 23:58.
    assert found[days.index("2013-10-23")] == class_to_flux("M3.1")


def test_regions_of_2013_10_23_have_the_flares_of_yi_et_al(real_data):
    flares = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv", scale="as listed")
    day = datetime(2013, 10, 23, tzinfo=UTC)
    table = flares.between(day, day + timedelta(days=1)).table
    letters = table["goes_class"].str[0].groupby(table["noaa"])
    # Yi et al. (2021), section 2: "seven C-class and three M-class flares" of 11875, two C-class of 11877.
    assert letters.get_group(11875).value_counts().to_dict() == {"C": 7, "M": 3}
    assert letters.get_group(11877).value_counts().to_dict() == {"C": 2}

    samples = pd.DataFrame({"time": [pd.Timestamp(day)] * 3, "region": ["11875", "11877", "11879"]})
    own = flares.table.dropna(subset="noaa").assign(region=lambda table: table["noaa"].astype("str"))
    # docs/science.md: the largest of 11877 is C8.7 at 22:18; 11879 is listed with none.
    assert region_flux(samples, own).tolist() == [class_to_flux("M3.1"), class_to_flux("C8.7"), 0.0]


@pytest.mark.parametrize("flux", [1e-5 * (1 - 5e-7), 1e-6 * (1 - 9e-7), float(np.float32(1e-4)), 0.9999995e-7])
def test_a_flux_that_reaches_a_class_is_printed_as_one(flux):
    goes_class = flux_to_class(flux)
    assert goes_class.endswith("1.0")
    assert reaches(flux, goes_class)
