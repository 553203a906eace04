"""The ledger may be away, and the clock may be wrong: nothing is lost, nothing is recorded for a time to come."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from sqlalchemy import Engine, create_engine, event, text

from kflare.commands import forecast as command
from kflare.commands import verify
from kflare.errors import DataError, LedgerError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import windows_told
from kflare.operations import database
from kflare.operations.clock import clock_doubt
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Forecast, Outage
from kflare.operations.ledger import Ledger
from kflare.operations.publish.latest import read_latest
from kflare.operations.running import run_once, run_schedule
from kflare.operations.settings import (
    ForecastSettings,
    LedgerSettings,
    LogSettings,
    ServerSettings,
    as_toml,
)
from kflare.operations.unrecorded import keep_cycle, kept_path, record_kept
from kflare.synthetic.sun import SyntheticSun

from .replay import SimulatedClock
from .test_ledger import forecast
from .world import HOUR, World

START = datetime(2014, 3, 1, tzinfo=UTC)
ISSUE = START + timedelta(days=2, hours=3)
SIX = 6 * HOUR
DAYS_30 = timedelta(days=30)


@pytest.fixture(scope="module")
def sun() -> SyntheticSun:
    return SyntheticSun(START, 6, seed=5, activity=1.5)


@pytest.fixture
def world(sun: SyntheticSun) -> Iterator[World]:
    with World(sun, size=64) as there:
        there.tell(ISSUE)
        yield there


@pytest.fixture
def settings(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForecastSettings:
    """No models and no magnetogram: the flares of the feed are enough for a forecast by statistics."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    away = ServerSettings(address="127.0.0.1:1", timeout_seconds=0.5)
    return replace(world.settings(tmp_path, server="x"), server=away)


def events(settings: ForecastSettings) -> list[dict]:
    return [json.loads(line) for line in Path(settings.log.path).read_text().splitlines()]


def run(settings: ForecastSettings, ledger: Ledger, issue: datetime = ISSUE, **now: datetime):
    log = EventLog(settings.log.path)
    return run_once(issue, settings, ledger=ledger, log=log, past=True, **{"now": issue + HOUR / 60, **now})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program keeps the database to itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No page more fits into the database, as on a disk of its own that is full."""
    pragma = "max_page_count"
    with closing(sqlite3.connect(path)) as other:
        (pages,) = other.execute("PRAGMA page_count").fetchone()

    @event.listens_for(Engine, "connect")
    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA {pragma} = {pages}")

    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


@pytest.mark.parametrize("trouble", [locked, full])
def test_a_cycle_is_kept_and_recorded_when_the_ledger_is_back(settings: ForecastSettings, trouble, tmp_path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(settings.ledger.url) as ledger:
        run(settings, ledger, ISSUE - SIX)
        with trouble(path):
            ledger.engine.dispose()
            with pytest.raises(LedgerError, match=r"locked|full|disk I/O"):
                ledger.record(forecast(), tracker={"x": "y" * 100_000})
            done = run(settings, ledger)
        assert isinstance(done.cycle, Forecast)
        assert done.kept == kept_path(settings, ISSUE)
        assert ledger.cycle(ISSUE) is None
        ledger.engine.dispose()
        # Asked again, it is the same one; it is recorded first, once.
        again = run(settings, ledger)
        assert (again.cycle, again.kept) == (done.cycle, None)
        assert ledger.cycle(ISSUE) == done.cycle
        assert not kept_path(settings, ISSUE).exists()
        assert ledger.faults() == []
        assert [one["event"] for one in events(settings)].count("recorded late") == 1
        # The flares that could not be taken are in the next feed.
        run(settings, ledger, ISSUE + SIX)
        window = pd.Series(pd.DatetimeIndex([ISSUE - SIX])), pd.Series(pd.DatetimeIndex([ISSUE - 4 * HOUR]))
        assert windows_told(*window, ledger.flares(ISSUE - timedelta(days=6), ISSUE - 4 * HOUR).covered).all()


def test_a_ledger_that_is_removed_at_work_is_missed(settings: ForecastSettings, tmp_path: Path) -> None:
    path, aside = tmp_path / "ledger.sqlite", tmp_path / "aside.sqlite"
    with Ledger(settings.ledger.url) as ledger:
        run(settings, ledger, ISSUE - SIX)
        path.rename(aside)
        with pytest.raises(LedgerError, match=r"ledger\.sqlite` is gone"):
            ledger.record(forecast())
        assert not path.exists()
        # One that is put in its place is the one that is written to.
        aside.rename(path)
        run(settings, ledger)
    with Ledger(settings.ledger.url) as ledger:
        assert ledger.was_run(ISSUE)
        assert ledger.faults() == []


@pytest.mark.parametrize("most", [0, 1, 512, 4096])
def test_a_ledger_that_could_not_be_begun_is_begun_later(tmp_path: Path, most: int) -> None:
    opening = f"""
