"""Active regions in the frame of a magnetogram: rotated to its time, projected to its pixels.

A HARP is a patch of the disk that is tracked with one active region (or several). Yi et al. (2021, section 4) take "the
area of HARP"; where only a position is known, the area here is a box of a documented size (reconstruction).
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import SettingError
from kflare.io.arrays import AnyArray, BoolArray, Float64Array, FloatArray
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.world import map_of
from kflare.regions.inversion_lines import strong_field
from kflare.sun.geometry import rotated

AREAS = ("box", "field")
"""What counts as a region's area: its box, or the part of it within 4 pixels of a strong field."""

# Square degrees of the sphere in a millionth of the hemisphere (2π sr).
_SQUARE_DEGREES_PER_MSH: Final = 2 * np.pi * np.degrees(1.0) ** 2 * 1e-6
# HARP 377 (NOAA 11158, 2011-02-15 02:00 TAI) is the one HARP at hand to calibrate sizes: LON_MIN..LON_MAX 18.5°,
# LAT_MIN..LAT_MAX 9.6°, AREA_ACR 1101 µHem, and the SRS of that day gives the group an extent of 12°.
_BOX_PER_AREA: Final = 7.3
_EXTENT_MARGIN: Final = 6.0
_WIDTHS: Final = (10.0, 40.0)
_DEFAULT_WIDTH: Final = 14.0
_LEAST_HEIGHT: Final = 6.0
_STEP: Final = 0.5


@dataclass(frozen=True, eq=False)
class RegionPatch:
    """An active region in the pixels of one magnetogram."""

    name: str  # such as "NOAA 11875" or "HARP 377"
    noaa: int | None  # None = none or unknown
    lon: float  # centre at the time of the magnetogram, Stonyhurst degrees, west and north positive
    lat: float
    rows: slice  # the rectangle of pixels around it, row 0 = north
    columns: slice
    mask: BoolArray  # pixels of the region in that rectangle
    index: int  # row of the table that it comes from

    @property
    def label(self) -> str:
        """Short name for a picture: the NOAA number where there is one."""
        return self.name if self.noaa is None else str(self.noaa)

    def crop(self, image: AnyArray) -> AnyArray:
        """The rectangle of an image (H, W) in the frame of the magnetogram; a view."""
        return image[self.rows, self.columns]

    def full_mask(self, width: int) -> BoolArray:
        """The region's pixels in an image of `width` × `width`, bool."""
        whole = np.zeros((width, width), dtype=np.bool_)
        whole[self.rows, self.columns] = self.mask
        return whole


def largest(image: FloatArray, patch: RegionPatch) -> float:
    """Maximum of an image (H, W) inside a region: of a Grad-CAM map its Grad-CAM value (Yi et al. 2021, section 4)."""
    return float(patch.crop(image)[patch.mask].max())


def box_sizes(regions: pd.DataFrame) -> tuple[Float64Array, Float64Array]:
    """Width and height of each region's box in degrees of longitude and latitude, by the best that is known of it.

    In this order: its bounding box (`lon_min` … `lat_max`, as HARPs have); `extent`, the length of the sunspot group,
    plus 6°; `AREA_ACR`, the box having 7.3 times that area; or 14° × 7°. But for the first the height is half of the
    width, at least 6°, and the width 10° to 40°. Reconstruction, calibrated with the one HARP 377.
    """
    number = {name: regions[name].to_numpy(np.float64) for name in ("extent", "AREA_ACR", "lat")}
    area = _BOX_PER_AREA * _SQUARE_DEGREES_PER_MSH * number["AREA_ACR"]
    from_area = np.sqrt(2 * area / np.cos(np.radians(number["lat"])))
    width = np.where(np.isfinite(number["extent"]), number["extent"] + _EXTENT_MARGIN, from_area)
    width = np.clip(np.where(np.isfinite(width), width, _DEFAULT_WIDTH), *_WIDTHS)
    height = np.maximum(width / 2, _LEAST_HEIGHT)
    box_width = (regions["lon_max"] - regions["lon_min"]).to_numpy(np.float64)
    box_height = (regions["lat_max"] - regions["lat_min"]).to_numpy(np.float64)
    known = (box_width > 0) & (box_height > 0)
    return np.where(known, box_width, width), np.where(known, box_height, height)


