"""Where a pixel of a full-disk image lies on the Sun, how large it is there, and from where the Sun is seen.

The Sun is a sphere of 696 Mm seen from a finite distance (TAN projection), with the same conventions as
`kflare.observations.world`, so that both agree to better than a thousandth of a pixel; sunpy's frames do the same for a
few points, but are too slow for every pixel of every image.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import ArrayLike, BoolArray, Float32Array, Float64Array
from kflare.sun.constants import AU_M, SOLAR_RADIUS_CM, SOLAR_RADIUS_M
from kflare.sun.disk import Disk
from kflare.sun.times import DAY_SECONDS

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1: the pixels x0 <= column < x1 and y0 <= row < y1."""

_FAR: Final = 5e12  # Far enough for a hundredth of a pixel of 4096.
_SAMPLES: Final = 33
_LIGHT: Final = 299_792_458.0  # m/s


def in_box(x: ArrayLike, y: ArrayLike, box: Box) -> BoolArray:
    """Whether places in pixels, 0 = centre of the first one, lie in a box of whole pixels."""
    x, y = np.asarray(x), np.asarray(y)
    return np.asarray((x >= box[0] - 0.5) & (x < box[2] - 0.5) & (y >= box[1] - 0.5) & (y < box[3] - 0.5))


@dataclass(frozen=True)
class Observer:
    """From where the Sun is seen."""

    lon: float  # Carrington longitude (L0) of the centre of the disk, degrees
    lat: float  # its heliographic latitude (B0), degrees
    distance: float  # from the centre of the Sun in metres

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lon) and abs(self.lat) <= 90 and 1e9 < self.distance < 1e13):
            rule = "`observer` must be seen from -90 to 90 degrees and 1e9 to 1e13 m from the Sun"
            raise DataError(f"{rule}, got {self}")


@lru_cache(maxsize=1024)
def earth_at(time: datetime) -> Observer:
    """The Earth as an observer at `time` (UTC), as sunpy has it, which takes a second to import.

    Pole, prime meridian and rotation: Archinal et al. (2018). Its light is of the time when it left the nearest point.
    """
    import erfa

    tt = erfa.taitt(*erfa.utctai(*erfa.dtf2d("UTC", *time.timetuple()[:5], time.second + time.microsecond / 1e6)))
    place = erfa.epv00(*tt)[0]["p"] * AU_M  # heliocentric, axes of the ICRS
    distance = math.hypot(*place)
    days = tt[0] - 2451545.0 + tt[1] - (distance - SOLAR_RADIUS_M) / _LIGHT / DAY_SECONDS
    node, east = erfa.s2c(*np.radians([286.13 + 90, 0.0])), erfa.s2c(*np.radians([286.13 + 180, 90 - 63.87]))
    lon = math.degrees(math.atan2(place @ east, place @ node)) - (84.176 + 14.1844 * days)
    return Observer(float(lon % 360), math.degrees(math.asin(place @ np.cross(node, east) / distance)), distance)


def seen_from_afar(time: datetime) -> Observer:
    """An observer in the plane of the solar equator, on the Earth's meridian, so far away that the view is parallel."""
    return Observer(earth_at(time).lon, 0.0, _FAR)


