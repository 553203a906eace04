"""Append-only means it: nothing slips past the triggers, and what is changed behind the database's back is found."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import String, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from kflare.commands import forecast as program
from kflare.errors import LedgerError
from kflare.flares.catalogue import FlareList
from kflare.operations import schema
from kflare.operations.forecast import Outage
from kflare.operations.ledger import Ledger

from .test_ledger import ISSUE, SIX, forecast

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """Three cycles with features, one time that was missed, two lists of flares."""
    features = pd.DataFrame({"Area": [100.0], "CRMax": [np.nan]}, index=[1])
    with Ledger(database_url) as opened:
        for number in range(3):
            opened.record(forecast(ISSUE + number * SIX), features=features + number, tracker={"n": number})
            if number < 2:
                table = pd.DataFrame({
                    "start": pd.DatetimeIndex([ISSUE + number * HOUR]), "peak": pd.NaT, "end": pd.NaT,
                    "goes_class": "M1.0", "flux": 1e-5, "noaa": pd.array([13579], dtype="Int64"),
                })  # fmt: skip
                span = {"since": ISSUE - SIX, "until": ISSUE + SIX, "source": "test"}
                opened.record_flares(FlareList(table, "test", {}), **span)
        opened.record_missed(Outage("m", ISSUE + 3 * SIX, "not run: asleep"), recorded=ISSUE + 4 * SIX)
        yield opened


def unguarded(ledger: Ledger, *statements: str) -> None:
    """As somebody with the database's own tools, who takes the triggers away first, and puts them back."""
    with ledger.engine.begin() as connection:
        if ledger.engine.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        else:
            kept = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
            statements = (*(f"DROP TRIGGER {name}" for name, _ in kept), *statements, *(sql for _, sql in kept))
        for statement in statements:
            connection.execute(text(statement))
    ledger.engine.dispose()


def test_a_ledger_as_recorded_has_no_faults(ledger: Ledger) -> None:
    assert ledger.faults() == []
    number, digest = ledger.newest_link() or (0, "")
    # Three cycles, two lists of flares, one issue time that was missed.
    assert (number, len(digest)) == (6, 64)
    assert ledger.faults(digest) == []


def test_no_insert_takes_the_place_of_a_row(ledger: Ledger) -> None:
    sqlite = ledger.engine.dialect.name == "sqlite"
    before = list(ledger.cycles(ISSUE, ISSUE + 4 * SIX))
    for table in schema.metadata.sorted_tables:
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        key = next(iter(table.primary_key.columns)).name
        other = names.replace(f'"{key}"', "'99'", 1)
        copy = f"INTO {table.name} ({names}) SELECT {names} FROM {table.name} WHERE true LIMIT 1"
        statements = [f"INSERT {copy} ON CONFLICT DO NOTHING", f"INSERT {copy}"]
        if sqlite:
            statements += [f"INSERT OR {how} {copy}" for how in ("REPLACE", "IGNORE", "ROLLBACK", "FAIL")]
        if sqlite and isinstance(table.primary_key.columns[0].type, String):
            # The row's own number of SQLite is a key as well.
            with_number = f"(rowid, {names}) SELECT rowid, {other} FROM {table.name} LIMIT 1"
            statements.append(f"INSERT OR REPLACE INTO {table.name} {with_number}")
        for statement in statements:
            with pytest.raises(DBAPIError, match="append-only"), ledger.engine.begin() as connection:
                connection.execute(text(statement))
    assert list(ledger.cycles(ISSUE, ISSUE + 4 * SIX)) == before
    assert ledger.faults() == []


