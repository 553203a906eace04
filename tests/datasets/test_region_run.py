"""From parts to the table: identities, changes, history and X-rays, and every reason for what is missing."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kflare.datasets.region_features import TOLERANCES, complete_rows, features_of, to_forecast
from kflare.datasets.region_parts import is_done, part_path, read_part, write_part
from kflare.datasets.region_run import complete_run, table_columns
from kflare.datasets.region_table import KEY_COLUMNS, read_region_table, region_flares_by_noaa
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.sets import ObservationSet
from kflare.regions.detection import Detection, Region
from kflare.regions.extraction import MEASURED, REGION_COLUMNS, Measured
from kflare.regions.feature_table import feature_set
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry, rotated
from kflare.xray.flux import XrayFlux

START = pd.Timestamp("2014-01-01T00:00Z")
VIEW = DiskGeometry(Disk(99.5, 99.5, 90.0), (200, 200), distance=5e12)
DT24 = [name for name in table_columns() if name.startswith("dt24")]


def region(number, lon, lat=10.0, *, limb=False):
    """A box of 6 x 6 degrees around a place."""
    corners = VIEW.pixel([lon - 3, lon + 3], [lat + 3, lat - 3])
    (x0, x1), (y0, y1) = (np.rint(edge).astype(int).tolist() for edge in corners[:2])
    return Region(number, x0, y0, x1, y1, lon, lat, lon - 3, lon + 3, lat - 3, lat + 3, 300.0, 1e22, limb)


def observations(hour):
    time = (START + pd.Timedelta(hours=hour)).to_pydatetime()
    return ObservationSet(time, Path(f"hmi.M_720s.{time:%Y%m%d_%H%M%S}_TAI.magnetogram.fits"))


def measured(hour, regions, values):
    """Regions that all have one value in every feature, or none."""
    time = (START + pd.Timedelta(hours=hour)).to_pydatetime()
    found = Detection(time, VIEW, tuple(regions))
    rows = [
        {**vars(one), "status": one.status, "harpnum": None, "quality": 0, "missing": ""}
        | dict.fromkeys(MEASURED, np.nan if value is None else value)
        for one, value in zip(regions, values, strict=True)
    ]
    kinds = dict.fromkeys(MEASURED, np.float64) | {"harpnum": "Int64", "quality": "Int64"}
    table = pd.DataFrame(rows, columns=[*REGION_COLUMNS, *MEASURED, "missing"]).astype(kinds)
    data = np.zeros((200, 200), np.float32)
    return Measured(time, found, table, Magnetogram(data, time, VIEW.disk, "synthetic", "test"))


def write(folder, hour, regions, values):
    path = part_path(folder, observations(hour))
    write_part(measured(hour, regions, values), observations(hour), path)
    return path


def turned(lon, hours, lat=10.0):
    return float(rotated(lon, lat, seconds=3600 * hours))


@pytest.fixture
def two_days(tmp_path):
    """One region every hour over 48 h, whose features are the hours since the start."""
    return [write(tmp_path, hour, [region(1, turned(-20, hour))], [float(hour)]) for hour in range(49)]


def test_a_region_keeps_its_identity_and_has_its_changes(two_days, tmp_path):
    run = complete_run(two_days, tmp_path / "regions.parquet")
    table = pd.read_parquet(tmp_path / "regions.parquet")
    assert (run.rows, run.forecast, run.regions, len(run.outcomes), run.events) == (49, 49, 1, 49, [])
    assert table["region"].unique().tolist() == ["20140101T0000-1"]
    # Features grow by 1 an hour, so a change over N hours is N, from N hours on; the middle of the table lies across
    # the chunks in which it is written. The nearest earlier row may be half an hour off for 2 h, one hour for others.
    for hours, tolerance in TOLERANCES.items():
        change = table[f"dt{hours:02d}Area"] if hours != 24 else table["dt24TotNL"]
        first = hours - int(tolerance // 60)
        assert change[:first].isna().all()
        assert (change[hours:] == hours).all()
    assert table["missing"][0].endswith(
        "dt02*: not measured 2 h before; dt12*: not measured 12 h before; dt24*: not measured 24 h before"
    )
    assert "dt" not in table["missing"].iloc[-1]


def test_the_table_is_as_the_page_of_the_design_says(two_days, tmp_path):
    complete_run(two_days, tmp_path / "regions.parquet")
    schema = pq.read_schema(tmp_path / "regions.parquet")
    assert schema.names == list(table_columns())
    for name in ("defn79", "sharp"):
        for feature in feature_set(name):
            assert (schema.field(feature.name).metadata or {}).get(b"unit", b"").decode() == feature.unit
    assert schema.field("lon").metadata[b"unit"] == b"degree"
    assert all(name in KEY_COLUMNS for name, feature in table_columns().items() if feature is None)
    table = read_region_table(tmp_path / "regions.parquet")
    assert [one.name for one in features_of(table, None, source="x")] == [f.name for f in feature_set("defn79")]
    assert [one.name for one in features_of(table, ["sharp"], source="x")] == [f.name for f in feature_set("sharp")]
    assert [one.name for one in features_of(table, ["VUSflux", "AREA"], source="x")] == ["VUSflux", "AREA"]
    assert table["noaa"].dtype == "Int64"


def test_a_gap_longer_than_a_window(tmp_path):
    hours = [0, 1, 2, *range(7, 10), 31]
    parts = [write(tmp_path, hour, [region(1, turned(-20, hour))], [float(hour)]) for hour in hours]
    complete_run(parts, tmp_path / "t.parquet")
    table = pd.read_parquet(tmp_path / "t.parquet").set_index(pd.Index(hours))
    # 5 h are within the 7 h through which a region is followed at steps of 1 h; 22 h are not.
    assert table["region"].nunique() == 2
    assert table.loc[9, "region"] == "20140101T0000-1"
    assert table.loc[9, "dt02Area"] == 2
    assert np.isnan(table.loc[7, "dt02Area"])
    assert "dt02*: not measured 2 h before" in table.loc[7, "missing"]
    assert np.isnan(table.loc[31, "dt24TotNL"])  # of another identity, though measured 24 h before
    assert "dt24*: not measured 24 h before" in table.loc[31, "missing"]


def test_a_value_that_was_missing_then_and_one_that_is_missing_now(tmp_path):
    parts = [
        write(tmp_path, 0, [region(1, turned(-20, 0))], [None]),
        write(tmp_path, 2, [region(1, turned(-20, 2))], [5.0]),
        write(tmp_path, 4, [region(1, turned(-20, 4))], [None]),
    ]
    complete_run(parts, tmp_path / "t.parquet")
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert table["dt02Area"].isna().all()
    assert "dt02*: not measured 2 h before" in table["missing"][1]
    assert "dt02" not in table["missing"][2]  # the reason is that of Area itself


def test_outcomes_of_every_time(tmp_path):
    failed = part_path(tmp_path, observations(2))
    write_part("`a.fits` is damaged", observations(2), failed)
    parts = [
        write(tmp_path, 0, [], []),
        write(tmp_path, 1, [region(1, -80.0, limb=True), region(2, 0.0)], [None, 1.0]),
        failed,
    ]
    run = complete_run(parts, tmp_path / "t.parquet")
    assert run.outcomes["status"].tolist() == ["no sunspot", "regions", "no data"]
    assert run.outcomes["regions"].tolist() == [0, 2, 0]
    assert run.outcomes["limb"].tolist() == [0, 1, 0]
    assert run.outcomes["reason"].tolist() == ["", "", "`a.fits` is damaged"]
    assert (run.rows, run.forecast) == (2, 1)
    table = read_region_table(tmp_path / "t.parquet")
    assert table["status"].tolist() == ["not forecast: limb", "forecast"]
    assert to_forecast(table)["number"].tolist() == [2]


def test_without_any_region_the_table_is_empty(tmp_path):
    run = complete_run([write(tmp_path, 0, [], [])], tmp_path / "t.parquet")
    assert run.rows == 0
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert table.empty
    assert list(table.columns) == list(table_columns())


@pytest.fixture
def flares():
    """A C flare of 12001, an M flare of 12002, an X flare of nobody's, an hour apart."""
    start = pd.to_datetime(["2014-01-01T00:30Z", "2014-01-01T01:30Z", "2014-01-01T02:30Z"])
    table = pd.DataFrame({
        "start": start, "peak": start + pd.Timedelta(minutes=10), "goes_class": ["C2.0", "M3.0", "X1.0"],
        "noaa": pd.array([12001, 12002, None], dtype="Int64"),
    })  # fmt: skip
    return FlareList(table, "test list", told=((start[0] - pd.Timedelta(days=8), start[2] + pd.Timedelta(days=1)),))


