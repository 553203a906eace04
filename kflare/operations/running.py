"""Running cycles: one, or all of a schedule, with what was missed recorded."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from kflare.errors import KflareError, LedgerError
from kflare.operations.clock import Clock, ClockCheck, latest_issue, next_issue, too_late
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Cycle, cycle_name
from kflare.operations.ledger import Ledger
from kflare.operations.publish.publishers import publish_cycle
from kflare.operations.records import utc_text
from kflare.operations.settings import ForecastSettings
from kflare.operations.unrecorded import kept_path, record_kept

_NAP: Final = 60.0  # The longest sleep: after it the clock is looked at again.


@dataclass(frozen=True)
class CycleResult:
    """What a run ended with, what could not be published, and where the cycle is kept if the ledger is away."""

    cycle: Cycle
    unpublished: list[str]
    kept: Path | None = None


def run_once(
    issue: datetime, settings: ForecastSettings, *, ledger: Ledger, log: EventLog, now: datetime, past: bool = False
) -> CycleResult:
    """Run the cycle of an issue and publish it; run again, it changes nothing in the ledger and publishes again."""
    from kflare.operations.cycle import run_cycle

    own = log.of_cycle(cycle_name(issue))
    record_kept(settings, ledger=ledger, log=log)
    cycle = run_cycle(issue, settings, ledger=ledger, log=own, now=now, past=past)
    kept = kept_path(settings, issue)
    if kept.exists():
        return CycleResult(cycle, publish_cycle(cycle, settings, ledger, own), kept)
    return CycleResult(cycle, publish_and_newest(cycle, settings, ledger, own, now=now))


def publish_and_newest(
    cycle: Cycle, settings: ForecastSettings, ledger: Ledger, log: EventLog, *, now: datetime
) -> list[str]:
    """Publish a cycle, and the newest one after it if it is another: one that is made up for is not the current one."""
    failures = publish_cycle(cycle, settings, ledger, log)
    newest = ledger.last_issue(max(now, ledger.last_observed() or now))
    if newest is not None and newest > cycle.issue and (latest := ledger.cycle(newest)):
        return publish_cycle(latest, settings, ledger, log)
    return failures


def open_ledger(settings: ForecastSettings, *, log: EventLog) -> Ledger:
    """The ledger of the settings, waited for as long as its database does not answer."""
    while True:
        try:
            return Ledger(settings.ledger.url)
        except LedgerError as error:
            log("failed", reason=str(error))
            Clock().sleep(_NAP)


def run_schedule(
    settings: ForecastSettings, *, ledger: Ledger, log: EventLog, clock: Clock | None = None,
    keep_running: Callable[[], bool] = lambda: True
) -> None:  # fmt: skip
    """Run every cycle of the schedule at its time, without end.

    After a sleep one within the grace time is run, and the first that observes anything records those that were missed.
    A ledger that is away is waited for: what was computed in the meantime is kept, recorded and published anew. A clock
    that leaps stops the forecasts until it has run evenly for ten minutes. Another `clock` than the machine's replays
    the past; `keep_running` is asked at least once a minute, and False ends it.
    """
    clock = clock or Clock()
    check = ClockCheck(clock)
    hours = settings.schedule.hours
    announced = None
    while keep_running():
        leap = check.leap()
        now = clock.now()
        issue = latest_issue(hours, now)
        if leap is not None:
            log("clock leapt", seconds=leap.total_seconds())
            clock.sleep(_NAP)
            continue
        try:
            for cycle in record_kept(settings, ledger=ledger, log=log)[-1:]:
                publish_and_newest(cycle, settings, ledger, log.of_cycle(cycle.cycle_id), now=now)
            if not too_late(issue, settings, now) and not (
                ledger.was_run(issue) or kept_path(settings, issue).exists()
            ):
                run_once(issue, settings, ledger=ledger, log=log, now=now)
                continue
        except (KflareError, OSError) as error:  # no ledger, or no space left: both may pass within the grace time
            log("failed", issue=utc_text(issue), reason=str(error))
            clock.sleep(_NAP)
            continue
        due = next_issue(hours, now)
        if due != announced:
            log("waiting", until=utc_text(due))
            announced = due
        clock.sleep(min(_NAP, max(0.0, (due - clock.now()).total_seconds())))
