"""Which files of a folder belong together: a line-of-sight magnetogram and what else was seen at its time.

Files are recognised by the names that JSOC gives and `kflare.fetch` keeps; nothing is opened here. A magnetogram makes
a set; vector fields, images at 1600 and 131 Å join the set that they are nearest to in time, within a tolerance.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from kflare.errors import DataError, SettingError
from kflare.sun.times import HOUR, time_from_name

__all__ = ["VECTOR_SEGMENTS", "ObservationSet", "sets_in"]

#: Native vector field of JSOC, in the order that `regions.vector_files` takes them.
VECTOR_SEGMENTS: Final = ("field", "inclination", "azimuth", "disambig")

# hmi.M_720s_nrt.20131023_000000_TAI.magnetogram.fits, hmi.bharp_720s_nrt.377.20131023_000000_TAI.field.fits
_HMI = re.compile(
    r"hmi\.(?P<series>\w+?)(?:\.(?P<harp>\d+))?\.\d{8}_\d{6}_TAI\.(?P<segment>\w+)\.fits(?:\.gz)?",
    re.IGNORECASE,
)
# aia.lev1_nrt2.20131023T000008Z.131.image_lev1.fits
_AIA = re.compile(
    r"aia\.(?P<series>\w+)\.\d{8}T\d{6}Z\.(?P<channel>\d+)\.image(?:_lev1)?\.fits(?:\.gz)?", re.IGNORECASE
)
_MAGNETOGRAM_KINDS = (".fits", ".fits.gz", ".jp2")


@dataclass(frozen=True)
class ObservationSet:
    """Files of one time.

    Parameters
    ----------
    time : datetime.datetime
        Of the magnetogram (line-of-sight field of the full disk) as its name tells it, UTC.
    vector : mapping of int to mapping of str to pathlib.Path
        By HARP number (0 = full disk) the files of `VECTOR_SEGMENTS`; a segment that is missing is absent.
    vector_time : datetime.datetime or None
        Of the vector field, the farthest from `time` where there are several.
    aia_1600, aia_131 : pathlib.Path or None, tuple of three of pathlib.Path or None
        Image at 1600 Å; images at 131 Å of the time, one and two hours before.
    """

    time: datetime
    magnetogram: Path
    vector: Mapping[int, Mapping[str, Path]] = field(default_factory=lambda: MappingProxyType({}))
    vector_time: datetime | None = None
    aia_1600: Path | None = None
    aia_131: tuple[Path | None, Path | None, Path | None] = (None, None, None)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the set, in a fixed order."""
        others = [path for paths in self.vector.values() for path in paths.values()]
        images = [path for path in (self.aia_1600, *self.aia_131) if path is not None]
        return self.magnetogram, *others, *images


def sets_in(
    places: str | Path | Sequence[str | Path],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    cadence: timedelta | None = None,
    tolerance: timedelta = timedelta(minutes=30),
) -> list[ObservationSet]:
    """Find the sets of observations in folders and their subfolders.

    Parameters
    ----------
    places : str, pathlib.Path, or sequence of them
        Folders.
    since, until : datetime.datetime, optional
        Only magnetograms in [since, until), aware.
    cadence : datetime.timedelta, optional
        Only the magnetogram nearest to each whole multiple of it since midnight, up to half of it away. Every
        magnetogram if not given.
    tolerance : datetime.timedelta
        How far in time from the magnetogram other observations may be.

    Returns
    -------
    list of ObservationSet
        In order of time, one per time.

    Raises
    ------
    DataError
        If a place is no folder, or holds no magnetogram in that span.
    SettingError
        If `cadence` or `tolerance` is not above 0.
    """
    for name, value in (("cadence", cadence), ("tolerance", tolerance)):
        if value is not None and not value > timedelta(0):
            raise SettingError(f"`{name}` must be above 0, got {value}")
    places = [places] if isinstance(places, str | Path) else places
    found = _Found()
    for place in places:
        if not Path(place).is_dir():
            raise DataError(f"no folder {place}: give a folder of observations as kflare.fetch leaves them")
        for path in sorted(Path(place).rglob("*")):
            if not path.name.startswith(".") and path.is_file():
                found.take(path)
    times = [t for t in sorted(found.magnetograms) if (since is None or t >= since) and (until is None or t < until)]
    if cadence is not None:
        times = _thinned(times, cadence)
    if not times:
        where = ", ".join(map(str, places))
        span = f" from {since or '...'} until {until or '...'}" if since or until else ""
        raise DataError(
            f"{where} holds no magnetogram{span}: files must be named as JSOC names them, such as "
            "hmi.M_720s.20131023_000000_TAI.magnetogram.fits"
        )
    return [found.set_of(time, tolerance) for time in times]


