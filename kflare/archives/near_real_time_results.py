"""What was found for a forecast near real time: of every kind its records, or "no data" and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kflare.archives.downloads import FileResult

__all__ = ["NrtRecord", "NrtResult", "NrtSet"]


@dataclass(frozen=True)
class NrtRecord:
    """One record that was fetched: its time, its files by segment, and its group, such as a HARP number."""

    time: datetime
    files: Mapping[str, Path]
    group: str = ""


@dataclass(frozen=True)
class NrtResult:
    """What was found of one kind of data."""

    name: str
    series: str  # where it came from
    issue: datetime  # of the forecast, aware, UTC
    records: tuple[NrtRecord, ...] = ()  # what was fetched, whole; none = no data
    quality: int | None = None  # QUALITY of all records ORed
    reason: str = ""  # why there are no data
    notes: tuple[str, ...] = ()  # records passed over, degraded quality, regions left out
    outcomes: tuple[FileResult, ...] = ()  # what became of every file that was tried

    @property
    def time(self) -> datetime | None:
        """Time of the data, the oldest where there are several; None = no data."""
        return min((record.time for record in self.records), default=None)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all records."""
        return tuple(path for record in self.records for path in record.files.values())

    @property
    def age(self) -> timedelta | None:
        """From the time of the data to the issue of the forecast."""
        return None if self.time is None else self.issue - self.time

    def as_json(self) -> dict[str, Any]:
        """Plain values; status "data" or "no data", times with Z, age in hours, QUALITY in hexadecimal."""
        return {
            "name": self.name,
            "series": self.series,
            "status": "no data" if self.time is None else "data",
            "reason": self.reason,
            "time": None if self.time is None else f"{self.time:%Y-%m-%dT%H:%M:%SZ}",
            "age_hours": None if self.age is None else round(self.age.total_seconds() / 3600, 3),
            "quality": None if self.quality is None else f"0x{self.quality:08x}",
            "files": [str(path) for path in self.files],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class NrtSet:
    """Data of all kinds for one forecast."""

    issue: datetime
    results: tuple[NrtResult, ...]

    def __getitem__(self, name: str) -> NrtResult:
        return next(result for result in self.results if result.name == name)

    @property
    def complete(self) -> bool:
        """Whether there are data of every kind."""
        return all(result.time is not None for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "issue": f"{self.issue:%Y-%m-%dT%H:%M:%SZ}",
            "complete": self.complete,
            "sources": [result.as_json() for result in self.results],
        }