import resource, signal, sys
from kflare.operations.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
try:
    Ledger("sqlite:///{tmp_path}/ledger.sqlite")
except Exception as error:
    sys.exit(type(error).__name__)
"""
    ended = subprocess.run([sys.executable, "-c", opening], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "LedgerError"
    with Ledger(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        assert ledger.record(forecast())


def test_a_cycle_that_is_made_up_for_is_not_the_current_one(settings: ForecastSettings, tmp_path: Path) -> None:
    def current() -> str:
        return read_latest((tmp_path / "site" / "latest.json").read_text()).cycle_id

    with Ledger(settings.ledger.url) as ledger:
        newest = run(settings, ledger).cycle.cycle_id
        before = run(settings, ledger, ISSUE - SIX, now=ISSUE + HOUR / 60).cycle.cycle_id
    assert current() == newest != before
    assert f"{ISSUE - SIX:%H:%M}" in (tmp_path / "site" / "recent.html").read_text()


def test_features_and_tracker_are_kept_too(settings: ForecastSettings) -> None:
    features = pd.DataFrame({"Area": [100.5], "CRMax": [float("nan")]}, index=[1])
    keep_cycle(settings, forecast(ISSUE), features=features, tracker={"n": 1})
    (settings.data.folder / "unrecorded" / "20000101T0000Z.json").write_text("{}")
    with Ledger(settings.ledger.url) as ledger:
        assert record_kept(settings, ledger=ledger, log=EventLog(settings.log.path)) == [forecast(ISSUE)]
        assert ledger.tracker(ISSUE + SIX) == {"n": 1}
        table = ledger.features(ISSUE - SIX, ISSUE)
    assert (table["Area"].tolist(), table["CRMax"].isna().all()) == ([100.5], True)
    # What cannot be read stays, set aside, and is named.
    assert (settings.data.folder / "unrecorded" / "20000101T0000Z.damaged").exists()
    assert "is no cycle that was kept" in events(settings)[0]["reason"]


def test_a_damaged_kept_file_costs_its_cycle_no_run(settings: ForecastSettings) -> None:
    kept = kept_path(settings, ISSUE)
    kept.parent.mkdir(parents=True)
    kept.write_text('{"cycle": {"iss')
    with Ledger(settings.ledger.url) as ledger:
        assert isinstance(run(settings, ledger).cycle, Forecast)
        assert ledger.was_run(ISSUE)


def test_a_restarted_postgresql_costs_nothing(postgresql_url: str) -> None:
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    admin = create_engine(postgresql_url)
    with Ledger(postgresql_url) as ledger:
        ledger.record(forecast())
        with admin.begin() as connection:
            connection.execute(kill)
        assert ledger.record(forecast(ISSUE))
        with pytest.raises(LedgerError, match=r"terminating connection|server closed"):  # noqa: SIM117, PT012
            with database.transaction(ledger.engine, write=True) as connection, admin.begin() as other:
                other.execute(kill)
                connection.execute(text("SELECT 1"))
        assert ledger.cycle(ISSUE) == forecast(ISSUE)
    admin.dispose()


def test_the_schedule_waits_for_its_ledger(settings: ForecastSettings, tmp_path: Path) -> None:
    """Locked at the first issue time and back after an hour; the second is run as always."""
    path, clock = tmp_path / "ledger.sqlite", SimulatedClock(ISSUE - HOUR / 6)
    with Ledger(settings.ledger.url) as ledger:
        run(settings, ledger, ISSUE - SIX)
    lock = sqlite3.connect(path, isolation_level=None)

    def tick(now: datetime) -> None:
        if now > ISSUE - HOUR / 12 and not lock.in_transaction and now < ISSUE + HOUR:
            lock.execute("BEGIN IMMEDIATE")
        elif now > ISSUE + HOUR and lock.in_transaction:
            lock.execute("ROLLBACK")

    clock.tick = tick
    log = EventLog(settings.log.path)
    with Ledger(settings.ledger.url) as ledger:
        until = ISSUE + SIX + HOUR
        run_schedule(settings, ledger=ledger, log=log, clock=clock, keep_running=lambda: clock.now() < until)
        assert [type(cycle) for cycle in ledger.cycles(ISSUE - SIX, until)] == [Forecast] * 3
        assert ledger.faults() == []
    names = [one["event"] for one in events(settings)]
    assert (names.count("kept"), names.count("recorded late"), names.count("forecast")) == (1, 1, 3)
    lock.close()


def test_once_says_it_in_one_line(settings: ForecastSettings, tmp_path: Path, capsys) -> None:
    (tmp_path / "kflare.toml").write_text(as_toml(settings))
    times = ["--settings", str(tmp_path / "kflare.toml"), "--issue", f"{ISSUE:%FT%T}", "--now", f"{ISSUE:%FT%T}"]
    Ledger(settings.ledger.url).close()
    with locked(tmp_path / "ledger.sqlite"):
        assert command.main([*times, "--once"]) == 7
        assert f"not recorded, the ledger is away: kept in {kept_path(settings, ISSUE)}" in capsys.readouterr().out
    assert command.main([*times, "--once"]) == 4
    # Neither is there a place for observations: what is left are the flares that are known.
    later = [*times[:2], "--once", "--issue", f"{ISSUE + SIX:%FT%T}", "--now", f"{ISSUE + SIX:%FT%T}"]
    shutil.rmtree(settings.data.folder)
    settings.data.folder.write_text("a file")
    assert command.main(later) == 4  # and of those there is no list
    said = capsys.readouterr().out
    assert "no forecast: no data: no magnetogram; event statistics needs a list" in said
    assert "in full: no magnetogram: cannot write to `20140303T0900Z`: Not a dir" in said
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    assert command.main([*times, "--once"]) == 1
    assert "ledger.sqlite` cannot be used: file is not a database" in capsys.readouterr().err


def test_a_full_disk_of_observations_leaves_the_statistics(
    world: World, settings: ForecastSettings, tmp_path: Path, postgresql_url: str
) -> None:
    """No file can grow beyond 1 kB, as on a full disk; the ledger has a disk of its own."""
    flares = tmp_path / "flares.csv"
    world.sun.flares.table.to_csv(flares, index=False)
    settings = replace(
        settings,
        data=replace(settings.data, flares=flares),
        ledger=LedgerSettings(postgresql_url),
        log=LogSettings("-"),
    )
    (tmp_path / "kflare.toml").write_text(as_toml(settings))
    world.observe(ISSUE - HOUR)
    on_full_disk = """
