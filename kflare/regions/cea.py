"""A region seen from above: maps in a cylindrical equal-area projection around its centre, as SHARPs have them.

The grid is that of hmi.sharp_cea_720s (Bobra et al. 2014, Solar Physics 289, 3549; JSOC's `sharp.c`): the centre of the
region lies on the equator of the projection, every pixel covers the same area of the Sun. JSOC samples three times
finer and smooths; here the image is interpolated once, at the pixels of the grid.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, Float32Array, Float64Array, FloatArray
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.vector_field import FullDiskVector
from kflare.sun.constants import AU_M, SOLAR_RADIUS_M
from kflare.sun.geometry import Box, DiskGeometry, in_box

#: Degrees per pixel of all SHARP CEA maps; 364 km.
CEA_STEP = 0.03
#: Degrees between the points of a map that `patch_points` gives.
POINTS_STEP = 8 * CEA_STEP
# Nearer to the limb than this, 80 degrees from disk centre, a pixel sees more of the chromosphere than of a region.
_MU_MIN = 0.17


@dataclass(frozen=True, eq=False)
class Patch:
    """Maps of one region, row 0 = north, column 0 = east, all of one shape (h, w)."""

    los: Float32Array | None  # line-of-sight field in gauss, as measured; NaN where not measured
    mu: Float32Array  # cosine of the angle between line of sight and vertical; NaN off the disk
    inside: BoolArray  # pixels of the region or of its frame, on the disk (SHARP: `bitmap` >= 30)
    step_m: float  # width of a pixel in metres
    arcsec: float  # the same as seen at disk centre, as JSOC's formulas use it
    bx: Float32Array | None = None  # field towards the west, gauss; 0 where the vector field is taken as zero, NaN ...
    by: Float32Array | None = None  # ... where it was not measured; towards the north
    bz: Float32Array | None = None  # and up
    used: BoolArray | None = None
    """Pixels whose vector is trusted: inside, measured, and of sure azimuth (SHARP: `conf_disambig` >= 70)."""
    lon: float = math.nan  # of the centre, Stonyhurst degrees, west and north positive; NaN if not known
    lat: float = math.nan
    outlined: bool = False  # whether `inside` follows the outline of the region, as that of a SHARP, or is its frame

    def __post_init__(self) -> None:
        shape, vector = self.inside.shape, (self.bx, self.by, self.bz, self.used)
        if len({part is None for part in vector}) > 1:
            raise DataError("the vector field of a patch must have all of `bx`, `by`, `bz` and `used`, or none")
        for name in ("los", "mu", "inside", "bx", "by", "bz", "used"):
            part = getattr(self, name)
            if part is not None and part.shape != shape:
                raise DataError(f"`{name}` of a patch must have the shape of `inside`, {shape}, got {part.shape}")
        if not self.step_m > 0:
            raise DataError(f"`step_m` of a patch must be above 0 metres, got {self.step_m}")

    @property
    def pixel_area_cm2(self) -> float:
        """Area of a pixel on the Sun, cm²."""
        return self.step_m**2 * 1e4

    @property
    def step_mm(self) -> float:
        """Width of a pixel in Mm."""
        return self.step_m / 1e6

    @property
    def radial(self) -> Float32Array | None:
        """Line-of-sight field over mu, gauss; NaN where not measured, and beyond 80 degrees from disk centre."""
        if self.los is None:
            return None
        with np.errstate(invalid="ignore"):
            return np.where(self.mu >= _MU_MIN, self.los / self.mu, np.float32(np.nan)).astype(np.float32)


def cea_patch(
    magnetogram: Magnetogram, box: Box, *, geometry: DiskGeometry | None = None, vector: FullDiskVector | None = None
) -> Patch:
    """Maps of the part of the Sun that a box of pixels of a full-disk magnetogram covers, `CEA_STEP` per pixel.

    The box may reach over the limb or the image; `inside` is what lies in it and on the disk, where there must be a
    pixel, else DataError. `geometry` is that of the magnetogram, if it is known already, `vector` the field of the same
    time, on its own pixels.
    """
    view = magnetogram.geometry if geometry is None else geometry
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"`box` must have x0 < x1 and y0 < y1, got {box}")
    lon, lat, west, north = _extent(view, box)
    lons, lats = on_sun(lon, lat, west=west, north=north)
    x, y, visible = view.pixel(lons, lats)
    inside = visible & in_box(x, y, box)
    if not inside.any():
        raise DataError(f"`box` {box} must hold pixels on the disk, it holds none")
    los = _sampled(magnetogram.data, x, y)
    los[~visible] = np.nan
    mu = np.where(visible, view.mu_at(x, y), np.nan).astype(np.float32)
    metres = math.radians(CEA_STEP) * SOLAR_RADIUS_M
    arcsec = math.degrees(math.atan(metres / AU_M)) * 3600
    if vector is None:
        return Patch(los, mu, inside, metres, arcsec, lon=lon, lat=lat)
    bx, by, bz, sure = vector.at(lons, lats)
    return Patch(los, mu, inside, metres, arcsec, bx, by, bz, sure & inside, lon, lat)


def patch_points(view: DiskGeometry, box: Box) -> tuple[Float64Array, Float64Array]:
    """Points of the Sun (Stonyhurst degrees) all over the map of a box, `POINTS_STEP` apart."""
    lon, lat, west, north = _extent(view, box)
    every = round(POINTS_STEP / CEA_STEP)
    return on_sun(lon, lat, west=np.append(west[::every], west[-1]), north=np.append(north[::every], north[-1]))


def _sampled(image: FloatArray, x: Float64Array, y: Float64Array) -> Float32Array:
    """Values of an image between its pixels, bilinear, float32; NaN where a neighbour is NaN or outside."""
    height, width = image.shape
    with np.errstate(invalid="ignore"):
        near = (x > -1) & (x < width) & (y > -1) & (y < height)
    if not near.any():
        return np.full(x.shape, np.nan, np.float32)
    left, top = max(int(x[near].min()) - 1, 0), max(int(y[near].min()) - 1, 0)
    right, bottom = min(int(x[near].max()) + 3, width), min(int(y[near].max()) + 3, height)
    part = np.asarray(image[top:bottom, left:right], np.float32)
    # Bilinear: a NaN spreads to the points between it and its neighbours, not further.
    return np.asarray(ndimage.map_coordinates(part, [y - top, x - left], order=1, cval=np.nan, output=np.float32))


def _extent(view: DiskGeometry, box: Box) -> tuple[float, float, Float64Array, Float64Array]:
    """Centre of a box (lon, lat), and the columns and rows of the map that reach over all of it, in degrees."""
    x0, y0, x1, y1 = box
    lons, lats = view.sample(box)
    if not lons.size:
        raise DataError(f"`box` {box} must hold pixels on the disk, it holds none")
    middle = view.lonlat((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
    lon, lat = float(middle[0]), float(middle[1])
    if not math.isfinite(lon):
        # The middle is off the disk: that of the part on the disk.
        lon, lat = float((lons.min() + lons.max()) / 2), float((lats.min() + lats.max()) / 2)
    west, north = projected(lons, lats, lon, lat)
    columns = np.arange(math.floor(west.min() / CEA_STEP), math.ceil(west.max() / CEA_STEP) + 1) * CEA_STEP
    rows = np.arange(math.ceil(north.max() / CEA_STEP), math.floor(north.min() / CEA_STEP) - 1, -1) * CEA_STEP
    return lon, lat, columns, rows


def projected(lon: Float64Array, lat: Float64Array, lon0: float, lat0: float) -> tuple[Float64Array, Float64Array]:
    """Degrees of the projection towards west and north; inverse of `on_sun`."""
    along, up, up0 = np.radians(lon - lon0), np.radians(lat), math.radians(lat0)
    ahead = np.sin(up) * math.sin(up0) + np.cos(up) * math.cos(up0) * np.cos(along)
    north = np.sin(up) * math.cos(up0) - np.cos(up) * math.sin(up0) * np.cos(along)
    return np.degrees(np.arctan2(np.cos(up) * np.sin(along), ahead)), np.degrees(north)


def on_sun(lon0: float, lat0: float, *, west: Float64Array, north: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Stonyhurst longitudes and latitudes of the columns and rows of a map around a point, all in degrees.

    As `plane2sphere` of JSOC's `cartography.c` for the cylindrical equal-area projection.
    """
    x, y = np.radians(west), np.clip(np.radians(north), -1, 1)[:, np.newaxis]
    up0, flat = math.radians(lat0), np.sqrt(1 - y**2)
    lat = np.arcsin(np.clip(y * math.cos(up0) + flat * np.cos(x) * math.sin(up0), -1, 1))
    lon = np.arctan2(flat * np.sin(x), flat * np.cos(x) * math.cos(up0) - y * math.sin(up0))
    return (np.degrees(lon) + lon0 + 180) % 360 - 180, np.degrees(lat)
