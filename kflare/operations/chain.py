"""What guards the ledger: triggers of the database refuse every change, and a chain shows those behind its back.

SQLite's `INSERT OR REPLACE` would change a row without an `UPDATE` or `DELETE` that triggers see: rows whose key is
there already are refused before they are inserted.

The digest of every record holds the one before it, as of a laboratory's bound book.
A row that was changed, added or removed behind the database's back no longer fits its digest. Who can write into the
database can also write a new chain: that shows against a digest which was kept elsewhere (the event log has one for
each record, and `--status` gives the newest).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, Table, UniqueConstraint, func, insert, select, text, type_coerce
from sqlalchemy.types import NULLTYPE

from kflare.operations import schema

_REFUSAL = "the ledger is append-only"
_REFUSE: Final = f"BEGIN RAISE EXCEPTION '{_REFUSAL}'; END"
_ABORT: Final = f"SELECT RAISE(ABORT, '{_REFUSAL}')"
_EVENTS: Final = ("UPDATE", "DELETE")
_SQLITE_TRIGGERS: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
# Table, bits of the moment (58: before UPDATE, DELETE, TRUNCATE of a statement; 7: before INSERT of a row), function.
_POSTGRESQL_TRIGGERS: Final = """
    SELECT tgname, relname || ' ' || tgtype || ' ' || prosrc FROM pg_trigger
    JOIN pg_proc ON pg_proc.oid = tgfoid JOIN pg_class ON pg_class.oid = tgrelid
    WHERE pg_table_is_visible(tgrelid) AND tgenabled IN ('O', 'A') AND tgqual IS NULL AND tgattr = ''
