"""Which region is which: its identity through a series of detections, and the numbers of NOAA and HARP that it has.

A region is the same as an earlier one if their boxes overlap after the earlier one was turned to the time of the image
by differential rotation. How Deep Flare Net does it is not known to us: reconstruction. Numbers are found by position
at the time of the image; neither catalogue has the same regions as the detection: a box may hold several, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from kflare.errors import DataError, SettingError
from kflare.io.arrays import BoolArray, Float64Array
from kflare.regions.detection import Detection, Region
from kflare.sharp.keywords import HARP_BOX
from kflare.sun.geometry import in_box, overlapping, rotated

_SRS_REACH, _HARP_REACH = pd.Timedelta(hours=36), pd.Timedelta(hours=6)
_HARP_SHARE = 0.5
_LonLatBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class TrackingOptions:
    """How regions are recognised; reconstruction."""

    max_gap_hours: float = 6.0  # a region that was not seen for longer is a new one when it is seen again
    overlap: float = 0.3  # least share of the smaller of both boxes that both have in common, above 0 to 1

    def __post_init__(self) -> None:
        if not 0 < self.max_gap_hours <= 24 * 14:
            raise SettingError(f"`max_gap_hours` must be above 0 and at most 336 h, got {self.max_gap_hours}")
        if not 0 < self.overlap <= 1:
            raise SettingError(f"`overlap` must be above 0 and at most 1, got {self.overlap}")

    @classmethod
    def of_cadence(cls, hours: float, *, late: float = 5.0) -> Self:
        """A region is followed through one image that is missing, at images every `hours`, and one that is `late`.

        The same in an archive and in operation, where images may be up to 5 h late (paper 2, section 2.2).
        """
        return cls(max_gap_hours=min(max(cls.max_gap_hours, 2 * hours + late), 24 * 14))


@dataclass(frozen=True)
class TrackEvent:
    """A merge ("merge": several regions became one) or a split ("split": one became several).

    A merged region keeps the identity of the part with most in common, and so does the largest piece of a split one; a
    part that shows up again within the gap gets back its own.
    """

    time: datetime  # of the image in which it was seen first, UTC
    kind: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class _Track:
    """A region as it was seen last; `into`: the region that it was merged into since."""

    identity: str
    time: datetime
    box: _LonLatBox
    into: str | None = None


@dataclass(frozen=True)
class _State:
    options: TrackingOptions
    time: datetime | None
    tracks: list[_Track]
    events: list[TrackEvent]


class Tracker:
    """Gives each region of a series of detections its identity."""

    def __init__(self, options: TrackingOptions | None = None) -> None:
        self.options = options or TrackingOptions()
        self.events: list[TrackEvent] = []  # merges and splits so far, in order of time
        self._tracks: list[_Track] = []
        self._time: datetime | None = None

    def update(self, detection: Detection) -> list[str]:
        """Recognise the regions of the next detection.

        The identity of each, in order, is time and number of its first appearance, "20131023T0000-3". A detection
        earlier than the one before raises `DataError`; the same image once more gets the same identities.
        """
        if self._time is not None and detection.time < self._time:
            raise DataError(
                f"regions are followed forwards in time: a detection must not be earlier than the one before, of "
                f"{self._time:%Y-%m-%dT%H:%M:%SZ}; got {detection.time:%Y-%m-%dT%H:%M:%SZ}; sort the observations"
            )
        self._time = detection.time
        gap = self.options.max_gap_hours * 3600
        self._tracks = [track for track in self._tracks if (detection.time - track.time).total_seconds() <= gap]
        regions = detection.regions
        passed = [(detection.time - track.time).total_seconds() for track in self._tracks]
        ours = np.array([_lonlat(region) for region in regions]).reshape(-1, 4)
        theirs = np.array([track.box for track in self._tracks]).reshape(-1, 4)
        common, enough = overlapping(ours, theirs, seconds=passed, share=self.options.overlap)
        match = _matched(np.where(enough, common, 0.0))
        names: list[str] = []
        for index, region in enumerate(regions):
            known = self._tracks[match[index]].identity if index in match else None
            names.append(known or self._new_identity(region, names))
        self._record(names, match, enough, common)
        seen = [_Track(name, detection.time, _lonlat(region)) for name, region in zip(names, regions, strict=True)]
        self._tracks = [track for track in self._tracks if track.identity not in names] + seen
        return names

    def state(self) -> dict[str, Any]:
        """All that is needed to go on later, of types that JSON has; see :meth:`from_state`."""
        now = _State(self.options, self._time, self._tracks, self.events)
        return dict(TypeAdapter(_State).dump_python(now, mode="json"))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Tracker":
        """The tracker whose :meth:`state` this was; `DataError` if it is no such state."""
        try:
            known = TypeAdapter(_State).validate_python(state)
        except ValueError as error:
            raise DataError(f"this is no state of a tracker: {error}; start anew without it") from error
        tracker = cls(known.options)
        tracker._time, tracker._tracks, tracker.events = known.time, known.tracks, known.events
        return tracker

    def _record(self, names: list[str], match: dict[int, int], enough: BoolArray, common: Float64Array) -> None:
        """Note which tracks went into one region, and which regions came out of one track."""
        assert self._time is not None
        owner = {track: region for region, track in match.items()}
        for region, name in enumerate(names):
            if region not in match:
                if parents := [i for i in np.flatnonzero(enough[region]) if i in owner]:
                    best = self._tracks[parents[int(np.argmax(common[region, parents]))]].identity
                    self.events.append(TrackEvent(self._time, "split", (best,), (best, name)))
            elif (came_from := self._tracks[match[region]].into) is not None:
                self.events.append(TrackEvent(self._time, "split", (came_from,), (came_from, name)))
        for index, track in enumerate(self._tracks):
            if index in owner or not enough[:, index].any():
                continue
            into = names[int(np.argmax(np.where(enough[:, index], common[:, index], -1)))]
            if into != track.into:
                self.events.append(TrackEvent(self._time, "merge", (into, track.identity), (into,)))
                self._tracks[index] = replace(track, into=into)

    def _new_identity(self, region: Region, taken: list[str]) -> str:
        """Time and number; the next number that is free where two images are of the same minute."""
        taken = [*taken, *(track.identity for track in self._tracks)]
        free = (f"{self._time:%Y%m%dT%H%M}-{number}" for number in count(region.number))
        return next(name for name in free if name not in taken)


def noaa_numbers(detection: Detection, srs: pd.DataFrame, *, published: bool = False) -> list[tuple[int, ...]]:
    """NOAA numbers of each detected region: those whose position, rotated to the time of the image, is in its box.

    Of `srs` (`kflare.flares.srs.read_srs`) the latest report of positions at or before the time of the image is used,
    if it is no older than 36 hours; if `published`, it must also have been issued by then, half an hour after
    it is valid. The region with the largest spots comes first.
    """
    now = pd.Timestamp(detection.time)
    known = srs["issued" if published and "issued" in srs else "time"] <= now
    past = srs["time"][known & (srs["time"] >= now - _SRS_REACH)]
    if past.empty or not detection.regions:
        return [()] * len(detection.regions)
    report = srs[srs["time"] == past.max()].sort_values(["area_uhem", "noaa"], ascending=[False, True])
    seconds = (now - past.max()).total_seconds()
    lon = rotated(report["lon"], report["lat"], seconds=seconds)
    x, y, visible = detection.geometry.pixel(lon, report["lat"])
    return [tuple(report["noaa"][visible & in_box(x, y, box)].tolist()) for box in detection.boxes()]


def harp_numbers(detection: Detection, harps: pd.DataFrame) -> list[tuple[int, ...]]:
    """HARP numbers of each detected region: those whose box, rotated to the time of the image, overlaps enough with it.

    `harps` has `time` (UTC), `harpnum`, and the box `lon_min`, `lon_max`, `lat_min`, `lat_max` (LON_MIN, ... of the
    SHARP keywords; Stonyhurst degrees), else `DataError`; of each HARP the record nearest in time within 6 hours
    is used. Enough is half of the smaller of both boxes; reconstruction. The largest common area comes first.
    """
    if absent := [name for name in ("time", "harpnum", *HARP_BOX) if name not in harps]:
        raise DataError(f"the table of HARPs lacks the column `{'`, `'.join(absent)}`: give their boxes, LON_MIN, ...")
    away = (harps["time"] - pd.Timestamp(detection.time)).abs()
    near = harps[(away <= _HARP_REACH) & harps[list(HARP_BOX)].notna().all(axis=1)]
    near = near.loc[away[near.index].sort_values(kind="stable").index].drop_duplicates("harpnum")
    if near.empty or not detection.regions:
        return [()] * len(detection.regions)
    theirs = near[list(HARP_BOX)].to_numpy(np.float64)
    seconds = (pd.Timestamp(detection.time) - near["time"]).dt.total_seconds()
    ours = np.array([_lonlat(region) for region in detection.regions])
    common, enough = overlapping(ours, theirs, seconds=seconds, share=_HARP_SHARE)
    number = near["harpnum"].to_numpy(np.int64)
    return [
        tuple(int(number[i]) for i in np.argsort(-row, kind="stable") if good[i])
        for row, good in zip(common, enough, strict=True)
    ]


def _matched(score: Float64Array) -> dict[int, int]:
    """Region to track, one to one, the largest score first; 0 is no match."""
    match: dict[int, int] = {}
    for flat in np.argsort(-score, axis=None, kind="stable"):
        region, track = (int(index) for index in np.unravel_index(flat, score.shape))
        if score[region, track] <= 0:
            break
        if region not in match and track not in match.values():
            match[region] = track
    return match


def _lonlat(region: Region) -> _LonLatBox:
    return region.lon_min, region.lon_max, region.lat_min, region.lat_max
