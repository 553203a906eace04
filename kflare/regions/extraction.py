"""All that can be measured at one time: from a set of observations to one row per active region.

Times do not need each other here, so an archive is measured in any order and on many machines. What looks back in time
(identity, changes, flare history, X-rays) comes after, from the table: `kflare.datasets.region_run`. A feature that
cannot be measured is NaN, and the column `missing` says why.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.observations.identity import VECTOR_SEGMENTS
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.observations.sets import ObservationSet
from kflare.observations.solar_image import SolarImage, read_solar_image
from kflare.observations.usability import require_usable
from kflare.regions.brightening import brightening_features
from kflare.regions.cea import cea_patch, patch_points
from kflare.regions.detection import Detection, DetectionOptions, Region, detect_regions
from kflare.regions.feature_table import feature_set, reasons_text
from kflare.regions.los_features import line_of_sight_features, sharp_sample_features
from kflare.regions.tracking import harp_numbers
from kflare.regions.vector_field import FullDiskVector
from kflare.regions.vector_files import read_vector
from kflare.regions.vector_parameters import vector_features
from kflare.sharp.keywords import harp_box
from kflare.sun.geometry import Box, DiskGeometry, rotated

_GROUPS: Final = {
    group: tuple(feature.name for feature in feature_set("defn79") if feature.group == group)
    for group in ("LOS", "NL", "VEC", "UV", "CORONA")
}
_LINE_OF_SIGHT: Final = _GROUPS["LOS"] + _GROUPS["NL"]
_SAMPLE: Final = tuple(feature.name for feature in feature_set("sharp") if feature.group == "SHARP")
#: Features measured at one time, without a look back.
MEASURED: Final = (*_LINE_OF_SIGHT, *_GROUPS["VEC"], *_GROUPS["UV"], *_GROUPS["CORONA"], *_SAMPLE)
#: Columns of `Measured.rows` before the features.
REGION_COLUMNS: Final = (*(own.name for own in fields(Region)), "status", "harpnum", "quality")
# Bytes at the end of a file by which copies of it are told from others: some tens of compressed rows of pixels.
_TAIL: Final = 1 << 16


@dataclass(frozen=True)
class Extraction:
    """How regions are found and measured."""

    detection: DetectionOptions = field(default_factory=DetectionOptions)  # how they are found
    disambiguation: str = "jsoc"  # which of JSOC's solutions of the azimuth in weak field is taken, as of `read_vector`
    tolerance: timedelta = timedelta(minutes=30)  # how far an image or vector field may be from the magnetogram in time
    policy: str = "default"  # quality policy of magnetograms

    def as_json(self) -> dict[str, Any]:
        """Plain values, to tell one run from another."""
        known = {"detection": asdict(self.detection), "disambiguation": self.disambiguation}
        return known | {"tolerance_minutes": self.tolerance.total_seconds() / 60, "policy": self.policy}


@dataclass(frozen=True, eq=False)
class Measured:
    """What came of one set of observations."""

    time: datetime  # of the magnetogram, UTC
    detection: Detection
    rows: pd.DataFrame
    """One row per region in its order: `REGION_COLUMNS`, `MEASURED` (float64, NaN = not measured) and `missing`."""
    magnetogram: Magnetogram
    vector: FullDiskVector | None = None  # None where it could not be read, and without regions


# How far the middle of an observation may lie from the nominal time in the name of its file.
_NAME_TOLERANCE = timedelta(minutes=30)


def measure(observations: ObservationSet, *, options: Extraction | None = None, drawn: bool = False) -> Measured:
    """Find the regions of a set of observations and measure them; without rows where there is "no sunspot".

    Of other observations than the magnetogram, only rows of pixels that regions need are decoded, and of the vector
    field those of a map that is to be `drawn`, too.

    Of files of one time: whatever is missing or unusable costs its own features only, the magnetogram raises DataError.
    """
    options = options or Extraction()
    magnetogram = require_usable(read_magnetogram(observations.magnetogram, policy=options.policy))
    if abs(magnetogram.time - observations.time) > _NAME_TOLERANCE:
        named = f"{observations.time:%Y-%m-%dT%H:%MZ} by its name; rename it"
        raise DataError(
            f"`{observations.magnetogram}` is of {magnetogram.time:%Y-%m-%dT%H:%MZ} by its header and of {named}"
        )
    detection = detect_regions(magnetogram, options=options.detection)
    measured = [_Values() for _ in detection.regions]
    vector = None
    if measured:
        for values, numbers in zip(measured, _harps(observations, detection), strict=True):
            values.harpnum = numbers[0] if numbers else None
        try:
            files, how = _segments(observations), options.disambiguation
            near = [patch_points(detection.geometry, one.box) for one in detection.regions if not one.limb]
            vector = read_vector(
                *files, magnetogram=magnetogram, method=how, apart=options.tolerance, near=near, drawn=drawn
            )
        except DataError as error:
            for values in measured:
                values.lack(_GROUPS["VEC"], _short(error))
        _measure_field(measured, detection, magnetogram, vector)
        # One image after the other, so that no more than one is in memory.
        _measure_image(measured, detection, observations.aia_1600, wavelength=1600, options=options)
        for hours, path in enumerate(observations.aia_131):
            _measure_image(measured, detection, path, wavelength=131, options=options, hours=hours)
    rows = [
        {**asdict(region), "status": region.status, "quality": magnetogram.quality, **values.row()}
        for region, values in zip(detection.regions, measured, strict=True)
    ]
    table = pd.DataFrame(rows, columns=[*REGION_COLUMNS, *MEASURED, "missing"])
    table = table.astype(dict.fromkeys(MEASURED, np.float64) | {"harpnum": "Int64", "quality": "Int64"})
    return Measured(magnetogram.time, detection, table, magnetogram, vector)


class _Values:
    """Features of one region, and why some are missing."""

    def __init__(self) -> None:
        self.values: dict[str, float] = dict.fromkeys(MEASURED, np.nan)
        self.reasons: dict[str, str] = {}
        self.harpnum: int | None = None

    def take(self, values: Mapping[str, float], *, otherwise: str) -> None:
        """Features as measured; what came out as NaN or infinite is missing for the reason given."""
        for name, value in values.items():
            if np.isfinite(value):
                self.values[name] = float(value)
            else:
                self.reasons[name] = otherwise

    def lack(self, names: Iterable[str], reason: str) -> None:
        """Features that could not be measured at all."""
        self.reasons.update(dict.fromkeys(names, reason))

    def row(self) -> dict[str, Any]:
        """Cells of the table."""
        return {**self.values, "harpnum": self.harpnum, "missing": reasons_text(self.reasons)}


def _segments(observations: ObservationSet) -> list[list[Path]]:
    """The files of `VECTOR_SEGMENTS`, of all HARPs in one order; DataError if one is missing."""
    if not observations.vector:
        raise DataError("no vector field")
    for harpnum, paths in observations.vector.items():
        if absent := [segment for segment in VECTOR_SEGMENTS if segment not in paths]:
            whose = f" of HARP {harpnum}" if harpnum else ""
            raise DataError(f"the vector field{whose} lacks the segment {', '.join(absent)}")
    # JSOC's records of HARPs share the full disk's field, inclination and azimuth, so each was fetched many times.
    return [_once([paths[segment] for paths in observations.vector.values()]) for segment in VECTOR_SEGMENTS]


def _once(paths: list[Path]) -> list[Path]:
    """The same list with one path for all files that hold the same pixels: of one size, and alike at their ends."""
    first: dict[tuple[int, bytes], Path] = {}
    same = []
    for path in paths:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _TAIL))
            same.append(first.setdefault((size, file.read()), path))
    return same


def _harps(observations: ObservationSet, detection: Detection) -> list[tuple[int, ...]]:
    """HARP numbers of the regions, by the boxes in the headers of the vector field."""
    rows = []
    for harpnum, paths in observations.vector.items():
        # The segment that is cut out around the HARP even where the others are of the full disk.
        path = paths.get("disambig")
        if harpnum and path is not None:
            # Whoever reads its field says that a file is damaged.
            with suppress(DataError):
                rows.append({"time": observations.vector_time, "harpnum": harpnum, **harp_box(path)})
    return harp_numbers(detection, pd.DataFrame(rows)) if rows else [()] * len(detection.regions)


def _measure_field(
    measured: list[_Values], detection: Detection, magnetogram: Magnetogram, vector: FullDiskVector | None
) -> None:
    for region, values in zip(detection.regions, measured, strict=True):
        if region.limb:
            values.reasons = {"*": "region across the limb"}
            continue
        try:
            patch = cea_patch(magnetogram, region.box, geometry=detection.geometry, vector=vector)
        except DataError as error:
            values.lack((*_LINE_OF_SIGHT, *_GROUPS["VEC"], *_SAMPLE), _short(error))
            continue
        nothing = "no measured field in the region"
        values.take(line_of_sight_features(patch), otherwise=nothing)
        values.take(sharp_sample_features(patch), otherwise=nothing)
        if vector is not None:
            values.take(vector_features(patch), otherwise="no vector field of sure azimuth in the region")


def _measure_image(
    measured: list[_Values], detection: Detection, path: Path | None, *, wavelength: int, options: Extraction,
    hours: int = 0
) -> None:  # fmt: skip
    """Brightenings in an image some hours before the magnetogram, in the regions turned to the image's time."""
    prefix = {1600: "CH", 131: "CR"}[wavelength]
    names = (f"{prefix}Max_m{hours}",) if hours else (f"{prefix}Area", f"{prefix}All", f"{prefix}Max")
    inner = [(one, own) for one, own in zip(detection.regions, measured, strict=True) if not one.limb]
    try:
        boxes = [one.box for one, _ in inner]
        image = _image(path, detection, boxes, wavelength=wavelength, hours=hours, options=options)
    except DataError as error:
        for _, values in inner:
            values.lack(names, _short(error))
        return
    for region, values in inner:
        seconds = (image.time - detection.time).total_seconds()
        box = image.box(_turned(region, detection.geometry, seconds), detection.geometry.disk)
        found = brightening_features(image.data, box, prefix=prefix)
        kept = {names[0]: found[f"{prefix}Max"]} if hours else found
        values.take(kept, otherwise=f"nothing measured at {wavelength} Å in the region")