"""
_OF_CYCLE: Final = (
    schema.cycles, schema.regions, schema.probabilities, schema.measured, schema.models, schema.inputs
)  # fmt: skip
_TABLES: Final = {"cycle": _OF_CYCLE, "missed": (schema.missed,)}
_IDS: Final = (schema.coverage.c.coverage_id, schema.flares.c.flare_id)


def newest_link(connection: Connection) -> Row[Any] | None:
    """The last link; None in an empty ledger."""
    return connection.execute(select(schema.chain).order_by(schema.chain.c.number.desc()).limit(1)).first()


def add_link(connection: Connection, kind: str, key: str = "") -> None:
    """Chain what this transaction has appended: the rows of a "cycle" or of one "missed", by its id, or "flares"."""
    before = newest_link(connection)
    number = 1 if before is None else before.number + 1
    coverage, flares = (connection.execute(select(func.max(column))).scalar() or 0 for column in _IDS)
    link = {"number": number, "kind": kind, "key": key, "coverage": coverage, "flares": flares}
    last = (0, 0, "") if before is None else (before.coverage, before.flares, before.digest)
    connection.execute(insert(schema.chain), [link | {"digest": _digest(connection, link, last)}])


def chain_faults(connection: Connection) -> Iterator[str]:
    """What does not fit the chain, in words; nothing if all is as it was recorded."""
    links = connection.execute(select(schema.chain).order_by(schema.chain.c.number)).mappings().all()
    before, number = (0, 0, ""), 0
    for link in links:
        if link["number"] != number + 1:
            yield f"the links from {number + 1} to {link['number'] - 1} were removed"
        if _digest(connection, link, before) != link["digest"]:
            yield f"link {link['number']} ({link['kind']} {link['key'] or link['flares']}) is not what was recorded"
        before, number = (link["coverage"], link["flares"], link["digest"]), link["number"]
    for kind, tables in _TABLES.items():
        keys = {link["key"] for link in links if link["kind"] == kind}
        for table in tables:
            found = connection.execute(select(table.c.cycle_id).distinct()).scalars()
            yield from (f"`{table.name}` has rows of {key}, which no link holds" for key in sorted({*found} - keys))
    for column, last in zip(_IDS, before, strict=False):
        # Numbers begin at 1: a link holds those from the one before on.
        if extra := connection.execute(select(func.count()).where((column > last) | (column < 1))).scalar():
            yield f"`{column.table.name}` has {extra} rows that no link holds"


def _digest(connection: Connection, link: Any, before: tuple[int, int, str]) -> str:
    """SHA-256 of the link, the digest before it and its rows, read from the database in any order."""
    lines = []
    for table, question in _questions(link, before):
        lines += [json.dumps([table, *row], default=str) for row in connection.execute(question)]
    head = [before[2], *(link[name] for name in ("number", "kind", "key", "coverage", "flares"))]
    return hashlib.sha256("\n".join([json.dumps(head, default=str), *sorted(lines)]).encode()).hexdigest()


def _questions(link: Any, before: tuple[int, int, str]) -> Iterator[tuple[str, "Select[*tuple[Any, ...]]"]]:
    for table in _TABLES.get(link["kind"], ()):
        yield table.name, _raw(table).where(table.c.cycle_id == link["key"])
    for column, first, last in zip(_IDS, before, (link["coverage"], link["flares"]), strict=False):
        yield column.table.name, _raw(column.table).where(column > first, column <= last)


def _raw(table: Any) -> "Select[*tuple[Any, ...]]":
    """All columns as the driver gives them: a forged row may hold anything."""
    return select(*(type_coerce(column, NULLTYPE) for column in table.columns))


def refuse_changes(tables: Iterable[str]) -> None:
    """Triggers that refuse every UPDATE, DELETE and (PostgreSQL) TRUNCATE."""
    from alembic import op

    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE FUNCTION kflare_append_only() RETURNS trigger LANGUAGE plpgsql AS $${_REFUSE}$$")
        for table in tables:
            moment = f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            op.execute(f"CREATE TRIGGER {table}_append_only {moment} EXECUTE FUNCTION kflare_append_only()")
    else:
        for table in tables:
            for event in _EVENTS:
                op.execute(_refuse_event(table, event))


def refuse_existing_keys(tables: Iterable[Table]) -> None:
    """Triggers that refuse a new row with the primary key, or other unique columns, of one that is there."""
    from alembic import op

    postgresql = op.get_bind().dialect.name == "postgresql"
    for table in tables:
        name, refuse = table.name, _refuse_key(table, postgresql=postgresql)
        if postgresql:
            op.execute(f"CREATE FUNCTION kflare_new_{name}() RETURNS trigger LANGUAGE plpgsql AS $${refuse}$$")
            refuse = (
                f"CREATE TRIGGER {name}_new BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION kflare_new_{name}()"
            )
        op.execute(refuse)


def trigger_faults(connection: Connection) -> Iterator[str]:
    """Which of the triggers are not there as they were made, or are switched off, in words."""
    postgresql = connection.dialect.name == "postgresql"
    wanted: dict[str, str] = {}
    for table in schema.metadata.sorted_tables:
        name, key = table.name, _refuse_key(table, postgresql=postgresql)
        if postgresql:
            wanted |= {f"{name}_append_only": f"{name} 58 {_REFUSE}", f"{name}_new": f"{name} 7 {key}"}
        else:
            wanted |= {f"{name}_no_{event.lower()}": _refuse_event(name, event) for event in _EVENTS}
            wanted[f"{name}_new"] = key
    found = dict(map(tuple, connection.execute(text(_POSTGRESQL_TRIGGERS if postgresql else _SQLITE_TRIGGERS))))
    for name in sorted(wanted):
        if found.get(name) != wanted[name]:
            how = "is another one than kflare's" if name in found else "is missing or switched off"
            yield f"the trigger {name} {how}: changes are no longer refused"


def _refuse_event(table: str, event: str) -> str:
    """Of SQLite."""
    return f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} BEGIN {_ABORT}; END"


def _refuse_key(table: Table, *, postgresql: bool) -> str:
    """SQLite's trigger, or the body of PostgreSQL's function."""
    unique = [one.columns for one in table.constraints if isinstance(one, UniqueConstraint)]
    keys = [[column.name for column in columns] for columns in (table.primary_key.columns, *unique)]
    same = " OR ".join(" AND ".join(f'"{name}" = NEW."{name}"' for name in key) for key in keys)
    if not postgresql:
        same += " OR rowid = NEW.rowid"  # SQLite's own key, which can be given too
    exists = f"EXISTS (SELECT 1 FROM {table.name} WHERE {same})"  # noqa: S608 (names are the schema's)
    if postgresql:
        return f"BEGIN IF {exists} THEN RAISE unique_violation USING MESSAGE = '{_REFUSAL}'; END IF; RETURN NEW; END"
    return f"CREATE TRIGGER {table.name}_new BEFORE INSERT ON {table.name} WHEN {exists} BEGIN {_ABORT}; END"
