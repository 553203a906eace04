"""Region tables on disk, and whose flares are whose."""

import re

import numpy as np
import pandas as pd
import pytest

from kflare.datasets.region_run import table_columns
from kflare.datasets.region_table import KEY_COLUMNS, _utc_times, read_region_table, region_flares_by_noaa
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList

TABLE = pd.DataFrame(
    {
        "time": pd.to_datetime(["2014-03-18T12:00Z", "2014-03-18T12:00:30.5Z"], format="ISO8601").as_unit("us"),
        "region": ["HARP 3894", "HARP 3900"],
        "harpnum": [3894, 3900],
        "noaa": pd.array([12010, None], dtype="Int64"),
        "AREA": [512.25, np.nan],
    }
)


def write(folder, text, name="regions.csv"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["regions.parquet", "regions.csv", "regions.dat"])
def test_csv_and_parquet_give_the_table_back(tmp_path, name):
    path = tmp_path / name
    if name == "regions.csv":
        TABLE.to_csv(path, index=False)
    else:
        # The content tells what a file is, not its name.
        TABLE.assign(time=TABLE["time"].dt.as_unit("ns")).to_parquet(path, index=False)
    found = read_region_table(path)
    assert found["time"].dtype == "datetime64[us, UTC]"
    pd.testing.assert_frame_equal(found, TABLE, check_dtype=False)


def test_rows_are_numbered_from_zero_whatever_index_was_stored(tmp_path):
    TABLE.iloc[::-1].to_parquet(tmp_path / "regions.parquet")
    found = read_region_table(tmp_path / "regions.parquet")
    assert found.index.tolist() == [0, 1]
    assert found["harpnum"].tolist() == [3900, 3894]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2014-03-18T12:00Z", "2014-03-18T12:00Z"),
        ("2014-03-18 12:00:30", "2014-03-18T12:00:30Z"),
        ("2014-03-18T12:00+09:00", "2014-03-18T03:00Z"),
        ("2014-03-18", "2014-03-18T00:00Z"),
    ],
)
def test_times_are_utc_with_or_without_a_zone(tmp_path, text, time):
    # A second row in another form: one column may mix them.
    found = read_region_table(write(tmp_path, f"time,region\n{text},a\n2014-03-19T00:00:00.25Z,b\n"))
    assert found["time"].tolist() == [pd.Timestamp(time), pd.Timestamp("2014-03-19T00:00:00.25Z")]


def test_naive_times_in_parquet_are_utc_too(tmp_path):
    TABLE.assign(time=TABLE["time"].dt.tz_localize(None)).to_parquet(tmp_path / "regions.parquet")
    assert read_region_table(tmp_path / "regions.parquet")["time"].tolist() == TABLE["time"].tolist()


