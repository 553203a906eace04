"""The schedule: missed issue times, a clock that leaps, a machine that sleeps; and replayed days."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kflare.operations.clock import ClockCheck, record_missed
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Outage
from kflare.operations.ledger import Ledger
from kflare.operations.settings import ForecastSettings

from .replay import Replay, SimulatedClock
from .troubles import TROUBLES

pytestmark = pytest.mark.trains

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_missed_issue_times_are_recorded(tmp_path: Path) -> None:
    settings = ForecastSettings()
    with Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        # The first cycle is the beginning: nothing was missed before it.
        assert record_missed(settings, ledger=ledger, log=EventLog(), now=NOON) == []
        ledger.record(Outage("first", NOON - 9 * HOUR, "no data"))
        missed = record_missed(settings, ledger=ledger, log=EventLog(), now=NOON + 24 * HOUR)
        # 09, 15, 21, 03 and 09 UT; at 12 UT all are more than half an hour ago.
        assert [outage.issue.hour for outage in missed] == [9, 15, 21, 3, 9]
        assert all("not run" in outage.reason for outage in missed)
        assert record_missed(settings, ledger=ledger, log=EventLog(), now=NOON + 24 * HOUR) == []
        # 15 UT can still be run at 15:29.
        assert record_missed(settings, ledger=ledger, log=EventLog(), now=NOON + 27 * HOUR + 29 * MINUTE) == []


def test_a_clock_that_leaps_is_trusted_after_ten_even_minutes() -> None:
    clock = SimulatedClock(NOON)
    trust = ClockCheck(clock)
    assert trust.leap() is None
    clock.leap(3 * HOUR)
    for _ in range(10):
        assert trust.leap() == pytest.approx(3 * HOUR, abs=timedelta(seconds=1))
        clock.sleep(60)
    assert trust.leap() is None
    # Back again, and it is not trusted either.
    clock.leap(-3 * HOUR)
    assert trust.leap() is not None
    # Small corrections are what clocks do.
    other = ClockCheck(clock)
    clock.leap(MINUTE)
    assert other.leap() is None


def test_sleep_is_no_leap() -> None:
    clock = SimulatedClock(NOON)
    trust = ClockCheck(clock)
    clock.suspend(8 * HOUR)
    assert trust.leap() is None
    assert clock.now() == NOON + 8 * HOUR


@pytest.mark.slow
def test_replayed_days(tmp_path: Path, toys: Path, postgresql_url: str) -> None:
    faults = {
        1: "JSOC down",
        2: "model server down",
        3: "new model version",
        4: "disk full at publish",
        5: "clock leaps a day ahead for five minutes",
        7: "machine asleep",  # over 8 too
        9: "flare reclassified",
        10: "ledger stopped",
        11: "ledger locked",
        12: "ledger full",
        13: "once, 30 days ahead",
        14: "forged rows",
        15: "nonsense settings",
    }
    lines = Replay(tmp_path, toys, postgresql_url, days=4, kills=1, size=128, faults=faults).run()
    rows = [line.split("|") for line in lines[2:] if line.startswith("|")]
    outcome = {row[2].strip().partition(":")[0]: row[3].strip() for row in rows}
    counts = [line.partition(" of 16 cycles: ")[::2] for line in lines if " cycles: " in line]
    assert sum(int(number) for number, _ in counts) == 16
    assert {name for _, name in counts} >= {"event statistics", "outage"}
    assert outcome["JSOC down"].startswith("event statistics")
    assert outcome["model server down"].startswith("event statistics")
    assert outcome["machine asleep"].startswith("outage: not run")
    steady = ("new model version", "disk full at publish", "clock leaps a day ahead for five minutes")
    for fault in (*steady, *TROUBLES, "once, 30 days ahead", "forged rows", "nonsense settings"):
        assert outcome[fault].startswith(("imputed", "all features")), (fault, outcome[fault])
