"""Structured log of the cycles: one JSON line per event, with the cycle's id."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kflare.errors import SettingError
from kflare.io.passwords import without_passwords
from kflare.operations.records import utc_text


class EventLog:
    """Where events are written, with the id of their cycle: a file to append to, or "-", standard error."""

    def __init__(self, path: str = "-", *, cycle: str = "") -> None:
        self.path = path
        self.cycle = cycle
        if path != "-":
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with Path(path).open("a", encoding="utf-8"):
                    pass
            except OSError as error:
                raise SettingError(f"`log.path` {path} cannot be written: {error.strerror}") from error

    def of_cycle(self, cycle: str) -> "EventLog":
        """The same log for another cycle."""
        return EventLog(self.path, cycle=cycle)

    def __call__(self, event: str, **values: Any) -> None:
        """Write an event. A log that cannot be written, on a full disk, stops no forecast."""
        line = {"time": utc_text(datetime.now(UTC)), "cycle": self.cycle, "event": event}
        text = without_passwords(json.dumps(line | values, default=str, allow_nan=False)) + "\n"
        if self.path == "-":
            _complain(text)
            return
        try:
            # One write to a file opened for appending: lines of two processes do not mix.
            with Path(self.path).open("ab", buffering=0) as file:
                file.write(text.encode())
        except OSError as error:
            _complain(f"{self.path}: {error.strerror}: {text}")

    @contextmanager
    def timed(self, event: str, **values: Any) -> Iterator[dict[str, Any]]:
        """Write an event with the seconds that it took, and with what the block puts into the dict."""
        start = time.monotonic()
        yield values
        self(event, **values, seconds=round(time.monotonic() - start, 3))


def _complain(text: str) -> None:
    """To standard error, which may be a file on the same full disk."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
