"""What makes the tables of the ledger append-only: triggers of the database that refuse every change and deletion.

SQLite's `INSERT OR REPLACE` would change a row without an `UPDATE` or `DELETE` that triggers see: rows whose key is
there already are refused before they are inserted.
"""

from collections.abc import Iterable

from alembic import op
from sqlalchemy import Table, UniqueConstraint

__all__ = ["refuse_changes", "refuse_existing_keys"]

_REFUSAL = "the ledger is append-only"


def refuse_changes(tables: Iterable[str], *, events: Iterable[str] = ("UPDATE", "DELETE")) -> None:
    """Triggers that refuse every UPDATE, DELETE and (PostgreSQL) TRUNCATE; SQLite has one for each of `events`."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION kflare_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$BEGIN RAISE EXCEPTION '{_REFUSAL}'; END$$"
        )
        for table in tables:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION kflare_append_only()"
            )
    else:
        for table in tables:
            for event in events:
                op.execute(
                    f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
                )


def refuse_existing_keys(tables: Iterable[Table]) -> None:
    """Triggers that refuse a new row with the primary key, or other unique columns, of one that is there."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table in tables:
        unique = [one.columns for one in table.constraints if isinstance(one, UniqueConstraint)]
        keys = [[column.name for column in columns] for columns in (table.primary_key.columns, *unique)]
        if not postgresql:
            keys.append(["rowid"])  # SQLite's own key, which can be given too
        same = " OR ".join(" AND ".join(_same(name) for name in key) for key in keys)
        exists = f"EXISTS (SELECT 1 FROM {table.name} WHERE {same})"  # noqa: S608 (names are the schema's)
        if postgresql:
            op.execute(
                f"CREATE FUNCTION kflare_new_{table.name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF {exists} "
                f"THEN RAISE unique_violation USING MESSAGE = '{_REFUSAL}'; END IF; RETURN NEW; END$$"
            )
            op.execute(
                f"CREATE TRIGGER {table.name}_new BEFORE INSERT ON {table.name} "
                f"FOR EACH ROW EXECUTE FUNCTION kflare_new_{table.name}()"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {table.name}_new BEFORE INSERT ON {table.name} WHEN {exists} "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )


def _same(name: str) -> str:
    quoted = name if name == "rowid" else f'"{name}"'
    return f"{quoted} = NEW.{quoted}"
