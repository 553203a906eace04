"""Tables of the ledger, for SQLite and PostgreSQL alike. `migrations/` makes and upgrades them in a database.

Nothing in them is ever changed or deleted: triggers of the database refuse it.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Dialect, ForeignKey, MetaData, Table, TypeDecorator, UniqueConstraint
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import BigInteger, DateTime, Float, Integer, String, Text

__all__ = [
    "UtcTime", "chain", "coverage", "cycles", "features", "flares", "inputs", "metadata", "missed", "models",
    "probabilities", "regions",
]  # fmt: skip


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


def _of_cycle() -> Column[Any]:
    return Column("cycle_id", String(40), ForeignKey("cycles.cycle_id"), primary_key=True)


def _number() -> Column[Any]:
    return Column("number", Integer, primary_key=True, autoincrement=False)


metadata = MetaData()


def _table(name: str, *columns: SchemaItem) -> Table:
    return Table(name, metadata, *columns)


# One row per issue time: a forecast, or an outage with its reason. `document` is the whole of it as JSON.
cycles = _table(
    "cycles",
    Column("cycle_id", String(40), primary_key=True),
    Column("issue", UtcTime, nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    Column("rung", String(20)),
    Column("reason", Text, nullable=False),
    Column("data_time", UtcTime),
    Column("window_start", UtcTime),
    Column("window_end", UtcTime),
    Column("recorded", UtcTime, nullable=False),
    Column("software", String(40), nullable=False),
    Column("tracker", Text),
    Column("document", Text, nullable=False),
)

regions = _table(
    "regions",
    _of_cycle(),
    _number(),
    Column("region", String(40), nullable=False, index=True),
    Column("noaa", String(80), nullable=False),
    Column("harp", String(80), nullable=False),
    Column("lon", Float, nullable=False),
    Column("lat", Float, nullable=False),
    Column("status", String(80), nullable=False),
    Column("imputed", Integer),
)

# `source`: "region" (with its number), "full disk" (of the regions together, number 0) or "cnn" (number 0).
probabilities = _table(
    "probabilities",
    _of_cycle(),
    Column("source", String(10), primary_key=True),
    _number(),
    Column("threshold", String(1), primary_key=True),
    Column("network", Float),
    Column("calibrated", Float),
)

features = _table(
    "features", _of_cycle(), _number(), Column("name", String(40), primary_key=True), Column("value", Float)
)

models = _table(
    "models", _of_cycle(), Column("name", String(40), primary_key=True), Column("version", Integer, nullable=False)
)

inputs = _table(
    "inputs",
    _of_cycle(),
    Column("name", String(40), primary_key=True),
    Column("record", Text, nullable=False),
    Column("time", UtcTime),
    Column("age_hours", Float),
    Column("quality", BigInteger),
    Column("status", String(10), nullable=False),
    Column("note", Text, nullable=False),
)

# Every version of every flare: a reclassification adds a row with the next revision; a withdrawal one without a class.
# `ordinal` counts flares that start in the same minute.
flares = _table(
    "flares",
    Column("flare_id", Integer, primary_key=True),
    Column("start", UtcTime, nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("peak", UtcTime),
    Column("end", UtcTime),
    Column("goes_class", String(8)),
    Column("noaa", Integer),
    Column("source", Text, nullable=False),
    Column("recorded", UtcTime, nullable=False),
    UniqueConstraint("start", "ordinal", "revision"),
)

# Spans of time in which the flare list was complete when it was read: outcomes are known only within.
coverage = _table(
    "coverage",
    Column("coverage_id", Integer, primary_key=True),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded", UtcTime, nullable=False),
)

# Issue times at which nothing was run. A forecast that is recorded later takes their place, and they stay.
missed = _table(
    "missed",
    Column("cycle_id", String(40), primary_key=True),
    Column("issue", UtcTime, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("recorded", UtcTime, nullable=False),
    Column("software", String(40), nullable=False),
    Column("document", Text, nullable=False),
)

# One row per record: the cycle (`key`), the rows of `coverage` and `flares` up to these numbers, and their digest.
chain = _table(
    "chain",
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(8), nullable=False),
    Column("key", String(40), nullable=False),
    Column("coverage", Integer, nullable=False),
    Column("flares", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
)
