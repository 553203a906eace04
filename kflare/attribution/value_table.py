"""The table of an export: one row per image and region, Parquet, written as the rows come.

`value_columns.csv` names the first columns. Behind them are numbers of the maps there, `image_maps.value_columns`, and
where flares are known `flux24`, the peak flux (W m^-2) of the largest that starts there within 24 h (0 = none, empty =
unknown), and `outcome` of the image's forecast: hit, miss, false alarm, null (empty = unknown).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pandas as pd

from kflare.attribution.image_maps import value_columns
from kflare.attribution.outcomes import ExportOutcomes
from kflare.io.parquet_writer import parquet_writer
from kflare.io.stored_table import stored_rows
from kflare.sun.disk import FULL_DISK

_BATCH = 2000
_ROWS = stored_rows("kflare.attribution", "value_columns.csv")


class ValueTable:
    """A Parquet file that grows in constant memory; with `outcomes` it has these too, and counts them by image.

    `more` are columns of numbers beside those of the maps that every model answers.
    """

    def __init__(self, path: Path, *, outcomes: ExportOutcomes | None = None, more: Sequence[str] = ()) -> None:
        self.path, self.rows = path, 0
        self.outcomes: Counter[str] = Counter()
        self._outcomes = outcomes
        self._waiting: list[dict[str, Any]] = []
        self._columns = {row["name"]: (row["type"], row["unit"]) for row in _ROWS}
        self._columns |= dict.fromkeys([*value_columns(), *more], ("float64", ""))
        if outcomes is not None:
            self._columns |= {"flux24": ("float64", "W m^-2"), "outcome": ("string", "")}

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append the rows of an image, with the columns of `value_columns.csv` and `value_columns`."""
        self._waiting += rows
        if len(self._waiting) >= _BATCH:
            self._write()

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Begin the file, and end it whole behind the last row; the one before stays where that does not come about."""
        with parquet_writer(self.path, self._columns, whole=["noaa"]) as self._append:
            yield self
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        table = pd.DataFrame(self._waiting).reindex(columns=[*self._columns]).astype({"noaa": "Int64"})
        if self._outcomes is not None:
            table["flux24"], table["outcome"] = self._outcomes.of(table)
            self.outcomes.update(table["outcome"][table["region"] == FULL_DISK].fillna("unknown"))
        self._append(table)
        self.rows += len(table)
        self._waiting = []
