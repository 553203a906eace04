"""Flares of the synthetic Sun, and what they shine in: 1600 Å, 131 Å, and soft X-rays as GOES would see them.

Plage and network shine at 1600 Å where the field is strong, spots are dark; the corona at 131 Å is the field, blurred.
Flares, an inhomogeneous Poisson process in each region with power-law sizes, brighten both at their place and the
X-rays of the whole disk: they rise to the peak and have fallen to half of it at their end, as GOES defines it. Levels
and sizes are of the right order of magnitude, no more.
"""

import numpy as np
import pandas as pd

from kflare.flares.catalogue import flux_to_class
from kflare.io.arrays import Float32Array, Float64Array, IntArray
from kflare.synthetic.regions import (
    LONGEST_LIFE_DAYS,
    Regions,
    bounded_power_law,
    days_to_times,
    generator,
    times_to_days,
)
from kflare.synthetic.surface import DiskGrid

__all__ = ["aia_intensity", "flare_flux", "flare_rate", "simulate_flares", "xray_flux"]

_SIZE_RANGE = (5e-7, 1e-3)  # W m^-2, B5 to X10
_SIZE_INDEX = 1.9
_RATE = 4.0  # flares of all sizes per day in a region of 1e21 Mx of polarity-inversion-line flux
_RATE_POWER = 1.6
_STEP = 1 / 24  # days over which the rate is held
_BACKGROUND = 2e-7  # W m^-2
_QUIET = {1600: 45.0, 131: 4.0}  # DN/s
_C1 = {1600: 600.0, 131: 300.0}  # DN/s at the peak of a flare of C1.0, above the rest
_GROWTH = {1600: 0.4, 131: 0.8}  # power of the X-ray flux with which the brightness grows
_FLARE_WIDTH = {1600: 0.35, 131: 0.7}  # degrees


def flare_rate(pil_flux: Float64Array) -> Float64Array:
    """Flares of class B5 and above per day, given the polarity-inversion-line flux in Mx; half of them are ≥ C1.0."""
    return np.asarray(_RATE * (pil_flux / 1e21) ** _RATE_POWER)


def simulate_flares(regions: Regions, noaa: IntArray, *, seed: int) -> pd.DataFrame:
    """Draw every flare in the life of each region that happens on the visible hemisphere, as GOES would see it.

    The columns are start, peak, end, goes_class, noaa, lon, lat of a `FlareList`; rows by region, not by time. The
    flares of one region do not depend on the others.
    """
    steps = np.arange(0, LONGEST_LIFE_DAYS, _STEP)
    drawn = [np.empty((7, 0))]
    for i in range(len(regions)):
        one = regions.take(np.full(len(steps), i))
        expected = flare_rate(one.patches_at(one.born + steps).pil_flux) * _STEP
        random = generator(seed, "flares", *regions.key[i].tolist())
        counts = random.poisson(expected)
        age = np.repeat(steps, counts) + _STEP * random.random(counts.sum())
        uniform, normal = random.random(len(age)), random.standard_normal((len(age), 2))
        size = bounded_power_law(uniform, *_SIZE_RANGE, index=_SIZE_INDEX)
        same = regions.take(np.full(len(age), i))
        start_day = same.born + age
        longitude = same.longitude(start_day)
        # Stronger flares last longer: about 6 minutes to the peak at C1, a quarter of an hour at X1.
        rise = 6 * (size / 1e-6) ** 0.2 * np.exp(0.5 * normal[:, 0])
        fall = 1.3 * rise * np.exp(0.3 * normal[:, 1])
        values = np.stack([start_day, size, rise, fall, np.full(len(age), noaa[i]), longitude, same.lat])
        drawn.append(values[:, np.abs(longitude) < 90])
    day, flux, minutes_up, minutes_down, number, lon, lat = np.concatenate(drawn, axis=1)
    # GOES lists are in whole minutes, with at least one between start, peak and end.
    minute = pd.Timedelta(minutes=1)
    start = days_to_times(day).floor("min")
    peak = start + np.ceil(minutes_up) * minute
    table = {
        "start": start,
        "peak": peak,
        "end": peak + np.ceil(minutes_down) * minute,
        "goes_class": [flux_to_class(one) for one in flux.tolist()],
        "noaa": number.astype(np.int64),
        "lon": lon,
        "lat": lat,
    }
    return pd.DataFrame(table).astype({"goes_class": "str"})


