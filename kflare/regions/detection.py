"""Active regions in a full-disk magnetogram: the boxes with strong field, as Deep Flare Net's eyes see them.

What is not from the paper (see `detect_regions`) is reconstruction: each number is an option, and its default was
chosen by the comparison with NOAA's regions in docs/detection.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
from scipy import ndimage

from kflare.errors import DataError, SettingError
from kflare.io.arrays import BoolArray, Float32Array, Float64Array, IntArray
from kflare.io.stored_table import stored_rows
from kflare.observations.magnetogram import Magnetogram
from kflare.sun.constants import MICROHEMISPHERE_CM2, SOLAR_RADIUS_ARCSEC
from kflare.sun.disk import Disk, disk_mask
from kflare.sun.geometry import Box, DiskGeometry

LIMB_RULES = ("field", "corners")
"""A region crosses the limb if its strong field reaches `edge`, or if a corner of its box is off the disk."""

_EIGHT: Final = np.ones((3, 3), dtype=np.bool_)
_ROWS: Final = stored_rows("kflare.regions", "detection.csv")


@dataclass(frozen=True)
class DetectionOptions:
    """Every number of the detection; the tags are those of docs/science.md: P from the paper, R reconstruction."""

    threshold: float = 140.0
    radial: bool = False
    width: int = 512
    edge: float = 0.98
    smoothing: float = 0.0
    speck_area: float = 10.0
    joining: float = 10.0
    minimum_area: float = 50.0
    margin: float = 10.0
    limb_rule: str = "field"

    def __post_init__(self) -> None:
        for name, low, high in ((row["option"], row["least"], row["most"]) for row in _ROWS if row["least"]):
            value = getattr(self, name)
            if not float(low) <= value <= float(high):
                raise SettingError(f"`{name}` of the detection must lie in [{low}, {high}], got {value}")
        if self.limb_rule not in LIMB_RULES:
            raise SettingError(f"`limb_rule` must be one of {', '.join(LIMB_RULES)}, got {self.limb_rule!r}")


_TOLD = (
    f"{row['option']} : {row['meaning']} {row['evidence']}: {getattr(DetectionOptions, row['option'])}."
    for row in _ROWS
)
DetectionOptions.__doc__ = "\n".join((f"{DetectionOptions.__doc__}\n", *_TOLD))


@dataclass(frozen=True)
class Region:
    """A detected active region."""

    number: int  # 1, 2, ... from east to west; new for every image
    x0: int  # its box: the pixels x0 <= column < x1 and y0 <= row < y1 of the magnetogram
    y0: int
    x1: int
    y1: int
    lon: float  # centre of its flux, Stonyhurst degrees, west and north positive
    lat: float
    lon_min: float  # what the box spans on the disk, degrees
    lon_max: float
    lat_min: float
    lat_max: float
    area_uhem: float  # of its strong field, millionths of the hemisphere
    flux_mx: float  # unsigned flux of its strong field in maxwell, if the field is radial: sum of abs(B) / mu · area
    limb: bool  # whether it crosses the limb

    @property
    def box(self) -> Box:
        """x0, y0, x1, y1."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def status(self) -> str:
        """Whether it can be forecast: "forecast" or "not forecast: limb"."""
        return "not forecast: limb" if self.limb else "forecast"


@dataclass(frozen=True)
class Detection:
    """The active regions of one magnetogram, from east to west; the time is UTC."""

    time: datetime
    geometry: DiskGeometry
    regions: tuple[Region, ...]

    @property
    def status(self) -> str:
        """Either "regions" or "no sunspot"."""
        return "regions" if self.regions else "no sunspot"

    def boxes(self) -> list[Box]:
        """The box of each region."""
        return [region.box for region in self.regions]


def detect_regions(magnetogram: Magnetogram, *, options: DetectionOptions | None = None) -> Detection:
    """Find the active regions of a magnetogram (NaN counts as no field); without any it is "no sunspot".

    Smooth the field, take what is as strong as the threshold, join what is near to each other, drop what is too small,
    draw a box around each, merge boxes that overlap until none do, and number them from east to west. From the paper
    (Nishizuka et al. 2021, sections 2.2, 3.1, 3.2) are the threshold of 140 G on the line-of-sight field, the
    rectangular frames with a number each, that regions across the limb are ignored, and "no sunspot".

    DataError if the field was cut off, when the image was made, at or below the threshold: nothing could be found.
    """
    options = options or DetectionOptions()
    if magnetogram.byte_range is not None and magnetogram.byte_range <= options.threshold:
        raise DataError(
            f"`{magnetogram.source}`: byte 255 must stand for more than the `threshold` of {options.threshold:g} G, or "
            f"nothing is found; got {magnetogram.byte_range:g} G; give a FITS file, or a lower --detection threshold"
        )
    full = magnetogram.geometry
    width = magnetogram.data.shape[0]
    small = magnetogram.resized(min(options.width, width))
    geometry = full if small is magnetogram else small.geometry
    field = np.nan_to_num(small.data, nan=0.0)
    places, rows, columns, area, number = _large_patches(_strong(field, geometry, options), geometry, options)
    margin = _pixels(options.margin, small.disk)
    boxes, owner = merged_boxes([_widened(place, margin, small.data.shape[0], width) for place in places])
    group = owner[number]
    flux = np.abs(field[rows, columns]) / geometry.mu[rows, columns] * area
    radius = np.hypot(columns - small.disk.x, rows - small.disk.y) / small.disk.radius
    # Field that reaches the last pixel before the edge is cut by it.
    cut = radius >= options.edge - 1.5 / small.disk.radius
    found = []
    for index, box in enumerate(boxes):
        own = group == index
        weight = flux[own] / flux[own].sum()
        lon, lat = geometry.lonlat(weight @ columns[own], weight @ rows[own])
        limb = _corner_off_disk(box, magnetogram.disk) if options.limb_rule == "corners" else bool(cut[own].any())
        spans = full.box_lonlat(box)
        own_area, own_flux = float(area[own].sum()) / MICROHEMISPHERE_CM2, float(flux[own].sum())
        found.append(Region(0, *box, float(lon), float(lat), *spans, own_area, own_flux, limb))
    found.sort(key=lambda region: (region.lon, region.lat))
    regions = tuple(replace(region, number=place) for place, region in enumerate(found, start=1))
    return Detection(magnetogram.time, full, regions)


