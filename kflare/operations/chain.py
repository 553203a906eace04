"""The chain over the ledger: the digest of every record holds the one before it, as of a laboratory's bound book.

A row that was changed, added or removed behind the database's back no longer fits its digest. Who can write into the
database can also write a new chain: that shows against a digest which was kept elsewhere (the event log has one for
each record, and `--status` gives the newest).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, select, type_coerce
from sqlalchemy.types import NULLTYPE

from kflare.operations import schema

__all__ = ["add_link", "chain_faults", "newest_link"]

_OF_CYCLE: Final = (
    schema.cycles, schema.regions, schema.probabilities, schema.features, schema.models, schema.inputs,
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
    digest = _digest(
        connection, link, (0, 0, "") if before is None else (before.coverage, before.flares, before.digest)
    )
    connection.execute(insert(schema.chain), [link | {"digest": digest}])


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
        extra = connection.execute(select(func.count()).where(column > last)).scalar()
        if extra:
            yield f"`{column.table.name}` has {extra} rows that no link holds"


def _digest(connection: Connection, link: Any, before: tuple[int, int, str]) -> str:
    """SHA-256 of the link, the digest before it and its rows, read from the database in any order."""
    lines = []
    for table, question in _questions(link, before):
        lines += [json.dumps([table, *row], default=str) for row in connection.execute(question)]
    head = [before[2], *(link[name] for name in ("number", "kind", "key", "coverage", "flares"))]
    return hashlib.sha256("\n".join([json.dumps(head), *sorted(lines)]).encode()).hexdigest()


def _questions(link: Any, before: tuple[int, int, str]) -> Iterator[tuple[str, "Select[*tuple[Any, ...]]"]]:
    for table in _TABLES.get(link["kind"], ()):
        yield table.name, _raw(table).where(table.c.cycle_id == link["key"])
    for column, first, last in zip(_IDS, before, (link["coverage"], link["flares"]), strict=False):
        yield column.table.name, _raw(column.table).where(column > first, column <= last)


def _raw(table: Any) -> "Select[*tuple[Any, ...]]":
    """All columns as the driver gives them: a forged row may hold anything."""
    return select(*(type_coerce(column, NULLTYPE) for column in table.columns))