def test_history_of_a_box_with_two_noaa_regions(tmp_path, flares):
    parts = [
        write(tmp_path, hour, [region(1, turned(-20, hour)), region(2, turned(20, hour))], [1.0, 2.0])
        for hour in range(4)
    ]
    srs = pd.DataFrame({
        "time": START, "noaa": [12001, 12002, 12003], "lon": [-19.0, -21.0, 60.0], "lat": [10.0, 9.0, 10.0],
        "area_uhem": [50.0, 200.0, 300.0],
    })  # fmt: skip
    complete_run(parts, tmp_path / "t.parquet", flares=flares, srs=srs)
    table = read_region_table(tmp_path / "t.parquet")
    first = table[table["number"] == 1]
    # The larger one gives the box its number, the flares of both are its history.
    assert first["noaa"].tolist() == [12002] * 4
    assert first["noaas"].tolist() == ["12002 12001"] * 4
    assert first["Chis"].tolist() == [0, 1, 1, 1]
    assert first["Mhis1d"].tolist() == [0, 0, 1, 1]
    second = table[table["number"] == 2]
    assert second["noaa"].isna().all()
    assert second[["Chis", "Mhis", "Xhis"]].isna().all(axis=None)
    assert table["diskM1d"].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    owned = region_flares_by_noaa(table, flares.table)
    assert set(owned["region"]) == {"20140101T0000-1"}
    assert len(owned) == 2
    # Nothing is left to derive for fit and predict.
    pd.testing.assert_frame_equal(complete_rows(table, flares=flares), table)


