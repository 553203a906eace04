"""The scale of flare classes: whose carry SWPC's factor, what becomes of them, and that it happens once."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FlareList, class_to_flux, irradiance_classes
from kflare.flares.hek import flares_from_hek
from kflare.flares.labels import reaches
from kflare.flares.merging import merge_flares
from kflare.flares.repairing import read_flares
from kflare.sun.goes_scale import GOES_16_PRIMARY, SWPC_FACTOR, carries_factor
from tests import catalogue_seeds as seeds

CLASSES = st.builds(lambda letter, tenths: f"{letter}{tenths / 10:.1f}", st.sampled_from("ABCMX"), st.integers(10, 99))


def written(tmp_path, text, name="flares.csv"):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def plain(tmp_path, *rows, header="start,peak,end,goes_class"):
    return written(tmp_path, "\n".join([header, *rows]) + "\n")


def classes(path, **options):
    return read_flares(path, **options).table["goes_class"].tolist()


@pytest.mark.parametrize(
    ("listed", "today"),
    [
        # x / 0.7 to one decimal: 7.0 is exactly the next letter, 6.9 / 0.7 = 9.857 is below it, 7.4 / 0.7 = 10.57.
        *[("C7.0", "M1.0"), ("B7.0", "C1.0"), ("M7.0", "X1.0"), ("A7.0", "B1.0"), ("C6.9", "C9.9"), ("C6.99", "C9.9")],
        *[("C7.4", "M1.1"), ("C9.9", "M1.4"), ("M1.0", "M1.4"), ("M3.1", "M4.4"), ("M3.5", "M5.0"), ("M3.4", "M4.9")],
        *[("X1.0", "X1.4"), ("X9.3", "X13.3"), ("A0.5", "A0.7")],
    ],
)
def test_a_class_that_carries_the_factor_is_divided_by_it(listed, today):
    assert irradiance_classes(pd.Series([listed])).tolist() == [today]


@given(CLASSES)
def test_a_class_reaches_a_letter_today_exactly_where_its_listed_flux_over_the_factor_does(listed):
    today = class_to_flux(irradiance_classes(pd.Series([listed])).iloc[0])
    for letter in "CMX":
        # In whole tenths of A1.0, so that no float decides: flux / 0.7 >= limit is 10 * flux >= 7 * limit.
        tenths = round(class_to_flux(listed) * 1e9)
        assert bool(reaches(today, letter)) == (10 * tenths >= 7 * round(class_to_flux(f"{letter}1.0") * 1e9))
    assert today == pytest.approx(class_to_flux(listed) / SWPC_FACTOR, rel=0.06)


def test_the_satellite_decides_and_without_one_the_time():
    satellite = pd.Series(pd.array([15, 16, 15, None, None], "Int64"))
    time = pd.Series(
        pd.to_datetime(
            [*["2010-01-01T00:00", "2018-01-01T00:00", "2020-01-24T00:00"], "2019-12-09T17:29", "2019-12-09T17:30"]
        )
    )
    time = time.dt.tz_localize("UTC")
    assert carries_factor(satellite, time).tolist() == [True, False, True, True, False]
    assert time.iloc[-1] == GOES_16_PRIMARY


@pytest.mark.parametrize("header", ["satellite", "goes_sat", "obs", "observatory", "source"])
@pytest.mark.parametrize(("name", "today"), [("G15", "M1.0"), ("GO8", "M1.0"), ("12", "M1.0"), ("GOES-16", "C7.0")])
def test_a_list_that_names_its_satellites_is_an_operational_one(tmp_path, header, name, today, caplog):
    path = plain(tmp_path, f"2014-01-07 10:00,,,C7.0,{name}", header=f"start,peak,end,goes_class,{header}")
    assert classes(path) == [today]
    assert classes(path, scale="as listed") == ["C7.0"]
    assert caplog.text == ""


def test_flares_without_satellite_in_a_list_with_satellites_go_by_their_dates(tmp_path):
    rows = ["2014-01-07 10:00,,,C7.0,SDO", "2020-07-02 12:58,,,C7.0,////", "2014-01-08 10:00,,,C7.0,G15"]
    flares = read_flares(plain(tmp_path, *rows, header="start,peak,end,goes_class,source"))
    assert flares.table["goes_class"].tolist() == ["M1.0", "M1.0", "C7.0"]
    assert flares.table["satellite"].tolist() == [pd.NA, 15, pd.NA]
    assert "scale_assumed" not in flares.repairs


def test_every_format_is_brought_to_todays_scale(tmp_path):
    # Of GOES-15 in 2015 and 2014: C1.0, C3.7, B7.4, M1.2 and M1.0, X1.2, C6.1; of the HEK in 2013: M2.7.
    assert classes(written(tmp_path, seeds.EVENT_TEXT, "20150301events.txt")) == ["C1.4", "C5.3", "C1.1", "M1.7"]
    assert classes(written(tmp_path, seeds.REPORT, "goes-xrs-report_2014.txt")) == ["M1.4", "X1.7", "C8.7"]
    assert flares_from_hek(seeds.HEK_RECORDS).table["goes_class"].tolist() == ["M3.9"]
    assert classes(written(tmp_path, {"result": seeds.HEK_RECORDS}, "hek.json")) == ["M3.9"]
    donki = {"beginTime": "2014-01-01T18:40Z", "peakTime": "", "endTime": "", "classType": "C7.0"}
    assert classes(written(tmp_path, [donki], "flr.json")) == ["M1.0"]
    # GOES-16 in 2022 and 2024, and NCEI's summary of 2017, which is irradiance for every satellite.
    assert classes(written(tmp_path, seeds.XRAY_FLARES, "7-day.json")) == ["C4.7", "M1.0"]
    assert classes(written(tmp_path, seeds.EDITED_EVENTS, "edited_events.json")) == ["C4.1"]
    (tmp_path / "flsum.nc").write_bytes(seeds.flare_summary())
    assert classes(tmp_path / "flsum.nc") == classes(tmp_path / "flsum.nc", scale="as listed") == ["X2.2", "X9.3"]


def test_a_list_of_unknown_scale_is_taken_as_swpcs_and_says_so(tmp_path, caplog):
    path = plain(tmp_path, "2014-01-07 10:00,,,C7.0", "2022-01-07 10:00,,,C7.0")
    flares = read_flares(path)
    assert flares.table["goes_class"].tolist() == ["M1.0", "C7.0"]
    assert flares.repairs == {"unreadable_ends": 2, "unreadable_peaks": 2, "scale_assumed": 1,
                              "rescaled": 1, "edge_of_class": 1}  # fmt: skip
    assert "`flares.csv` names neither satellite nor scale: classes of 1 flares before 2019-12-09" in caplog.text
    assert "1 of before GOES-16 in a list that names neither satellite nor scale" in flares.report()
    caplog.clear()
    # All of GOES-16 and later: there is nothing to assume.
    assert classes(plain(tmp_path, "2022-01-07 10:00,,,C7.0")) == ["C7.0"]
    assert caplog.text == ""


def test_a_stated_scale_is_believed_and_one_that_is_none_refused(tmp_path):
    header = "start,peak,end,goes_class,flare_scale"
    row = "2014-01-07 10:00,2014-01-07 10:05,2014-01-07 10:09,C7.0,"
    assert classes(plain(tmp_path, row + "irradiance", header=header)) == ["C7.0"]
    assert classes(plain(tmp_path, row + "operational", header=header)) == ["M1.0"]
    for stated in ("today", "", "irradiance\n" + row + "operational"):
        with pytest.raises(DataError, match="`flare_scale` must be irradiance in all rows or operational in all"):
            read_flares(plain(tmp_path, row + stated, header=header))
    with pytest.raises(SettingError, match="must be irradiance or as listed, got 'today'"):
        read_flares(plain(tmp_path, row + "irradiance", header=header), scale="today")
    with pytest.raises(SettingError, match="`scale` of a flare list must be one of irradiance, operational"):
        FlareList(pd.DataFrame({"start": [], "goes_class": []}), "here", scale="as listed")


@pytest.mark.parametrize("scale", ["irradiance", "as listed"])
def test_no_class_is_converted_twice(tmp_path, scale):
    rows = ["2014-01-07 10:00,,,C7.0,G15", "2020-01-24 19:47,,,B1.3,G15", "2022-01-07 10:00,,,C7.0,G16"]
    first = read_flares(plain(tmp_path, *rows, header="start,peak,end,goes_class,obs"), scale=scale)
    assert first.as_irradiance().as_irradiance().table["goes_class"].tolist() == ["M1.0", "B1.9", "C7.0"]
    first.write_csv(tmp_path / "again.csv")
    # Whatever scale it was written on, it is read on today's, and not changed again.
    assert classes(tmp_path / "again.csv") == ["M1.0", "B1.9", "C7.0"]
    again = read_flares(tmp_path / "again.csv", scale="as listed")
    pd.testing.assert_frame_equal(again.table, first.table)
    assert again.scale == first.scale


def test_two_scales_are_not_merged_and_selections_keep_theirs(tmp_path):
    path = plain(tmp_path, "2014-01-07 10:00,,,C7.0,G15", header="start,peak,end,goes_class,obs")
    today, listed = read_flares(path), read_flares(path, scale="as listed")
    with pytest.raises(SettingError, match="one scale to be merged"):
        merge_flares(today, listed)
    assert merge_flares(listed, listed).scale == "operational"
    whole = pd.Timestamp("2014-01-01T00Z"), pd.Timestamp("2015-01-01T00Z")
    assert listed.between(*whole).scale == "operational"


def test_saturated_flares(tmp_path):
    # The greatest flare is X17.4 in one list and X28 in another, and has a published peak; others are lower limits.
    rows = ["2003-11-04 19:29,,,{},G12", "2001-04-02 21:32,,,X20,GO8", "2001-04-15 13:19,,,X14.4,GO8"]
    for listed in ("X17.4", "X28", "X17.", "X28+"):
        text = [row.format(listed) for row in rows]
        flares = read_flares(plain(tmp_path, *text, header="start,peak,end,goes_class,obs"))
        assert flares.table["goes_class"].tolist() == ["X28.6", "X20.6", "X43.2"]
        assert (flares.repairs["saturated"], flares.repairs["estimated"]) == (1, 1)
    # A weaker flare of that hour, and a strong one of GOES-15, are what the list says.
    rows = ["2003-11-04 19:40,,,C7.0,G12", "2017-09-06 11:53,,,X17.4,G15"]
    flares = read_flares(plain(tmp_path, *rows, header="start,peak,end,goes_class,obs"))
    assert flares.table["goes_class"].tolist() == ["M1.0", "X24.9"]
    assert not {"saturated", "estimated"} & flares.repairs.keys()


def test_a_list_that_begins_at_c_lacks_todays_weakest(tmp_path):
    days = pd.date_range("2014-01-01", periods=120, freq="6h")
    rows = [f"{day:%F %H:%M},,,C{1 + k % 90 / 10:.1f},G15" for k, day in enumerate(days)]
    header = "start,peak,end,goes_class,obs"
    assert read_flares(plain(tmp_path, *rows, header=header)).repairs["none_below_c"] == 120
    rows[5] = rows[5].replace("C1.5", "B8.1")
    assert "none_below_c" not in read_flares(plain(tmp_path, *rows, header=header)).repairs


def test_what_the_scale_changes_in_real_lists(real_data):
    # Counted in the files themselves: flares of GOES-15 and before, without the duplicates that are dropped.
    for name, below, lifted in (("swpc_flares_2010-2025.csv", False, 418), ("swpc_flares_1996-2018.csv", True, 1308)):
        path = real_data / "goes" / name
        listed, today = read_flares(path, scale="as listed"), read_flares(path)
        assert ("none_below_c" in today.repairs) is below
        strong = [int(reaches(flares.table["flux"], "M").sum()) for flares in (listed, today)]
        assert strong[1] - strong[0] == pytest.approx(lifted, abs=30)
    # 2013-10-23: the M3.1 of 23:58 UT is M4.4 today.
    assert (
        "M4.4"
        in today.between(pd.Timestamp("2013-10-23T23Z"), pd.Timestamp("2013-10-24T00Z")).table["goes_class"].tolist()
    )
