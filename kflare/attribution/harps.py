"""Active regions in the frame of a magnetogram: rotated to its time, projected to its pixels.

A HARP is a patch of the disk that is tracked with one active region (or several). Yi et al. (2021, section 4) take "the
area of HARP", which its bitmap tells (`harp_areas`); where there is none, it is here its box, and where only a
position is known, one of a documented size (reconstruction).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, BoolArray, Float64Array, FloatArray, IndexArray
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.cea import projected
from kflare.regions.inversion_lines import strong_field
from kflare.regions.vector_files import is_sharp, read_segment
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry, rotated
from kflare.sun.times import time_from_name

AREAS = ("box", "field")
"""What counts as a region's area: its box or bitmap, or the part of that within 4 pixels of a strong field."""
BOX: Final = "box"

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
_INSIDE: Final = 30
# hmi.sharp_cea_720s.377.20110215_020000_TAI.bitmap.fits
_BITMAP: Final = re.compile(r"hmi\.\w+\.(\d+)\.\d{8}_\d{6}_TAI\.bitmap\.fits(?:\.gz)?", re.IGNORECASE)
_Places = tuple[IndexArray, IndexArray]


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
    outline: str = BOX  # what its area was taken from: its box, or the file of its HARP's bitmap

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


class HarpArea(NamedTuple):
    """The area of a HARP on a magnetogram."""

    harp: int
    noaas: set[int]
    file: str  # name of that of its bitmap
    mask: BoolArray  # of the magnetogram's shape


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
    regions: pd.DataFrame, magnetogram: Magnetogram, *, area: str = "box", threshold: float = 150.0,
    bitmaps: Path | None = None, tolerance_hours: float = 12.0
) -> list[RegionPatch]:  # fmt: skip
    """Rotate regions to the time of a magnetogram and find their pixels in it.

    `regions` as from `region_tables.read_regions` or `regions_near`, one row per region; the magnetogram gives time,
    disk and observer. `area` is one of `AREAS` (another one raises `SettingError`), `threshold` with "field" that of a
    strong field, gauss. A region in one of the `harp_areas` of the folder `bitmaps`, by its `harpnum`, else by NOAA's
    number, has the area of that in place of its box; of several in one HARP each the pixels nearest to it
    (reconstruction). In the order of the table, without those whose centre is behind the limb or whose area is empty.
    """
    from skimage.draw import polygon

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
    x, y, visible = magnetogram.geometry.pixel(points[:, 0], points[:, 1])
    ends = np.cumsum([len(lon), *map(len, outlines)])
    allowed = magnetogram.on_disk
    if area == "field":
        allowed &= strong_field(magnetogram.data, threshold=threshold)
    harps = [] if bitmaps is None else harp_areas(bitmaps, magnetogram, tolerance_hours=tolerance_hours)
    owned = _owned(harps, regions, x, y)
    found = []
    for number, (begin, end) in enumerate(pairwise(ends)):
        if not visible[number]:
            continue
        seen = np.flatnonzero(visible[begin:end]) + begin
        outline, places = owned.get(number) or (BOX, polygon(y[seen], x[seen], shape=allowed.shape))  # type: ignore[no-untyped-call]
        patch = _patch(places, allowed)
        if patch is None:
            continue
        region = regions.iloc[number]
        name, noaa = str(region["region"]), None if pd.isna(region["noaa"]) else int(region["noaa"])
        west, north, index = float(lon[number]), float(centre["lat"][number]), int(regions.index[number])
        found.append(RegionPatch(name, noaa, west, north, *patch, index, outline))
    return found


