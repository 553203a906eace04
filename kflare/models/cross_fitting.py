"""A calibration fitted to several years, each forecast by a network that did not see it, with its interval.

One validation year says little of another: one fit to all, and where a network has a year of its own, that year's fit
shrunk to the common one. The shrinkage is empirical Bayes: (slope, offset) of a year are normal around the common fit,
with variances that the years themselves tell by EM (Morris 1983, JASA 78, 47; Laird & Ware 1982, Biometrics 38, 963
[M]). Samples of one region or week resemble each other: the likelihood is divided by their design effect, the mean
ratio of the cluster-robust to the plain variance (Liang & Zeger 1986, Biometrika 73, 13 [M]).
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, ArrayLike, BoolArray, Float32Array, Float64Array, IndexArray
from kflare.models.calibration import KNOTS, LEVEL, RESAMPLES, Calibration, best_line, fit_calibration, logits

_EM_STEPS = 60
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class OutOfSample:
    """Outputs of networks for N samples that they did not see, and what followed; arrays of shape (N,)."""

    observed: BoolArray
    probability: Float32Array
    year: AnyArray  # year or block: the unit between which calibrations differ
    cluster: AnyArray  # what is resampled together: a region, or a week of the full disk
    window: AnyArray  # what counts as one window of 24 h: a region on a day, or a day of the full disk

    @classmethod
    def of(
        cls, observed: BoolArray, probability: Float32Array, times: Any, *, regions: Any = None, years: Any = None
    ) -> Self:
        """Samples at `times` (UTC), of `regions` or of the full disk; by default the year is that of the time.

        Samples of one region and day share most of their 24 h: as windows they are one. `probability` holds no NaN.
        """
        moments = pd.DatetimeIndex(pd.to_datetime(times, utc=True))
        days = (moments - pd.Timestamp(0, tz="UTC")).days.to_numpy(np.int64)
        if np.isnan(probability).any():
            raise DataError("`probability` of a calibration must be known for every sample, got NaN")
        names = None if regions is None else np.unique(np.asarray(regions, str), return_inverse=True)[1]
        return cls(
            np.asarray(observed, bool), np.asarray(probability, np.float32),
            np.asarray(moments.year if years is None else years).astype(str),
            days // 7 if names is None else names,
            days if names is None else names.astype(np.int64) * 1_000_000 + days,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Several together; clusters of one number, such as a week at the end of a year, are one."""
        every = list(parts)
        return cls(*(np.concatenate([getattr(part, one.name) for part in every]) for one in fields(cls)))

    def where(self, mask: BoolArray) -> Self:
        """The samples that a mask (N,) chooses."""
        return type(self)(*(getattr(self, one.name)[mask] for one in fields(self)))


def at_rate(probability: ArrayLike, rate: float, to: float) -> Float32Array:
    """Outputs of a network whose 0.5 stands for the event `rate`, as if it stood for the rate `to`; rates in (0, 1).

    Class weights of the training span's ratio move the prior by its log odds (docs/science.md): networks of other spans
    are to be brought to one rate before their outputs are calibrated together.
    """
    from scipy.special import expit, logit

    return np.asarray(expit(logits(probability) + logit(rate) - logit(to)), np.float32)


