"""Parquet tables that are written piece by piece, in constant memory, and take their place when they are whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.io.atomic import temporary_file, writing

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def parquet_writer(
    path: Path, columns: Mapping[str, tuple[str, str]], *, whole: Sequence[str] = (),
    attrs: Mapping[str, Any] | None = None
) -> Iterator[Callable[["pd.DataFrame"], None]]:  # fmt: skip
    """A function that appends rows to a table, of which the `columns` that they lack become empty.

    Each has a type of Arrow, or "time" for UTC to the microsecond, and a unit, "" = none, for the schema's metadata. Of
    the `whole` numbers some may be empty: pandas reads them as Int64. `attrs` become those of the table as pandas reads
    it. `SettingError` where it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {name: pa.timestamp("us", "UTC") if kind == "time" else kind for name, (kind, _) in columns.items()}
    units = {name: {"unit": unit} if unit else None for name, (_, unit) in columns.items()}
    schema = pa.schema([pa.field(name, kind, metadata=units[name]) for name, kind in kinds.items()])
    # With pandas' own notes, so that pandas reads numbers back as whole ones although some are empty.
    empty = schema.empty_table().to_pandas().astype(dict.fromkeys(whole, "Int64"))
    empty.attrs = dict(attrs or {})
    schema = pa.Table.from_pandas(empty, schema, preserve_index=False).schema
    with temporary_file(path) as part:
        with writing(path):
            writer = parquet.ParquetWriter(part, schema)

        def append(rows: "pd.DataFrame") -> None:
            table = rows.reindex(columns=schema.names).astype(dict.fromkeys(whole, "Int64"))
            with writing(path):
                writer.write_table(pa.Table.from_pandas(table, schema, preserve_index=False))

        try:
            yield append
        finally:
            with writing(path):
                writer.close()