import resource, signal, sys
from kflare.commands.forecast import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sys.exit(main(sys.argv[1:]))
"""
    times = ["--issue", f"{ISSUE:%FT%T}", "--now", f"{ISSUE:%FT%T}"]
    given = [sys.executable, "-c", on_full_disk, "--settings", str(tmp_path / "kflare.toml"), "--once", *times]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr  # nor can a page be published
    assert "rung: event statistics (no magnetogram)" in done.stdout
    assert "in full: no magnetogram: " in done.stdout
    with Ledger(postgresql_url) as ledger:
        notes = {record.name: record.note for record in ledger.cycle(ISSUE).inputs}
    for name in ("magnetogram", "goes_xrays"):
        assert "cannot be written: File too large; free space or choose another folder" in notes[name]
        assert str(tmp_path) not in notes[name]  # it is published


# -- the clock -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--now", "--issue"])
@pytest.mark.parametrize("time", ["0001-01-01", "9999-12-31T23:59", "0001-01-01T00:00+05:00"])
def test_a_time_beyond_the_calendars_reckoning_is_wrong_usage(option: str, time: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--once", option, time])
    assert "is no date: write it as" in capsys.readouterr().err


def test_a_clock_30_days_ahead_records_nothing(settings: ForecastSettings, tmp_path: Path, capsys) -> None:
    (tmp_path / "kflare.toml").write_text(as_toml(settings))
    once = ["--settings", str(tmp_path / "kflare.toml"), "--once", "--now"]
    for recorded in (0, 1):  # an empty ledger, and one with a cycle
        assert command.main([*once, f"{ISSUE + DAYS_30:%FT%T}"]) == 1
        assert "the clock cannot be right: it says 2014-04-02T03:00:00Z" in capsys.readouterr().err
        # Nor are today's feeds kept for that day's.
        assert not settings.data.issue_folder(ISSUE + DAYS_30).exists()
        with Ledger(settings.ledger.url) as ledger:
            assert len(list(ledger.cycles(START, ISSUE + 2 * DAYS_30))) == recorded
            assert not ledger.flares(ISSUE, ISSUE + 2 * DAYS_30).covered
        assert command.main([*once, f"{ISSUE:%FT%T}"]) == 3
    with Ledger(settings.ledger.url) as ledger:
        assert ledger.faults() == []


def test_what_was_missed_is_recorded_as_far_as_data_prove(world: World, settings: ForecastSettings) -> None:
    with Ledger(settings.ledger.url) as ledger:
        run(settings, ledger)
        # Nothing is seen after three days of sleep: neither was anything missed.
        world.swpc.fail(".", "reset")
        later = ISSUE + timedelta(days=3)
        with pytest.raises(DataError, match="wait until something is observed"):
            run(settings, ledger, later)
        assert len(list(ledger.cycles(START, later + SIX))) == 1
        world.swpc.faults.clear()
        world.tell(later)
        run(settings, ledger, later)
        cycles = list(ledger.cycles(START, later + SIX))
        assert [cycle.issue for cycle in cycles] == [ISSUE + n * SIX for n in range(13)]
        assert [cycle.reason[:7] for cycle in cycles if isinstance(cycle, Outage)] == ["not run"] * 11
        # One of them is run after all, and takes its place.
        missed = ISSUE + 5 * SIX
        assert isinstance(run(settings, ledger, missed, now=later + HOUR).cycle, Forecast)
        assert isinstance(ledger.cycle(missed), Forecast)
        assert len(list(ledger.cycles(START, later + SIX))) == 13
        assert ledger.faults() == []


@pytest.mark.parametrize(
    ("now", "newest", "last", "right"),
    [
        (0, None, None, True),  # nothing to hold it against
        (0, -1, None, True),
        (0, -20, None, False),
        (0, -20, -6, True),  # the feed stands still, the office does not
        (0, -720, -720, False),
        (0, None, -720, False),
        (0, -1, -720, True),  # a month of holidays
        (0, -1, 720, True),  # a ledger in which the future was burnt
        (0, None, 720, False),
        (0, 720, 720, False),  # a clock that is behind
        (0, 720, None, True),  # the past, forecast into a ledger of its own
        (0, 720, -6, True),
        (0, 720, -100, True),
    ],
)
def test_when_a_clock_can_be_right(now: int, newest: int | None, last: int | None, right: bool) -> None:
    known = {
        name: None if hours is None else ISSUE + hours * HOUR for name, hours in (("newest", newest), ("last", last))
    }
    doubt = clock_doubt(ISSUE + now * HOUR, ForecastSettings(), **known)
    assert (doubt is None) == right


def test_a_clock_some_hours_slow_never_makes_the_cycle_before_the_current_one(
    world: World, settings: ForecastSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is 09:05 UT, and the clock says 05:00: 03 UT would be the latest issue time."""
    (tmp_path / "kflare.toml").write_text(as_toml(settings))
    given = ["--settings", str(tmp_path / "kflare.toml")]
    slow = ["--now", f"{ISSUE + 2 * HOUR:%FT%T}"]

    def current() -> str:
        return read_latest((tmp_path / "site" / "latest.json").read_text()).cycle_id

    def refused(*options: str) -> str:
        before = {path: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}
        assert command.main([*given, *options, *slow]) == 1
        assert {path: path.read_bytes() for path in before} == before
        *_, line = capsys.readouterr().err.splitlines()  # before it stands, for --once, how late it is by that clock
        assert line.startswith("kflare.forecast: the clock cannot be right: it says 2014-03-03T05:00:00Z, but ")
        return line

    with Ledger(settings.ledger.url) as ledger:
        first = run(settings, ledger).cycle
        # 09 UT has not been run: what was seen proves that it is past, also if 03 UT is in the ledger already.
        world.tell(ISSUE + SIX + HOUR / 12)
        assert "an observation is of 2014-03-03T08:55:00Z; nothing was recorded or published: set" in refused("--once")
        newest = run(settings, ledger, ISSUE + SIX).cycle.cycle_id
        # It has been run: the ledger proves it, without anything to be seen.
        world.swpc.fail(".", "reset")
        for option in ("--once", "--publish"):
            assert "the ledger holds a cycle of 2014-03-03T09:00:00Z" in refused(option)
        capsys.readouterr()
        assert command.main([*given, "--status", *slow]) == 1
        found = json.loads(capsys.readouterr().out)
        assert (found["state"], "cycle of 2014-03-03T09:00:00Z" in found["clock"]) == ("clock", True)
        # Who names the issue time means the past; it is made, and is not the current one.
        world.swpc.faults.clear()
        for option in ("--once", "--publish"):
            assert command.main([*given, option, *slow, "--issue", f"{ISSUE:%FT%T}"]) == 3
            assert current() == newest
        missed = ISSUE - SIX
        assert command.main([*given, "--once", *slow, "--issue", f"{missed:%FT%T}"]) == 3
        assert current() == newest
        # Made with the forecast of 09 UT in the ledger, and observations of 08:55.
        assert "made up for: 12.0 h after its issue time" in ledger.cycle(missed).remarks
        assert not any("made up for" in remark for remark in first.remarks)


