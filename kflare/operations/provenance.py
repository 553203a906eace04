"""What a forecast was made from: models with their versions, observations with their QUALITY and age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from kflare.errors import DataError

__all__ = ["INPUT_STATUSES", "InputRecord", "ModelUse", "check_choice", "check_times", "read_utc", "utc_text"]

INPUT_STATUSES: Final = ("ok", "degraded", "stale", "missing")


@dataclass(frozen=True)
class ModelUse:
    """A model that answered, with the version that did."""

    name: str
    version: int


@dataclass(frozen=True)
class InputRecord:
    """One input of the cycle and what became of it.

    Parameters
    ----------
    name : str
        Such as "HMI magnetogram" or "GOES flare list".
    record : str
        What was used: a JSOC record, a URL, a file; "" if none was.
    time : datetime.datetime or None
        Time of observation, aware, UTC.
    age_hours : float or None
        Issue time minus `time`.
    quality : int or None
        QUALITY as an unsigned 32-bit mask.
    note : str
        For the reader: why it is degraded or missing.
    status : str
        One of `INPUT_STATUSES`.
    """

    name: str
    record: str
    time: datetime | None
    age_hours: float | None
    quality: int | None
    note: str
    status: str

    def __post_init__(self) -> None:
        check_choice("status", self.status, INPUT_STATUSES, of=f"input {self.name!r}")
        check_times(self, "time")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record that `Forecast.as_json` wrote."""
        return cls(**{**values, "time": read_utc(values["time"])})


def utc_text(time: datetime) -> str:
    """ISO 8601 with Z, to the second, and to the microsecond only if there are any: "2026-01-01T03:00:00Z"."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def read_utc(text: str | None) -> datetime | None:
    """The time that `utc_text` wrote; None stays None."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is None else time.astimezone(UTC)  # naive: refused by `check_times`, not guessed


def check_times(record: Any, *names: str) -> None:
    """Refuse with DataError a record whose times, where it has them, are not aware and UTC."""
    for name in names:
        time = getattr(record, name)
        if time is not None and time.utcoffset() != timedelta(0):
            raise DataError(f"`{name}` of {type(record).__name__} must be an aware time in UTC, got {time.isoformat()}")


def check_choice(name: str, value: str, allowed: Sequence[str], *, of: str) -> None:
    """Refuse with DataError a value that is none of those allowed; `of` tells what it belongs to."""
    if value not in allowed:
        raise DataError(f"`{name}` of {of} must be one of {', '.join(allowed)}, got {value!r}")
