"""The table of an export: one row per image and region, Parquet, written as the rows come.

| columns | what |
| --- | --- |
| `time`, `forecast_time` | of the image: observed and nominal, UTC |
| `image`, `model`, `version` | name of the magnetogram's file, and the model that answered |
| `probability`, `calibrated` | of the full disk, in every row of the image |
| `region`, `noaa`, `lon`, `lat` | "full disk", or a region and its Stonyhurst position at `time` in degrees |
| `pixels` | of the network's input, on the disk and in the region |
| `grad_cam_flare_maximum`, ... | numbers of the maps there: see `image_maps.image_rows` |
| `flux24` | peak flux (W m^-2) of the largest flare that starts there within 24 h; 0 = none, empty = unknown |
| `outcome` | of the image's forecast: hit, miss, false alarm, null; empty = unknown |
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from kflare.attribution.image_maps import value_columns
from kflare.attribution.outcomes import ExportOutcomes
from kflare.io.atomic import temporary_file, writing
from kflare.sun.disk import FULL_DISK

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
_UNITS = {"lon": {"unit": "degree"}, "lat": {"unit": "degree"}, "flux24": {"unit": "W m^-2"}}


class ValueTable:
    """A Parquet file that grows in constant memory; with `outcomes` it has these too, and counts them by image.

    `more` are columns of numbers beside those of the maps that every model answers.
    """

    def __init__(self, path: Path, *, outcomes: ExportOutcomes | None = None, more: Sequence[str] = ()) -> None:
        self.path = path
        self.rows = 0
        self.outcomes: Counter[str] = Counter()
        self._outcomes = outcomes
        self._waiting: list[dict[str, Any]] = []
        columns = _KEYS | dict.fromkeys([*value_columns(), *more], pa.float64())
        if outcomes is not None:
            columns |= {"flux24": pa.float64(), "outcome": pa.string()}
        self._columns = columns
        schema = pa.schema([pa.field(name, kind, metadata=_UNITS.get(name)) for name, kind in columns.items()])
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
        table = _typed(pd.DataFrame(self._waiting).reindex(columns=[*self._columns]))
        if self._outcomes is not None:
            table["flux24"], table["outcome"] = self._outcomes.of(table)
            self.outcomes.update(table["outcome"][table["region"] == FULL_DISK].fillna("unknown"))
        with writing(self.path):
            self._writer.write_table(pa.Table.from_pandas(table, self._schema, preserve_index=False))
        self.rows += len(table)
        self._waiting = []


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({"noaa": "Int64"})