def test_a_schedule_under_a_slow_clock_issues_nothing(world: World, settings: ForecastSettings) -> None:
    world.tell(ISSUE + 4 * HOUR)
    clock = SimulatedClock(ISSUE - HOUR / 60)
    log = EventLog(settings.log.path)
    with Ledger(settings.ledger.url) as ledger:
        run_schedule(
            settings, ledger=ledger, log=log, clock=clock, keep_running=lambda: clock.now() < ISSUE + HOUR / 12
        )
        assert list(ledger.cycles(START, ISSUE + SIX)) == []
    assert "an observation is of 2014-03-03T06:50:00Z" in events(settings)[-1]["reason"]
    assert not settings.data.issue_folder(ISSUE).exists()


def test_a_cycle_that_was_kept_is_not_the_current_one_when_a_newer_is_there(
    settings: ForecastSettings, tmp_path: Path
) -> None:
    with Ledger(settings.ledger.url) as ledger:
        newest = run(settings, ledger).cycle.cycle_id
        keep_cycle(settings, forecast(ISSUE - SIX))
        clock = SimulatedClock(ISSUE + HOUR)
        until = ISSUE + 2 * HOUR
        log = EventLog(settings.log.path)
        run_schedule(settings, ledger=ledger, log=log, clock=clock, keep_running=lambda: clock.now() < until)
        assert ledger.was_run(ISSUE - SIX)
    assert read_latest((tmp_path / "site" / "latest.json").read_text()).cycle_id == newest


