"""Which files of a folder belong together: a line-of-sight magnetogram and what else was seen at its time.

Files are recognised by the names that JSOC gives and `kflare.fetch` keeps, else by their headers. A magnetogram makes a
set; vector fields, images at 1600 and 131 Å join the set that they are nearest to in time, within a tolerance.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from kflare.errors import DataError, SettingError
from kflare.observations.identity import VECTOR_SEGMENTS, identify
from kflare.sun.times import HOUR

_CHANNELS: Final = ("1600", "131")  # Wavelengths of AIA in Å that a set has a place for.


@dataclass(frozen=True)
class ObservationSet:
    """Files of one time."""

    time: datetime  # of the magnetogram as its name tells it, or its header, UTC
    magnetogram: Path  # line-of-sight field of the full disk
    #: By HARP number (0 = full disk) the files of `VECTOR_SEGMENTS`; a segment that is missing is absent.
    vector: Mapping[int, Mapping[str, Path]] = field(default_factory=lambda: MappingProxyType({}))
    vector_time: datetime | None = None  # of the vector field, the farthest from `time` where there are several
    aia_1600: Path | None = None  # image at 1600 Å
    aia_131: tuple[Path | None, Path | None, Path | None] = (None, None, None)  # of the time, one and two hours before

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the set, in a fixed order."""
        others = [path for paths in self.vector.values() for path in paths.values()]
        images = [path for path in (self.aia_1600, *self.aia_131) if path is not None]
        return self.magnetogram, *others, *images


@dataclass(frozen=True)
class FoundSets:
    """What is in folders of observations."""

    sets: list[ObservationSet]  # in order of time, one per time
    left_out: dict[Path, str]  # files of observations that are in no set because of a fault, and why
    unserved: list[str]  # kinds of files that are there, of which none is in a set, and why


def find_sets(
    places: str | Path | Sequence[str | Path], *, since: datetime | None = None, until: datetime | None = None,
    cadence: timedelta | None = None, tolerance: timedelta = timedelta(minutes=30)
) -> FoundSets:  # fmt: skip
    """Find the sets of observations in folders and their subfolders.

    Magnetograms are those in [since, until), aware; with a `cadence` only the one nearest to each whole multiple of it
    since midnight, up to half of it away. Other observations may be up to `tolerance` in time from theirs.

    DataError: a place is no folder, or holds no magnetogram of that span; SettingError: `cadence`, `tolerance` not > 0.
    """
    for name, value in (("cadence", cadence), ("tolerance", tolerance)):
        if value is not None and not value > timedelta(0):
            raise SettingError(f"`{name}` must be above 0, got {value}")
    places = [places] if isinstance(places, str | Path) else places
    found = _Files()
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
        left = list(found.left_out.values())
        others = f"; {len(left)} files left out, such as: {left[0]}" if left else ""
        raise DataError(
            f"{where} holds no magnetogram{span}: files must be named as JSOC names them, such as "
            f"hmi.M_720s.20131023_000000_TAI.magnetogram.fits, or have their instrument and time in the header{others}"
        )
    sets = [found.set_of(time, tolerance) for time in times]
    first = None if since is None else since - 2 * HOUR - tolerance
    last = None if until is None else until + tolerance
    return FoundSets(sets, found.left_out, found.unserved(sets, tolerance, first, last))


def sets_in(places: str | Path | Sequence[str | Path], **options: Any) -> list[ObservationSet]:
    """The sets of observations in folders and their subfolders, in order of time; see `find_sets` for the options."""
    return find_sets(places, **options).sets


class _Files:
    """Files by kind and time."""

    def __init__(self) -> None:
        self.magnetograms: dict[datetime, Path] = {}
        self.left_out: dict[Path, str] = {}
        self._vector: dict[tuple[int, str], _Timed] = defaultdict(_Timed)
        self._harps: dict[date, set[int]] = defaultdict(set)
        self._aia: dict[str, _Timed] = defaultdict(_Timed)

    def take(self, path: Path) -> None:
        """Sort a file in; what is none of the known kinds is left alone."""
        try:
            found = identify(path)
        except DataError as error:
            self.left_out[path] = str(error)
            return
        if found is None:
            return
        if found.kind == "magnetogram":
            of_time = self.magnetograms
        elif found.kind in VECTOR_SEGMENTS:
            of_time = self._vector[found.harp, found.kind].paths
            self._harps[found.time.date()].add(found.harp)
        else:
            of_time = self._aia[found.kind].paths
        first = of_time.setdefault(found.time, path)
        if first != path:
            self.left_out[path] = f"`{path}` is of the same time as `{first}`, which is used"

    def unserved(
        self, sets: Sequence[ObservationSet], tolerance: timedelta, first: datetime | None, last: datetime | None
    ) -> list[str]:
        """Kinds of which there are files between two times and none is in a set."""
        used = {path for one in sets for path in one.files}
        kinds = {f"AIA at {channel} Å": [self._aia[channel]] for channel in _CHANNELS}
        kinds["the vector field"] = list(self._vector.values())
        found = []
        for kind, several in kinds.items():
            times = {path: time for timed in several for time, path in timed.paths.items()}
            near = [p for p, t in times.items() if (first is None or t >= first) and (last is None or t < last)]
            if near and not used.intersection(near):
                rest = f"within {tolerance.total_seconds() / 60:g} min of a magnetogram that is used"
                found.append(f"none of {len(near)} files of {kind} is {rest}, such as {near[0].name}")
        return found

    def set_of(self, time: datetime, tolerance: timedelta) -> ObservationSet:
        """What was seen nearest to a time."""
        vector: dict[int, dict[str, Path]] = {}
        farthest: datetime | None = None
        days = {(time - tolerance).date(), time.date(), (time + tolerance).date()}
        for harp in sorted(set().union(*(self._harps.get(day, ()) for day in days))):
            # The segments of one record: of the time at which its field strength, or what there is of it, was taken.
            own = {part: self._vector[harp, part] for part in VECTOR_SEGMENTS if (harp, part) in self._vector}
            at = next((seen for timed in own.values() if (seen := timed.nearest(time, tolerance))), None)
            if at is None:
                continue
            vector[harp] = {part: timed.paths[at] for part, timed in own.items() if at in timed.paths}
            if farthest is None or abs(at - time) > abs(farthest - time):
                farthest = at
        hot = tuple(self._image("131", time - hours * HOUR, tolerance) for hours in range(3))
        # The same image does not stand for two hours.
        hot = tuple(None if path in hot[:number] else path for number, path in enumerate(hot))
        warm = self._image("1600", time, tolerance)
        return ObservationSet(time, self.magnetograms[time], vector, farthest, warm, (hot[0], hot[1], hot[2]))

    def _image(self, channel: str, time: datetime, tolerance: timedelta) -> Path | None:
        timed = self._aia.get(channel)
        at = timed.nearest(time, tolerance) if timed else None
        return timed.paths[at] if timed and at else None


class _Timed:
    """Files of one kind by time."""

    def __init__(self) -> None:
        self.paths: dict[datetime, Path] = {}
        self._sorted: list[datetime] = []

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