def _outline(lon: float, lat: float, width: float, height: float) -> Float64Array:
    """Points around a box in longitude and latitude, at most half a degree apart, shape (P, 2)."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * (width, height) / 2 + (lon, lat)
    counts = [int(np.ceil(side / _STEP)) + 1 for side in (width, height, width, height)]
    sides = [np.linspace(*ends, count) for ends, count in zip(pairwise(corners), counts, strict=True)]
    return np.clip(np.concatenate(sides), (-np.inf, -90), (np.inf, 90))


def _owned(
    harps: Sequence[HarpArea], regions: pd.DataFrame, x: Float64Array, y: Float64Array
) -> dict[int, tuple[str, _Places]]:
    """What is theirs of the areas of HARPs, by place in the table, with the name of the file."""
    own = regions["harpnum"] if "harpnum" in regions else pd.Series(pd.NA, regions.index, "Int64")
    found: dict[int, tuple[str, _Places]] = {}
    for harp in harps:
        owners = np.flatnonzero(own.eq(harp.harp).fillna(own.isna() & regions["noaa"].isin(harp.noaas)))
        rows, columns = np.nonzero(harp.mask)
        away = np.hypot(columns - x[owners, np.newaxis], rows - y[owners, np.newaxis])
        nearest = owners[away.argmin(axis=0)] if len(owners) else owners
        found |= {int(one): (harp.file, (rows[nearest == one], columns[nearest == one])) for one in owners}
    return found


def _patch(places: _Places, allowed: BoolArray) -> tuple[slice, slice, BoolArray] | None:
    rows, columns = places
    inside = allowed[rows, columns]
    rows, columns = rows[inside], columns[inside]
    if not len(rows):
        return None
    box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    mask = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), dtype=np.bool_)
    mask[rows - box[0].start, columns - box[1].start] = True
    return *box, mask


def harp_areas(folder: Path, magnetogram: Magnetogram, *, tolerance_hours: float = 12.0) -> list[HarpArea]:
    """Areas on a magnetogram of the HARPs whose bitmaps a folder holds, each by that nearest in time.

    A bitmap is the segment of that name of `hmi.sharp_cea_720s`, `hmi.sharp_720s` (and their NRT) or `hmi.Mharp_720s`.
    From 30 on its pixels lie within the outline of the region (Bobra et al. 2014, Solar Physics 289, 3549). A pixel
    belongs to a HARP where its centre, turned back to the time of the bitmap, lies within. `DataError` if the folder
    holds no file of a bitmap under the name that JSOC gives it, or one is damaged.
    """
    rows, columns = np.nonzero(magnetogram.on_disk)
    lon, lat = magnetogram.geometry.lonlat(columns, rows)
    areas = []
    for path in regions_near(bitmap_files(folder), magnetogram.time, tolerance_hours=tolerance_hours)["path"]:
        bitmap = read_segment(path)
        header, time, (height, width) = bitmap.header, bitmap.header.time(), bitmap.data.shape
        then = rotated(lon, lat, seconds=(time - magnetogram.time).total_seconds())
        x, y = np.round(_on_bitmap(header, then, lat))
        there = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))  # NaN compares false
        within = there[bitmap.data[y[there].astype(np.intp), x[there].astype(np.intp)] >= _INSIDE]
        mask = np.zeros_like(magnetogram.on_disk)
        mask[rows[within], columns[within]] = True
        numbers = re.findall("[0-9]+", f"{header.text('NOAA_ARS')} {header.number('NOAA_AR') or 0:.0f}")
        areas.append(HarpArea(int(header.needed("HARPNUM")), {int(one) for one in numbers} - {0}, path.name, mask))
    return areas


@lru_cache(maxsize=1)
def bitmap_files(folder: Path) -> pd.DataFrame:
    """The bitmaps in a folder and those within: `time`, `region`, `path`, by time; `DataError` if there is none."""
    names = ((path, _BITMAP.fullmatch(path.name)) for path in sorted(folder.rglob("*")))
    found = [(time_from_name(path), f"HARP {name[1]}", path) for path, name in names if name]
    if not found:
        what = "a bitmap of a HARP, such as hmi.sharp_cea_720s.377.20110215_020000_TAI.bitmap.fits"
        raise DataError(f"`{folder}` must hold {what}: give the folder that JSOC's files are in")
    return pd.DataFrame(found, columns=["time", "region", "path"]).sort_values("time", kind="stable", ignore_index=True)


def _on_bitmap(header: Header, lon: Float64Array, lat: Float64Array) -> Float64Array:
    """Columns and rows of a cut-out in FITS order, 0 = the first, (2, N); NaN behind the limb.

    Longitudes count from the observer's meridian, as JSOC's LON_MIN do: its L0 leaves out the time of light, 0.07°.
    """
    pixel, step = (np.array([[header.needed(f"{key}{axis}")] for axis in (1, 2)]) for key in ("CRPIX", "CDELT"))
    if header.text("CTYPE1").upper().endswith("CEA"):
        centre = header.needed("CRVAL1") - header.needed("CRLN_OBS"), header.needed("CRVAL2")
        return np.asarray(pixel - 1 + np.array(projected(lon, lat, *centre)) / step)
    if not is_sharp(header):
        pixel = np.array([[header.needed(f"IMCRPIX{axis}")] for axis in (1, 2)]) - pixel + 1
    # Rows counted downwards: the disk of a camera that hangs upside down is a roll of 180 degrees.
    disk = Disk(pixel[0, 0] - 1, 1 - pixel[1, 0], header.positive("RSUN_OBS") / header.positive("CDELT1"))
    b0, distance, roll = header.needed("CRLT_OBS"), header.positive("DSUN_OBS"), header.number("CROTA2") or 0.0
    x, y, visible = DiskGeometry(disk, (1, 1), b0=b0, distance=distance, roll=roll).pixel(lon, lat)
    return np.where(visible, [x, -y], np.nan)
