"""Flares in the ledger: every version of every flare, and for which time the list was complete.

A class that is corrected later (paper 2, section 4.2: C9.9 became M1.0) adds a version; forecasts are scored against
the newest one, and what was known at any earlier moment can still be asked for.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, insert, select

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList, class_fluxes
from kflare.flares.labels import merged_spans, reaches
from kflare.operations import schema

_Key = tuple[datetime, int]  # start and ordinal
_VALUES = ("peak", "end", "goes_class", "noaa")


@dataclass(frozen=True)
class Current:
    """Flares as known at some moment."""

    table: pd.DataFrame
    """`start`, `peak`, `end` (UTC), `goes_class`, `flux` (W m^-2), `noaa` (Int64), `revision` (1 = never corrected)."""
    covered: tuple[tuple[datetime, datetime], ...]  # the spans, merged and in order, for which the list was complete

    def flare_list(self) -> FlareList:
        """The flares as a list, without places."""
        return FlareList(self.table.drop(columns="revision"), "the ledger", told=self.covered)


def record_flares(
    connection: Connection, flares: FlareList, *, since: datetime, until: datetime, source: str, recorded: datetime
) -> dict[str, int]:
    """Append what is new in a flare list: new flares, changed ones, withdrawn ones; how many of each.

    The list is complete for since <= start < until; others are left out. A region named stands until another one is.
    """
    if since >= until:
        raise DataError(f"`since` must come before `until`, got {since} and {until}")
    known = _newest(connection, since, until, None)
    listed = _listed(flares.as_irradiance(), since, until)
    counts = {"new": 0, "changed": 0, "withdrawn": 0}
    rows = []
    for key in dict.fromkeys((*listed, *known)):
        before = known.get(key)
        values = listed.get(key, dict.fromkeys(_VALUES))
        if before is not None and key in listed and values["noaa"] is None:
            values["noaa"] = before.noaa  # a list that names no region does not withdraw one
        if before is not None and all(values[name] == getattr(before, name) for name in _VALUES):
            continue
        counts["new" if before is None else "changed" if key in listed else "withdrawn"] += 1
        start, ordinal = key
        revision = 1 if before is None else before.revision + 1
        version = {"start": start, "ordinal": ordinal, "revision": revision, "source": source, "recorded": recorded}
        rows.append(version | values)
    if rows:
        connection.execute(insert(schema.flares), rows)
    span = {"since": since, "until": until, "source": source, "recorded": recorded}
    connection.execute(insert(schema.coverage), [span])
    return counts


def current_flares(connection: Connection, since: datetime, until: datetime, *, as_of: datetime | None) -> Current:
    """The flares of since <= start < until, known at `as_of` (None: now), not withdrawn, on today's scale."""
    rows = [row for row in _newest(connection, since, until, as_of).values() if row.goes_class is not None]
    names = ["start", "peak", "end", "goes_class", "noaa", "revision"]
    table = pd.DataFrame([[getattr(row, name) for name in names] for row in rows], columns=names)
    for name in ("start", "peak", "end"):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    table["noaa"] = table["noaa"].astype("Int64")
    table.insert(4, "flux", class_fluxes(table["goes_class"].astype("str")))
    spans = schema.coverage
    asked = select(spans.c.since, spans.c.until).where(spans.c.until > since, spans.c.since < until)
    if as_of is not None:
        asked = asked.where(spans.c.recorded <= as_of)
    return Current(table, merged_spans([(row.since, row.until) for row in connection.execute(asked)]))


def flare_texts(table: pd.DataFrame) -> tuple[str, ...]:
    """Flares of class C and above for the reader: "M1.0 05:04 UT, AR 12740"."""
    strong = table[reaches(table["flux"], "C")]
    return tuple(
        f"{row.goes_class} {row.start:%H:%M} UT" + ("" if pd.isna(row.noaa) else f", AR {row.noaa}")
        for row in strong.itertuples()
    )


def _newest(connection: Connection, since: datetime, until: datetime, as_of: datetime | None) -> dict[_Key, Row[Any]]:
    """The newest version of each flare, by start and ordinal."""
    columns = schema.flares.c
    asked = select(schema.flares).where(columns.start >= since, columns.start < until)
    if as_of is not None:
        asked = asked.where(columns.recorded <= as_of)
    versions = connection.execute(asked.order_by(columns.start, columns.ordinal, columns.revision))
    return {(row.start, row.ordinal): row for row in versions}


def _listed(flares: FlareList, since: datetime, until: datetime) -> dict[_Key, dict[str, Any]]:
    table = flares.table
    inside = table[(table["start"] >= since) & (table["start"] < until)]
    # Flares of one minute are sorted by region, then strength, so that an update finds the same ones again.
    inside = inside.sort_values(["start", "noaa", "flux"], ascending=[True, True, False], na_position="last")
    ordinals = inside.groupby("start").cumcount()
    found = {}
    for row in inside.itertuples():
        peak, end = (None if pd.isna(time) else time.to_pydatetime() for time in (row.peak, row.end))
        noaa = None if pd.isna(row.noaa) else int(row.noaa)
        own = {"peak": peak, "end": end, "goes_class": str(row.goes_class), "noaa": noaa}
        found[row.start.to_pydatetime(), int(ordinals[row.Index])] = own
    return found
