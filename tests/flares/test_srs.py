"""NOAA's Solar Region Summary, in every form, as `kflare.features` and `kflare.attribute` read it."""

import re

import numpy as np
import pandas as pd
import pytest

from kflare.attribution.region_tables import read_regions
from kflare.errors import DataError
from kflare.flares.srs import mcintosh_classes, read_srs

TEXT = """\
:Product: 1023SRS.txt
:Issued: 2013 Oct 23 0030 UTC
# Prepared jointly by the U.S. Dept. of Commerce, NOAA,
# Space Weather Prediction Center and the U.S. Air Force.
#
Joint USAF/NOAA Solar Region Summary
SRS Number 296 Issued at 0030Z on 23 Oct 2013
Report compiled from data received at SWO on 22 Oct
I.  Regions with Sunspots.  Locations Valid at 22/2400Z
Nmbr Location  Lo  Area  Z   LL   NN Mag Type
1875 N07W04   012  0420 Ekc  13   31 Beta-Gamma-Delta
1877 S13E23   344  0390 Eki  11   16 Beta-Gamma
IA. H-alpha Plages without Spots.  Locations Valid at 22/2400Z Oct
Nmbr  Location  Lo
1871  S08W56   064
II. Regions Due to Return 23 Oct to 25 Oct
Nmbr Lat    Lo
1865 S22    251
"""


FORMS = {
    "text": TEXT,
    "with extent": "ar_noaanum,LOCATION,AREA,Longitude_extent,date\n11875,N07W04,420,13,2013-10-23 00:30\n"
    "11877,S13E23,390,11,2013-10-23 00:30\n11871,S08W56,0,,2013-10-23 00:30\n",
    "without extent": "ar_noaanum,LOCATION,AREA,date\n1875,N07W04,420,2013-10-23 00:30\n"
    "1877,S13E23,390,2013-10-23 00:30\n1871,S08W56,,2013-10-23 00:30\n",
    "positions only": "date,ar_noaanum,LOCATION\n2013-10-23,11875,N07W04\n"
    "2013-10-23,11877,S13E23\n2013-10-23,11871,S08W56\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("read", [read_srs, read_regions])
def test_both_commands_read_every_form(tmp_path, read, form):
    path = tmp_path / "srs.txt"
    path.write_text(FORMS[form])
    found = read(path)
    assert found["time"].unique().tolist() == [pd.Timestamp("2013-10-23T00:00Z")]
    assert found[["noaa", "lon", "lat"]].to_numpy().tolist() == [[11875, 4, 7], [11877, -23, -13], [11871, 56, -8]]
    extent = [13, 11, np.nan] if form in {"text", "with extent"} else [np.nan] * 3
    np.testing.assert_array_equal(found["extent"], extent)
    area = [np.nan] * 3 if form == "positions only" else [420, 390, 0]
    np.testing.assert_array_equal(found["area_uhem"], area)


@pytest.mark.parametrize("day", ["1996 Jan 02", "2002 Jun 13"])
def test_numbers_of_before_the_rollover_stay(tmp_path, day):
    path = tmp_path / "srs.txt"
    path.write_text(TEXT.replace("2013 Oct 23", day).replace("1875 N07", "7935 N07"))
    assert read_srs(path)["noaa"].iloc[0] == 7935


def test_regions_of_a_text_without_any_are_none(tmp_path):
    path = tmp_path / "srs.txt"
    head, _, rest = TEXT.partition("1875 N07W04")
    plages = "IA. H-alpha Plages without Spots.\nNmbr  Location  Lo\nNone\n"
    path.write_text(f"{head}None\n{plages}{rest[rest.index('II. ') :]}")
    assert read_srs(path).empty


def test_the_text_of_swpc(tmp_path):
    path = tmp_path / "20131023SRS.txt"
    path.write_text(TEXT)
    srs = read_srs(path)
    assert srs["issued"].unique().tolist() == [pd.Timestamp("2013-10-23T00:30Z")]
    assert srs["time"].unique().tolist() == [pd.Timestamp("2013-10-23T00:00Z")]
    assert srs[["noaa", "lon", "lat", "area_uhem"]].to_numpy().tolist() == [
        [11875, -4 * -1, 7, 420],
        [11877, -23, -13, 390],
        [11871, 56, -8, 0],
    ]


def test_a_table_of_many_days(tmp_path):
    path = tmp_path / "srs.csv"
    path.write_text(
        "number,ar_noaanum,LOCATION,AREA,date\n0,11875,N07W04,420,2013-10-23 00:30\n1,11875,N07E09,,2013-10-22 00:30\n"
    )
    table = read_srs(path)
    assert table["time"].dt.day.tolist() == [22, 23]
    assert table[["lon", "lat", "area_uhem"]].to_numpy().tolist() == [[-9, 7, 0], [4, 7, 420]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ar_noaanum,LOCATION,AREA\n11875,N07E04,10\n", "needs the column `date`"),
        (
            TEXT.replace("2013 Oct 23", "2013 Okt 23"),
            "`date` must be .* got ':Issued: 2013 Okt 23 0030 UTC' in row 0, line 11",
        ),
        (TEXT.partition("I.  Regions")[0], "it has no section I"),
        (TEXT.replace("I.  Regions with", "I Regions with"), "it has no section I"),
        ("ar_noaanum,LOCATION,AREA,date\n11875,7 north,10,2013-10-23\n", "`LOCATION` must be like N07E04"),
        (
            "ar_noaanum,LOCATION,AREA,date\n11875,N99E04,10,2013-10-23\n",
            "`LOCATION` must .* got 'N99E04' in row 0",
        ),
        ("what,ever\n1,2\n", "no Solar Region Summary that can be read"),
        ("", "is empty"),
    ],
)
def test_no_srs(tmp_path, text, message):
    path = tmp_path / "srs.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_srs(path)
    with pytest.raises(DataError, match="does not exist; give NOAA's Solar Region Summary"):
        read_srs(tmp_path / "absent.csv")


