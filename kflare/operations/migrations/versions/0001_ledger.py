"""The ledger as of kflare 0.1: cycles with regions, probabilities, features, models and inputs; flares and coverage."""

from alembic import op

from kflare.operations.schema import metadata

revision = "0001"
down_revision = None

# As they stand in the schema: a later revision that changes one of them writes its old form here.
_TABLES = ("cycles", "regions", "probabilities", "features", "models", "inputs", "flares", "coverage")


def upgrade() -> None:
    """Make the tables, and the triggers that keep them append-only."""
    metadata.create_all(op.get_bind(), [metadata.tables[name] for name in _TABLES], checkfirst=False)
    _append_only()


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
