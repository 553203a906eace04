"""The clock: the issue times of a schedule, whether it can be right, and which of them passed without a cycle.

A forecast under a wrong issue time could not be taken back, so the present is held against the machine's own count of
seconds, the newest observation and the newest record.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from kflare import __version__
from kflare.errors import SettingError
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Outage, cycle_name
from kflare.operations.ledger import Ledger
from kflare.operations.records import utc_text
from kflare.operations.settings import ForecastSettings

# A clock that leaps by more than this, against the machine's own count of seconds, is not used at once ...
_LEAP: Final = timedelta(minutes=5)
# ... but after it has run evenly for this long.
_EVEN: Final = timedelta(minutes=10)
_Known = datetime | None


def issue_times(hours: Sequence[float], since: datetime, until: datetime) -> Iterator[datetime]:
    """Every issue time after `since` up to and including `until`, in order.

    `hours` are of the UT day and rising, such as 3, 9, 15, 21 (paper 2, section 2.3); times are aware.
    """
    if not hours:
        raise SettingError("`hours` must hold at least one hour of the day, got none")
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    day = since.replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= until:
        for hour in hours:
            time = day + timedelta(hours=hour)
            if since < time <= until:
                yield time
        day += timedelta(days=1)


def next_issue(hours: Sequence[float], after: datetime) -> datetime:
    """The first issue time later than `after` (aware)."""
    return next(issue_times(hours, after, after + timedelta(days=2)))


def latest_issue(hours: Sequence[float], now: datetime) -> datetime:
    """The last issue time at or before `now` (aware)."""
    *_, last = issue_times(hours, now - timedelta(days=2), now)
    return last


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


def clock_behind(now: datetime, settings: ForecastSettings, *, newest: _Known, last: _Known) -> str | None:
    """Why the clock must be behind: something was seen (`newest`) or run (`last`) at a time to come; else None.

    But a fast clock may have run a cycle of the far future: it proves nothing where what is seen is not newer than now.
    """
    if newest is not None and newest > now + _LEAP:
        proof = f"an observation is of {utc_text(newest)}"
    elif last is not None and last > now + _LEAP and (newest is None or last <= now + _reach(settings)):
        proof = f"the ledger holds a cycle of {utc_text(last)}"
    else:
        return None
    fault = f"the clock cannot be right: it says {utc_text(now)}, but {proof}; nothing was recorded or published"
    return f"{fault}: set the clock, or name the issue time with --issue if the past is meant"


def too_late(issue: datetime, settings: ForecastSettings, now: datetime) -> bool:
    """Whether the grace time of an issue time is over: `--schedule` begins none then, and `--once` makes it up."""
    return now - issue > timedelta(minutes=settings.schedule.grace_minutes)


def late_remark(issue: datetime, settings: ForecastSettings, known: Sequence[_Known]) -> list[str]:
    """What a forecast says that is made after its grace time, as the newest of the times that are `known` proves."""
    newest = max(time for time in known if time is not None)
    text = f"made up for: {(newest - issue).total_seconds() / 3600:.1f} h after its issue time"
    return [text] if too_late(issue, settings, newest) else []


def _reach(settings: ForecastSettings) -> timedelta:
    """Two issue times and the greatest age of data."""
    return timedelta(hours=2 * 24 / len(settings.schedule.hours) + settings.schedule.data_age_last_hours)


def clock_doubt(now: datetime, settings: ForecastSettings, *, newest: _Known, last: _Known) -> str | None:
    """Why the clock cannot be right; None if the newest observation or the `last` cycle that was run speaks for it.

    Either does if it is from within two issue times and the greatest age of data. Without any there is nothing to
    hold the clock against; before the newest observation alone it may be: that is how the past is forecast.
    """
    known = [time for time in (newest, last) if time is not None]
    if not known or any(abs(now - time) <= _reach(settings) for time in known):
        return None
    if now < max(known) and (last is None or now > last):
        return None
    seen, recorded = ("none" if time is None else f"of {utc_text(time)}" for time in (newest, last))
    return (
        f"the clock cannot be right: it says {utc_text(now)}, but the newest observation is {seen} and the newest "
        f"cycle in the ledger {recorded}; nothing was recorded: set the clock, or wait until something is observed"
    )


def record_missed(settings: ForecastSettings, *, ledger: Ledger, log: EventLog, now: datetime) -> list[Outage]:
    """Record an outage for every issue time since the last cycle that is too long ago to be run now.

    Since the last one that observed anything, if there is one: until then all is recorded. `now` must be no later than
    what data prove. Issue times up to `schedule.grace_minutes` before it can still be run. An empty ledger missed none.
    """
    last = ledger.last_observed() or ledger.last_issue(now)
    if last is None:
        return []
    recorded, why = [], "not run: the machine, the schedule or the ledger was not running at the time"
    for issue in issue_times(settings.schedule.hours, last, now - timedelta(minutes=settings.schedule.grace_minutes)):
        following = next_issue(settings.schedule.hours, issue)
        outage = Outage(cycle_name(issue), issue, why, next_issue=following, software=__version__)
        if ledger.record_missed(outage, recorded=now):
            log.of_cycle(outage.cycle_id)("missed", issue=utc_text(issue))
            recorded.append(outage)
    return recorded