@dataclass(frozen=True)
class DiskGeometry:
    """The view of the Sun that a full-disk image has."""

    disk: Disk  # in pixels; row 0 = north
    shape: tuple[int, int]  # height and width of the image
    b0: float = 0.0  # heliographic latitude of the centre of the disk, degrees
    l0: float = 0.0  # its Stonyhurst longitude, degrees: 0 as seen from the Earth
    distance: float = AU_M  # from the centre of the Sun in metres; 1 au where it does not matter
    roll: float = 0.0  # degrees by which solar north lies clockwise of up, as in `Magnetogram`

    def __post_init__(self) -> None:
        if not abs(self.b0) <= 90:
            raise DataError(f"`b0` must lie in [-90, 90] degrees, got {self.b0}")
        if not (math.isfinite(self.l0) and math.isfinite(self.roll)):
            raise DataError(f"`l0` and `roll` must be finite angles in degrees, got {self.l0} and {self.roll}")
        if not 1e9 < self.distance < 1e13:
            raise DataError(f"`distance` must lie in 1e9 to 1e13 metres, got {self.distance}")

    @classmethod
    def seen_from(
        cls, observer: Observer, time: datetime, disk: Disk, shape: tuple[int, int], *, roll: float = 0.0
    ) -> "DiskGeometry":
        """The view that an observer has at `time`; the other arguments are those of the class."""
        l0 = (observer.lon - earth_at(time).lon + 180) % 360 - 180
        return cls(disk, shape, b0=observer.lat, l0=l0, distance=observer.distance, roll=roll)

    @property
    def _radii(self) -> float:
        """Distance in solar radii."""
        return self.distance / SOLAR_RADIUS_M

    @property
    def scale(self) -> float:
        """Angle that a pixel subtends, radian."""
        return math.asin(1 / self._radii) / self.disk.radius

    def _tangents(self, x: ArrayLike, y: ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Tangents of the angle from disk centre towards the west and the north of the Sun."""
        right = np.asarray(x, np.float64) - self.disk.x
        up = self.disk.y - np.asarray(y, np.float64)
        cos, sin = math.cos(math.radians(self.roll)), math.sin(math.radians(self.roll))
        return self.scale * (cos * right - sin * up), self.scale * (sin * right + cos * up)

    def _on_sphere(self, x: ArrayLike, y: ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Point on the unit sphere (west, north, towards the observer) and mu; NaN off the disk."""
        west, north = self._tangents(x, y)
        tan2, far = west**2 + north**2, self._radii
        mu = np.sqrt(_positive(1 - far**2 * tan2 / (1 + tan2)))
        # Along the line of sight from the observer: `far / secant - mu` radii to the surface.
        secant = np.sqrt(1 + tan2)
        along = (far / secant - mu) / secant
        return along * west, along * north, far - along, mu

    def lonlat(self, x: ArrayLike, y: ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Stonyhurst longitude and latitude of pixels, degrees.

        Of columns and rows `x`, `y`, 0 = centre of the first pixel, row 0 = north; broadcast. West and north are
        positive, longitudes lie in [-180, 180); NaN off the disk.
        """
        west, north, ahead, _ = self._on_sphere(x, y)
        cos, sin = math.cos(math.radians(self.b0)), math.sin(math.radians(self.b0))
        lat = np.degrees(np.arcsin(np.clip(north * cos + ahead * sin, -1, 1)))
        lon = np.degrees(np.arctan2(west, ahead * cos - north * sin)) + self.l0
        return (lon + 180) % 360 - 180, lat

    def pixel(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Float64Array, Float64Array, BoolArray]:
        """Where points on the Sun (Stonyhurst degrees, broadcast) are in the image; inverse of :meth:`lonlat`.

        Column and row, also of points behind the limb, as if the Sun were transparent; and whether the point is on this
        side of the limb. It may still lie outside the image.
        """
        along, up = np.radians(np.asarray(lon, np.float64) - self.l0), np.radians(np.asarray(lat, np.float64))
        cos, sin = math.cos(math.radians(self.b0)), math.sin(math.radians(self.b0))
        west, pole, front = np.cos(up) * np.sin(along), np.sin(up), np.cos(up) * np.cos(along)
        north, ahead = pole * cos - front * sin, pole * sin + front * cos
        far = self._radii
        right, upwards = west / (far - ahead) / self.scale, north / (far - ahead) / self.scale
        cos, sin = math.cos(math.radians(self.roll)), math.sin(math.radians(self.roll))
        x = self.disk.x + cos * right + sin * upwards
        y = self.disk.y + sin * right - cos * upwards
        return x, y, np.asarray(ahead > 1 / far)

    def mu_at(self, x: ArrayLike, y: ArrayLike) -> Float64Array:
        """Cosine of the angle between the line of sight and the vertical, of pixels; NaN off the disk."""
        return self._on_sphere(x, y)[3]

    @cached_property
    def mu(self) -> Float32Array:
        """:meth:`mu_at` of every pixel, float32, shape (H, W); made at the first use and kept."""
        height, width = self.shape
        factor = self._radii * self.scale
        # A roll does not change the distance from the centre; tan² in the denominator does, by 2e-5 at the limb.
        rows = (factor * (np.arange(height) - self.disk.y)) ** 2
        columns = (factor * (np.arange(width) - self.disk.x)) ** 2
        mu = columns.astype(np.float32) + rows.astype(np.float32)[:, np.newaxis]
        mu /= 1 + mu / np.float32(self._radii**2)
        np.subtract(np.float32(1), mu, out=mu)
        mu[mu <= 0] = np.nan
        return np.sqrt(mu, out=mu)

    def pixel_area_cm2(self, x: ArrayLike, y: ArrayLike) -> Float64Array:
        """Area of the solar surface that pixels cover, foreshortening undone, cm²; NaN off the disk."""
        west, north = self._tangents(x, y)
        secant2 = 1 + west**2 + north**2
        mu = np.sqrt(_positive(1 - self._radii**2 * (secant2 - 1) / secant2))
        path = (self._radii / np.sqrt(secant2) - mu) * SOLAR_RADIUS_CM
        # The solid angle of a pixel of a tangent plane shrinks with the cube of the secant.
        return np.asarray(self.scale**2 / secant2**1.5 * path**2 / mu)

    def sample(self, box: Box) -> tuple[Float64Array, Float64Array]:
        """Stonyhurst longitudes and latitudes of points all over a box, as many as are on the disk: 1-D."""
        x0, y0, x1, y1 = box
        # Pixel edges lie half a pixel from their centres; a grid, since the limb may cut the box anywhere.
        x, y = np.linspace(x0 - 0.5, x1 - 0.5, _SAMPLES), np.linspace(y0 - 0.5, y1 - 0.5, _SAMPLES)
        lon, lat = self.lonlat(x, y[:, np.newaxis])
        seen = np.isfinite(lon)
        return lon[seen], lat[seen]

    def box_lonlat(self, box: Box) -> tuple[float, float, float, float]:
        """Degrees that a box spans on the disk: lon_min, lon_max, lat_min, lat_max; NaN where it is off the disk."""
        lon, lat = self.sample(box)
        if not lon.size:
            return math.nan, math.nan, math.nan, math.nan
        return float(lon.min()), float(lon.max()), float(lat.min()), float(lat.max())


def rotated(lon: ArrayLike, lat: ArrayLike, *, seconds: ArrayLike) -> Float64Array:
    """Stonyhurst longitudes in [-180, 180) some seconds later, as seen from Earth."""
    turned = synodic_rate(lat) * np.asarray(seconds, np.float64) / DAY_SECONDS
    return np.asarray((np.asarray(lon, np.float64) + turned + 180) % 360 - 180)


def synodic_rate(lat: ArrayLike) -> Float64Array:
    """Degrees a day at which magnetic features cross the disk, as seen from Earth (Howard et al. 1990)."""
    sin2 = np.sin(np.radians(np.asarray(lat, np.float64))) ** 2
    return np.asarray(np.degrees(1e-6 * DAY_SECONDS * (2.894 - 0.428 * sin2 - 0.370 * sin2**2)) - 0.9856)


def common_area(one: ArrayLike, other: ArrayLike) -> Float64Array:
    """Area that N boxes (lon_min, lon_max, lat_min, lat_max) share with M others, square degrees, shape (N, M)."""
    first = np.asarray(one, np.float64).reshape(-1, 1, 4)
    second = np.asarray(other, np.float64).reshape(1, -1, 4)
    width = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    height = np.minimum(first[..., 3], second[..., 3]) - np.maximum(first[..., 2], second[..., 2])
    return np.asarray(np.maximum(width, 0) * np.maximum(height, 0))


def overlapping(
    ours: Float64Array, theirs: Float64Array, *, seconds: ArrayLike, share: float
) -> tuple[Float64Array, BoolArray]:
    """Area that N boxes have in common with M after these were `rotated` for some seconds, and whether it suffices.

    Boxes as of `common_area`; results of shape (N, M). Enough is `share` of the smaller of both boxes.
    """
    if len(theirs):
        middle = theirs[:, :2].mean(axis=1)
        turned = rotated(middle, theirs[:, 2:].mean(axis=1), seconds=seconds)
        theirs = theirs.copy()
        theirs[:, :2] += (turned - middle)[:, np.newaxis]
    common = common_area(ours, theirs)
    least = np.minimum(common_area(ours, ours).diagonal()[:, np.newaxis], common_area(theirs, theirs).diagonal())
    return common, (common > 0) & (common >= share * least)


def _positive(values: Float64Array) -> Float64Array:
    """`values` where they are above 0, else NaN."""
    return np.where(values > 0, values, np.nan)