JUNE_2002 = (
    TEXT.replace("2013 Oct 23", "2002 Jun 24")
    .replace("1875 N07", "0001 N07")
    .replace("1877", "0005")
    .replace("1871", "9997")
)


@pytest.mark.parametrize("read", [read_srs, read_regions])
def test_numbers_around_region_10000(tmp_path, read):
    # NOAA's summary of 2002-06-24: 9997 is still on the disk.
    path = tmp_path / "20020624SRS.txt"
    path.write_text(JUNE_2002)
    assert read(path)["noaa"].tolist() == [10001, 10005, 9997]
    path.write_text(JUNE_2002.replace("9997", "9999").replace("2002 Jun 24", "2002 Jul 2"))
    assert read(path)["noaa"].tolist() == [10001, 10005, 9999]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("1865 S22    251", "1045 N19", "line 18 '1045 N19'"),
        ("1865 S22    251", "", ""),
        ("Nmbr Lat    Lo", "Corrected copy", "line 17 'Corrected copy'"),
        ("1871  S08W56   064", "1871  S08W56   064\n*** see remarks", r"line 16 '\*\*\* see remarks'"),
        ("1865 S22    251", "1865 S22    251\nIII. Remarks\nhello", "line 20 'hello'"),
    ],
)
def test_a_stray_line_costs_nothing_and_is_named(tmp_path, caplog, old, new, line):
    path = tmp_path / "20131023SRS.txt"
    path.write_text(TEXT.replace(old, new))
    assert read_srs(path)["noaa"].tolist() == [11875, 11877, 11871]
    assert re.search(line, caplog.text) if line else not caplog.text


def test_a_text_that_ends_in_its_first_section_may_have_been_cut_off(tmp_path, caplog):
    path = tmp_path / "20131023SRS.txt"
    path.write_text(TEXT.partition("1877")[0])
    assert read_srs(path)["noaa"].tolist() == [11875]
    assert "ends in section I" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("S13E23", "S13", "`LOCATION` must be like N07E04, .* got 'S13' in row 1, line 12"),
        ("S13E23", "S93E23", "got 'S93E23' in row 1, line 12"),
        ("S13E23", "S13E170", "110 degrees east or west at most, got 'S13E170' in row 1, line 12"),
        ("1877 S13E23", "0 S13E23", "`ar_noaanum` must be a number such as 11875, got '0' in row 1, line 12"),
    ],
)
def test_a_region_that_cannot_be_read_is_left_out_and_named(tmp_path, caplog, old, new, said):
    path = tmp_path / "20131023SRS.txt"
    path.write_text(TEXT.replace(old, new))
    assert read_srs(path)["noaa"].tolist() == [11875, 11871]
    assert re.search(f"1 of 3 rows left out: .*{said}", caplog.text)


@pytest.mark.parametrize("read", [read_srs, read_regions])
@pytest.mark.parametrize("seen", ["-170", "-1", "inf", "1e30", "99999", "-9999", "large", "4e2x", "nan."])
@pytest.mark.parametrize("name", ["area_uhem", "extent"])
def test_an_impossible_size_is_unknown_and_named(tmp_path, caplog, read, seen, name):
    path = tmp_path / "20131023SRS.txt"
    old = "0390 Eki  11" if name == "area_uhem" else "Eki  11"
    path.write_text(TEXT.replace(old, old.replace("0390" if name == "area_uhem" else "11", seen)))
    found = read(path)
    assert found["noaa"].tolist() == [11875, 11877, 11871]
    np.testing.assert_array_equal(found[name], [420, np.nan, 0] if name == "area_uhem" else [13, np.nan, np.nan])
    column = "AREA" if name == "area_uhem" else "Longitude_extent"
    assert f"1 of 3 values of `{column}` are taken as unknown" in caplog.text
    assert f"got '{seen}' in row 1, line 12" in caplog.text
    path.write_text(f"ar_noaanum,LOCATION,{column},date\n11875,N07W04,{seen},2013-10-23\n")
    assert read(path)[name].isna().all()


