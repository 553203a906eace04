"""The ledger: every forecast and outage as it was issued, with what it was made from. Appended to, never changed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy import Connection, Row, Select, Table, func, insert, select, true
from sqlalchemy.exc import IntegrityError

from kflare.errors import DataError, LedgerError
from kflare.operations import schema
from kflare.operations.chain import add_link, chain_faults, newest_link, trigger_faults
from kflare.operations.database import open_database, transaction
from kflare.operations.forecast import Cycle, Forecast, Outage
from kflare.sun.disk import FULL_DISK

if TYPE_CHECKING:  # pandas is imported late: a monitor asks often, and of no table
    import pandas as pd

    from kflare.flares.catalogue import FlareList
    from kflare.operations.flare_records import Current

UNDATED: Final = ("goes_flares", "goes_events", "noaa_regions", "swpc_probabilities")
"""Inputs whose time says how far they reach, not when anything was seen."""


class Ledger:
    """An open ledger, by SQLAlchemy URL of SQLite or PostgreSQL; an empty database is given the tables.

    SettingError: the database cannot be used, or is of another version of kflare. LedgerError: it does not answer, is
    locked, full or damaged, now or in any method: try again; or there is none, and none is to `begin`.
    """

    def __init__(self, url: str, *, begin: bool = True) -> None:
        self.engine = open_database(url, begin=begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self.engine.dispose()

    def record(
        self, cycle: Cycle, *, features: "pd.DataFrame | None" = None,
        tracker: Mapping[str, Any] | None = None, recorded: datetime | None = None
    ) -> bool:  # fmt: skip
        """Append one cycle, wholly or not at all; False if there is one of this issue time that was run.

        `features` have a row per region number and a column per feature, float64, NaN = not measured; `tracker` is the
        state of the region tracker after this cycle, plain data; `recorded` the present, aware.
        """
        recorded = recorded or datetime.now(UTC)
        with self._appending(cycle, self.was_run) as connection:
            connection.execute(insert(schema.cycles), [_cycle_row(cycle, tracker, recorded)])
            _append(connection, cycle, features)
            add_link(connection, "cycle", cycle.cycle_id)
            return True
        return False

    def record_missed(self, outage: Outage, *, recorded: datetime) -> bool:
        """Append an issue time at which nothing was run, unless it is known; a cycle recorded later supersedes it."""
        if self.cycle(outage.issue) is not None:
            return False
        row = _cycle_row(outage, None, recorded)
        with self._appending(outage, self.cycle) as connection:
            connection.execute(insert(schema.missed), [{column.name: row[column.name] for column in schema.missed.c}])
            add_link(connection, "missed", outage.cycle_id)
            return True
        return False

    def was_run(self, issue: datetime) -> bool:
        """Whether a cycle of an issue time (aware) is recorded, forecast or outage, other than as missed."""
        return bool(self._ask(select(schema.cycles.c.issue).where(schema.cycles.c.issue == issue)))

    def cycle(self, issue: datetime) -> Cycle | None:
        """The cycle of an issue time (aware), or None."""
        return next(self.cycles(issue, issue + timedelta(microseconds=1)), None)

    def cycles(self, since: datetime, until: datetime) -> Iterator[Cycle]:
        """All cycles issued in since <= issue < until (aware), in order; DataError if a row is none."""
        found: dict[datetime, str] = {}
        for table in (schema.missed, schema.cycles):  # what was run supersedes what was missed
            asked = select(table.c.issue, table.c.document).where(table.c.issue >= since, table.c.issue < until)
            found |= dict(map(tuple, self._ask(asked)))
        for issue in sorted(found):
            try:
                document = json.loads(found[issue])
                cycle = (Forecast if "rung" in document else Outage).from_json(document)
            except (ValueError, TypeError) as error:
                fault = f"the ledger's row of {issue:%FT%H:%MZ} cannot be read: {error}"
                raise DataError(f"{fault}; run --verify-ledger") from error
            yield cycle

    def issues(self, since: datetime, until: datetime) -> dict[datetime, bool]:
        """Issue times of all cycles in since <= issue < until (aware), in order, and whether each was run."""
        found: dict[datetime, bool] = {}
        for run, table in enumerate((schema.missed, schema.cycles)):
            asked = select(table.c.issue).where(table.c.issue >= since, table.c.issue < until)
            found |= {issue: bool(run) for (issue,) in self._ask(asked)}
        return dict(sorted(found.items()))

    def last_issue(self, until: datetime | None = None) -> datetime | None:
        """Issue time of the newest cycle, of those issued up to a time if one is given; None if there is none."""
        issues = (self._last(table, until) for table in (schema.cycles, schema.missed))
        return max((issue for issue in issues if issue is not None), default=None)

    def last_run(self) -> datetime | None:
        """Issue time of the newest cycle that was run; None if there is none."""
        return self._last(schema.cycles, None)

    def last_observed(self) -> datetime | None:
        """Issue time of the newest cycle that observed anything: until then the clock is proven right; else None."""
        cycles, inputs = schema.cycles, schema.inputs
        asked = select(cycles.c.issue).join(inputs, inputs.c.cycle_id == cycles.c.cycle_id)
        asked = asked.where(inputs.c.time.is_not(None), inputs.c.name.not_in(UNDATED)).order_by(cycles.c.issue.desc())
        found = self._ask(asked.limit(1))
        return found[0].issue if found else None

    def data_times(self, since: datetime, until: datetime) -> list[datetime]:
        """When the disks were seen that forecasts issued in since <= issue < until (aware) measured."""
        column, issue = schema.cycles.c.data_time, schema.cycles.c.issue
        asked = select(column).where(issue >= since, issue < until, column.is_not(None))
        return [time for (time,) in self._ask(asked)]

    def newest_link(self) -> tuple[int, str] | None:
        """Number and digest of the chain's last link, to be kept elsewhere; None in an empty ledger."""
        with transaction(self.engine) as connection:
            link = newest_link(connection)
        return None if link is None else (link.number, link.digest)

    def faults(self, digest: str = "") -> list[str]:
        """What was changed behind the database's back, or of its triggers; a kept `digest` must be in the chain."""
        with transaction(self.engine) as connection:
            found = [*trigger_faults(connection), *chain_faults(connection)]
        if digest and not self._ask(select(schema.chain.c.number).where(schema.chain.c.digest == digest)):
            found.append(f"no link has the digest {digest}: another chain was put in its place")
        return found

    def tracker(self, before: datetime) -> dict[str, Any] | None:
        """State of the region tracker after the newest cycle before an issue time that has one."""
        table = schema.cycles
        asked = select(table.c.tracker).where(table.c.issue < before, table.c.tracker.is_not(None))
        found = self._ask(asked.order_by(table.c.issue.desc()).limit(1))
        return json.loads(found[0].tracker) if found else None

    def features(self, since: datetime, until: datetime) -> "pd.DataFrame":
        """What was measured on the regions of past cycles, observed (aware) at since <= data_time <= until.

        One row per region and time: `time` (UTC), `region`, `noaa` (tuple of int), and a column per feature.
        """
        from kflare.operations.ledger_tables import features_table

        return features_table(self._ask, since, until)

    def probabilities(self, since: datetime, until: datetime, *, regions: bool = True) -> "pd.DataFrame":
        """Those of the forecasts issued in since <= issue < until (aware), or without those of their `regions`.

        In the order of the forecasts: `time` (issue), `window_start`, `window_end` (UTC), `region`, `method`,
        `threshold`, `probability` and `calibrated` (NaN = not known) as of `kflare.operations.outcomes`.
        """
        from kflare.operations.ledger_tables import probabilities_table

        return probabilities_table(self._ask, since, until, regions=regions)

    def noaa_numbers(self, until: datetime | None = None, *, regions: Sequence[str] | None = None) -> "pd.DataFrame":
        """The NOAA numbers that forecasts gave the regions, or those named, of observations up to a time if given.

        Columns: `time` (UTC, of the first observation with it), `region` (its persistent name), `noaa` (Int64).
        """
        from kflare.operations.ledger_tables import noaa_numbers_table

        return noaa_numbers_table(self._ask, until, regions)

    def record_flares(
        self, flares: "FlareList", *, since: datetime, until: datetime, source: str, recorded: datetime | None = None
    ) -> dict[str, int]:
        """Append a flare list that is complete for since <= start < until; counts `new`, `changed` and `withdrawn`."""
        from kflare.operations.flare_records import record_flares

        with transaction(self.engine, write=True) as connection:
            now = recorded or datetime.now(UTC)
            counts = record_flares(connection, flares, since=since, until=until, source=source, recorded=now)
            add_link(connection, "flares")
        return counts

    def flares(self, since: datetime, until: datetime, *, as_of: datetime | None = None) -> "Current":
        """The flares that start in since <= start < until as they were known at `as_of` (default: now)."""
        from kflare.operations.flare_records import current_flares

        with transaction(self.engine) as connection:
            return current_flares(connection, since, until, as_of=as_of)

    def _last(self, table: Table, until: datetime | None) -> datetime | None:
        asked = select(func.max(table.c.issue)).where(true() if until is None else table.c.issue <= until)
        last: datetime | None = self._ask(asked)[0][0]
        return last

    def _ask(self, question: "Select[*tuple[Any, ...]]") -> "Sequence[Row[*tuple[Any, ...]]]":
        with transaction(self.engine) as connection:
            return connection.execute(question).all()

    @contextmanager
    def _appending(self, cycle: Cycle, known: Callable[[datetime], object]) -> Iterator[Connection]:
        """A transaction that ends without a trace if the issue time of the cycle is known."""
        try:
            with transaction(self.engine, write=True) as connection:
                yield connection
        except IntegrityError as error:
            if not known(cycle.issue):
                raise LedgerError(f"the ledger refuses cycle {cycle.cycle_id}: {error.orig}") from error


