"""Scores of probability forecasts.

Symbols: p_i forecast probability, o_i outcome (0 or 1) of N samples, s = mean of o. Sources are marked [M] where the
formula is general knowledge: Nishizuka et al. (2021, section 4.2) name the scores of Leka et al. (2019) without
printing them, and that paper's body was not read. The tests compare them with the package `scores`.
"""

from dataclasses import dataclass

import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import ArrayLike, Float64Array, IndexArray, IntArray, TimeArray
from kflare.verification.contingency import counts_by_threshold
from kflare.verification.samples import Probabilities, check_outcomes, check_samples
from kflare.verification.scores import Score

_ONE_CLASS = "only one of the two outcomes was observed"


def brier_score(observed: ArrayLike, probability: ArrayLike) -> float:
    """Brier score: BS = mean of (p - o)^2.

    Range 0 to 1, perfect 0; s (1 - s) for always forecasting s. Brier 1950 [M].

    Of outcomes, bool or 0/1 (N,), and probabilities, 0 to 1 (N,). DataError, here and in all functions below: empty,
    unequal lengths, NaN, or a probability outside [0, 1].
    """
    events, values = check_samples(observed, probability)
    return float(np.mean((values - events) ** 2))


def brier_skill_score(observed: ArrayLike, probability: ArrayLike) -> Score:
    """Brier skill score against the climatology of the sample: BSS = 1 - BS/[s (1 - s)].

    Range -inf to 1, perfect 1; 0 for always forecasting s. NaN where s is 0 or 1. Arguments as for
    `brier_score`. Used by Leka et al. 2019 [M].
    """
    events, values = check_samples(observed, probability)
    rate = float(np.mean(events))
    if rate in (0.0, 1.0):
        return Score(np.nan, f"the Brier skill score is undefined because {_ONE_CLASS} (s={rate:g})")
    return Score(1 - brier_score(events, values) / (rate * (1 - rate)))


def msess(observed: ArrayLike, probability: ArrayLike, reference: ArrayLike) -> Score:
    """Mean square error skill score against any reference: MSESS = 1 - BS/BS_reference.

    Range -inf to 1, perfect 1; 0 for the reference itself. NaN where the reference is perfect. With
    `trailing_climatology` over 120 days it is MSESS_clim of Leka et al. 2019 [M].
    """
    events, values = check_samples(observed, probability)
    reference_score = brier_score(*check_samples(events, reference, name="reference"))
    if not reference_score:
        return Score(np.nan, "MSESS is undefined because the reference makes no error")
    return Score(1 - brier_score(events, values) / reference_score)


def log_score(observed: ArrayLike, probability: ArrayLike) -> float:
    """Logarithmic score (ignorance): mean of -ln of the probability given to what was observed, in nats.

    Range 0 to inf, perfect 0; -s ln s - (1 - s) ln(1 - s) for always forecasting s. One certainty that proves wrong
    makes it infinite: that is the score, not an error. Arguments as for `brier_score`. Good 1952 [M].
    """
    events, values = check_samples(observed, probability)
    with np.errstate(divide="ignore"):
        return float(np.mean(-np.log(np.where(events, values, 1 - values)))) + 0.0  # + 0.0: no negative zero


@dataclass(frozen=True)
class BrierDecomposition:
    """BS = reliability - resolution + uncertainty + within_bins; every term is a mean over the samples."""

    reliability: float  # mean squared distance of the forecast from its bin's event rate: 0 to 1, perfect 0
    resolution: float  # that of the bins' event rates from s: 0 to `uncertainty`, which is perfect; no skill 0
    uncertainty: float  # s (1 - s): 0 to 0.25, not a property of the forecast
    within_bins: float  # variance of p minus twice the covariance of p and o inside the bins; 0 without bins