def cross_fitted(samples: OutOfSample, *, own: str | None = None, resamples: int = RESAMPLES) -> Calibration:
    """Platt scaling fitted to several years of out-of-sample outputs, with its interval.

    With one year, or without `own`, it is the common fit: what is known of a year to come. With the name of a year that
    is the network's `own`, where of the other years other networks spoke, it is that year's fit shrunk to the common
    one: a year with few events tells little and stays with the others.

    The interval is that of the calibration alone, not of the network: `resamples` fits with the clusters weighted at
    random (Bayesian bootstrap, Rubin 1981, Ann. Stat. 9, 130 [M]), each moved by a draw of the spread between years,
    for the year to come is another one. Without `resamples` there is none.

    DataError: all samples are of one class; SettingError: there is no year `own`.
    """
    x, observed = logits(samples.probability), samples.observed
    names, year = np.unique(samples.year, return_inverse=True)
    _, cluster = np.unique(samples.cluster, return_inverse=True)
    if own is not None and own not in names:
        raise SettingError(f"`own` must be one of the years {', '.join(names)}, got {own}")
    plain = fit_calibration(observed, samples.probability)
    # At the mean logit, weighted by the information, the errors of slope and level do not depend on each other.
    (_, mixed), (_, weight) = _information(x, np.array([plain.slope, plain.offset]))
    centre = float(mixed / weight)
    x = x - centre
    common = np.array([plain.slope, plain.offset + plain.slope * centre])
    share = 1 / _design_effect(observed, x, common, cluster)
    parts = [year == number for number in range(len(names))]
    variance, fits = _spread(observed, x, common, share, parts)
    chosen = common if own is None else fits[list(names).index(own)]
    mine = None if own is None or len(names) == 1 else parts[list(names).index(own)]

    random = np.random.default_rng(0)
    drawn = np.empty((resamples, 2))
    for row in drawn:
        weight = random.exponential(size=cluster.max() + 1)[cluster]
        row[:] = middle = best_line(observed, x, weight, start=common)
        if mine is not None:
            row[:] = best_line(observed[mine], x[mine], share * weight[mine], start=middle, prior=(middle, variance))
    if len(names) > 1:
        drawn += random.normal(size=drawn.shape) * np.sqrt(variance)
    drawn[:, 0] = np.maximum(drawn[:, 0], 0)
    band = None
    if resamples:
        lines = drawn[:, :1] * (KNOTS - centre) + drawn[:, 1:]
        point = chosen[0] * (KNOTS - centre) + chosen[1]
        low, high = np.quantile(lines, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        band = (tuple(np.minimum(low, point).tolist()), tuple(np.maximum(high, point).tolist()))
    years = {
        str(name): _counts(samples, part) | {"slope": float(fit[0]), "offset": float(fit[1] - fit[0] * centre)}
        for name, part, fit in zip(names, parts, fits, strict=True)
    }
    return Calibration(
        float(chosen[0]), float(chosen[1] - chosen[0] * centre), 1.0 / (len(np.unique(samples.window)) + 2),
        band=band, years=years, spread=None if len(names) == 1 else tuple(np.sqrt(variance).tolist()),
        own=None if mine is None else own,
    )  # fmt: skip


def _information(x: Float64Array, at: Float64Array) -> Float64Array:
    from scipy.special import expit

    p = expit(at[0] * x + at[1])
    design = np.stack([x, np.ones_like(x)], axis=1)
    return np.asarray((design * (p * (1 - p))[:, None]).T @ design)


def _design_effect(observed: BoolArray, x: Float64Array, at: Float64Array, cluster: IndexArray) -> float:
    """How many samples of a cluster tell as much as one: at least 1."""
    from scipy.special import expit

    rest = observed - expit(at[0] * x + at[1])
    scores = np.stack([np.bincount(cluster, rest * x), np.bincount(cluster, rest)], axis=1)
    plain = _information(x, at) + _LEAST_VARIANCE * np.eye(2)
    return max(1.0, float(np.trace(np.linalg.solve(plain, scores.T @ scores))) / 2)


def _spread(
    observed: BoolArray, x: Float64Array, common: Float64Array, share: float, parts: list[BoolArray]
) -> tuple[Float64Array, list[Float64Array]]:
    """Variances of slope and level between the years by EM, and each year's fit of the greatest posterior density."""
    if len(parts) == 1:
        return np.full(2, _LEAST_VARIANCE), [common]
    variance, fits = np.array([0.1, 1.0]), [common] * len(parts)
    for _ in range(_EM_STEPS):
        squares = []
        for number, part in enumerate(parts):
            weight = np.full(int(part.sum()), share)
            fits[number] = at = best_line(observed[part], x[part], weight, start=fits[number], prior=(common, variance))
            posterior = np.linalg.inv(share * _information(x[part], at) + np.diag(1 / variance))
            squares.append((at - common) ** 2 + np.diag(posterior))
        # One less than the years, since the common fit is theirs.
        variance = np.maximum(np.sum(squares, axis=0) / (len(parts) - 1), _LEAST_VARIANCE)
    return variance, fits


def _counts(samples: OutOfSample, part: BoolArray) -> dict[str, float]:
    windows, clusters = (len(np.unique(values[part])) for values in (samples.window, samples.cluster))
    events = int(samples.observed[part].sum())
    return {"samples": int(part.sum()), "windows": windows, "clusters": clusters, "events": events}
