"""The vector magnetic field of the full disk, and its components at the solar surface.

HMI's inversion gives strength, inclination and azimuth in the frame of the camera, the azimuth but for 180 degrees. The
ambiguity is resolved as JSOC does, the components are kept in the frame of the camera, and turned to west, north and up
(Gary & Hagyard 1990, Solar Physics 126, 21, eq. 1; Sun 2013, arXiv:1309.2392) only where a region needs them.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from kflare.errors import DataError, SettingError
from kflare.io.arrays import BoolArray, Float32Array, Float64Array, IntArray
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry

DISAMBIGUATION_METHODS: Final = {"potential": 0, "random": 1, "radial-acute": 2}
"""The bit of the segment `disambig` that holds each solution for weak fields (JSOC's `sharp.c`, SSW's
`hmi_disambig.pro`). Where the field is strong all three bits are the same, that of the minimum-energy solution."""

MAP_SIZE: Final = 1024
"""Pixels across a map of the whole disk that is drawn."""

# JSOC's AMBBTHR0 and AMBBTHR1: fields below these, at disk centre and at the limb, are weak.
_WEAK = (200.0, 400.0)


@dataclass(frozen=True, eq=False)
class FullDiskVector:
    """Vector field of the full disk in the frame of the camera, row 0 = north, column 0 = east; arrays (H, W).

    `right`, `up` and `los` are the components towards the right and the top of the image and towards the observer,
    gauss: 0 outside the areas that the vector field was made for (NRT: the HARPs), NaN where it could not be measured.
    """

    right: Float32Array
    up: Float32Array
    los: Float32Array
    covered: BoolArray  # the areas that it was made for
    sure: BoolArray | None
    """Where the azimuth is sure: `conf_disambig` >= 70. None = not known; it is held sure where the field is strong."""
    geometry: DiskGeometry
    time: datetime
    source: str

    def __post_init__(self) -> None:
        for name in ("right", "up", "los", "covered", "sure"):
            part = getattr(self, name)
            if part is not None and part.shape != self.geometry.shape:
                rule = f"`{self.source}`: `{name}` of a vector field must have the shape {self.geometry.shape}"
                raise DataError(f"{rule} of its geometry, got {part.shape}")

    def at(self, lon: Float64Array, lat: Float64Array) -> tuple[Float32Array, Float32Array, Float32Array, BoolArray]:
        """Components at points of the surface (Stonyhurst degrees): `bx`, `by`, `bz` and `sure`.

        Gauss towards the west, the north and up; NaN behind the limb and where not measured, all NaN if no point lies
        in an area that the vector field was made for. `sure` is covered, measured and of sure azimuth.
        """
        x, y, visible = self.geometry.pixel(lon, lat)
        height, width = self.geometry.shape
        column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        seen = visible & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        covered = np.zeros(x.shape, np.bool_)
        covered[seen] = self.covered[row[seen], column[seen]]
        if not covered.any():
            nothing = np.full(x.shape, np.nan, np.float32)
            return nothing, nothing.copy(), nothing.copy(), covered
        top, bottom = max(row[seen].min() - 2, 0), min(row[seen].max() + 3, height)
        left, right = max(column[seen].min() - 2, 0), min(column[seen].max() + 3, width)
        places, how = [y - top, x - left], {"order": 1, "mode": "nearest", "output": np.float32}
        near = (part[top:bottom, left:right] for part in (self.right, self.up, self.los))
        parts = [ndimage.map_coordinates(part, places, **how) for part in near]
        bx, by, bz = surface_components(*parts, lon=lon, lat=lat, geometry=self.geometry)
        for component in (bx, by, bz):
            component[~seen] = np.nan
        if self.sure is None:
            mu = self.geometry.mu_at(x, y).astype(np.float32)
            sure = covered & _strong_field(np.sqrt(bx**2 + by**2 + bz**2), mu)
        else:
            sure = covered & np.isfinite(bx)
            sure[seen] &= self.sure[row[seen], column[seen]]
        return bx, by, bz, sure

    def radial_map(self, size: int) -> tuple[Float32Array, BoolArray, Disk]:
        """The radial field of the whole disk for the eye, gauss, the areas it was made for, (size, size), and the disk.

        0 outside these areas, NaN where it could not be measured and off the disk; from the nearest pixels.
        """
        height, width = self.geometry.shape
        disk = self.geometry.disk.resized(width, size)
        there = replace(self.geometry, disk=disk, shape=(size, size))
        lon, lat = there.lonlat(np.arange(size), np.arange(size)[:, np.newaxis])
        nearest = np.ix_(nearest_pixels(height, size), nearest_pixels(width, size))
        parts = [part[nearest] for part in (self.right, self.up, self.los)]
        return surface_components(*parts, lon=lon, lat=lat, geometry=there)[2], self.covered[nearest], disk


def nearest_pixels(length: int, size: int = MAP_SIZE) -> IntArray:
    """Which of `length` pixels are those of a map of `size`."""
    return np.arange(size) * length // size + length // size // 2


def camera_components(
    field: Float32Array, inclination: Float32Array, azimuth: Float32Array,
    disambig: npt.NDArray[np.integer] | None = None, *, method: str = "radial-acute"
) -> tuple[Float32Array, Float32Array, Float32Array]:  # fmt: skip
    """Components of a field in the frame of the camera, the azimuth disambiguated: right, up, line of sight, in gauss.

    From strength in gauss, inclination in degrees from the line of sight (0 = towards the observer), azimuth in degrees
    (0 = up in the file, row index rising, counterclockwise), and the bits that tell where 180 degrees are added
    (nowhere if None), of which `method` names one of `DISAMBIGUATION_METHODS`.
    """
    if method not in DISAMBIGUATION_METHODS:
        raise SettingError(f"`method` must be one of {', '.join(DISAMBIGUATION_METHODS)}, got {method!r}")
    degree = np.float32(math.pi / 180)
    tilt, turn = inclination * degree, azimuth * degree
    across = field * np.sin(tilt)
    if disambig is not None:
        flipped = (disambig >> DISAMBIGUATION_METHODS[method]) & 1
        across *= 1 - 2 * flipped.astype(np.float32)
    return -across * np.sin(turn), across * np.cos(turn), field * np.cos(tilt)


def surface_components(
    right: Float32Array, up: Float32Array, los: Float32Array, *, lon: Float64Array, lat: Float64Array,
    geometry: DiskGeometry
) -> tuple[Float32Array, Float32Array, Float32Array]:  # fmt: skip
    """Turn a field from the frame of the camera to west, north and up at points of the surface (Stonyhurst degrees).

    Gary & Hagyard (1990), eq. 1, as in Sun (2013), eqs. 7 and 8: the line of sight is taken as parallel to that of disk
    centre, from which it departs by at most 0.27 degrees.
    """
    # float32 holds angles to 1e-5 degrees, and sines four times as fast as float64.
    phi = np.radians(lon - geometry.l0).astype(np.float32)
    latitude = np.radians(lat).astype(np.float32)
    b0, roll = math.radians(geometry.b0), math.radians(geometry.roll)
    cos_roll, sin_roll = np.float32(math.cos(roll)), np.float32(math.sin(roll))
    west, north = cos_roll * right - sin_roll * up, sin_roll * right + cos_roll * up
    cos_b0, sin_b0 = np.float32(math.cos(b0)), np.float32(math.sin(b0))
    # Towards the pole of the Sun, and in the plane of its equator towards the central meridian.
    polar, front = north * cos_b0 + los * sin_b0, los * cos_b0 - north * sin_b0
    cos_phi, sin_phi = np.cos(phi), np.sin(phi)
    cos_lat, sin_lat = np.cos(latitude), np.sin(latitude)
    outwards = front * cos_phi + west * sin_phi
    bx = np.asarray(west * cos_phi - front * sin_phi, np.float32)
    by = np.asarray(polar * cos_lat - outwards * sin_lat, np.float32)
    return bx, by, np.asarray(outwards * cos_lat + polar * sin_lat, np.float32)


def _strong_field(strength: Float32Array, mu: Float32Array) -> BoolArray:
    """Where a field is strong enough for a sure azimuth, if no map of confidence tells: JSOC's linear thresholds.

    200 G at disk centre, 400 G at the limb (AMBBTHR0 and AMBBTHR1 of SHARP headers), linear in the distance from disk
    centre. Reconstruction: JSOC itself takes a map of the noise, which is not published with the field.
    """
    with np.errstate(invalid="ignore"):
        distance = np.sqrt(np.maximum(1 - mu * mu, 0))
        return np.asarray(strength > np.float32(_WEAK[0]) + np.float32(_WEAK[1] - _WEAK[0]) * distance)