def brier_decomposition(observed: ArrayLike, probability: ArrayLike, *, bins: int | None = 20) -> BrierDecomposition:
    """Brier score split into reliability, resolution and uncertainty.

    Murphy 1973 [M]; the term inside the bins as in Stephenson, Coelho and Jolliffe 2008 [M]. Arguments as for
    `brier_score`; `bins` are of equal width in probability, as in `reliability`. None groups equal probabilities
    instead, which is meant for forecasts in steps: where all probabilities differ, each sample would be its own group.
    """
    events, values = check_samples(observed, probability)
    groups = np.unique(values, return_inverse=True)[1] if bins is None else bin_of(values, bins)
    count = np.bincount(groups)
    filled = count > 0
    count = count[filled]
    forecast = np.bincount(groups, weights=values)[filled] / count
    rate = np.bincount(groups, weights=events)[filled] / count
    share, base_rate = count / len(events), float(np.mean(events))
    reliability_term = float(share @ (forecast - rate) ** 2)
    resolution = float(share @ (rate - base_rate) ** 2)
    uncertainty = base_rate * (1 - base_rate)
    rest = brier_score(events, values) - (reliability_term - resolution + uncertainty)
    return BrierDecomposition(reliability_term, resolution, uncertainty, 0.0 if bins is None else rest)


@dataclass(frozen=True)
class Reliability:
    """What was observed when a probability was forecast; arrays of shape (bins,), floats NaN in an empty bin."""

    forecast: Float64Array  # mean probability of the bin's samples
    count: IntArray  # S, samples of the bin
    events: IntArray  # R, observed events of the bin
    frequency: Float64Array  # estimated event rate (R + 1)/(S + 2); perfect where equal to `forecast`
    sigma: Float64Array  # standard deviation of that estimate


def reliability(
    observed: ArrayLike, probability: ArrayLike, *, bins: int = 20, clusters: ArrayLike | None = None
) -> Reliability:
    """Reliability diagram in numbers: event rate f = (R + 1)/(S + 2) with sigma = sqrt[f (1 - f)/(S + 3)].

    These are mean and standard deviation of the posterior under a uniform prior [D], as Wheatland 2005 and Leka et al.
    2019 use them [M]. The S samples of a bin count as independent unless `clusters` (N,) name the day or region that
    each is of: sigma is then the larger one that their sums tell (Liang & Zeger 1986, Biometrika 73, 13 [M]).

    Arguments as for `brier_score`; `bins` are of equal width, each holds its lower edge, the last one also 1. The
    default, 20 bins of 0.05, is that of Leka et al. 2019 [M].
    """
    events, values = check_samples(observed, probability)
    groups = bin_of(values, bins)
    count = np.bincount(groups, minlength=bins)
    hits = np.bincount(groups[events], minlength=bins)
    empty = count == 0
    forecast = np.bincount(groups, weights=values, minlength=bins) / np.where(empty, 1, count)
    frequency = (hits + 1) / (count + 2)
    sigma = np.sqrt(frequency * (1 - frequency) / (count + 3))
    if clusters is not None:
        members = np.unique(clusters, return_inverse=True)[1]
        sums = np.zeros((bins, members.max() + 1))
        np.add.at(sums, (groups, members), events - frequency[groups])
        sigma = np.maximum(sigma, np.sqrt((sums**2).sum(axis=1)) / np.where(empty, 1, count))
    forecast, frequency, sigma = (np.where(empty, np.nan, part) for part in (forecast, frequency, sigma))
    return Reliability(forecast, count.astype(np.int64), hits.astype(np.int64), frequency, sigma)


@dataclass(frozen=True)
class RocCurve:
    """Relative operating characteristic; float64 arrays of shape (K + 1,), from (0, 0) to (1, 1)."""

    pofd: Float64Array  # NaN where no non-event was observed
    pod: Float64Array  # NaN where no event was observed
    threshold: Float64Array  # `probability >= threshold` forecasts an event; inf at (0, 0)


def roc_curve(observed: ArrayLike, probability: ArrayLike) -> RocCurve:
    """POD against POFD for all thresholds; arguments as for `brier_score`.

    Perfect through (0, 1), no skill on the diagonal. A yes/no forecast gives three points (Nishizuka et al. 2021).
    """
    thresholds, tp, fp, _, _ = counts_by_threshold(observed, probability)
    pofd, pod = (np.append(0.0, n / n[-1]) if n[-1] else np.full(len(n) + 1, np.nan) for n in (fp, tp))
    return RocCurve(pofd, pod, np.append(np.inf, thresholds))


