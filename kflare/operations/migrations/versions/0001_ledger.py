"""The ledger as of kflare 0.1: cycles with regions, probabilities, features, models and inputs; flares and coverage."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)
_TABLES = ("cycles", "regions", "probabilities", "features", "models", "inputs", "flares", "coverage")


def upgrade() -> None:
    """Make the tables, and the triggers that keep them append-only."""
    op.create_table(
        "cycles",
        sa.Column("cycle_id", sa.String(40), primary_key=True),
        sa.Column("issue", _TIME, nullable=False, unique=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("rung", sa.String(20)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("data_time", _TIME),
        sa.Column("window_start", _TIME),
        sa.Column("window_end", _TIME),
        sa.Column("recorded", _TIME, nullable=False),
        sa.Column("software", sa.String(40), nullable=False),
        sa.Column("tracker", sa.Text),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "regions",
        *_of_cycle("number"),
        sa.Column("region", sa.String(40), nullable=False, index=True),
        sa.Column("noaa", sa.String(80), nullable=False),
        sa.Column("harp", sa.String(80), nullable=False),
        sa.Column("lon", sa.Float, nullable=False),
        sa.Column("lat", sa.Float, nullable=False),
        sa.Column("status", sa.String(80), nullable=False),
        sa.Column("imputed", sa.Integer),
    )
    op.create_table(
        "probabilities",
        sa.Column("cycle_id", sa.String(40), sa.ForeignKey("cycles.cycle_id"), primary_key=True),
        sa.Column("source", sa.String(10), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("threshold", sa.String(1), primary_key=True),
        sa.Column("network", sa.Float),
        sa.Column("calibrated", sa.Float),
    )
    op.create_table(
        "features",
        *_of_cycle("number"),
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.Float),
    )
    op.create_table(
        "models",
        *_of_cycle(),
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "inputs",
        *_of_cycle(),
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("time", _TIME),
        sa.Column("age_hours", sa.Float),
        sa.Column("quality", sa.BigInteger),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "flares",
        sa.Column("flare_id", sa.Integer, primary_key=True),
        sa.Column("start", _TIME, nullable=False, index=True),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("peak", _TIME),
        sa.Column("end", _TIME),
        sa.Column("goes_class", sa.String(8)),
        sa.Column("noaa", sa.Integer),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("recorded", _TIME, nullable=False),
        sa.UniqueConstraint("start", "ordinal", "revision"),
    )
    op.create_table(
        "coverage",
        sa.Column("coverage_id", sa.Integer, primary_key=True),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("recorded", _TIME, nullable=False),
    )
    _append_only()


def _of_cycle(*numbers: str) -> list[sa.Column[Any]]:
    return [
        sa.Column("cycle_id", sa.String(40), sa.ForeignKey("cycles.cycle_id"), primary_key=True),
        *(sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in numbers),
    ]


def _append_only() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION kflare_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'the ledger is append-only'; END$$"
        )
        for table in _TABLES:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION kflare_append_only()"
            )
    else:
        for table in _TABLES:
            for event in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
                )
