"""The kinds of data that a forecast is made from, near real time: how each is asked for, and what was found of it.

Nishizuka et al. 2021, section 2.2: line-of-sight and vector magnetograms, white light, AIA 131, 193, 304 and 1600 Å and
GOES X-ray flux; here also the list of flares, for the history of each region.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kflare.archives.downloads import FileResult
from kflare.archives.jsoc import QualityCheck, by_quality
from kflare.observations.identity import VECTOR_SEGMENTS
from kflare.sun.times import HOUR


@dataclass(frozen=True)
class Source:
    """One kind of data of JSOC."""

    name: str  # in results
    series: str
    segments: tuple[str, ...]  # files of each record
    server: str = "jsoc"  # or "jsoc2"
    clock: str = "TAI"  # time scale of T_REC: "TAI" for HMI, "UTC" for AIA
    before: str = ""  # as of `Jsoc.records`
    where: str = ""
    each: str = ""  # keyword of which every value has a newest record of its own (HARPNUM)
    span: timedelta = HOUR  # of a window; regions lag behind each other by up to 20 min, so theirs is longer
    #: Refuses records; None = by the HMI quality policy that `fetch_nrt` is given.
    check: QualityCheck | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Feed:
    """One kind of data of SWPC: a JSON file of the last seven days, always under the same name."""

    name: str  # in results
    path: str  # below SWPC's address
    measured: bool  # its newest time is the time of the data; not so of a list of flares, since none may have happened


def _aia(wavelength: int) -> Source:
    where, check = f"[? WAVELNTH = {wavelength} ?]", by_quality(instrument="AIA")
    return Source(f"aia_{wavelength}", "aia.lev1_nrt2", ("image_lev1",), "jsoc2", "UTC", where=where, check=check)


#: Paper, section 2.2. Its "ambig" is the segment `disambig` of JSOC; white light, which it took from jsoc2, is public.
SOURCES: Final = (
    Source("magnetogram", "hmi.M_720s_nrt", ("magnetogram",)),
    Source("vector_field", "hmi.bharp_720s_nrt", VECTOR_SEGMENTS, before="[]", each="HARPNUM", span=2 * HOUR),
    Source("continuum", "hmi.Ic_noLimbDark_720s_nrt", ("continuum",)),
    *(_aia(wavelength) for wavelength in (131, 193, 304, 1600)),
)
#: How far back SWPC's feeds go.
FEED_REACH: Final = timedelta(days=7)
#: X-ray flux, the flares before the forecast, and events with the regions of those that a forecaster has looked at.
FEEDS: Final = (
    Feed("goes_xrays", "goes/primary/xrays-7-day.json", measured=True),
    Feed("goes_flares", "goes/primary/xray-flares-7-day.json", measured=False),
    Feed("goes_events", "edited_events.json", measured=False),
)


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
        time = None if self.time is None else f"{self.time:%Y-%m-%dT%H:%M:%SZ}"
        age = None if self.age is None else round(self.age.total_seconds() / 3600, 3)
        quality = None if self.quality is None else f"0x{self.quality:08x}"
        status, files = "no data" if time is None else "data", [str(path) for path in self.files]
        known = {"name": self.name, "series": self.series, "status": status, "reason": self.reason, "time": time}
        return {**known, "age_hours": age, "quality": quality, "files": files, "notes": list(self.notes)}


@dataclass(frozen=True)
class NrtSet:
    """Data of all kinds for one forecast."""

    issue: datetime
    results: tuple[NrtResult, ...]

    def __getitem__(self, name: str) -> NrtResult:
        return next(result for result in self.results if result.name == name)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        complete = all(result.time is not None for result in self.results)
        sources = [result.as_json() for result in self.results]
        return {"issue": f"{self.issue:%Y-%m-%dT%H:%M:%SZ}", "complete": complete, "sources": sources}
