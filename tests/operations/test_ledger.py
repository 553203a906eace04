"""The ledger on SQLite and on PostgreSQL: appended to, whole or not at all, never changed."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import create_engine, event, func, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from kflare.errors import SettingError
from kflare.operations import schema
from kflare.operations.database import upgrade_database
from kflare.operations.forecast import Forecast, InputRecord, ModelUse, Outage, Probability, RegionForecast
from kflare.operations.ledger import Ledger

ISSUE = datetime(2026, 11, 20, 3, tzinfo=UTC)
SIX = timedelta(hours=6)


def forecast(issue: datetime = ISSUE, *, noaa: tuple[int, ...] = (13579,), region: str = "r1") -> Forecast:
    """One region that is forecast, one at the limb."""
    p = {"C": Probability(0.7, 0.4), "M": Probability(0.2, 0.02)}
    return Forecast(
        cycle_id=f"cycle-{issue:%Y%m%dT%H%M}",
        issue=issue,
        data_time=issue - timedelta(hours=1),
        window_start=issue,
        window_end=issue + timedelta(days=1),
        next_issue=issue + SIX,
        rung="imputed",
        rung_reason="AIA 131 is missing",
        regions=(
            RegionForecast(1, region, noaa, (11,), 10.0, -5.0, (0.4, 0.4, 0.5, 0.5), "forecast", p, 3),
            RegionForecast(2, "r2", (), (), 80.0, 5.0, None, "limb"),
        ),
        full_disk=p,
        cnn={"M": Probability(0.3, None)},
        models=(ModelUse("defn-c", 3), ModelUse("defn-m", 4)),
        inputs=(InputRecord("magnetogram", "hmi.M", issue - SIX, 6.0, 0x80000000, "late", "stale"),),
        software="0.1",
    )


# `document` of two rows as kflare 0.0.1 stored them, before its records were checked and probabilities had intervals.
STORED = (
    (
        '{"bounds": {"danger": 0.8, "warning": 0.5}, "cnn": {"M": {"calibrated": null, "network": 0.3}}, "cycle_id": '
        '"cycle-20261120T0300", "data_time": "2026-11-20T02:00:00Z", "full_disk": {"C": {"calibrated": 0.4, '
        '"network": 0.7}, "M": {"calibrated": 0.02, "network": 0.2}}, "inputs": [{"age_hours": 6.0, "name": '
        '"magnetogram", "note": "late", "quality": 2147483648, "record": "hmi.M", "status": "stale", "time": '
        '"2026-11-19T21:00:00Z"}], "issue": "2026-11-20T03:00:00Z", "models": [{"name": "defn-c", "version": 3}, '
        '{"name": "defn-m", "version": 4}], "next_issue": "2026-11-20T09:00:00Z", "regions": [{"box": [0.4, 0.4, 0.5,'
        ' 0.5], "harp": [11], "imputed": 3, "lat": -5.0, "lon": 10.0, "noaa": [13579], "number": 1, "probability": '
        '{"C": {"calibrated": 0.4, "network": 0.7}, "M": {"calibrated": 0.02, "network": 0.2}}, "recent_flares": [], '
        '"region": "r1", "remarks": [], "status": "forecast"}, {"box": null, "harp": [], "imputed": null, "lat": 5.0,'
        ' "lon": 80.0, "noaa": [], "number": 2, "probability": {}, "recent_flares": [], "region": "r2", "remarks": '
        '[], "status": "limb"}], "remarks": [], "rung": "imputed", "rung_reason": "AIA 131 is missing", "software": '
        '"0.1", "window_end": "2026-11-21T03:00:00Z", "window_start": "2026-11-20T03:00:00Z"}'
    ),
    (
        '{"cycle_id": "20261120T0900Z", "inputs": [{"age_hours": null, "name": "magnetogram", "note": "no answer", '
        '"quality": null, "record": "hmi.M_720s_nrt", "status": "missing", "time": null}], "issue": '
        '"2026-11-20T09:00:00Z", "next_issue": "2026-11-20T15:00:00Z", "reason": "no data: no magnetogram: no '
        'answer", "software": "0.1"}'
    ),
)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with Ledger(database_url) as opened:
        yield opened


def count(ledger: Ledger) -> dict[str, int]:
    with ledger.engine.connect() as connection:
        return {
            table.name: connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one()
            for table in schema.metadata.sorted_tables
        }


def test_a_forecast_comes_back_as_it_was(ledger: Ledger) -> None:
    assert ledger.record(forecast())
    assert ledger.cycle(ISSUE) == forecast()
    assert ledger.cycle(ISSUE + SIX) is None
    assert ledger.last_issue() == ISSUE


def test_an_outage_comes_back_as_it_was(ledger: Ledger) -> None:
    assert ledger.last_issue() is None
    outage = Outage("cycle-x", ISSUE, "no data: JSOC does not answer", next_issue=ISSUE + SIX)
    assert ledger.record(outage)
    assert list(ledger.cycles(ISSUE, ISSUE + SIX)) == [outage]


def test_rows_of_older_versions_are_read_and_written_alike(ledger: Ledger) -> None:
    missing = InputRecord("magnetogram", "hmi.M_720s_nrt", None, None, None, "no answer", "missing")
    reason = "no data: no magnetogram: no answer"
    outage = Outage("20261120T0900Z", ISSUE + SIX, reason, (missing,), ISSUE + 2 * SIX, "0.1")
    for cycle, stored in zip((forecast(), outage), STORED, strict=True):
        ledger.record(cycle)
        with ledger.engine.connect() as connection:
            asked = select(schema.cycles.c.document).where(schema.cycles.c.issue == cycle.issue)
            written = stored.replace('"network"', '"calibrated_lower": null, "calibrated_upper": null, "network"')
            written = written.replace('"window_end"', '"swpc": {}, "window_end"')
            written = written.replace("{", '{"details": [], ', 1)
            marks = '"calibrated_danger": null, "calibrated_warning": null, '
            written = written.replace('"bounds": {', f'"bounds": {{{marks}')
            assert json.loads(connection.execute(asked).scalar_one()) == json.loads(written)
        assert ledger.cycle(cycle.issue) == cycle
        assert type(cycle).from_json(json.loads(stored)) == cycle


def test_the_same_cycle_again_changes_nothing(ledger: Ledger) -> None:
    ledger.record(forecast())
    before = count(ledger)
    assert not ledger.record(forecast())
    # Neither does an outage, or a forecast under another name, of the same issue time.
    assert not ledger.record(Outage("another", ISSUE, "no data"))
    assert count(ledger) == before
    # One forecast of a region at two thresholds, of the disk at two, of the CNN at one.
    assert (before["cycles"], before["regions"], before["probabilities"]) == (1, 2, 5)


def test_nothing_is_left_of_a_cycle_that_fails_midway(ledger: Ledger) -> None:
    bad = pd.DataFrame({"Area": ["no number"]}, index=[1])
    with pytest.raises(ValueError, match="no number"):
        ledger.record(forecast(), features=bad)
    assert set(count(ledger).values()) == {0}


def test_two_at_once_do_not_double(ledger: Ledger) -> None:
    gate, done = threading.Barrier(4), []

    def run() -> None:
        gate.wait()
        done.append(ledger.record(forecast()))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    assert count(ledger)["cycles"] == 1


def test_two_processes_may_open_an_empty_ledger_at_once(database_url: str) -> None:
    code = "import sys; from kflare.operations.ledger import Ledger; Ledger(sys.argv[1]).close()"
    started = [subprocess.Popen([sys.executable, "-c", code, database_url], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in started] == [b"", b""]
    assert [process.returncode for process in started] == [0, 0]


def test_the_database_refuses_changes(ledger: Ledger) -> None:
    ledger.record(forecast())
    for statement in ("UPDATE cycles SET reason = 'x'", "DELETE FROM probabilities"):
        with pytest.raises(DBAPIError, match="append-only"), ledger.engine.begin() as connection:
            connection.execute(text(statement))
    assert ledger.cycle(ISSUE) == forecast()


def test_features_of_past_cycles(ledger: Ledger) -> None:
    for n in range(3):
        values = pd.DataFrame({"Area": [100.0 + n], "CRMax": [np.nan]}, index=[1])
        ledger.record(forecast(ISSUE + n * SIX), features=values)
    # Observed one hour before the issue: the first two.
    table = ledger.features(ISSUE - SIX, ISSUE + SIX)
    assert list(table["Area"]) == [100.0, 101.0]
    assert table["CRMax"].isna().all()
    assert list(table["region"]) == ["r1", "r1"]
    assert list(table["noaa"]) == [(13579,), (13579,)]
    assert list(table["time"]) == [pd.Timestamp(ISSUE - timedelta(hours=1)), pd.Timestamp(ISSUE + timedelta(hours=5))]
    assert ledger.features(ISSUE + 9 * SIX, ISSUE + 10 * SIX).empty


def test_features_of_a_day_are_found_without_reading_all_cycles(ledger: Ledger) -> None:
    """In the order of issue times SQLite went through the cycles of ten years."""
    asked: list[tuple[str, object]] = []

    def keep(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "features" in statement or "regions" in statement:
            asked.append((statement, parameters))

    if ledger.engine.dialect.name != "sqlite":
        pytest.skip("the plan is that of SQLite")
    event.listen(ledger.engine, "before_cursor_execute", keep)
    ledger.features(ISSUE - SIX, ISSUE)
    event.remove(ledger.engine, "before_cursor_execute", keep)
    assert len(asked) == 2
    with ledger.engine.connect() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            assert any("ix_cycles_data_time" in row[3] for row in plan), plan
            assert not any(row[3].startswith("SCAN") for row in plan), plan


def test_numbers_of_the_regions_of_now_are_found_by_their_names(ledger: Ledger) -> None:
    for n, region in enumerate(("a", "b", "a", "c")):
        ledger.record(forecast(ISSUE + n * SIX, noaa=(13579 + n, 13600), region=region))
    everything = ledger.noaa_numbers()
    assert sorted(everything["noaa"]) == [13579, 13580, 13581, 13582, *4 * [13600]]
    order = ["region", "noaa"]
    expected = everything[everything["region"].isin(["a", "c"])].sort_values(order, ignore_index=True)
    found = ledger.noaa_numbers(regions=["a", "c", "new"]).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)
    assert ledger.noaa_numbers(ISSUE + SIX, regions=["c"]).empty
    assert ledger.noaa_numbers(regions=[]).empty


def test_features_come_back_to_the_last_bit(ledger: Ledger) -> None:
    random = np.random.default_rng(3)
    values = pd.DataFrame(random.lognormal(0, 20, (2, 50)), [2, 1], [f"F{n:02d}" for n in range(50)])
    values.iloc[0, :4] = [0.0, -0.0, np.inf, 5e-324]
    values.iloc[1] = np.nan
    ledger.record(forecast(), features=values)
    table = ledger.features(ISSUE - SIX, ISSUE)
    assert list(table["region"]) == ["r1", "r2"]
    np.testing.assert_array_equal(table[values.columns].to_numpy(), values.loc[[1, 2]].to_numpy())
    with ledger.engine.connect() as connection:
        (size,) = connection.execute(select(func.length(schema.measured.c.features))).one()
    assert size < 100 * 8 + 200  # names included; as rows of their own they were more than 70 bytes each


def test_the_tracker_is_that_of_the_newest_cycle_before(ledger: Ledger) -> None:
    ledger.record(forecast(), tracker={"n": 1})
    ledger.record(Outage("o", ISSUE + SIX, "no data"))
    ledger.record(forecast(ISSUE + 2 * SIX), tracker={"n": 2})
    assert ledger.tracker(ISSUE) is None
    assert ledger.tracker(ISSUE + 2 * SIX) == {"n": 1}
    assert ledger.tracker(ISSUE + 3 * SIX) == {"n": 2}


def test_the_migration_makes_the_tables_of_the_schema(ledger: Ledger) -> None:
    inspected = inspect(ledger.engine)
    assert set(inspected.get_table_names()) == {*schema.metadata.tables, "alembic_version"}
    for table in schema.metadata.sorted_tables:
        made = {column["name"]: column["nullable"] for column in inspected.get_columns(table.name)}
        assert made == {column.name: column.nullable for column in table.columns}
        assert inspected.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_the_first_revision_makes_what_it_always_made() -> None:
    """It reads `schema`: a change of one of its tables must leave the form of 0.1 in the revision."""
    made = "".join(
        str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in schema.metadata.sorted_tables
    )
    assert hashlib.sha256(made.encode()).hexdigest()[:16] == "9b7d2eab4bb8b57d"


def test_upgrading_an_up_to_date_ledger_changes_nothing(ledger: Ledger, database_url: str) -> None:
    assert upgrade_database(database_url) == ("0001", "0001")


def test_another_versions_ledger_is_refused(database_url: str) -> None:
    Ledger(database_url).close()
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SettingError, match="is of schema 9999, this kflare writes 0001"):
        Ledger(database_url)
    with pytest.raises(SettingError, match="is of schema 9999, newer than this kflare's 0001: use the kflare that"):
        upgrade_database(database_url)


def test_a_monitor_loads_little_and_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Ledger(url) as ledger:
        ledger.record(forecast())
    (tmp_path / "kflare.toml").write_text(
        f'[ledger]\nurl = "{url}"\n[log]\npath = "logs/events"\n'
        '[server]\naddress = "127.0.0.1:1"\ntimeout_seconds = 600\n'
    )
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code = (
        "import sys; from kflare.commands.forecast import main; code = main(sys.argv[1:]); "
        "print([name for name in ('tensorflow', 'pandas', 'alembic', 'scipy') if name in sys.modules]); sys.exit(code)"
    )
    given = ["--settings", str(tmp_path / "kflare.toml"), "--status", "--now", "2026-11-20T04:00"]
    line = [sys.executable, "-c", code, *given]
    # Within the minute: a server that is away is asked once, and not for the ten minutes that a forecast may wait.
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("}\n[]\n")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/name", "must be of sqlite or postgresql, got mysql"),
        ("sqlite:////nowhere/at/all/ledger.sqlite", "unable to open database file"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/kflare", "cannot be used: connection"),
        ("no url", "cannot be used"),
        ("sqlite:///\ud800", "cannot be used"),
        ("sqlite:///\0", "cannot be used"),
        ("sqlite:///x?timeout=long", "cannot be used"),
        ("sqlite:///x?colour=red", "cannot be used"),
        ("postgresql+psycopg://h:port/x", "cannot be used"),
        ("postgresql+psycopg://[::1/x", "cannot be used"),
    ],
)
def test_unusable_databases(url: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Ledger(url)
