"""Tables of the ledger, for SQLite and PostgreSQL alike. `migrations/` makes and upgrades them in a database.

`ledger.csv` has a line for each column. A "key" is one of the primary key, "counted" by the database or given; what is
"needed" cannot be NULL; a "version" of a flare is there once. Triggers refuse that any is changed or deleted.
"""

from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Column, Dialect, ForeignKey, MetaData, Table, TypeDecorator, UniqueConstraint
from sqlalchemy.types import BigInteger, DateTime, Float, Integer, LargeBinary, String, Text

from kflare.io.stored_table import stored_rows


class UtcTime(TypeDecorator[datetime]):
    """An aware time, stored as UTC; SQLite has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"times in the ledger must carry a time zone, got {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


_TYPES = {"text": Text, "time": UtcTime, "real": Float, "integer": Integer, "long": BigInteger, "bytes": LargeBinary}


def _column(row: dict[str, str]) -> Column[Any]:
    rules, (kind, *size) = row["rules"].split(), row["type"].split()
    of_cycle = [ForeignKey("cycles.cycle_id")] if "of-cycle" in rules else []
    given: dict[str, Any] = {name: name in rules or None for name in ("unique", "index")}
    given |= {"primary_key": "key" in rules, "autoincrement": "auto" if "counted" in rules else False}
    type_ = String(int(size[0])) if size else _TYPES[kind]
    return Column(row["column"], type_, *of_cycle, nullable=not {"key", "needed"} & set(rules), **given)


metadata = MetaData()
_ROWS: Final = stored_rows("kflare.operations", "ledger.csv")
cycles, regions, probabilities, models, inputs, flares, coverage, missed, measured, chain = (
    Table(name, metadata, *map(_column, rows)) for name, rows in groupby(_ROWS, key=lambda row: row["table"])
)
flares.append_constraint(UniqueConstraint(*(row["column"] for row in _ROWS if "version" in row["rules"].split())))