class _Found:
    """Files by kind and time."""

    def __init__(self) -> None:
        self.magnetograms: dict[datetime, Path] = {}
        self._vector: dict[tuple[int, str], _Timed] = defaultdict(_Timed)
        self._harps: dict[date, set[int]] = defaultdict(set)
        self._aia: dict[int, _Timed] = defaultdict(_Timed)

    def take(self, path: Path) -> None:
        """Sort a file in; a file of no known kind is left out."""
        name = path.name
        time = time_from_name(path)
        if time is None:
            return
        if aia := _AIA.fullmatch(name):
            self._aia[int(aia["channel"])].add(time, path)
        elif hmi := _HMI.fullmatch(name):
            segment, series = hmi["segment"].lower(), hmi["series"].lower()
            if segment == "magnetogram" and series.startswith("m_"):
                self.magnetograms.setdefault(time, path)
            elif segment in VECTOR_SEGMENTS and (series.startswith("b_") or hmi["harp"]):
                self._vector[int(hmi["harp"] or 0), segment].add(time, path)
                self._harps[time.date()].add(int(hmi["harp"] or 0))
        elif name.lower().endswith(_MAGNETOGRAM_KINDS) and "magnetogram" in name.lower():
            self.magnetograms.setdefault(time, path)

    def set_of(self, time: datetime, tolerance: timedelta) -> ObservationSet:
        """What was seen nearest to a time."""
        vector: dict[int, dict[str, Path]] = {}
        farthest: datetime | None = None
        days = {(time - tolerance).date(), time.date(), (time + tolerance).date()}
        for harp in sorted(set().union(*(self._harps.get(day, ()) for day in days))):
            # The segments of one record: of the time at which its field strength, or what there is of it, was taken.
            own = {
                segment: self._vector[harp, segment] for segment in VECTOR_SEGMENTS if (harp, segment) in self._vector
            }
            at = next((seen for timed in own.values() if (seen := timed.nearest(time, tolerance))), None)
            if at is None:
                continue
            vector[harp] = {segment: timed.paths[at] for segment, timed in own.items() if at in timed.paths}
            if farthest is None or abs(at - time) > abs(farthest - time):
                farthest = at
        hot = tuple(self._image(131, time - hours * HOUR, tolerance) for hours in range(3))
        # The same image does not stand for two hours.
        hot = tuple(None if path in hot[:number] else path for number, path in enumerate(hot))
        return ObservationSet(
            time,
            self.magnetograms[time],
            vector,
            farthest,
            self._image(1600, time, tolerance),
            (hot[0], hot[1], hot[2]),
        )

    def _image(self, channel: int, time: datetime, tolerance: timedelta) -> Path | None:
        timed = self._aia.get(channel)
        at = timed.nearest(time, tolerance) if timed else None
        return timed.paths[at] if timed and at else None


class _Timed:
    """Files of one kind by time."""

    def __init__(self) -> None:
        self.paths: dict[datetime, Path] = {}
        self._sorted: list[datetime] = []

    def add(self, time: datetime, path: Path) -> None:
        self.paths.setdefault(time, path)

    def nearest(self, time: datetime, tolerance: timedelta) -> datetime | None:
        """The time nearest to `time`, the earlier of two as near; None if none is within the tolerance."""
        if len(self._sorted) != len(self.paths):
            self._sorted = sorted(self.paths)
        place = bisect_left(self._sorted, time)
        near = self._sorted[max(0, place - 1) : place + 1]
        best = min(near, key=lambda seen: abs(seen - time), default=None)
        return best if best is not None and abs(best - time) <= tolerance else None


def _thinned(times: Iterable[datetime], cadence: timedelta) -> list[datetime]:
    """The time nearest to each multiple of `cadence` since midnight, up to half of it away."""
    best: dict[datetime, datetime] = {}
    for time in times:
        midnight = datetime(time.year, time.month, time.day, tzinfo=UTC)
        slot = midnight + round((time - midnight) / cadence) * cadence
        if slot not in best or abs(time - slot) < abs(best[slot] - slot):
            best[slot] = time
    return sorted(best.values())