def roc_area(observed: ArrayLike, probability: ArrayLike) -> Score:
    """Area below the ROC curve by trapezoids: the chance that an event had a higher probability than a non-event.

    Range 0 to 1, perfect 1, no skill 0.5; equal probabilities count half. NaN where one outcome only was observed.
    Arguments as for `brier_score`. Mason 1982 [M].
    """
    curve = roc_curve(observed, probability)
    if np.isnan(curve.pod[0]) or np.isnan(curve.pofd[0]):
        return Score(np.nan, f"the ROC area is undefined because {_ONE_CLASS}")
    return Score(float(np.trapezoid(curve.pod, curve.pofd)))


def gini(observed: ArrayLike, probability: ArrayLike) -> Score:
    """Gini coefficient, or ROC skill score: 2 A - 1 with the ROC area A.

    Range -1 to 1, perfect 1, no skill 0. NaN where one outcome only was observed. Named by Nishizuka et al. 2021,
    section 4.2, as used by Leka et al. 2019 [M].
    """
    area = roc_area(observed, probability)
    return Score(2 * area - 1, area.reason.replace("ROC area", "Gini coefficient"))


def bin_of(values: Probabilities, bins: int) -> IndexArray:
    """Number of the bin of each probability, bins of equal width; a bin holds its lower edge, the last one also 1."""
    if bins < 1:
        raise SettingError(f"`bins` must be at least 1, got {bins}")
    edges = np.arange(bins + 1) / bins  # k/bins is the float nearest to the edge, as 0.35 is; k * 0.05 is not
    return np.minimum(np.searchsorted(edges, values, side="right") - 1, bins - 1)


def trailing_climatology(
    time: ArrayLike, history_time: ArrayLike, history_observed: ArrayLike, *, days: int = 120,
    window_hours: float = 24.0
) -> Float64Array:  # fmt: skip
    """Event rate of the preceding days, as it could have been forecast at the time: float64 (N,), 0 to 1.

    c(t) = mean outcome of the history samples of [t - days, t - window]: only those whose window had closed at t. With
    one outcome of the full disk a day this is the 120-day climatology CLIM120 of Leka et al. 2019 [M]: the `days` days
    before t. For regions the history holds their samples, so that the rate is one of samples.

    `time`, datetime64 (N,), are the issue times; `history_time`, datetime64 (M,) in any order, the begins of the
    windows of past outcomes, `history_observed`, bool or 0/1 (M,), all in UTC; times after t are never used for t. NaN
    where the history does not reach back `days` days or holds no outcome in them, as that would be an easy reference.

    DataError: times not datetime64 or NaT, an empty or unequal history; SettingError: `days` within the window.
    """
    if not days * 24 > window_hours > 0:
        raise SettingError(f"`days` must be longer than `window_hours` > 0, got {days} d and {window_hours} h")
    issued, begun = _times(time, "time"), _times(history_time, "history_time")
    outcomes = check_outcomes(history_observed, name="history_observed")
    if len(begun) != len(outcomes):
        raise DataError(f"`history_time` must match `history_observed`, got {len(begun)} for {len(outcomes)}")
    order = np.argsort(begun, kind="stable")
    begun, total = begun[order], np.append(0, np.cumsum(outcomes[order]))
    oldest = issued - np.timedelta64(days, "D")
    first = np.searchsorted(begun, oldest, side="left")
    last = np.searchsorted(begun, issued - np.timedelta64(round(window_hours * 3600), "s"), side="right")
    known = (begun[0] <= oldest) & (last > first)
    return np.where(known, (total[last] - total[first]) / np.where(known, last - first, 1), np.nan)


def _times(values: ArrayLike, name: str) -> TimeArray:
    times = np.asarray(values)
    if times.dtype.kind != "M":
        raise DataError(f"`{name}` must be datetime64 in UTC, got {times.dtype}: convert and drop the time zone")
    if np.isnat(times).any():
        raise DataError(f"`{name}` must not hold NaT, got {int(np.isnat(times).sum())}")
    return times.astype("datetime64[s]")