NEW_CYCLE = (
    "INSERT INTO cycles (cycle_id, issue, kind, reason, recorded, software, document) "
    "SELECT 'forged', {issue}, kind, reason, recorded, software, document FROM cycles LIMIT 1"
)
NEW_FLARE = (
    "INSERT INTO flares (flare_id, start, ordinal, revision, goes_class, source, recorded) "
    "SELECT 999, start, 7, 1, 'X1.0', source, recorded FROM flares LIMIT 1"
)
BEFORE_THE_FIRST = NEW_FLARE.replace("999", "-1")
COVERAGE_0 = "INSERT INTO coverage SELECT 0, since, recorded, source, recorded FROM coverage LIMIT 1"
NEW_COVERAGE = (
    "INSERT INTO coverage (coverage_id, since, until, source, recorded) "
    "SELECT 999, since, recorded, source, recorded FROM coverage LIMIT 1"
)
OTHERS = "SELECT features FROM measured WHERE cycle_id LIKE '%0900'"
REMOVED = [f"DELETE FROM {name}" for name in ("measured", "models", "inputs", "probabilities", "regions")]
FORGERIES = {
    "a document": (["UPDATE cycles SET document = replace(document, '0.7', '0.9')"], "link 1"),
    "a last bit": (["UPDATE probabilities SET network = network * 1.000000000000001"], "link 1"),
    "a feature": ([f"UPDATE measured SET features = ({OTHERS})"], "link 1"),
    "a flare's class": (["UPDATE flares SET goes_class = 'X9.9' WHERE flare_id = 1"], "link 2"),
    "a flare removed": (["DELETE FROM flares WHERE flare_id = 1"], "link 2"),
    "a flare added": ([NEW_FLARE], "`flares` has 1 rows that no link holds"),
    "a flare before the first": ([BEFORE_THE_FIRST], "`flares` has 1 rows that no link holds"),
    "a quiet time before the first": ([COVERAGE_0], "`coverage` has 1 rows that no link holds"),
    "a quiet time": ([NEW_COVERAGE], "`coverage` has 1 rows that no link holds"),
    "when it was recorded": (["UPDATE cycles SET recorded = issue"], "link 1"),
    "no miss": (["DELETE FROM missed"], "link 6"),
    "a cycle removed": ([*REMOVED, "DELETE FROM cycles WHERE cycle_id LIKE '%0900'"], "link 3"),
    "a cycle added": ([NEW_CYCLE], "`cycles` has rows of forged, which no link holds"),
    "a link removed": (["DELETE FROM chain WHERE number = 2"], "from 2 to 2 were removed"),
    "a link changed": (["UPDATE chain SET digest = 'x' WHERE number = 4"], "link 4"),
    "another kind": (["UPDATE cycles SET kind = 'outage'"], "link 1"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_change_behind_the_databases_back_is_found(ledger: Ledger, name: str) -> None:
    statements, found = FORGERIES[name]
    issue = "'2026-01-01 03:00:00'"
    unguarded(ledger, *(statement.format(issue=issue) for statement in statements))
    assert found in "; ".join(ledger.faults())


def test_forged_values_of_another_type_are_faults_not_tracebacks(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.record(forecast())
        ledger.record(forecast(ISSUE + SIX))
        unguarded(ledger, "UPDATE chain SET digest = CAST(digest AS BLOB) WHERE number = 1")
        assert "link 1 (cycle" in "; ".join(ledger.faults())
        unguarded(ledger, "UPDATE cycles SET issue = 'yesterday' WHERE rowid = 2")
        assert "link 2 (cycle" in "; ".join(ledger.faults())
        with pytest.raises(LedgerError, match="cannot be used: Invalid isoformat string: 'yesterday'"):
            ledger.last_issue()


def test_a_new_chain_is_found_by_a_digest_that_was_kept_elsewhere(ledger: Ledger) -> None:
    _, digest = ledger.newest_link() or (0, "")
    unguarded(ledger, "DELETE FROM missed", "DELETE FROM chain WHERE number = 6")
    assert ledger.faults() == []  # the end cut off leaves a whole chain
    assert "no link has the digest" in "; ".join(ledger.faults(digest))


NOTHING = "RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$"
GUARD = "FOR EACH STATEMENT EXECUTE FUNCTION kflare_append_only()"
OFF, OTHER = "is missing or switched off", "is another one than kflare's"
REMOVALS = [
    ("sqlite", ["DROP TRIGGER cycles_no_update"], f"cycles_no_update {OFF}"),
    ("sqlite", ["DROP TRIGGER flares_new"], f"flares_new {OFF}"),
    ("sqlite", ["DROP TRIGGER chain_new", "CREATE TRIGGER chain_new BEFORE INSERT ON chain BEGIN SELECT 1; END"],
     f"chain_new {OTHER}"),
    ("postgresql", ["DROP TRIGGER cycles_append_only ON cycles"], f"cycles_append_only {OFF}"),
    ("postgresql", ["ALTER TABLE flares DISABLE TRIGGER ALL"], f"flares_append_only {OFF}"),
    ("postgresql", ["ALTER TABLE chain ENABLE REPLICA TRIGGER chain_new"], f"chain_new {OFF}"),
    ("postgresql", [f"CREATE OR REPLACE FUNCTION kflare_append_only() {NOTHING}"], f"missed_append_only {OTHER}"),
    ("postgresql", ["DROP TRIGGER models_append_only ON models",
                    f"CREATE TRIGGER models_append_only BEFORE UPDATE ON models {GUARD}"],
     f"models_append_only {OTHER}"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "statements", "told"), REMOVALS)
def test_a_trigger_that_is_missing_or_does_nothing_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, dialect: str, statements: list[str], told: str
) -> None:
    sqlite = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Ledger(sqlite if dialect == "sqlite" else request.getfixturevalue("postgresql_url")) as ledger:
        ledger.record(forecast())
        assert ledger.faults() == []
        with ledger.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        assert f"the trigger {told}" in "; ".join(ledger.faults())


def test_the_command_finds_a_forged_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    (tmp_path / "kflare.toml").write_text(f'[ledger]\nurl = "{url}"\n')
    verify = ["--settings", str(tmp_path / "kflare.toml"), "--verify-ledger"]
    with Ledger(url) as ledger:
        assert program.main(verify) == 1
        assert "the ledger is empty: nothing to verify" in capsys.readouterr().err
        ledger.record(forecast())
        assert program.main(verify) == 0
        assert "1 records, as they were recorded" in capsys.readouterr().out
        unguarded(ledger, "UPDATE cycles SET document = replace(document, '0.7', '0.1')")
        assert program.main(verify) == 1
    assert "changed behind the database's back: link 1 (cycle cycle-20261120T0300)" in capsys.readouterr().err


def test_a_cycle_that_cannot_supersede_a_missed_one_is_an_error(ledger: Ledger) -> None:
    late = replace(forecast(ISSUE + 3 * SIX), cycle_id=forecast().cycle_id)
    with pytest.raises(LedgerError, match=f"refuses cycle {late.cycle_id}"):
        ledger.record(late)
    assert isinstance(ledger.cycle(late.issue), Outage)


def test_two_rows_of_one_issue_time_are_refused_by_both_databases(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), ledger.engine.begin() as connection:
        connection.execute(text(
            "INSERT INTO cycles (cycle_id, issue, kind, reason, recorded, software, document) "
            "SELECT 'other', issue, kind, reason, recorded, software, document FROM cycles LIMIT 1"
        ))  # fmt: skip