def merged_boxes(boxes: Sequence[Box]) -> tuple[list[Box], IntArray]:
    """Merge N boxes that overlap, not only touch, until none do: the M boxes around them, and which one holds each."""
    members: list[tuple[Box, list[int]]] = []
    for index, alone in enumerate(boxes):
        box, own = alone, [index]
        while (hit := next((i for i, (other, _) in enumerate(members) if _overlap(box, other)), None)) is not None:
            other, theirs = members.pop(hit)
            box = min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])
            own += theirs
        members.append((box, own))
    owner = np.zeros(len(boxes), dtype=np.int64)
    for index, (_, own) in enumerate(members):
        owner[own] = index
    return [box for box, _ in members], owner


def _strong(field: Float32Array, geometry: DiskGeometry, options: DetectionOptions) -> BoolArray:
    """Pixels inside `edge` whose smoothed field reaches the threshold."""
    disk = geometry.disk
    smooth = ndimage.gaussian_filter(field, _pixels(options.smoothing, disk), truncate=3.0)
    inside = disk_mask(field.shape[0], replace(disk, radius=disk.radius * options.edge))
    level = options.threshold * geometry.mu if options.radial else np.float32(options.threshold)
    return np.asarray(inside & (np.abs(smooth) >= level))


def _large_patches(
    strong: BoolArray, geometry: DiskGeometry, options: DetectionOptions
) -> tuple[list[tuple[slice, slice]], IntArray, IntArray, Float64Array, IntArray]:
    """Leave out specks, join what is near to each other, and drop what is too small.

    Rows and columns of the box of each patch; of each pixel that is left its row, column, area (cm²) and patch.
    """
    rows, columns = np.nonzero(strong)
    area = geometry.pixel_area_cm2(columns, rows)
    labels, _ = ndimage.label(strong, structure=_EIGHT)
    keep = _large(labels[rows, columns], area, options.speck_area)
    rows, columns, area = rows[keep], columns[keep], area[keep]
    near = np.zeros_like(strong)
    near[rows, columns] = True
    if near.any():
        near = ndimage.distance_transform_edt(~near) <= _pixels(options.joining, geometry.disk)
    labels, _ = ndimage.label(near, structure=_EIGHT)
    keep = _large(labels[rows, columns], area, options.minimum_area)
    rows, columns, area = rows[keep], columns[keep], area[keep]
    _, number = np.unique(labels[rows, columns], return_inverse=True)
    own = np.zeros(strong.shape, dtype=np.int64)
    own[rows, columns] = number + 1
    return ndimage.find_objects(own), rows, columns, area, number


def _large(label: IntArray, area: Float64Array, minimum: float) -> BoolArray:
    """Pixels whose label has at least `minimum` µHem in all."""
    return np.asarray(np.bincount(label, weights=area, minlength=1)[label] >= minimum * MICROHEMISPHERE_CM2)


def _widened(place: tuple[slice, slice], margin: float, size: int, width: int) -> Box:
    """Box in the pixels of the magnetogram around rows and columns of the reduced image, with its margin."""
    factor = width / size
    low = [max(math.floor((side.start - margin) * factor), 0) for side in place]
    high = [min(math.ceil((side.stop + margin) * factor), width) for side in place]
    return low[1], low[0], high[1], high[0]


def _corner_off_disk(box: Box, disk: Disk) -> bool:
    x0, y0, x1, y1 = box
    across = max(abs(x0 - 0.5 - disk.x), abs(x1 - 0.5 - disk.x))
    upwards = max(abs(y0 - 0.5 - disk.y), abs(y1 - 0.5 - disk.y))
    return math.hypot(across, upwards) > disk.radius


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _pixels(arcsec: float, disk: Disk) -> float:
    # Lengths are in arcsec as seen from 1 au, so that a box does not change with the seasons or the spacecraft.
    return arcsec / SOLAR_RADIUS_ARCSEC * disk.radius
