"""SHARP keywords: headers as JSOC wrote them, drms tables of text, units, and times in TAI."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from kflare.errors import DataError
from kflare.sharp.daily import read_sharp_daily
from kflare.sharp.keywords import REQUESTED, SHARP_PARAMETERS, UNITS, read_sharp_header, read_sharp_table, sharp_table
from tests import catalogue_seeds as seeds

# A record as drms returns it from JSOC without conversion of numbers.
RECORD = {
    "T_REC": "2011.02.15_02:00:00_TAI",
    "HARPNUM": "377",
    "NOAA_AR": "11158",
    "LON_FWT": "12.77996",
    "LAT_FWT": "-20.201988",
    "QUALITY": "0x00000400",
    "CDELT1": "0.03",
    "CUNIT1": "degree",
    "DSUN_OBS": "147746220503.41",
    "RSUN_OBS": "971.671936",
    "RSUN_REF": "696000000",
    "USFLUX": "2.71476e+22",
    "MEANGBZ": "100.523",
    "ERRBZ": "0.081",
    "R_VALUE": "nan",
    "TOTUSJZ": "MISSING",
    "MEANSHR": "Invalid KeyLink",
}


def table(**changes):
    return sharp_table(pd.DataFrame([RECORD | changes]))


def test_the_table_of_the_sixteen_parameters():
    # Bobra et al. 2014, table 3; SHRGT45 has no error.
    assert len(SHARP_PARAMETERS) == 16
    assert [parameter.name for parameter in SHARP_PARAMETERS if not parameter.error] == ["SHRGT45"]
    errors = [parameter.error for parameter in SHARP_PARAMETERS if parameter.error]
    assert len(set(errors)) == 15
    for parameter in SHARP_PARAMETERS:
        assert UNITS[parameter.name] == parameter.unit
        assert not parameter.error or UNITS[parameter.error] == parameter.unit
        assert {parameter.name, *([parameter.error] if parameter.error else [])} <= set(REQUESTED)


def test_a_record_of_text():
    row = table().iloc[0]
    # TAI was 34 s ahead of UTC in 2011.
    assert row["time"] == datetime(2011, 2, 15, 1, 59, 26, tzinfo=UTC)
    assert (row["region"], row["harpnum"], row["noaa"], row["quality"]) == ("HARP 377", 377, 11158, 0x400)
    assert (row["lon"], row["lat"]) == (12.77996, -20.201988)
    assert row["USFLUX"] == 2.71476e22
    assert np.isnan(row[["R_VALUE", "TOTUSJZ", "MEANSHR", "TOTPOT"]].astype(float)).all()


def test_gradients_become_gauss_per_megametre_and_the_table_says_so():
    # One pixel of 0.03° on a sphere of 696 Mm is 0.36442 Mm: 1 / 0.36442 = 2.7441 pixels per Mm, times 100.523 G.
    found = table()
    assert found["MEANGBZ"].iloc[0] == pytest.approx(100.523 * 2.7441, rel=1e-4)
    assert found["ERRBZ"].iloc[0] == pytest.approx(0.081 * 2.7441, rel=1e-4)
    assert found.attrs["units"]["MEANGBZ"] == "G/Mm"
    assert found.attrs["notes"] == [
        "MEANGB* and their errors converted from G/pixel, as JSOC gives them, to G/Mm: times 2.744"
    ]
    # Another pixel, another factor: 1 / (0.06° of 696 Mm).
    assert table(CDELT1="0.06")["MEANGBZ"].iloc[0] == pytest.approx(100.523 * 2.7441 / 2, rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"CDELT1": "0.504", "CUNIT1": "arcsec"},  # the CCD series: its keywords come from the CEA map all the same
        {"DSUN_OBS": "MISSING"},
        {"RSUN_OBS": "1e300"},
        {"CDELT1": "1e-30"},
        {"CUNIT1": None},
    ],
)
def test_without_a_usable_geometry_the_cea_pixel_is_taken(changes):
    assert table(**changes)["MEANGBZ"].iloc[0] == pytest.approx(100.523 * 2.7441, rel=1e-4)


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("0x80000000", 0x80000000),
        ("-2147483648", 0x80000000),  # the same, where somebody read it as signed
        (-1073741824, 0xC0000000),
        (66560.0, 0x10400),
        ("0x00011c00", 0x11C00),
        ("soon", pd.NA),
        (None, pd.NA),
        (np.nan, pd.NA),
    ],
)
def test_quality_is_a_mask_without_sign(value, mask):
    assert table(QUALITY=value)["quality"].tolist() == [mask]


@pytest.mark.parametrize(
    "time",
    [
        "MISSING", "-4712.01.01_11:59:28_TAI", "2011.13.15_02:00:00_TAI", "1899.01.01_00:00:00_TAI", None, 3, 1.3e9,
        "2/15/2011 2:00", "02:00:00", float("inf"),
    ],
)  # fmt: skip
def test_records_without_a_time_or_a_number_are_left_out_and_named(time, caplog):
    rows = [RECORD, RECORD | {"T_REC": time}, RECORD | {"HARPNUM": "0"}, RECORD | {"HARPNUM": "MISSING"}]
    found = sharp_table(pd.DataFrame(rows, dtype=object))
    assert len(found) == 1
    rule = "`T_REC` must be a time (TAI) such as 2011.02.15_02:00:00_TAI"
    assert f"1 of 4 rows left out: {rule}, got {str(time)!r} in row 1" in found.attrs["notes"]
    assert "2 of 4 rows left out: `HARPNUM` must be a whole number above 0, got '0' in row 2" in caplog.text
    with pytest.raises(DataError, match=r"none of 1 rows can be read.*`T_REC`"):
        table(T_REC=time)
    with pytest.raises(DataError, match=r"none of 1 rows can be read.*`HARPNUM`"):
        table(HARPNUM="1e30")


@pytest.mark.parametrize(
    "text",
    [
        "2014.02.25_00:48:00_TAI", "2014-02-25 00:48:00", "2014-02-25T00:48:00", "2014-02-25 00:48:00.000000",
        "2014/02/25 00:48", "20140225_004800_TAI", "2014.02.25_00:48_TAI", "2014-02-25T00:47:25Z",
        "2014-02-25 00:47:25+00:00",
    ],
)  # fmt: skip
def test_a_time_of_jsoc_in_every_form_in_which_tables_keep_it(text):
    # What drms.to_datetime makes of it, and pandas writes to CSV, is TAI without saying so.
    assert table(T_REC=text)["time"].tolist() == [datetime(2014, 2, 25, 0, 47, 25, tzinfo=UTC)]


def test_times_that_are_datetimes():
    rows = pd.DataFrame([RECORD, RECORD]).assign(T_REC=pd.to_datetime(["2014-02-25 00:48", "2014-02-25 01:00"]))
    expected = [datetime(2014, 2, 25, 0, minute, 25, tzinfo=UTC) for minute in (47, 59)]
    assert sharp_table(rows)["time"].tolist() == expected
    assert sharp_table(rows.assign(T_REC=rows["T_REC"].astype(object)))["time"].tolist() == expected
    assert sharp_table(rows.assign(T_REC=pd.DatetimeIndex(expected)))["time"].tolist() == expected
    days = rows.assign(T_REC=["2014-02-25", "2014-02-26"])  # as pandas writes midnights
    assert sharp_table(days)["time"].dt.strftime("%d %H:%M:%S").tolist() == ["24 23:59:25", "25 23:59:25"]


@pytest.mark.parametrize("text", ["11990,11992", "11990 11992", "11990;11992", "1990, 1992", "AR 11990/11992"])
def test_several_noaa_numbers(text):
    row = table(T_REC="2014.02.25_00:48:00_TAI", NOAA_AR="0", NOAA_ARS=text).iloc[0]
    assert (row["noaa"], row["noaas"]) == (11990, "11990 11992")
    row = table(T_REC="2014.02.25_00:48:00_TAI", NOAA_AR=text).iloc[0]
    assert (row["noaa"], row["noaas"]) == (11990, "11990 11992")
    row = table(NOAA_AR="0", NOAA_ARS="MISSING").iloc[0]
    assert (row["noaa"] is pd.NA, row["noaas"]) == (True, "")


def test_numbers_around_region_10000():
    assert table(T_REC="2002.06.24_00:00:00_TAI", NOAA_AR="9997")["noaa"].tolist() == [9997]
    assert table(T_REC="2002.06.24_00:00:00_TAI", NOAA_AR="5")["noaa"].tolist() == [10005]


def test_times_around_a_leap_second():
    # 2016-12-31T23:59:60 UTC is 2017-01-01T00:00:36 TAI and has no other name in a datetime than the next second.
    times = ["2016.12.31_23:59:59_TAI", "2017.01.01_00:00:36_TAI", "2017.01.01_00:00:37_TAI"]
    found = sharp_table(pd.DataFrame([RECORD | {"T_REC": time} for time in times]))["time"]
    assert found.tolist() == [
        datetime(2016, 12, 31, 23, 59, 23, tzinfo=UTC),
        datetime(2017, 1, 1, tzinfo=UTC),
        datetime(2017, 1, 1, tzinfo=UTC),
    ]


def test_many_records_are_sorted_by_time_and_region():
    late, early = "2011.02.15_02:12:00_TAI", "2011.02.15_02:00:00_TAI"
    order = [(late, 377), (early, 379), (early, 377)]
    rows = [RECORD | {"T_REC": time, "HARPNUM": number, "NOAA_AR": "0"} for time, number in order]
    found = sharp_table(pd.DataFrame(rows))
    assert found["harpnum"].tolist() == [377, 379, 377]
    assert found["time"].is_monotonic_increasing
    assert found["noaa"].isna().all()
    assert list(found.columns[:7]) == ["time", "region", "harpnum", "noaa", "lon", "lat", "quality"]
    assert set(UNITS) < set(found.columns)


def test_numbers_as_drms_converts_them():
    numeric = {"USFLUX", "MEANGBZ", "CDELT1", "DSUN_OBS"}
    numbers = {name: [float(value)] for name, value in RECORD.items() if name in numeric}
    found = sharp_table(pd.DataFrame(numbers | {"T_REC": [RECORD["T_REC"]], "HARPNUM": [377], "QUALITY": [1024]}))
    assert found["harpnum"].tolist() == [377]
    assert found["quality"].tolist() == [1024]
    assert found["USFLUX"].tolist() == [2.71476e22]
    assert found["lon"].isna().all()


def test_no_records_and_no_sharp():
    assert sharp_table(pd.DataFrame()).empty
    assert list(sharp_table(pd.DataFrame()).columns) == list(table().columns)
    with pytest.raises(DataError, match=r"`HARPNUM`.*T_REC, USFLUX"):
        sharp_table(pd.DataFrame({"T_REC": [], "USFLUX": []}))


def test_a_header_with_a_card_that_astropy_cannot_read(tmp_path):
    path = tmp_path / "sharp.fits"
    path.write_bytes(seeds.sharp_header())
    with pytest.raises(fits.VerifyError):
        _ = fits.getheader(path)["R_VALUE"]
    row = read_sharp_header(path).iloc[0]
    assert np.isnan(row["R_VALUE"])
    assert row["noaa"] == 11158
    assert row["MEANGBZ"] == pytest.approx(275.84, abs=0.01)


def test_files_that_are_no_sharp(tmp_path):
    path = tmp_path / "x.fits"
    for content, rule in {
        b"<html>": "must be a FITS file",
        b"SIMPLE  =                    T" + b" " * 50: "damaged or truncated",
        seeds.sharp_header().replace(b"HARPNUM ", b"HARPNUN "): "lacks `HARPNUM`",
        seeds.sharp_header().replace(b"2011.02.15_02", b"2011.02.35_02"): "`T_REC` must be a time",
    }.items():
        path.write_bytes(content)
        with pytest.raises(DataError, match=rule):
            read_sharp_header(path)


def test_every_segment_of_harp_377(real_data):
    # docs/science.md, header column; the gradients there are in G/pixel and 2.744 times less.
    expected = {
        "USFLUX": 2.71476e22, "MEANGAM": 59.699, "MEANGBT": 93.508 * 2.74406, "MEANGBZ": 100.523 * 2.74406,
        "MEANGBH": 67.188 * 2.74406, "MEANJZD": 0.2699207, "TOTUSJZ": 6.287423e13, "MEANALP": 0.03976294,
        "MEANJZH": 0.01801569, "TOTUSJH": 3330.155, "ABSNJZH": 823.317, "SAVNCPP": 2.009455e13, "MEANPOT": 14562.75,
        "TOTPOT": 8.838948e23, "MEANSHR": 52.548, "SHRGT45": 58.823, "AREA_ACR": 1101.346, "AREA": 5452.755,
        "ERRVF": 6.891751e18, "ERRBZ": 0.081 * 2.74406,
    }  # fmt: skip
    paths = sorted((real_data / "sharp_cea_377").glob("*.fits"))
    assert len(paths) == 11
    for path in paths:
        row = read_sharp_header(path).iloc[0]
        assert row["time"] == datetime(2011, 2, 15, 1, 59, 26, tzinfo=UTC)
        assert (row["region"], row["noaa"], row["quality"]) == ("HARP 377", 11158, 0)
        assert np.isnan(row["R_VALUE"])  # the card is 'nan' and cannot be parsed
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5), path.name


def test_the_samples_of_sun_et_al_hold_line_of_sight_values(real_data):
    # Why the two must not be mixed: the samples' MEANGBZ at 01:36 is the mean gradient of the LOS segment within the
    # patch (bitmap >= 30) at 01:59 in G/pixel, their USFLUX its flux; the header has the vector field's.
    rows = pd.concat(pd.read_csv(path) for path in sorted((real_data / "sharp").glob("sharp_?.csv")))
    sample = rows[(rows["arpnum"] == 377) & (rows["t_end"] == "2011-02-15 01:36:00")].iloc[0]
    stem = str(real_data / "sharp_cea_377" / "hmi.sharp_cea_720s.377.20110215_020000_TAI.")
    field, bitmap = fits.getdata(stem + "magnetogram.fits").astype(float), fits.getdata(stem + "bitmap.fits")
    down, right = np.gradient(field)
    gradient = np.hypot(right, down)[bitmap >= 30].mean()
    assert sample["MEANGBZ"] == pytest.approx(gradient, rel=0.02)
    header = read_sharp_header(stem + "bitmap.fits").iloc[0]
    assert header["MEANGBZ"] / 2.744 > 2.5 * sample["MEANGBZ"]
    assert header["USFLUX"] > 1.1 * sample["USFLUX"]


@pytest.mark.parametrize("read", [read_sharp_table, read_sharp_daily])
def test_keywords_that_went_through_a_csv(tmp_path, read):
    path = tmp_path / "keywords.csv"
    rows = pd.DataFrame([RECORD, RECORD]).assign(T_REC=pd.to_datetime(["2014-02-25 00:48", "2014-02-25 01:00"]))
    rows.to_csv(path, index=False)
    found = read(path)
    assert found["time"].dt.strftime("%H:%M:%S").tolist() == ["00:47:25", "00:59:25"]
    assert found["harpnum"].tolist() == [377, 377]
