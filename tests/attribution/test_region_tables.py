"""Positions and SHARP parameters, with the traps of the tables that are at hand."""

import numpy as np
import pandas as pd
import pytest

from kflare.attribution.region_tables import read_regions, read_sharp_box, with_sharp
from kflare.errors import DataError
from kflare.sharp.daily import read_sharp_daily
from kflare.sharp.keywords import SHARP_KEYWORDS

SRS = ",ar_noaanum,LOCATION,Carrington_long,AREA,Z,Longitude_extent,No_sunspots,MAGTYPE,date,NM,NONE,BETA\n"


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def daily(path, *rows):
    """A daily SHARP table: (T_REC, NOAA number, value of every parameter)."""
    head = ";".join(["FlareNumber", "T_REC", "NOAA_AR", "QUALITY", "Longitude", "Latitude", *SHARP_KEYWORDS])
    lines = [";".join(["0", t, str(noaa), "0", "4", "7", *[str(value)] * 16]) for t, noaa, value in rows]
    path.write_text("\n".join([head, *lines]))
    return path


def test_srs(tmp_path):
    path = tmp_path / "srs.csv"
    path.write_text(
        SRS
        + "0,11877,S13E23,8,390,DKI,7,15.0,BETA-GAMMA,2013-10-23 00:30,,,\n"
        + "1,11875,N07W104,27,420,EKC,14,,BETA,2013-10-22 04:40,,,\n"
    )
    regions = read_regions(path)
    assert regions["region"].to_list() == ["NOAA 11875", "NOAA 11877"]
    # Issued at 00:30 or later, valid at 00 UT.
    assert regions["time"].to_list() == [utc("2013-10-22"), utc("2013-10-23")]
    assert regions[["lon", "lat", "extent"]].to_numpy().tolist() == [[104, 7, 14], [-23, -13, 7]]
    assert regions["noaa"].to_list() == [11875, 11877]
    assert regions[["AREA_ACR", "lon_min", "lat_max"]].isna().all(axis=None)


def test_srs_that_cannot_be_read(tmp_path):
    path = tmp_path / "srs.csv"
    path.write_text(SRS + "0,11877,S13X23,8,390,DKI,7,15.0,BETA,2013-10-23 00:30,,,\n")
    with pytest.raises(DataError, match=r"`LOCATION` must be like N07E04.*'S13X23'.*row 0"):
        read_regions(path)
    with pytest.raises(DataError, match="no table of regions"):
        read_regions(tmp_path / "absent.csv")


def test_region_table(tmp_path):
    path = tmp_path / "regions.csv"
    path.write_text("time,region,noaa,lon,lat,AREA_ACR\n2014-01-02T00:00Z,HARP 9,0,-12.5,3,800\n")
    row = read_regions(path).iloc[0]
    assert (row["region"], row["lon"], row["AREA_ACR"]) == ("HARP 9", -12.5, 800)
    assert pd.isna(row["noaa"])
    path.write_text("time,region,lat\n2014-01-02T00:00Z,HARP 9,3\n")
    with pytest.raises(DataError, match="lacks the column `lon`"):
        read_regions(path)
    path.write_text("time,region,lon,lat\n2014-01-02T00:00Z,HARP 9,3,95\n")
    with pytest.raises(DataError, match=r"`lat` must lie in \[-90, 90\] degrees, got 95.0 in row 0"):
        read_regions(path)


def test_sharp_header(real_data):
    paths = sorted((real_data / "sharp_cea_377").glob("*.fits"))
    row = read_sharp_box(paths[0]).iloc[0]
    # Header: LON_MIN 3.871478, LON_MAX 22.324846, LAT_MIN -25.241879, LAT_MAX -15.630971.
    assert (row["lon"], row["lat"]) == pytest.approx((13.098162, -20.436425))
    assert (row["region"], row["noaa"], row["AREA_ACR"]) == ("HARP 377", 11158, pytest.approx(1101.346))
    assert row["USFLUX"] == pytest.approx(2.71476e22)


def test_positions_without_sign_are_refused(tmp_path, real_data):
    for path in (daily(tmp_path / "d.csv"), real_data / "sharp" / "sharp_noaa_daily_2010-2019.csv"):
        with pytest.raises(DataError, match="holds positions without sign"):
            read_regions(path)