# -- files and databases that are not what they should be --------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 511])
def test_a_ledger_cut_short_is_no_new_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(database, "_MAKING_SECONDS", 0.1)
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"S" * size)
    for open_ in (Ledger, database.upgrade_database):
        with pytest.raises(LedgerError, match=rf"holds {size} bytes: there was a ledger before"):
            open_(f"sqlite:///{path}")
    assert path.stat().st_size == size
    path.unlink()
    path.with_name("ledger.sqlite-wal").write_bytes(b"what was written last")
    with pytest.raises(LedgerError, match=r"is gone, but `ledger\.sqlite-wal` is there"):
        Ledger(f"sqlite:///{path}")
    assert not path.exists()


@pytest.mark.parametrize("absent", ["missing", "dangling", "folder"])
@pytest.mark.parametrize(
    "option", [["--status"], ["--verify-ledger"], ["--publish"], ["--upgrade-ledger"], ["verify", "--class", "M"]]
)
def test_who_only_reads_makes_no_ledger(tmp_path: Path, capsys, option: list[str], absent: str) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    path = tmp_path / "ledger.sqlite"
    if absent == "dangling":
        path.symlink_to(folder / "ledger.sqlite")
    elif absent == "folder":
        path = tmp_path / "nowhere" / "ledger.sqlite"
    url = f"sqlite:///{path}"
    (tmp_path / "kflare.toml").write_text(f"[ledger]\nurl = {json.dumps(url)}\n")
    before = sorted(tmp_path.rglob("*"))
    if option[0] == "verify":
        assert verify.main(["--ledger", url, *option[1:], "--output", str(tmp_path / "report")]) == 1
    else:
        assert command.main(["--settings", str(tmp_path / "kflare.toml"), *option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert ("is a link to" if absent == "dangling" else "there is no ledger") in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_no_ledger_is_not_begun_and_a_link_to_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "ledger.sqlite", tmp_path / "disk" / "ledger.sqlite"
    link.symlink_to(target)
    with pytest.raises(LedgerError, match=rf"is a link to {target}, which is gone"):
        Ledger(f"sqlite:///{link}")
    assert not target.exists()
    with Ledger(f"sqlite:///{target}") as ledger:
        ledger.record(forecast())
    with Ledger(f"sqlite:///{link}", begin=False) as ledger:
        assert ledger.last_issue() == forecast().issue


def test_another_database_is_no_ledger(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE stars (name TEXT)")
        with pytest.raises(LedgerError, match="there is no ledger `sqlite:///"):
            Ledger(f"sqlite:///{tmp_path / 'other.sqlite'}", begin=False)
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("stars",)]


@pytest.mark.parametrize("cut", [600, 4096, 30_000])
def test_a_torn_ledger_is_an_error_in_one_line(tmp_path: Path, cut: int) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Ledger(url) as ledger:
        ledger.record(forecast())
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(LedgerError, match=r"malformed|not a database|disk I/O"), Ledger(url) as ledger:
        ledger.faults()


def test_a_ledger_on_a_disk_that_cannot_be_written_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.record(forecast())
    (tmp_path / "kflare.toml").write_text("")
    before = sorted(tmp_path.iterdir())
    # Root may write everywhere: the file system itself says no, which is what kflare asks.
    asked = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and asked(path, mode))
    for mode in (0o444, 0o644):
        path.chmod(mode)
        given = ["--settings", str(tmp_path / "kflare.toml"), "--now", "2026-11-20T04:00"]
        assert command.main([*given, "--status"]) == 0
        assert '"cycle": "cycle-20261120T0300"' in capsys.readouterr().out
        assert command.main([*given[:2], "--verify-ledger"]) == 0
        assert verify.main(["--ledger", f"sqlite:///{path}", "--class", "M", "--output", str(tmp_path / "r")]) == 1
        assert "forecasts wait for that" in capsys.readouterr().err
        with Ledger(f"sqlite:///{path}") as ledger, pytest.raises(LedgerError, match="readonly"):
            ledger.record(forecast(ISSUE))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("setting", "value"),
    [("datestyle", "'SQL, MDY'"), ("datestyle", "'German'"), ("timezone", "'Asia/Kolkata'"),
     ("extra_float_digits", "-10"), ("client_encoding", "'LATIN1'"),
     ("default_transaction_isolation", "'serializable'"), ("synchronous_commit", "off"),
     ("standard_conforming_strings", "off")],
)  # fmt: skip
def test_a_databases_own_settings_change_nothing(postgresql_url: str, setting: str, value: str) -> None:
    admin = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f'ALTER DATABASE "{name}" SET {setting} TO {value}'))
    admin.dispose()
    odd = replace(forecast(), rung_reason="a \\ and a – 1/3", cnn={"M": replace(forecast().cnn["M"], network=1 / 3)})
    with Ledger(postgresql_url) as ledger:
        with ledger.engine.connect() as connection:
            asked = [connection.execute(text(f"SHOW {name}")).scalar() for name in ("synchronous_commit", "timezone")]
        assert asked == ["on", "UTC"]
        ledger.record(odd, features=pd.DataFrame({"Area": [1 / 3]}, index=[1]))
        assert ledger.cycle(odd.issue) == odd
        assert ledger.features(odd.data_time, odd.issue)["Area"].tolist() == [1 / 3]
        assert ledger.faults() == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_is_refused(postgresql_url: str, encoding: str) -> None:
    admin = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    name = f"odd_{encoding.lower()}_{os.getpid()}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"))
    try:
        url = admin.url.set(database=name).render_as_string(hide_password=False)
        with pytest.raises(SettingError, match=f"must be UTF8, got {encoding}"):
            Ledger(url)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()