def test_the_line_of_issue_may_say_ut(tmp_path):
    path = tmp_path / "20131023SRS.txt"
    for zone in ("UT", "UTC", "Z", "utc"):
        path.write_text(TEXT.replace("0030 UTC", f"0030 {zone}"))
        assert read_srs(path)["time"].iloc[0] == pd.Timestamp("2013-10-23T00:00Z")
    path.write_text(TEXT.replace("0030 UTC", "0030 MEZ"))
    with pytest.raises(DataError, match=r"`:Issued: 2013 Oct 23 0030 UTC` \(or UT\)"):
        read_srs(path)
    with pytest.raises(DataError, match=r"`:Issued: 2013 Oct 23 0030 UTC` \(or UT\)"):
        read_regions(path)


def test_a_folder_of_summaries(tmp_path):
    (tmp_path / "20131023SRS.txt").write_text(TEXT)
    (tmp_path / "20020624SRS.txt").write_text(JUNE_2002)
    (tmp_path / "README").write_text("no summary")
    assert read_srs(tmp_path)["noaa"].tolist() == [10001, 10005, 9997, 11875, 11877, 11871]
    assert read_regions(tmp_path)["region"].iloc[0] == "NOAA 10001"
    with pytest.raises(DataError, match="no file named like"):
        read_srs(tmp_path.parent)


@pytest.mark.parametrize("between", ["", "PLAIN\nI. To all readers\n9998 N01E01 001\n"])
def test_summaries_that_are_joined_in_one_text(tmp_path, between):
    path = tmp_path / "srs.txt"
    second = TEXT.replace("2013 Oct 23", "2013 Oct 24").replace("N07W04", "N07W17")
    path.write_text(TEXT + between + second)
    found = read_srs(path)
    assert found["time"].dt.day.tolist() == [23] * 3 + [24] * 3
    assert found["noaa"].tolist() == [11875, 11877, 11871] * 2
    assert found["lon"].tolist() == [4, -23, 56, 17, -23, 56]


def test_rows_of_no_day_are_not_of_the_day_before(tmp_path, caplog):
    (tmp_path / "srs.txt").write_text(TEXT + TEXT.replace("2013 Oct 23 0030 UTC", "2013 Oct 24 0030 MEZ"))
    assert len(read_srs(tmp_path / "srs.txt")) == 3
    assert "3 of 6 rows left out: `date` must be a time" in caplog.text


def test_a_summary_that_is_issued_again_counts_once(tmp_path, caplog):
    again = TEXT.replace("0030 UTC", "0130 UTC").replace("N07W04", "N07W05")
    (tmp_path / "20131023SRS (1).txt").write_text(again)
    (tmp_path / "20131023SRS.txt").write_text(TEXT)
    found = read_srs(tmp_path)
    assert sorted(zip(found["noaa"], found["lon"], strict=True)) == [(11871, 56), (11875, 5), (11877, -23)]
    assert "3 regions are there more than once for one day, the last counts: 11875 of 2013-10-23" in caplog.text


def test_rows_with_more_fields_than_the_header(tmp_path):
    path = tmp_path / "srs.csv"
    path.write_text("ar_noaanum,LOCATION,date\n0,0,11875,N07W04,2013-10-23\n0,0,11877,S13E23,2013-10-23\n")
    assert read_srs(path)["noaa"].tolist() == [11875, 11877]


def test_classes_of_mcintosh_are_read_in_every_form(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    table = "ar_noaanum,LOCATION,Z,date\n11875,N07W04, ekc,2013-10-23 00:30\n11877,S13E23,GKI,2013-10-23 00:30\n"
    (tmp_path / "csv").write_text(table + "11871,S08W56,,2013-10-23 00:30\n")
    (tmp_path / "none").write_text(FORMS["positions only"])
    assert read_srs(tmp_path / "text")["mcintosh"].tolist() == ["EKC", "EKI", ""]
    assert read_srs(tmp_path / "csv")["mcintosh"].tolist() == ["EKC", "", ""]  # McIntosh has no G
    assert read_srs(tmp_path / "none")["mcintosh"].tolist() == [""] * 3


def test_a_sample_has_the_class_of_the_last_summary_issued_before(tmp_path):
    rows = "11875,N07E10,DAO,2013-10-22 00:30\n11875,N07W04,EKC,2013-10-23 00:30\n"
    (tmp_path / "srs.csv").write_text("ar_noaanum,LOCATION,Z,date\n" + rows)
    times = ["2013-10-23T00:29Z", "2013-10-23T00:30Z", "2013-10-22T00:00Z", "2013-10-25T00:29Z", "2013-10-25T00:31Z"]
    samples = pd.DataFrame({"time": pd.to_datetime(times), "noaa": 11875}, index=[4, 3, 2, 1, 0])
    found = mcintosh_classes(samples, read_srs(tmp_path / "srs.csv"))
    assert found.to_dict() == {4: "DAO", 3: "EKC", 2: "", 1: "EKC", 0: ""}
    other = samples.assign(noaa=pd.array([pd.NA, 11876, 11875, 11875, 11875], "Int64"))
    assert mcintosh_classes(other, read_srs(tmp_path / "srs.csv")).tolist() == ["", "", "", "EKC", ""]
