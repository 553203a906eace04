"""How the site writes numbers, times and verdicts."""

from datetime import UTC, datetime, timedelta

from kflare.operations.forecast import Forecast, Probability, forecast_class
from kflare.operations.publish.site_data import Past

__all__ = ["VERDICTS", "age_text", "class_text", "day_text", "span_text", "time_text", "verdict"]

VERDICTS = {
    "hit": "hit",
    "false alarm": "false alarm",
    "miss": "miss",
    "correct null": "correct null",
    "open": "not known yet",
    "none": "no forecast",
}
"""What became of a yes/no forecast, and the words for it."""


def time_text(time: datetime | None) -> str:
    """Date and clock in UTC: "2026-01-01 03:00 UTC"."""
    return "–" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def span_text(start: datetime, end: datetime) -> str:
    """A span in UTC: "2026-01-01 03:00 to 2026-01-02 03:00 UTC"."""
    return f"{start.astimezone(UTC):%Y-%m-%d %H:%M} to {time_text(end)}"


def day_text(time: datetime) -> str:
    """The day in UTC: "2026-01-01"."""
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def age_text(age: timedelta | None) -> str:
    """An age in hours and minutes: "1 h 12 min", "1 h", "12 min"."""
    if age is None:
        return "–"
    minutes = round(age.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    text = " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest or not hours))
    return f"−{text}" if minutes < 0 else text


def class_text(name: str | None) -> str:
    """A forecast maximum class for the reader: "M or above"."""
    return {None: "not known", "M": "M or above", "C": "C"}.get(name, name or "")


def verdict(past: Past, name: str) -> str:
    """What became of the yes/no forecast of a class or above: a key of `VERDICTS`."""
    if not isinstance(past.forecast, Forecast) or name not in past.forecast.full_disk:
        return "none"
    if past.outcome is None or name not in past.outcome.observed:
        return "open"
    yes = _said_yes(past.forecast.full_disk[name], name)
    if past.outcome.observed[name]:
        return "hit" if yes else "miss"
    return "false alarm" if yes else "correct null"


def _said_yes(probability: Probability, name: str) -> bool:
    return forecast_class({name: probability}) == name