def _image(
    path: Path | None, detection: Detection, boxes: list[Box], *, wavelength: int, hours: int, options: Extraction
) -> SolarImage:
    if path is None:
        when = f"{hours} h earlier" if hours else "at the time"
        raise DataError(f"no image at {wavelength} Å {when}")
    # As the Sun turns, a box keeps its rows.
    image = read_solar_image(path, wavelength=wavelength, boxes=boxes, seen=detection.geometry.disk)
    wanted = detection.time - timedelta(hours=hours)
    away = abs(image.time - wanted)
    if away > options.tolerance:
        fault = f"the image at {wavelength} Å is of {image.time:%Y-%m-%dT%H:%MZ}"
        raise DataError(f"{fault}, {away.total_seconds() / 60:.0f} min from {wanted:%Y-%m-%dT%H:%MZ}")
    return image


def _turned(region: Region, geometry: DiskGeometry, seconds: float) -> tuple[int, int, int, int]:
    """Where the box of a region was or will be some seconds later, as the Sun turns."""
    if abs(seconds) < 60:
        return region.box
    lon = float(rotated(region.lon, region.lat, seconds=seconds))
    (x_now, x_then), _, visible = geometry.pixel([region.lon, lon], region.lat)
    shift = round(float(x_then - x_now)) if visible.all() else 0
    return region.x0 + shift, region.y0, region.x1 + shift, region.y1


def _short(error: DataError) -> str:
    """A reason for a table: one line, files without their folders, no separators of the column `missing`."""
    return re.sub(r"`[^`]*/([^`/]+)`", r"`\1`", " ".join(str(error).split())).replace(";", ",")