SECRET = "s3cr3t/p@ss"
URLS = (
    "postgresql+psycopg://kflare:{}@127.0.0.1:1/x", "postgresql+psycopg2://kflare:{}@127.0.0.1:1/x",
    "postgresql+nodriver://kflare:{}@h/x", "postgresql+psycopg://kflare:{}@h:port/x", "postgresql:/kflare:{}@h/x",
    "kflare:{}@h", "postgresql+psycopg://127.0.0.1:1/x?password={}", "mysql://kflare:{}@h/x",
    "sqlite:///x.sqlite?password={}", "postgresql+psycopg://kflare:{}@127.0.0.1:1/x?connect_timeout=many",
    *(f"postgresql+psycopg://127.0.0.1:1/x?{query}" for query in (
        "options=-c password={}", "options=-c%20password%3D{}", "options=-cpassword%3D{}", "passfile={}",
        "sslpassword={}", "p%61ssword={}", "password=s3cr3t%27%20p@ss", "password='s3cr3t p@ss'", "options={}",
        "options=-c%20kflare.key%3D{}", "connect_timeout=1&options=a&options={}", "nonsense={}",
        "nonsense=s3cr3t%20p@ss", "sslmode=verify-full&sslkey={}", "scram_client_key={}",
    )),
    "postgresql+psycopg:///host=127.0.0.1 port=1 password={}", "postgresql+psycopg:///port%3D1%20password%3D{}",
    "postgresql+nodriver://h/x?options=-c password={}", "sqlite:///x.sqlite?options=-c password={}",
)  # fmt: skip


