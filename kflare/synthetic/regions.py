"""Bipolar regions of the synthetic Sun: where and when they emerge, how they grow, decay, rotate and flare.

A region is two polarities of equal flux, each a compact spot in diffuse plage, and a parasitic patch of the following
polarity that comes and goes beside the leading spot: the delta configuration of flaring regions. Every number here is
a reconstruction with the right order of magnitude, made so that programs can run without data. No result found on
the synthetic Sun says anything about the skill of a forecast of the real one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from kflare.io.arrays import AnyArray, Float64Array, IntArray
from kflare.sun.geometry import synodic_rate

RADIUS_CM = 6.957e10  # of IAU 2015; another would be another Sun for the same seed
SQUARE_DEGREE = (np.deg2rad(1.0) * RADIUS_CM) ** 2  # cm² of solar surface
LONGEST_LIFE_DAYS = 45.0  # nothing is left of any region after this time
_REGIONS_PER_DAY = 0.85  # on the whole Sun at activity 1: about five regions on the disk, as near a solar maximum
_FLUX_RANGE = (1e21, 4e22)  # Mx, unsigned, at the largest extent
_PLAGE_FIELD, _SPOT_FIELD, _DELTA_FIELD = 270.0, 1900.0, 1500.0  # gauss, at the centre of each patch
_DIFFUSION = 0.08  # degree² per day, about 140 km²/s: the random walk of plage in active regions
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESOLVED_FIELD = 1000.0  # gauss: a polarity inversion line between weaker fields counts less than half


@dataclass(frozen=True)
class Patches:
    """The Gaussian flux patches of some regions at some time, float64, shape (N, 5) each."""

    flux: Float64Array  # signed, Mx: leading spot, leading plage, following spot, following plage, delta patch
    x: Float64Array  # relative to the region's centre, degrees of great circle, west positive
    y: Float64Array  # likewise, north positive
    sigma: Float64Array  # width (standard deviation), degrees

    @property
    def peak(self) -> Float64Array:
        """Signed radial field at the centre of each patch in gauss, shape (N, 5)."""
        return self.flux / (2 * np.pi * SQUARE_DEGREE * self.sigma**2)

    @property
    def extent(self) -> Float64Array:
        """Distance from the region's centre beyond which its field is negligible, degrees, shape (N,)."""
        return np.asarray((np.hypot(self.x, self.y) + 3.5 * self.sigma).max(axis=1))

    def seen(self, pixel: float) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Width and peak field of each patch, and extent of each region, in pixels of so many degrees.

        A spot smaller than a pixel is spread over it, so that its flux does not depend on where pixel centres fall.
        """
        sigma = np.hypot(self.sigma, 0.4 * pixel)
        return sigma, self.peak * (self.sigma / sigma) ** 2, self.extent + pixel

    @property
    def pil_flux(self) -> Float64Array:
        """Polarity-inversion-line flux in Mx, shape (N,): how much opposite flux is pressed together, and how strong.

        This project's analytic counterpart of Schrijver's R (2007, ApJL 655, L117): over each pair of opposite
        patches, the lesser flux times the overlap exp(-d²/2(s1²+s2²)) times B/(B + 1000 G), where d is their distance,
        s1 and s2 their widths, and B the geometric mean of their peak fields.
        """
        flux, field = np.abs(self.flux), np.abs(self.peak)
        total = np.zeros(len(flux))
        for i, j in ((0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)):  # leading polarity × following polarity
            distance2 = (self.x[:, i] - self.x[:, j]) ** 2 + (self.y[:, i] - self.y[:, j]) ** 2
            overlap = np.exp(-distance2 / (2 * (self.sigma[:, i] ** 2 + self.sigma[:, j] ** 2)))
            strength = np.sqrt(field[:, i] * field[:, j])
            total += np.minimum(flux[:, i], flux[:, j]) * overlap * strength / (strength + _RESOLVED_FIELD)
        return total


@dataclass(frozen=True)
class Regions:
    """What is fixed for each region at its birth: arrays of shape (N,), float64 unless said otherwise."""

    #: Shape (N, 2), day of birth (proleptic ordinal) and number within the day: the seed of all that is random later.
    key: IntArray
    born: Float64Array  # emergence, in days of the proleptic calendar (day 1.0 is 0001-01-01 00:00 UTC)
    lat: Float64Array  # degrees
    longitude0: Float64Array  # from the central meridian at emergence, degrees, west positive
    flux: Float64Array  # the largest, unsigned, Mx
    leading: Float64Array  # sign of the leading polarity, +1 or -1 (Hale's law)
    tilt: Float64Array  # degrees by which the leading polarity is nearer to the equator (Joy's law); negative = further
    separation: Float64Array  # distance of the polarities at full growth, degrees
    rise: Float64Array  # from emergence to the largest flux, days
    decay: Float64Array  # e-folding time after it, days
    complexity: Float64Array  # 0 = simple bipole, 1 = the delta patch takes nearly half of the following flux
    delta_age: Float64Array  # at which the delta patch is strongest, days
    delta_width: Float64Array  # standard deviation of its life, days
    delta_angle: Float64Array  # its direction seen from the leading spot, radian
    delta_distance: Float64Array  # in sums of both widths

    def __len__(self) -> int:
        return len(self.born)

    def take(self, index: AnyArray) -> "Regions":
        """Select regions by index or mask; an index may repeat, for one region at several times."""
        return Regions(**{name: value[index] for name, value in vars(self).items()})

    def longitude(self, day: Float64Array | float) -> Float64Array:
        """Longitude from the central meridian in degrees, -180 to 180, west positive, at `day`; shape (N,)."""
        return np.asarray((self.longitude0 + synodic_rate(self.lat) * (day - self.born) + 180) % 360 - 180)

    def flux_at(self, day: Float64Array | float) -> Float64Array:
        """Unsigned flux in Mx at `day`, shape (N,): a smooth rise from 0, then exponential decay."""
        age = np.asarray(day - self.born, dtype=np.float64)
        growth = np.sin(np.pi / 2 * np.clip(age / self.rise, 0, 1)) ** 2
        fade = np.exp(-np.clip(age - self.rise, 0, None) / self.decay)
        return np.asarray(np.where((age > 0) & (age < LONGEST_LIFE_DAYS), self.flux * growth * fade, 0.0))

    def patches_at(self, day: Float64Array | float) -> Patches:
        """Gaussian patches that make up each region at `day` (one time, or one for each region)."""
        age = np.asarray(day - self.born, dtype=np.float64)
        polarity = self.flux_at(day) / 2
        spots = np.exp(-np.clip(age - self.rise, 0, None) / (0.6 * self.decay))  # spots go before the plage
        leading_spot, following_spot = 0.35 * spots * polarity, 0.15 * spots * polarity
        life = np.exp(-(((age - self.delta_age) / self.delta_width) ** 2) / 2)
        delta = 0.45 * self.complexity * life * polarity
        leading_plage, following_plage = polarity - leading_spot, polarity - following_spot - delta
        flux = np.stack([leading_spot, leading_plage, -following_spot, -following_plage, -delta], axis=1)

        spread = self.flux / 2 * np.sin(np.pi / 2 * np.clip(age / self.rise, 0.3, 1)) ** 2
        plage_width = np.sqrt(_width(spread, _PLAGE_FIELD) ** 2 + 2 * _DIFFUSION * np.clip(age, 0, None))
        spot_widths = _width(leading_spot, _SPOT_FIELD), _width(following_spot, _SPOT_FIELD)
        delta_width = _width(delta, _DELTA_FIELD)
        widths = [spot_widths[0], 0.85 * plage_width, spot_widths[1], 1.15 * plage_width, delta_width]
        sigma = np.stack(widths, axis=1)

        half = self.separation / 2 * (0.4 + 0.6 * np.clip(age / (2 * self.rise), 0, 1))
        ahead_x = half * np.cos(np.deg2rad(self.tilt))
        ahead_y = -np.sign(self.lat) * half * np.sin(np.deg2rad(self.tilt))
        reach = self.delta_distance * (sigma[:, 0] + sigma[:, 4])
        x = np.stack([1.2 * ahead_x, ahead_x, -0.9 * ahead_x, -ahead_x, 1.2 * ahead_x], axis=1)
        y = np.stack([1.2 * ahead_y, ahead_y, -0.9 * ahead_y, -ahead_y, 1.2 * ahead_y], axis=1)
        x[:, 4] += reach * np.cos(self.delta_angle)
        y[:, 4] += reach * np.sin(self.delta_angle)
        return Patches(self.leading[:, np.newaxis] * flux, x, y, sigma)


def emerge_regions(first: int, last: int, *, seed: int, activity: float, belt: float, leading_north: int) -> Regions:
    """Let regions emerge on the whole Sun, a Poisson number each day, in order of emergence.

    Both days, proleptic ordinals, are included; a day's regions depend on the day and the seed alone. The latitude has
    a scatter of 6 degrees about `belt` and is limited to 2 to 40 degrees; for the rest see `SyntheticSun`.
    """
    drawn = []
    for day in range(first, last + 1):
        random = generator(seed, "emergence", day)
        count = int(random.poisson(_REGIONS_PER_DAY * activity))
        # One row of a fixed width per region, so that no region's parameters hang on another's.
        uniform, normal = random.random((count, 8)), random.standard_normal((count, 5))
        north = np.where(uniform[:, 0] < 0.5, 1.0, -1.0)
        flux = bounded_power_law(uniform[:, 1], *_FLUX_RANGE, index=1.2)
        size = np.sqrt(flux / 1e22)
        lat = north * np.clip(belt + 6 * normal[:, 0], 2, 40)
        rise = 2.5 * size**0.6 * np.exp(0.25 * normal[:, 1])
        values = {
            # Joy's law: half the latitude on average (Wang & Sheeley 1989), with more scatter in smaller regions.
            "tilt": 0.5 * np.abs(lat) + np.clip(10 / size**0.5, 5, 15) * normal[:, 2],
            "key": np.column_stack([np.full(count, day), np.arange(count)]).astype(np.int64),
            "born": day + np.sort(uniform[:, 2]), "lat": lat, "longitude0": 360 * uniform[:, 3] - 180, "flux": flux,
            "leading": north * np.sign(leading_north), "separation": 5.5 * size**0.7 * np.exp(0.2 * normal[:, 3]),
            "rise": rise, "decay": 13.0 * size**0.6 * np.exp(0.2 * normal[:, 4]), "complexity": uniform[:, 4] ** 2,
            "delta_age": rise * (0.8 + 2 * uniform[:, 5]), "delta_width": 1.0 + 1.5 * uniform[:, 5],
            "delta_angle": 2 * np.pi * uniform[:, 6], "delta_distance": 0.9 + 0.7 * uniform[:, 7],
        }  # fmt: skip
        drawn.append(values)
    return Regions(**{name: np.concatenate([values[name] for values in drawn]) for name in drawn[0]})


def bounded_power_law(uniform: Float64Array, low: float, high: float, *, index: float) -> Float64Array:
    """Turn numbers uniform on [0, 1) into a density ∝ x^-index between `low` and `high`; index other than 1."""
    power = 1 - index
    return np.asarray((low**power + uniform * (high**power - low**power)) ** (1 / power))


def generator(seed: int, purpose: str, *number: int) -> np.random.Generator:
    """Random generator that belongs to one purpose and number alone, so that no order of calls matters."""
    return np.random.default_rng([seed, *purpose.encode(), *number])


def times_to_days(times: pd.DatetimeIndex) -> Float64Array:
    """Count aware times in days of the proleptic calendar, so that day 1.0 is 0001-01-01 00:00 UTC."""
    return np.asarray((times - _EPOCH) / pd.Timedelta(days=1), dtype=np.float64) + _EPOCH.toordinal()


def days_to_times(days: Float64Array) -> pd.DatetimeIndex:
    """Inverse of `times_to_days`, datetime64[us, UTC]."""
    microseconds = np.rint((days - _EPOCH.toordinal()) * 86400e6).astype("timedelta64[us]")
    return pd.DatetimeIndex(np.datetime64(0, "us") + microseconds, tz="UTC")


def _width(flux: Float64Array, field: float) -> Float64Array:
    """Width in degrees of a Gaussian of `flux` Mx and `field` gauss at its centre; at least 0.05 degrees."""
    return np.sqrt(np.clip(flux / (2 * np.pi * field * SQUARE_DEGREE), 0.05**2, None))
