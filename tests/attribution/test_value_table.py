import pandas as pd
import pyarrow.parquet as pq
import pytest

from kflare.attribution.image_maps import value_columns
from kflare.attribution.outcomes import ExportOutcomes
from kflare.attribution.value_table import ValueTable
from kflare.errors import SettingError
from kflare.flares.catalogue import FlareList
from kflare.sun.disk import FULL_DISK

# An M1.0 flare of region 11001 on the 3rd at 06:00, a C flare of 11002, an M flare of no region on the 10th; and flares
# at both ends, so that the list covers January.
FLARES = FlareList(
    pd.DataFrame(
        {
            "start": pd.to_datetime(
                [
                    "2014-01-01T00:00Z",
                    "2014-01-03T06:00Z",
                    "2014-01-03T07:00Z",
                    "2014-01-10T12:00Z",
                    "2014-01-20T00:00Z",
                ]
            ),
            "goes_class": ["B1.0", "M1.0", "C2.0", "M2.0", "B1.0"],
            "noaa": pd.array([None, 11001, 11002, None, None], dtype="Int64"),
        }
    ),
    "test",
)
OUTCOMES = ExportOutcomes(FLARES, "M", 0.4)


def row(time, probability, region=FULL_DISK, noaa=None):
    time = pd.Timestamp(time)
    return {
        "time": time.to_pydatetime(), "forecast_time": time, "image": f"{time:%d}.jpg", "model": "cnn-m", "version": 2,
        "probability": probability, "calibrated": probability / 2, "region": region, "noaa": noaa,
        "lon": None if noaa is None else 10.0, "lat": None if noaa is None else -5.0, "pixels": 7,
        **dict.fromkeys(value_columns(), 0.25),
    }  # fmt: skip


ROWS = [
    [row("2014-01-03T00:00Z", 0.4), row("2014-01-03T00:00Z", 0.4, "NOAA 11001", 11001),
     row("2014-01-03T00:00Z", 0.4, "NOAA 11002", 11002), row("2014-01-03T00:00Z", 0.4, "HARP 5")],
    [row("2014-01-10T00:00Z", 0.39)],
    [row("2014-01-15T00:00Z", 0.4)],
    [row("2014-01-16T00:00Z", 0.1), row("2014-01-16T00:00Z", 0.1, "NOAA 11001", 11001)],
    [row("2015-06-01T00:00Z", 0.9), row("2015-06-01T00:00Z", 0.9, "NOAA 11001", 11001)],
]  # fmt: skip


def test_outcomes_and_fluxes(tmp_path):
    with ValueTable(tmp_path / "a.parquet", outcomes=OUTCOMES).open() as table:
        for rows in ROWS:
            table.add(rows)
    read = pd.read_parquet(tmp_path / "a.parquet")
    unknown = [None, None]
    assert [None if pd.isna(name) else name for name in read["outcome"]] == [
        *["hit"] * 4, "miss", "false alarm", "null", "null", *unknown
    ]  # fmt: skip
    # The disk's largest, each region's own, and nothing known of a region without number or after the list's end.
    flux = [None if pd.isna(value) else round(value, 9) for value in read["flux24"]]
    assert flux == [1e-5, 1e-5, 2e-6, None, 2e-5, 0, 0, 0, None, None]
    assert table.outcomes == {"hit": 1, "miss": 1, "false alarm": 1, "null": 1, "unknown": 1}
    assert table.rows == len(read) == 10


def test_columns_types_and_units(tmp_path):
    with ValueTable(tmp_path / "a.parquet").open() as table:
        table.add(ROWS[0])
    read = pd.read_parquet(tmp_path / "a.parquet")
    assert list(read) == [
        "time", "forecast_time", "image", "model", "version", "probability", "calibrated", "region", "noaa", "lon",
        "lat", "outline", "pixels", *value_columns(),
    ]  # fmt: skip
    assert len(value_columns()) == 3 * 4 * 2 + 2 * 2
    assert str(read["time"].dtype) == "datetime64[us, UTC]"
    assert str(read["noaa"].dtype) == "Int64"
    assert pq.read_schema(tmp_path / "a.parquet").field("lon").metadata == {b"unit": b"degree"}


def test_a_table_without_rows_has_its_columns(tmp_path):
    with ValueTable(tmp_path / "a.parquet", outcomes=OUTCOMES).open():
        pass
    assert list(pd.read_parquet(tmp_path / "a.parquet"))[-2:] == ["flux24", "outcome"]


def test_rows_reach_the_disk_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr("kflare.attribution.value_table._BATCH", 3)
    with ValueTable(tmp_path / "a.parquet").open() as table:
        for rows in ROWS:
            table.add(rows)
            assert len(table._waiting) < 3 + 4
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups > 1
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 10


def test_an_interrupted_table_leaves_the_one_before(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"before")

    def interrupted():
        with ValueTable(path).open() as table:
            table.add(ROWS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_to(tmp_path):
    with pytest.raises(SettingError, match=r"cannot write `.*a\.parquet`"):
        ValueTable(tmp_path / "missing" / "a.parquet").open().__enter__()