def test_the_daily_table_has_no_signs(real_data):
    """Why it is refused: not one of 8,874 positions is negative, and NOAA 11877 stood in the south-east."""
    table = pd.read_csv(real_data / "sharp" / "sharp_noaa_daily_2010-2019.csv", sep=";")
    assert len(table) == 8874
    assert table[["Longitude", "Latitude"]].min().to_list() == [0, 0]
    row = table[(table["NOAA_AR"] == 11877) & (table["T_REC"] == "2013-10-22 23:48:00")]
    # S13E38 in the SRS of 2013-10-22, 24 h old; S13E23 in that of 2013-10-23, twelve minutes later.
    assert row[["Longitude", "Latitude"]].to_numpy().tolist() == [[38, 13]]


def test_daily_parameters(tmp_path, real_data):
    table = read_sharp_daily(daily(tmp_path / "d.csv", ("2013-10-22 23:48:00", 11875, 100.0)))
    # TAI was 35 s ahead of UTC in 2013.
    assert table["time"].to_list() == [utc("2013-10-22 23:47:25")]
    # 1 / (0.03° · π/180 · 696 Mm) = 2.744 pixels per Mm.
    assert table.loc[0, "MEANGBZ"] == pytest.approx(274.4, abs=0.05)
    assert table.loc[0, ["USFLUX", "MEANGAM", "SHRGT45"]].to_list() == [100.0] * 3
    whole = read_sharp_daily(real_data / "sharp" / "sharp_noaa_daily_2010-2019.csv")
    assert len(whole) == 8874
    assert whole[list(SHARP_KEYWORDS)].isna().sum().sum() == 15  # MEANSHR
    with pytest.raises(DataError, match="no table of SHARP parameters"):
        read_sharp_daily(tmp_path / "absent.csv")
    (tmp_path / "d.csv").write_text("T_REC;NOAA_AR\n")
    with pytest.raises(DataError, match="lacks the column `USFLUX`, `MEANGAM`"):
        read_sharp_daily(tmp_path / "d.csv")
    # A whole number beyond any float is as unknown as a text (found by tools/fuzz_readers.py).
    beyond = read_sharp_daily(daily(tmp_path / "d.csv", ("2013-10-22 23:48:00", 11875, "9" * 400)))
    assert beyond[list(SHARP_KEYWORDS)].isna().all(axis=None)
    broken = daily(tmp_path / "d.csv", ("yesterday", 11875, 1.0))
    with pytest.raises(DataError, match="`T_REC` must be a time, got 'yesterday'"):
        read_sharp_daily(broken)


@pytest.mark.parametrize("value", ["1e30", "inf", "9" * 400, "west"])
def test_a_longitude_that_is_none_is_named(tmp_path, value):
    path = tmp_path / "regions.csv"
    path.write_text(f"time,region,lon,lat,noaa\n2013-10-23T00:00Z,AR 1,{value},5,11875\n")
    with pytest.raises(DataError, match=r"`lon` must lie in \[-180, 180\] degrees"):
        read_regions(path)


def test_the_nearest_record_is_joined(tmp_path):
    sharp = read_sharp_daily(
        daily(
            tmp_path / "d.csv",
            ("2013-10-22 23:48:35", 11875, 1.0),
            ("2013-10-23 00:06:35", 11875, 2.0),
            ("2013-10-23 10:00:35", 11877, 3.0),
            ("2013-10-22 11:00:35", 11879, 4.0),
        )
    )
    midnight = utc("2013-10-23")
    regions = pd.DataFrame({"time": midnight, "noaa": pd.array([11877, 11875, None, 11879, 11900], "Int64")})
    joined = with_sharp(regions, sharp)
    assert joined["noaa"].fillna(0).to_list() == [11877, 11875, 0, 11879, 11900]
    np.testing.assert_equal(joined["USFLUX"].to_numpy(), [3.0, 2.0, np.nan, np.nan, np.nan])
    # 00:06:35 TAI = 00:06:00 UTC.
    np.testing.assert_allclose(joined["sharp_hours"], [10.0, 0.1, np.nan, np.nan, np.nan])
    near = with_sharp(regions, sharp, tolerance_hours=1)
    np.testing.assert_equal(near["USFLUX"].to_numpy(), [np.nan, 2.0, np.nan, np.nan, np.nan])


def test_a_number_that_is_no_region_is_refused(tmp_path):
    path = tmp_path / "regions.csv"
    path.write_text("time,region,lon,lat,noaa\n2013-10-23T00:00Z,a,4,7,11875.5\n")
    with pytest.raises(DataError, match=r"`noaa` must hold whole numbers from 0 to 99999, got 11875\.5"):
        read_regions(path)
