"""Running cycles: one, or all of a schedule, with what was missed recorded."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from kflare import __version__
from kflare.errors import KflareError
from kflare.operations.cycle import run_cycle
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Forecast, Outage, cycle_name, utc_text
from kflare.operations.ledger import Ledger
from kflare.operations.publish.publishers import publish_cycle
from kflare.operations.schedule import issue_times, latest_issue, next_issue
from kflare.operations.settings import ForecastSettings

__all__ = ["Clock", "ClockCheck", "CycleResult", "record_missed", "run_once", "run_schedule"]

# The longest sleep: after it the clock is looked at again.
_NAP: Final = 60.0
# A clock that leaps by more than this, against the machine's own count of seconds, is not used at once ...
_LEAP: Final = timedelta(minutes=5)
# ... but after it has run evenly for this long.
_EVEN: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class CycleResult:
    """What a run ended with, and what could not be published."""

    cycle: Forecast | Outage
    unpublished: list[str]


def run_once(
    issue: datetime, settings: ForecastSettings, *, ledger: Ledger, log: EventLog, now: datetime
) -> CycleResult:
    """Run the cycle of an issue and publish it; run again, it changes nothing in the ledger and publishes again."""
    own = log.of_cycle(cycle_name(issue))
    cycle = run_cycle(issue, settings, ledger=ledger, log=own, now=now)
    return CycleResult(cycle, publish_cycle(cycle, settings, ledger, own))


def record_missed(settings: ForecastSettings, *, ledger: Ledger, log: EventLog, now: datetime) -> list[Outage]:
    """Record an outage for every issue time since the last cycle that is too long ago to be run now.

    Issue times up to `schedule.grace_minutes` before `now` can still be run. In an empty ledger nothing was missed.
    """
    last = ledger.last_issue()
    if last is None:
        return []
    recorded = []
    for issue in issue_times(settings.schedule.hours, last, now - timedelta(minutes=settings.schedule.grace_minutes)):
        outage = Outage(
            cycle_name(issue),
            issue,
            "not run: the machine or the schedule was not running at the time",
            next_issue=next_issue(settings.schedule.hours, issue),
            software=__version__,
        )
        if ledger.record(outage, recorded=now):
            log.of_cycle(outage.cycle_id)("missed", issue=utc_text(issue))
            recorded.append(outage)
    return recorded


class Clock:
    """The machine's clock, and its count of seconds, which also runs while the machine sleeps and which nobody sets."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    def count(self) -> float:
        """Seconds since some moment."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class ClockCheck:
    """Compares the clock with the count of seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor = self._offset()
        self._even: tuple[float, float] | None = None  # count and offset since when it has run evenly after a leap

    def leap(self) -> timedelta | None:
        """How far the clock has leapt, until it has run evenly again for long enough; else None."""
        offset, count = self._offset(), self._clock.count()
        if abs(offset - self._anchor) <= _LEAP.total_seconds():
            self._even = None
            return None
        if self._even is None or abs(offset - self._even[1]) > _LEAP.total_seconds():
            self._even = (count, offset)
        if count - self._even[0] >= _EVEN.total_seconds():
            self._anchor, self._even = offset, None
            return None
        return timedelta(seconds=offset - self._anchor)

    def _offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.count()


def run_schedule(
    settings: ForecastSettings,
    *,
    ledger: Ledger,
    log: EventLog,
    clock: Clock | None = None,
    keep_running: Callable[[], bool] = lambda: True,
) -> None:
    """Run every cycle of the schedule at its time, without end.

    After a sleep the issue times that passed are recorded as missed, and one within the grace time is run. A clock that
    leaps stops the forecasts until it has run evenly for ten minutes. Another `clock` than the machine's replays the
    past; `keep_running` is asked at least once a minute, and False ends it.
    """
    clock = clock or Clock()
    check = ClockCheck(clock)
    hours = settings.schedule.hours
    grace = timedelta(minutes=settings.schedule.grace_minutes)
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
            record_missed(settings, ledger=ledger, log=log, now=now)
            if now - issue <= grace and ledger.cycle(issue) is None:
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