def _cycle_row(cycle: Cycle, tracker: Mapping[str, Any] | None, recorded: datetime) -> dict[str, Any]:
    row = {"cycle_id": cycle.cycle_id, "issue": cycle.issue, "recorded": recorded, "software": cycle.software}
    row |= {"tracker": None if tracker is None else _as_text(tracker), "document": _as_text(cycle.as_json())}
    if isinstance(cycle, Outage):
        return row | {"kind": "outage", "reason": cycle.reason}
    row |= {"kind": "forecast", "rung": cycle.rung, "reason": cycle.rung_reason}
    return row | {name: getattr(cycle, name) for name in ("data_time", "window_start", "window_end")}


def _append(connection: Connection, cycle: Cycle, features: "pd.DataFrame | None") -> None:
    key = {"cycle_id": cycle.cycle_id}
    rows: dict[Any, list[dict[str, Any]]] = {schema.inputs: [key | vars(record) for record in cycle.inputs]}
    if isinstance(cycle, Forecast):
        rows[schema.models] = [key | vars(model) for model in cycle.models]
        rows[schema.regions] = [
            key
            | {name: getattr(region, name) for name in ("number", "region", "lon", "lat", "status", "imputed")}
            | {name: " ".join(map(str, getattr(region, name))) for name in ("noaa", "harp")}
            for region in cycle.regions
        ]
        given = [(FULL_DISK, 0, cycle.full_disk), ("cnn", 0, cycle.cnn), ("swpc", 0, cycle.swpc)]
        given += [("region", region.number, region.probability) for region in cycle.regions]
        rows[schema.probabilities] = [
            {**key, "source": source, "number": number, "threshold": threshold, **vars(probability)}
            for source, number, probabilities in given
            for threshold, probability in probabilities.items()
        ]
    if features is not None:
        from kflare.operations.packing import pack_features

        rows[schema.measured] = [key | {"features": pack_features(features)}]
    for table, inserted in rows.items():
        if inserted:
            connection.execute(insert(table), inserted)


def _as_text(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":"))
