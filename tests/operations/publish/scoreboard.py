"""Single values in the dialects of CCMC's Flare Scoreboard, as others write them too."""

import re
from datetime import UTC, datetime

from kflare.errors import DataError

__all__ = ["read_class", "read_probability", "read_time"]

# 2016-03-22T08:59:56Z, without seconds, with hyphens in the clock (Met Office), with "UT" for the zone (Solar Monitor).
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)[:-](\d\d)(?:[:-](\d\d)(?:\.\d*)?)?(?:Z|UT|UTC)?")


def read_time(text: str) -> datetime:
    """UTC of a time as submissions write it; DataError if it is none."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise DataError(f"a time in a submission must look like 2026-01-01T03:00:00Z, got {text!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise DataError(f"{text!r} in a submission is no time: {error}") from error


def read_class(text: str) -> str:
    """The flare class of "M" or "M+"; DataError for what is none, as the empty class of a misspelt key."""
    name = text.strip().upper().removesuffix("+")
    if name not in ("A", "B", "C", "M", "X"):
        raise DataError(f"a flare class in a submission must be like M or M+, got {text!r}")
    return name


def read_probability(value: str | float | None) -> float | None:
    """A probability, or None for what is not known: null, empty, dashes, NaN and the fill value -1.

    Raises
    ------
    DataError
        It is neither.
    """
    text = "" if value is None else str(value).strip()
    if not text.strip("-") or text.lower() in ("nan", "null", "na"):
        return None
    try:
        p = float(text)
    except ValueError as error:
        raise DataError(f"a probability in a submission must be a number, got {text!r}") from error
    if p == -1:
        return None
    if not 0 <= p <= 1:
        raise DataError(f"a probability in a submission must lie in [0, 1], got {text}")
    return p