def test_region_numbers_become_text(tmp_path):
    assert read_region_table(write(tmp_path, "time,region\n2014-03-18,377\n"))["region"].tolist() == ["377"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,AREA\n2014-03-18,1\n", "lacks the column `region`: it has time, AREA"),
        ("region,AREA\nx,1\n", "lacks the column `time`: it has region, AREA"),
        ('time,"AREA\nUSFLUX"\n2014-03-18,1\n', "lacks the column `region`: it has time, AREA USFLUX"),
        ("time,region\n", "holds no rows"),
        ("time,region\n2014-03-18,\n", "`region` of .* is empty in row 0"),
        ("time,region\n2014-03-18,a\n,b\n", "`time` of .* is empty in row 1"),
        ("time,region\nyesterday,a\n", "`time` of .* must be a UTC time such as 2014-03-18T12:00Z.*yesterday"),
        # Neither JSOC's TAI, nor dates that may be two days, nor bare numbers are guessed at.
        ("time,region\n2014.03.18_12:00:00_TAI,a\n", "must be a UTC time"),
        ("time,region\n03/04/2014,a\n", "must be a UTC time"),
        ("time,region\n1395144000,a\n", "must be a UTC time .* got the number 1395144000"),
        ("time,region\n20140318,a\n", "must be a UTC time .* got the number 20140318"),
        ("", "cannot be read as a region table"),
        ('time,region\n2014-03-18,"a\n', "cannot be read as a region table"),
    ],
)
def test_unusable_csv_is_refused(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_region_table(path)
    assert str(path) in str(caught.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no region table .*nothing.csv"):
        read_region_table(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="no region table"):
        read_region_table(tmp_path)
    path = tmp_path / "regions.parquet"
    TABLE.to_parquet(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"regions.parquet cannot be read as a region table"):
        read_region_table(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(DataError, match=r"regions.parquet cannot be read as a region table"):
        read_region_table(path)


def test_key_columns_are_those_of_the_format():
    # What a table of others must have to be joined; the rest is what kflare.features adds.
    assert {"time", "region", "harpnum", "noaa", "lon", "lat", "quality"} < set(KEY_COLUMNS)
    assert set(KEY_COLUMNS) == {name for name, feature in table_columns().items() if feature is None}


@pytest.fixture
def flares():
    table = pd.DataFrame(
        {
            "start": pd.date_range("2014-03-18", periods=5, freq="h", tz="UTC"),
            "goes_class": ["C1.0", "M2.0", "X3.0", "C4.0", "C5.0"],
            "noaa": pd.array([12010, 12011, 12012, None, 12010], dtype="Int64"),
        }
    )
    return FlareList(table, "test list").table


def test_flares_go_to_all_regions_with_their_number(flares):
    # HARP 1 holds 12010 and, later, 12011; HARP 2 shares 12010; HARP 3 and 4 have none; 12012 is nobody's.
    table = pd.DataFrame(
        {"region": ["H1", "H1", "H1", "H2", "H3", "H4"], "noaa": [12010, 12010, 12011, 12010, 0, np.nan]}
    )
    found = region_flares_by_noaa(table, flares)
    assert list(found.columns) == ["region", "start", "peak", "flux"]
    assert sorted(zip(found["region"], found["start"].dt.hour, found["flux"], strict=True)) == [
        ("H1", 0, 1e-6),
        ("H1", 1, 2e-5),
        ("H1", 4, 5e-6),
        ("H2", 0, 1e-6),
        ("H2", 4, 5e-6),
    ]


@pytest.mark.parametrize(
    "noaa", [[12010, 12011], ["12010", "12011"], pd.array([12010, 12011], "Int64"), [12010.0, 12011.0]]
)
def test_noaa_numbers_may_be_of_any_type(flares, noaa):
    assert len(region_flares_by_noaa(pd.DataFrame({"region": ["a", "b"], "noaa": noaa}), flares)) == 3


def test_regions_without_numbers_have_no_flares(flares):
    found = region_flares_by_noaa(pd.DataFrame({"region": ["a", "b"], "noaa": [0, np.nan]}), flares)
    assert found.empty
    assert list(found.columns) == ["region", "start", "peak", "flux"]
    assert found["start"].dtype == "datetime64[us, UTC]"


@pytest.mark.parametrize("noaa", ["12010,12011", "AR12010", 12010.5, np.inf, 1e30, -1, "1e400", 2**70])
def test_a_noaa_number_that_is_none_is_refused(flares, noaa):
    """Taken as "none", it would make all labels of the region "no flare"."""
    table = pd.DataFrame({"region": ["a", "b"], "noaa": [12010, noaa]})
    with pytest.raises(
        DataError,
        match=re.escape(f"`noaa` must be one NOAA region number (0 or empty = none), got {noaa}") + ".*row 1",
    ):
        region_flares_by_noaa(table, flares)


@pytest.mark.parametrize("noaas", ["12010 12011", "12010,12011", "12011;12010 ", "12010.0, 12011"])
def test_several_noaa_numbers_of_one_box(flares, noaas):
    assert len(region_flares_by_noaa(pd.DataFrame({"region": ["a", "b"], "noaas": [noaas, None]}), flares)) == 3


@pytest.mark.parametrize("noaas", ["12010 x", "1e30", "inf", "12010 12011.5", "12010/12011"])
def test_several_numbers_of_which_one_is_none_are_refused(flares, noaas):
    with pytest.raises(DataError, match=r"`noaas` must be one NOAA region number .* in row 1"):
        region_flares_by_noaa(pd.DataFrame({"region": ["a", "b"], "noaas": ["", noaas]}), flares)


def test_a_number_among_the_times_is_refused(tmp_path):
    # pandas 3.1 warns that it will take such for a time since 1970.
    for column in (["2014-03-18T12:00Z", "5"], [5, 6], [5.5, 6.5]):
        table = pd.DataFrame({"time": column, "region": ["a", "b"]})
        table.to_parquet(tmp_path / "t.parquet")
        with pytest.raises(DataError, match=r"`time` of .* must be a UTC time such as"):
            read_region_table(tmp_path / "t.parquet")
    mixed = pd.Series(["2014-03-18T12:00Z", 5], dtype=object)
    with pytest.raises(DataError, match="got the number 5"):
        _utc_times(mixed, tmp_path)


def test_a_table_without_noaa_numbers_is_refused(flares):
    with pytest.raises(DataError, match="the region table lacks the column `noaa`"):
        region_flares_by_noaa(pd.DataFrame({"region": ["a"]}), flares)
