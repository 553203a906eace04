"""The table of an export: one row per image and region, Parquet, written as the rows come.

| columns | what |
| --- | --- |
| `time`, `forecast_time` | of the image: observed and nominal, UTC |
| `image`, `model`, `version` | name of the magnetogram's file, and the model that answered |
| `probability`, `calibrated` | of the full disk, in every row of the image |
| `region`, `noaa`, `lon`, `lat` | "full disk", or a region and its Stonyhurst position at `time` in degrees |
| `pixels` | of the network's input, on the disk and in the region |
| `grad_cam_flare_maximum`, ... | numbers of the maps there: see `map_values` |
| `flux24` | peak flux (W m^-2) of the largest flare that starts there within 24 h; 0 = none, empty = unknown |
| `outcome` | of the image's forecast: hit, miss, false alarm, null; empty = unknown |
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from kflare.attribution.map_values import FULL_DISK, value_columns
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches, region_flux, require_covered
from kflare.io.atomic import temporary_file, writing

__all__ = ["Outcomes", "ValueTable"]

_BATCH = 2000
_TIME = pa.timestamp("us", "UTC")
_KEYS = {
    "time": _TIME,
    "forecast_time": _TIME,
    "image": pa.string(),
    "model": pa.string(),
    "version": pa.int64(),
    "probability": pa.float64(),
    "calibrated": pa.float64(),
    "region": pa.string(),
    "noaa": pa.int64(),
    "lon": pa.float64(),
    "lat": pa.float64(),
    "pixels": pa.int64(),
}
_UNITS = {"lon": "degree", "lat": "degree", "flux24": "W m^-2"}


@dataclass(frozen=True)
class Outcomes:
    """Compares forecasts with what happened.

    Parameters
    ----------
    flares : FlareList
        The catalogue; an image whose 24 h it does not cover gets no outcome.
    event : str
        Class that the model forecasts: "C" or "M".
    threshold : float
        Probability from which the forecast is "yes".
    """

    flares: FlareList
    event: str
    threshold: float

    def of(self, rows: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_]]:
        """`flux24` and `outcome` of each row of a table with the columns of `ValueTable`."""
        times = rows["forecast_time"]
        covers = {time: self._covers(time) for time in times.unique()}
        covered = times.map(covers).to_numpy(bool)
        disk = np.full(len(rows), np.nan)
        if covered.any():
            disk[covered] = disk_flux(times[covered], self.flares)
        own = np.where(rows["region"] == FULL_DISK, disk, np.nan)
        numbered = covered & rows["noaa"].notna().to_numpy()
        if numbered.any():
            samples = pd.DataFrame({"time": times[numbered], "region": rows["noaa"][numbered].astype("Int64")})
            known = self.flares.table.dropna(subset="noaa").rename(columns={"noaa": "region"})
            own[numbered] = region_flux(samples, known[["region", "start", "flux"]])
        yes, occurred = (rows["probability"] >= self.threshold).to_numpy(), reaches(disk, self.event)
        names = np.select([yes & occurred, occurred, yes], ["hit", "miss", "false alarm"], "null").astype(object)
        names[~covered] = None
        return own, names

    def _covers(self, time: pd.Timestamp) -> bool:
        try:
            require_covered(pd.Series([time]), self.flares)
        except DataError:
            return False
        return True


class ValueTable:
    """A Parquet file that grows row by row in constant memory and takes its place when it is whole.

    Parameters
    ----------
    path : Path
        The file; what is there is replaced at the end.
    outcomes : Outcomes, optional
        Adds the columns `flux24` and `outcome`.

    Attributes
    ----------
    rows : int
        How many have been written.
    outcomes : Counter
        How many images of each outcome.
    """

    def __init__(self, path: Path, *, outcomes: Outcomes | None = None) -> None:
        self.path = path
        self.rows = 0
        self.outcomes: Counter[str] = Counter()
        self._outcomes = outcomes
        self._waiting: list[dict[str, Any]] = []
        columns = _KEYS | dict.fromkeys(value_columns(), pa.float64())
        if outcomes is not None:
            columns |= {"flux24": pa.float64(), "outcome": pa.string()}
        schema = pa.schema([pa.field(name, kind, metadata=_unit(name)) for name, kind in columns.items()])
        # With pandas' own notes, so that pandas reads `noaa` back as whole numbers although some are empty.
        self._schema = pa.Table.from_pandas(
            _typed(schema.empty_table().to_pandas()), schema, preserve_index=False
        ).schema

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append the rows of an image, with the columns of `_KEYS` and `value_columns`."""
        self._waiting += rows
        if len(self._waiting) >= _BATCH:
            self._write()

    def __enter__(self) -> Self:
        self._file = self._open()
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    @contextmanager
    def _open(self) -> Iterator[None]:
        with temporary_file(self.path) as part:
            with writing(self.path):
                self._writer = parquet.ParquetWriter(part, self._schema)
            try:
                yield
                self._write()
            finally:
                with writing(self.path):
                    self._writer.close()

    def _write(self) -> None:
        if not self._waiting:
            return
        table = _typed(pd.DataFrame(self._waiting))
        if self._outcomes is not None:
            table["flux24"], table["outcome"] = self._outcomes.of(table)
            self.outcomes.update(table["outcome"][table["region"] == FULL_DISK].fillna("unknown"))
        with writing(self.path):
            self._writer.write_table(pa.Table.from_pandas(table, self._schema, preserve_index=False))
        self.rows += len(table)
        self._waiting = []


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({"noaa": "Int64"})


def _unit(name: str) -> dict[str, str] | None:
    return {"unit": _UNITS[name]} if name in _UNITS else None