def flare_flux(flares: pd.DataFrame, times: pd.DatetimeIndex) -> Float64Array:
    """X-ray flux of each flare (`start`, `peak`, `end`, `flux`) at each time, W m^-2, shape (flares, times)."""
    now = times_to_days(times)
    start, peak, end = (
        times_to_days(pd.DatetimeIndex(flares[name]))[:, np.newaxis] for name in ("start", "peak", "end")
    )
    since = now - peak
    rising = np.exp(-((since / ((peak - start) / 2)) ** 2))
    falling = 0.5 ** (np.clip(since, 0, None) / (end - peak))
    return flares["flux"].to_numpy(np.float64)[:, np.newaxis] * np.where(since < 0, rising, falling)


def xray_flux(flares: pd.DataFrame, times: pd.DatetimeIndex) -> Float64Array:
    """Flux of the whole disk in 0.1-0.8 nm at N times, W m^-2: the background and every flare within a day."""
    flux = np.full(len(times), _BACKGROUND)
    for _, flare in flares.iterrows():
        near = np.flatnonzero(
            (times > flare["start"] - pd.Timedelta(hours=1)) & (times < flare["end"] + pd.Timedelta(days=1))
        )
        flux[near] += flare_flux(flare.to_frame().T, times[near])[0]
    return flux


def aia_intensity(
    grid: DiskGrid, radial: Float32Array, flares: pd.DataFrame, time: pd.Timestamp, *, wavelength: int
) -> Float32Array:
    """Image at 1600 or 131 Å on the pixels of a magnetogram, DN/s without noise, float32, shape (size, size).

    `radial` is the radial field on the disk in gauss, float32, shape (P,).
    """
    from scipy import ndimage

    strength = np.abs(radial)
    image = np.zeros((grid.size, grid.size), dtype=np.float32)
    if wavelength == 1600:
        bright = 1 + 0.9 * np.sqrt(np.minimum(strength, 800) / 100)
        bright *= np.where(strength > 1200, np.float32(0.35), np.float32(1))
        image.ravel()[grid.index] = _QUIET[wavelength] * (0.45 + 0.55 * grid.mu) * bright
    else:
        image.ravel()[grid.index] = strength
        image = ndimage.gaussian_filter(image, np.deg2rad(1.0) * grid.radius, truncate=3)
        # The corona reaches beyond the limb and is brightest there, where the line of sight is longest.
        image = 0.25 * image + np.float32(0.3 * _QUIET[wavelength])
        image.ravel()[grid.index] += (_QUIET[wavelength] * (1 + 0.5 * (1 - grid.mu))).astype(np.float32)
    for lon, lat, flux in _flaring(flares, time):
        peak = _C1[wavelength] * (flux / 1e-6) ** _GROWTH[wavelength]
        _brighten(image, grid, lon, lat, peak=peak, width=_FLARE_WIDTH[wavelength])
    return image


def _flaring(flares: pd.DataFrame, time: pd.Timestamp) -> list[tuple[float, float, float]]:
    """Place and present flux of the flares that can be seen."""
    day = pd.Timedelta(days=1)
    near = flares[(flares["start"] < time + day / 24) & (flares["end"] > time - day / 2)]
    if near.empty:
        return []
    places = zip(near["lon"], near["lat"], flare_flux(near, pd.DatetimeIndex([time]))[:, 0], strict=True)
    return [(float(lon), float(lat), float(now)) for lon, lat, now in places if now > 1e-8]


def _brighten(image: Float32Array, grid: DiskGrid, lon: float, lat: float, *, peak: float, width: float) -> None:
    x, y = grid.pixel(lon, lat)
    sigma = max(0.5, np.deg2rad(width) * grid.radius)
    half = int(4 * sigma) + 1
    rows = np.arange(max(0, int(y) - half), min(grid.size, int(y) + half + 1))
    columns = np.arange(max(0, int(x) - half), min(grid.size, int(x) + half + 1))
    shape = np.exp(-((rows - y) ** 2) / (2 * sigma**2))[:, np.newaxis] * np.exp(-((columns - x) ** 2) / (2 * sigma**2))
    image[rows[:, np.newaxis], columns] += (peak * shape).astype(np.float32)