def regions_near(regions: pd.DataFrame, time: datetime, *, tolerance_hours: float = 12.0) -> pd.DataFrame:
    """Each region's record nearest in time (of two the earlier), of `regions` sorted by time; rows keep their index."""
    begin, end = pd.Timestamp(time) - (reach := pd.Timedelta(hours=tolerance_hours)), pd.Timestamp(time) + reach
    times = regions["time"]
    near = regions.iloc[times.searchsorted(begin, side="left") : times.searchsorted(end, side="right")]
    order = (near["time"] - time).abs().sort_values(kind="stable").index
    return near.loc[order].drop_duplicates("region").sort_index()


def place_regions(
    regions: pd.DataFrame, magnetogram: Magnetogram, *, area: str = "box", threshold: float = 150.0
) -> list[RegionPatch]:
    """Rotate regions to the time of a magnetogram and find their pixels in it.

    `regions` as from `region_tables.read_regions` or `regions_near`, one row per region; the magnetogram gives time,
    disk and observer. `area` is one of `AREAS` (another one raises `SettingError`), `threshold` with "field" that of a
    strong field, gauss. In the order of the table, without those whose centre is behind the limb or whose area is
    empty.
    """
    if area not in AREAS:
        raise SettingError(f"`area` must be one of {', '.join(AREAS)}, got {area!r}")
    if regions.empty:
        return []
    centre = {name: regions[name].to_numpy(np.float64) for name in ("lon", "lat")}
    for name in ("lon", "lat"):  # the middle of a known box, not the flux-weighted centre
        middle = ((regions[f"{name}_min"] + regions[f"{name}_max"]) / 2).to_numpy(np.float64)
        centre[name] = np.where(np.isfinite(middle), middle, centre[name])
    passed = (pd.Timestamp(magnetogram.time) - pd.DatetimeIndex(regions["time"])).total_seconds()
    lon = rotated(centre["lon"], centre["lat"], seconds=passed)
    outlines = [_outline(*box) for box in zip(lon, centre["lat"], *box_sizes(regions), strict=True)]
    points = np.concatenate([np.column_stack([lon, centre["lat"]]), *outlines])
    x, y, visible = _pixels(points[:, 0], points[:, 1], magnetogram)
    ends = np.cumsum([len(lon), *map(len, outlines)])
    allowed = magnetogram.on_disk
    if area == "field":
        allowed &= strong_field(magnetogram.data, threshold=threshold)
    found = []
    for number, (begin, end) in enumerate(pairwise(ends)):
        seen = np.flatnonzero(visible[begin:end]) + begin
        patch = _patch(x[seen], y[seen], allowed) if visible[number] else None
        if patch is None:
            continue
        region = regions.iloc[number]
        name, noaa = str(region["region"]), None if pd.isna(region["noaa"]) else int(region["noaa"])
        west, north, index = float(lon[number]), float(centre["lat"][number]), int(regions.index[number])
        found.append(RegionPatch(name, noaa, west, north, *patch, index))
    return found


def _outline(lon: float, lat: float, width: float, height: float) -> Float64Array:
    """Points around a box in longitude and latitude, at most half a degree apart, shape (P, 2)."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * (width, height) / 2 + (lon, lat)
    counts = [int(np.ceil(side / _STEP)) + 1 for side in (width, height, width, height)]
    sides = [np.linspace(*ends, count) for ends, count in zip(pairwise(corners), counts, strict=True)]
    return np.clip(np.concatenate(sides), (-np.inf, -90), (np.inf, 90))


def _pixels(lon: Float64Array, lat: Float64Array, seen_on: Magnetogram) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Column, row (0 = north) and visibility of points on the Sun."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from sunpy.coordinates import HeliographicStonyhurst

    image = map_of(seen_on)
    frame = HeliographicStonyhurst(obstime=image.reference_date)
    points = SkyCoord(lon * u.deg, lat * u.deg, np.full(len(lon), image.rsun_meters.value) * u.m, frame=frame)
    seen = points.transform_to(image.coordinate_frame)
    x, y = image.world_to_pixel(seen)
    return np.asarray(x.value), seen_on.data.shape[0] - 1 - np.asarray(y.value), np.asarray(seen.is_visible())


def _patch(x: Float64Array, y: Float64Array, allowed: BoolArray) -> tuple[slice, slice, BoolArray] | None:
    from skimage.draw import polygon

    rows, columns = polygon(y, x, shape=allowed.shape)  # type: ignore[no-untyped-call]
    inside = allowed[rows, columns]
    rows, columns = rows[inside], columns[inside]
    if not len(rows):
        return None
    box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    mask = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), dtype=np.bool_)
    mask[rows - box[0].start, columns - box[1].start] = True
    return *box, mask
