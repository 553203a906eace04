"""Forecasts and Grad-CAM values against flares and SHARP parameters: Figs. 6 and 7 of Yi et al. (2021).

The Grad-CAM value of a region is the maximum of the map inside its area (`harps.largest`). In the paper each map is
scaled to 0–1 first, so a value says how a region compares with the strongest one *of its image*, not of other days.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import CLASS_THRESHOLDS
from kflare.flares.labels import reaches
from kflare.io.arrays import ArrayLike, Float64Array
from kflare.sharp.keywords import SHARP_PARAMETERS
from kflare.verification.intervals import rate_interval

BINS: Final = tuple(np.round(np.linspace(0, 1, 11), 1))
"""Bins of the Grad-CAM value; the last one includes 1. Reconstruction: the paper does not state its bins."""

_LEAST: Final = 3


def occurrence_rates(values: ArrayLike, flux: ArrayLike, *, bins: ArrayLike = BINS) -> pd.DataFrame:
    """Share of regions that flare within 24 h, by class ("C", "M", "X") and bin of their Grad-CAM value (Fig. 6).

    A bin includes its lower edge, the last one both. `rate_low`, `rate_high` are the Wilson interval (95 %) of a
    binomial share, NaN in an empty bin. It takes regions as independent, which those of one day and those of successive
    days are not: it is too narrow rather than too wide.
    """
    edges, value, largest = (np.asarray(array, np.float64) for array in (bins, values, flux))
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise SettingError(f"`bins` must be at least two ascending edges, got {edges}")
    if value.shape != largest.shape or not (np.isfinite(value).all() and np.isfinite(largest).all()):
        raise DataError(f"`values` and `flux` must be finite and of one shape, got {value.shape} and {largest.shape}")
    member = np.searchsorted(edges, value, side="right") - 1
    member[value == edges[-1]] = len(edges) - 2
    rows = []
    for name in CLASS_THRESHOLDS:
        flares = reaches(largest, name)
        for number, (low, high) in enumerate(pairwise(edges)):
            regions, flaring = int((member == number).sum()), int(flares[member == number].sum())
            rate = (np.nan, np.nan, np.nan)
            if regions:
                rate = flaring / regions, *rate_interval(flaring, regions)
            rows.append((name, low, high, regions, flaring, *rate))
    columns = ["flare_class", "low", "high", "regions", "flaring", "rate", "rate_low", "rate_high"]
    return pd.DataFrame(rows, columns=columns)


def correlation(
    x: ArrayLike, y: ArrayLike, days: ArrayLike, *, ranks: bool = False, resamples: int = 1000,
    seed: int = 0
) -> dict[str, float]:  # fmt: skip
    """Pearson's or Spearman's (`ranks`) correlation of pairs without NaN, with a bootstrap interval of 95 % over days.

    Days are drawn with replacement, each with all its regions, since regions of one day share their image; ranks are
    made anew in each resample. `r`, `low`, `high` are NaN with fewer than 3 pairs, or where one side does not vary.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    whole = np.isfinite(first) & np.isfinite(second)
    first, second = first[whole], second[whole]
    _, day = np.unique(np.asarray(days)[whole], return_inverse=True)
    count = int(day.max()) + 1 if len(day) else 0
    result = {"r": np.nan, "low": np.nan, "high": np.nan, "n": len(first), "days": count}
    if len(first) < _LEAST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return result
    result["r"] = _correlated(first, second, ranks=ranks)
    if count < _LEAST or resamples < 1:
        return result
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    rows = (np.repeat(np.arange(len(first)), times[day]) for times in drawn)
    found = np.array([_correlated(first[chosen], second[chosen], ranks=ranks) for chosen in rows])
    if np.isfinite(found).any():
        result["low"], result["high"] = np.nanpercentile(found, (2.5, 97.5)).tolist()
    return result


def correlations(
    regions: pd.DataFrame, *, value: str = "grad_cam", resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Correlation of a Grad-CAM value with each of the 16 SHARP parameters (Fig. 7).

    Choosing hits, misses and false alarms within 60° of the central meridian, as the paper does, is the caller's part.
    One row per parameter with Pearson's r of the values (`pearson`), of the value with log10 |parameter|
    (`pearson_log`; parameters that are 0 are left out, `n_log` remain) and Spearman's (`spearman`), each with its
    interval (`…_low`, `…_high`); and `yi2021`, the paper's r.
    """
    rows = []
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    for published in SHARP_PARAMETERS:
        name, paper = published.name, float(published.yi2021 or "nan")
        parameter = regions[name].to_numpy(np.float64)
        size = np.abs(parameter)
        logarithm = np.log10(size, out=np.full(len(size), np.nan), where=size > 0)
        x, days = regions[value].to_numpy(np.float64), regions["day"].to_numpy()
        plain = correlation(x, parameter, days, **options)
        logged = correlation(x, logarithm, days, **options)
        ranked = correlation(x, parameter, days, ranks=True, **options)
        row = {"parameter": name, "n": plain["n"], "days": plain["days"], "n_log": logged["n"]}
        for heading, found in (("pearson", plain), ("pearson_log", logged), ("spearman", ranked)):
            row |= {heading: found["r"], f"{heading}_low": found["low"], f"{heading}_high": found["high"]}
        rows.append(row | {"yi2021": paper})
    return pd.DataFrame(rows)


def _correlated(x: Float64Array, y: Float64Array, *, ranks: bool) -> float:
    """Pearson's or Spearman's correlation; NaN where one side does not vary."""
    from scipy.stats import rankdata

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(np.corrcoef(*((rankdata(x), rankdata(y)) if ranks else (x, y)))[0, 1])