@pytest.mark.parametrize("password", ["p@h:s3cr3t", "p@s3cr3t", "p@[s3cr3t", "p@h/s3cr3t", "p@127.0.0.1:1/s3cr3t"])
def test_a_password_with_an_unescaped_at_is_refused_unread(password: str) -> None:
    with pytest.raises(SettingError, match=r"must have one @: write %40") as refused:
        Ledger(f"postgresql+psycopg://kflare:{password}@127.0.0.1/x")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("url", URLS)
def test_no_password_reaches_a_message_or_the_log(tmp_path: Path, capsys, url: str) -> None:
    given = url.format(SECRET)
    (tmp_path / "kflare.toml").write_text(f"[ledger]\nurl = {json.dumps(given)}\n[log]\npath = 'events.log'\n")
    for option in ("--status", "--once", "--upgrade-ledger", "--verify-ledger"):
        assert command.main(["--settings", str(tmp_path / "kflare.toml"), option]) == 1
    assert verify.main(["--ledger", given, "--class", "M", "--output", str(tmp_path / "report")]) == 1
    out = capsys.readouterr()
    said = out.out + out.err
    assert "s3cr3t" not in said
    assert "p@ss" not in said
    assert all(line.startswith("kflare.") for line in out.err.splitlines())
    log = EventLog(str(tmp_path / "events.log"))
    log("failed", reason=f"http://me:{SECRET.partition('/')[0]}@proxy/", url=given if "://" in given else "")
    assert "s3cr3t" not in (tmp_path / "events.log").read_text()


