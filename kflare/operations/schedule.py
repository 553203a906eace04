"""When forecasts are issued: the times of a schedule, the next one, and which were missed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from kflare.errors import SettingError

__all__ = ["issue_times", "latest_issue", "next_issue"]


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