def test_without_flares_or_numbers_history_is_not_zero(tmp_path, flares):
    parts = [write(tmp_path, 3, [region(1, 0.0)], [1.0])]
    complete_run(parts, tmp_path / "t.parquet")
    (row,) = read_region_table(tmp_path / "t.parquet").to_dict("records")
    assert np.isnan([row["Xhis"], row["Mhis1d"], row["diskC1d"], row["Xmax1d"]]).all()
    assert "Xhis1d diskC1d diskM1d diskC7d diskM7d: no flare list given" in row["missing"]
    assert "no GOES flux given" in row["missing"]
    complete_run(parts, tmp_path / "t.parquet", flares=flares)
    (row,) = read_region_table(tmp_path / "t.parquet").to_dict("records")
    assert np.isnan(row["Xhis"])
    assert row["diskM7d"] == 2
    assert "Xhis1d: no NOAA number given" in row["missing"]


def test_a_number_counts_only_from_when_it_was_given(tmp_path, flares):
    """SRS of the second day, issued at 00:30: the flares of the first are the region's from then on, not before."""
    parts = [write(tmp_path, hour, [region(1, turned(-20, hour))], [1.0]) for hour in (2, 8, 14, 20, 24, 26)]
    srs = pd.DataFrame({
        "time": START + pd.Timedelta(days=1), "issued": START + pd.Timedelta("1D 00:30:00"), "noaa": [12001],
        "lon": [turned(-19.0, 24)], "lat": [10.0], "area_uhem": [50.0],
    })  # fmt: skip
    complete_run(parts, tmp_path / "t.parquet", flares=flares, srs=srs)
    table = read_region_table(tmp_path / "t.parquet")
    assert len(set(table["region"])) == 1
    assert table["noaas"].tolist() == [""] * 5 + ["12001"]
    np.testing.assert_array_equal(table["Chis"], [np.nan] * 5 + [1.0])
    # The flare of 00:30 of the first day is older than a day by then.
    np.testing.assert_array_equal(table["Chis1d"], [np.nan] * 5 + [0.0])
    # Labels may know more: the flares are the region's, whenever it was numbered.
    assert len(region_flares_by_noaa(table, flares.table)) == 1


def test_past_flares_are_not_known_after_the_end_of_a_flare_list(tmp_path, flares, caplog):
    parts = [write(tmp_path, hour, [region(1, 0.0)], [1.0]) for hour in (12, 24 * 30)]
    complete_run(parts, tmp_path / "t.parquet", flares=flares)
    assert pd.read_parquet(tmp_path / "t.parquet")["diskC1d"].isna().tolist() == [False, True]
    assert "test list does not tell of all the week before 1 of 2 rows: their past flares are not known" in caplog.text


def test_xrays_with_holes(tmp_path):
    times = pd.date_range(START, periods=25 * 60, freq="min", unit="us")
    flux = np.where((times.hour == 23) & (times.day == 1), np.nan, 1e-6)
    xray = XrayFlux(pd.DataFrame({"time": times, "flux": flux, "satellite": 15, "quality": 0}), "operational", "x")
    parts = [write(tmp_path, 24, [region(1, 0.0)], [1.0])]
    complete_run(parts, tmp_path / "t.parquet", xray=xray)
    (row,) = read_region_table(tmp_path / "t.parquet").to_dict("records")
    assert np.isnan([row["Xflux1h"], row["Xmax1h"]]).all()
    assert "Xflux1h Xmax1h: 0 of 60 min measured by GOES" in row["missing"]
    assert row["Xmax1d"] == 1e-6
    assert row["Xmax1m1"] == pytest.approx(0)


def test_a_part_comes_back_as_it_was(tmp_path):
    path = write(tmp_path, 5, [region(1, 10.0)], [3.0])
    part = read_part(path)
    assert part.time == datetime(2014, 1, 1, 5, tzinfo=UTC)
    assert part.detection.regions == (region(1, 10.0),)
    assert part.detection.geometry == VIEW
    assert part.files == [observations(5).magnetogram.name]
    pd.testing.assert_frame_equal(part.rows, measured(5, [region(1, 10.0)], [3.0]).rows)


def test_a_part_is_done_once_and_for_its_files_only(tmp_path):
    path = part_path(tmp_path, observations(5))
    assert not is_done(path, observations(5))
    write(tmp_path, 5, [], [])
    assert is_done(path, observations(5))
    more = ObservationSet(observations(5).time, observations(5).magnetogram, aia_1600=Path("new.fits"))
    assert not is_done(path, more)
    path.write_bytes(b"PAR1 no more")
    assert not is_done(path, observations(5))
    with pytest.raises(DataError, match=r"damaged part of a run: .*; delete it"):
        read_part(path)
