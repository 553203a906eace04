"""Spans of time that archives are asked for."""

from datetime import UTC, datetime, timedelta

from kflare.errors import SettingError
from kflare.sun.times import in_utc

__all__ = ["in_hours", "require_span", "slots"]

_SHORTEST = timedelta(minutes=1)


def require_span(since: datetime, until: datetime) -> None:
    """Raise SettingError if a time has no zone, or `until` is not later."""
    if not in_utc(since, "since") < in_utc(until, "until"):
        raise SettingError(f"`until` must be later than `since`, got {since:%FT%H:%MZ} to {until:%FT%H:%MZ}")


def slots(since: datetime, until: datetime, cadence: timedelta) -> list[datetime]:
    """Times from `since` (included) to `until` (excluded) in steps of `cadence`, UTC.

    SettingError if a time has no zone, `until` is not later, or the cadence is below a minute.
    """
    if cadence < _SHORTEST:
        raise SettingError(f"`cadence` must be at least a minute, got {cadence}")
    require_span(since, until)
    return [since.astimezone(UTC) + step * cadence for step in range(-((since - until) // cadence))]


def in_hours(span: timedelta) -> str:
    """A length of time for messages, such as "12 h"."""
    return f"{span.total_seconds() / 3600:g} h"