@pytest.mark.parametrize(
    "options", ["-c password={}", "-c kflare.x={} -c work_mem=s3cr3t", "{}", "-c search_path={} -x"]
)
def test_what_a_server_repeats_of_a_url_is_hidden_too(postgresql_url: str, capsys, options: str) -> None:
    """PostgreSQL's own messages name the value that it cannot use."""
    url = f"{postgresql_url}&options={quote(options.format(SECRET))}"
    with pytest.raises(LedgerError, match=r"cannot be used: .*FATAL") as refused:
        Ledger(url)
    assert not re.search("s3cr3t|p@ss", str(refused.value))


def test_a_report_does_not_tell_how_its_ledger_is_reached(postgresql_url: str, tmp_path: Path, capsys) -> None:
    url = f"{postgresql_url}&options={quote('-c kflare.key=s3cr3t')}"
    with Ledger(url) as ledger:
        # Two forecasts that nothing followed, and a flare list that covers them.
        for number in range(2):
            ledger.record(forecast(ISSUE + number * SIX))
        table = pd.DataFrame({
            "start": pd.DatetimeIndex([ISSUE]), "peak": pd.NaT, "end": pd.NaT, "goes_class": "M1.0", "flux": 1e-5,
            "noaa": pd.array([13579], dtype="Int64"),
        })  # fmt: skip
        ledger.record_flares(FlareList(table, "test", {}), since=ISSUE, until=ISSUE + DAYS_30, source="test")
    given = ["--ledger", url, "--class", "M", "--output", str(tmp_path / "r"), "--resamples", "10"]
    assert verify.main(given) == 0
    said = "".join(capsys.readouterr()) + "".join(path.read_text() for path in (tmp_path / "r").glob("*.*"))
    assert "postgresql+psycopg://kflare@/kflare_" in said
    assert "s3cr3t" not in said


def test_no_password_of_an_archive_reaches_the_page(world: World, settings: ForecastSettings, tmp_path: Path) -> None:
    def behind(url: str) -> str:
        return url.replace("://", "://office:s3cr3t@")

    data = settings.data
    hidden = {name: behind(getattr(data, name)) for name in ("jsoc_url", "jsoc2_url", "swpc_url", "srs_url")}
    settings = replace(settings, data=replace(data, **hidden, regions_srs=None))
    world.fail(".", "reset")
    with Ledger(settings.ledger.url) as ledger:
        cycle = run(settings, ledger).cycle
        assert "s3cr3t" not in json.dumps(cycle.as_json())
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path


@pytest.mark.timeout(30)
def test_a_file_that_no_waiting_mends_is_refused_at_once(tmp_path: Path) -> None:
    """As a later SQLite may write it: every error was taken for that of a busy file, and asked again for a minute."""
    path = tmp_path / "ledger.sqlite"
    Ledger(f"sqlite:///{path}").close()
    content = bytearray(path.read_bytes())
    content[44:48] = b"\0\0\0\x09"  # the number of the format of the schema
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite` cannot be used: unsupported file format"):
        Ledger(f"sqlite:///{path}")
