"""The face of the synthetic Sun: the field of its regions and network on the pixels of a full disk.

The view is orthographic, from a distant observer in the plane of the solar equator (B0 = 0, P = 0). All field is radial
at the surface: the line-of-sight field is the radial field times mu, the cosine of the angle from disk centre. A
reconstruction in broad strokes, as the rest of the synthetic Sun.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kflare.io.arrays import Float32Array, Float64Array, IntArray
from kflare.sun.geometry import synodic_rate
from kflare.synthetic.regions import Patches, generator

DISK_RADIUS = 0.44  # of the image width, as in the SDO archive's daily HMI images
_STEP = 0.25  # degrees per map pixel: one pixel of a 512² image at disk centre
_ROWS, _COLUMNS = int(180 / _STEP), int(360 / _STEP)
_MAPS = 3  # patterns in the pool; each comes back with a new shift, so nobody meets the same Sun twice
_EPOCH_DAYS = 4.0  # within this time one pattern has given way to the next: the network is renewed
_NETWORK_RMS = 11.0  # gauss


@dataclass(frozen=True, eq=False)
class DiskGrid:
    """Pixels of a full-disk image; flat arrays over the P pixels on the disk."""

    size: int  # width and height of the image
    centre: float  # of the disk in both directions, pixels: the middle of the image
    radius: float  # pixels
    index: IntArray  # flat index of each pixel on the disk, shape (P,)
    number: IntArray  # position of each pixel in the flat arrays, -1 off the disk, shape (size, size)
    lat: Float64Array  # heliographic, degrees, north positive
    lon: Float64Array  # from the central meridian, degrees, west positive
    mu: Float32Array  # cosine of the angle from disk centre
    rate: Float64Array  # of synodic rotation, degrees per day

    def pixel(self, lon: float, lat: float) -> tuple[float, float]:
        """Column and row of a place."""
        column = self.centre + self.radius * np.sin(np.deg2rad(lon)) * np.cos(np.deg2rad(lat))
        return float(column), float(self.centre - self.radius * np.sin(np.deg2rad(lat)))

    def near(self, lon: float, lat: float, reach: float) -> tuple[IntArray, Float64Array, Float64Array]:
        """Pixels within `reach` degrees of a place, and where they lie from it: degrees west and north."""
        x0, y0, x1, y1 = self.box(lon, lat, reach)
        window = self.number[y0:y1, x0:x1]
        window = window[window >= 0]
        dx = ((self.lon[window] - lon + 180) % 360 - 180) * np.cos(np.deg2rad(lat))
        dy = self.lat[window] - lat
        near = dx**2 + dy**2 < reach**2
        return window[near], dx[near], dy[near]

    def box(self, lon: float, lat: float, reach: float) -> tuple[int, int, int, int]:
        """Columns x0 to x1 and rows y0 to y1, half open, that hold what lies within `reach` degrees of a place."""
        column, row = self.pixel(lon, lat)
        half = np.deg2rad(reach) * self.radius + 1
        x0, y0 = max(0, int(column - half)), max(0, int(row - half))
        return x0, y0, min(self.size, int(column + half) + 2), min(self.size, int(row + half) + 2)


@lru_cache(maxsize=4)
def disk_grid(size: int) -> DiskGrid:
    """Pixels of a `size` × `size` image with the disk in the middle."""
    centre, radius = (size - 1) / 2, DISK_RADIUS * size
    offset = (np.arange(size) - centre) / radius
    west, north = np.meshgrid(offset, -offset)
    index = np.flatnonzero(west**2 + north**2 <= 1)
    west, north = west.ravel()[index], north.ravel()[index]
    mu = np.sqrt(np.clip(1 - west**2 - north**2, 0, None))
    lat = np.rad2deg(np.arcsin(north))
    number = np.full(size * size, -1, dtype=np.int64)
    number[index] = np.arange(len(index))
    lon = np.rad2deg(np.arctan2(west, mu))
    return DiskGrid(
        size, centre, radius, index, number.reshape(size, size), lat, lon, mu.astype(np.float32), synodic_rate(lat)
    )


def paint(grid: DiskGrid, patches: Patches, lon: Float64Array, lat: Float64Array, clumps: Float32Array) -> Float32Array:
    """Radial field of all regions, gauss, float32, shape (P,).

    Spots and delta patches are smooth; plage is broken into the network's clumps by a factor of mean 1, shape (P,).
    """
    field = np.zeros(len(grid.index), dtype=np.float32)
    sigma, peak, reach = patches.seen(np.rad2deg(1 / grid.radius))
    for i in np.flatnonzero(np.abs(lon) < 90 + reach / np.cos(np.deg2rad(lat))):
        window, west, north = grid.near(lon[i], lat[i], reach[i])
        dx, dy = west.astype(np.float32), north.astype(np.float32)
        gaussians = [
            np.float32(peak[i, k])
            * np.exp(((dx - patches.x[i, k]) ** 2 + (dy - patches.y[i, k]) ** 2) * (-0.5 / sigma[i, k] ** 2))
            for k in range(peak.shape[1])
        ]
        spots, plage = gaussians[0] + gaussians[2] + gaussians[4], gaussians[1] + gaussians[3]
        field[window] += (spots + plage * clumps[window]).astype(np.float32)
    return field


class Network:
    """Quiet-Sun network of mixed polarity, and the clumps that plage is made of, over the whole rotating surface.

    Each epoch of a few days has its own pattern, carried along by differential rotation and handed over smoothly to the
    next epoch's. The patterns come from a small pool; an epoch shifts its pattern to a random longitude.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._pool: dict[tuple[int, int], tuple[Float32Array, Float32Array]] = {}

    def sample(self, grid: DiskGrid, day: float) -> tuple[Float32Array, Float32Array]:
        """Network field in gauss and clump factor (mean 1, at least 0) on the disk, float32, shape (P,) each."""
        epoch = int(np.floor(day / _EPOCH_DAYS))
        late = day / _EPOCH_DAYS - epoch
        factor = max(f for f in (1, 2, 4, 8, 16) if f == 1 or f * grid.size <= 512)
        row = np.clip((90 - grid.lat) / (_STEP * factor), 0, _ROWS // factor - 1).astype(np.int64)
        field, clumps = np.zeros((2, len(grid.index)), dtype=np.float32)
        # The field of independent patterns adds in squares, the clumps must keep their mean.
        for number, amplitude, weight in (
            (epoch, np.cos(np.pi / 2 * late), 1 - late),
            (epoch + 1, np.sin(np.pi / 2 * late), late),
        ):
            polarity, gain = self._pattern(number % _MAPS, factor)
            shift = 360 * generator(self._seed, "epoch", number).random()
            lon = grid.lon + shift - grid.rate * (day - number * _EPOCH_DAYS)
            place = row * gain.shape[1] + (lon / (_STEP * factor)).astype(np.int64) % gain.shape[1]
            field += np.float32(amplitude) * polarity.ravel()[place]
            clumps += np.float32(weight) * gain.ravel()[place]
        return field, clumps

    def _pattern(self, number: int, factor: int) -> tuple[Float32Array, Float32Array]:
        """Polarity map (gauss) and clump map at 1 / `factor` of the full resolution, by means over blocks."""
        if (number, 1) not in self._pool:
            random = generator(self._seed, "network", number)
            fine, lanes, polarity = (_smooth_noise(random, width) for width in (0.28, 1.0, 2.0))
            # Flux sits in the lanes between supergranules: along the zero lines of a smooth random field.
            gain = np.exp(1.3 * fine - (lanes / 0.5) ** 2)
            gain /= gain.mean()
            signed = gain * np.tanh(2 * polarity + fine[::-1])
            signed *= _NETWORK_RMS / signed.std()
            self._pool[number, 1] = (signed, gain)
        if (number, factor) not in self._pool:
            shape = (_ROWS // factor, factor, _COLUMNS // factor, factor)
            signed, gain = (values.reshape(shape).mean(axis=(1, 3)) for values in self._pool[number, 1])
            self._pool[number, factor] = (signed, gain)
        return self._pool[number, factor]


def _smooth_noise(random: np.random.Generator, width: float) -> Float32Array:
    """Gaussian random field of unit variance over the whole surface, periodic in longitude, `width` in degrees."""
    from scipy import fft

    noise = fft.rfft2(random.standard_normal((_ROWS, _COLUMNS), dtype=np.float32))
    rows, columns = fft.fftfreq(_ROWS), fft.rfftfreq(_COLUMNS)
    power = -2 * (np.pi * width / _STEP) ** 2
    noise *= (np.exp(power * rows**2)[:, np.newaxis] * np.exp(power * columns**2)).astype(np.float32)
    smooth: Float32Array = fft.irfft2(noise, s=(_ROWS, _COLUMNS))
    return np.asarray(smooth / smooth.std(), dtype=np.float32)
