"""Forecasts and Grad-CAM values against flares and SHARP parameters: Figs. 6 and 7 of Yi et al. (2021).

The Grad-CAM value of a region is the maximum of the map inside its area (`harps.largest`). In the paper each map is
scaled to 0–1 first, so a value says how a region compares with the strongest one *of its image*, not with those of
other days.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import CLASS_THRESHOLDS
from kflare.flares.labels import reaches
from kflare.io.arrays import Float64Array
from kflare.sharp.keywords import SHARP_KEYWORDS
from kflare.verification.intervals import rate_interval

BINS: Final = tuple(np.round(np.linspace(0, 1, 11), 1))
"""Bins of the Grad-CAM value; the last one includes 1. Reconstruction: the paper does not state its bins."""

PAPER_CORRELATIONS: Final = {
    "TOTUSJZ": 0.72,
    "TOTUSJH": 0.71,
    "USFLUX": 0.70,
    "TOTPOT": 0.62,
    "MEANPOT": 0.57,
    "MEANSHR": 0.57,
    "SHRGT45": 0.56,
    "SAVNCPP": 0.55,
    "ABSNJZH": 0.52,
}
"""Pearson r of Yi et al. (2021, section 4), for comparison; those of the other seven are below 0.5."""

# Resamples are ranked in chunks, no array beyond this many float64 values (16 MB).
_CHUNK: Final = 1 << 21
_LEAST: Final = 3


def occurrence_rates(values: npt.ArrayLike, flux: npt.ArrayLike, *, bins: npt.ArrayLike = BINS) -> pd.DataFrame:
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
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    days: npt.ArrayLike,
    *,
    ranks: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
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
    result["r"] = float(_weighted(first, second, np.ones((len(first), 1)), ranks=ranks)[0])
    if count < _LEAST or resamples < 1:
        return result
    random = np.random.default_rng(seed)
    drawn = random.multinomial(count, np.full(count, 1 / count), size=resamples).T.astype(np.float64)
    size = max(1, _CHUNK // len(first))
    parts = [
        _weighted(first, second, drawn[day, begin : begin + size], ranks=ranks) for begin in range(0, resamples, size)
    ]
    found = np.concatenate(parts)
    found = found[np.isfinite(found)]
    if found.size:
        low, high = np.percentile(found, (2.5, 97.5))
        result |= {"low": float(low), "high": float(high)}
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
    for name in SHARP_KEYWORDS:
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
        rows.append(row | {"yi2021": PAPER_CORRELATIONS.get(name, np.nan)})
    return pd.DataFrame(rows)


def _weighted(x: Float64Array, y: Float64Array, weights: Float64Array, *, ranks: bool) -> Float64Array:
    """Correlation of each resample, whose pairs count as often as its column of `weights` (N, R) says."""
    x, y = (_midranks(values, weights) if ranks else values[:, np.newaxis] for values in (x, y))
    total = weights.sum(axis=0)
    # Brought to mean 0 and size 1 first: SHARP parameters reach 1e24, and their squares lose the rest.
    x, y = ((column - column.mean()) / (np.abs(column - column.mean()).max() or 1) for column in (x, y))
    mean_x, mean_y = (weights * x).sum(axis=0) / total, (weights * y).sum(axis=0) / total
    dx, dy = x - mean_x, y - mean_y
    covariance, square_x, square_y = ((weights * part).sum(axis=0) for part in (dx * dy, dx * dx, dy * dy))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / np.sqrt(square_x * square_y)
    return np.where(square_x * square_y > 0, r, np.nan)


def _midranks(values: Float64Array, weights: Float64Array) -> Float64Array:
    """Mid-rank of each value in each resample, shape (N, R); that of a value with weight 0 does not matter."""
    _, level = np.unique(values, return_inverse=True)
    order = np.argsort(level, kind="stable")
    starts = np.flatnonzero(np.diff(level[order], prepend=-1))
    at_level = np.add.reduceat(weights[order], starts, axis=0)
    below = np.cumsum(at_level, axis=0) - at_level
    return np.asarray((below + (at_level + 1) / 2)[level])
