"""Flares of the synthetic Sun: an inhomogeneous Poisson process in each region, with power-law sizes.

Rates and sizes are of the right order of magnitude, no more.
"""

import numpy as np
import pandas as pd

from kflare.flares.catalogue import flux_to_class
from kflare.io.arrays import Float64Array, IntArray
from kflare.synthetic.regions import LONGEST_LIFE_DAYS, Regions, bounded_power_law, days_to_times, generator

_SIZE_RANGE = (5e-7, 1e-3)  # W m^-2, B5 to X10
_SIZE_INDEX = 1.9
_RATE = 4.0  # flares of all sizes per day in a region of 1e21 Mx of polarity-inversion-line flux
_RATE_POWER = 1.6
_STEP = 1 / 24  # days over which the rate is held


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
        "start": start, "peak": peak, "end": peak + np.ceil(minutes_down) * minute,
        "goes_class": [flux_to_class(one) for one in flux.tolist()], "noaa": number.astype(np.int64), "lon": lon,
        "lat": lat,
    }  # fmt: skip
    return pd.DataFrame(table).astype({"goes_class": "str"})
