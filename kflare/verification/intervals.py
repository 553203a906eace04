"""Confidence intervals of scores, by a bootstrap over clusters of samples that share their fate.

Samples of one day, or of one region, are not independent: a bootstrap over samples would make the intervals too narrow.
Whole clusters (days or HARPs) are therefore drawn with replacement, as Leka et al. (2019) draw days [M]. A resample is
nothing but a weight for each cluster, so that its contingency table and squared error are one matrix product, and
10,000 resamples of the 31,336 samples of Nishizuka et al. (2021, Table 1) take about a second.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from kflare.errors import DataError, SettingError
from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import brier_score, brier_skill_score, gini, roc_area
from kflare.verification.samples import Outcomes, Probabilities, check_samples
from kflare.verification.scores import Score, score_arrays

__all__ = ["Interval", "bootstrap", "bootstrap_difference"]

FloatArray = npt.NDArray[np.float64]
ScoreArrays = dict[str, FloatArray]

# Resamples are drawn in chunks: no intermediate array grows beyond this many float64 values (16 MB).
_CHUNK = 1 << 21


@dataclass(frozen=True)
class Interval:
    """A score and how far chance alone would move it.

    Attributes
    ----------
    value : Score
        Of the samples as they are (of each fold, averaged, where folds are given); NaN with a reason if undefined.
    lower, upper : float
        Percentile interval of the resamples; NaN with a reason where there is none.
    sigma : float
        Standard deviation of the resamples; NaN likewise.
    undefined : float
        Share of the resamples in which the score was undefined, for lack of events perhaps; they are left out, and
        where this share is not small the interval means little.
    reason : str
        Why there is no interval: the value is undefined, or all samples belong to one cluster. Empty otherwise.
    """

    value: Score
    lower: float
    upper: float
    sigma: float
    undefined: float
    reason: str


def bootstrap(
    observed: npt.ArrayLike,
    probability: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    folds: npt.ArrayLike | None = None,
    threshold: float | npt.ArrayLike = 0.5,
    block_length: int = 1,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of all contingency scores, the Brier (skill) score, the ROC area and its Gini coefficient.

    Parameters
    ----------
    observed : bool or 0/1 array of shape (N,)
        Whether an event was observed.
    probability : array of shape (N,)
        Forecast probability, 0 to 1.
    clusters : array of shape (N,)
        Day or region of each sample: integers, strings or datetime64 that can be sorted.
    folds : array of shape (N,) or None
        Test year of each sample: every score is then the mean over the folds' scores, as in Nishizuka et al. (2021),
        Table 4. The clusters are drawn from all folds together.
    threshold : float or array of shape (N,)
        `probability >= threshold` forecasts an event, for the contingency scores; an array where each fold has its own.
    block_length : int
        Number of clusters, consecutive in sorted order, that are drawn together (circular block bootstrap), for days
        that depend on the days before. 1 for regions, whose order means nothing.
    resamples : int
        Number of resamples.
    level : float
        0.95 for the 2.5 and 97.5 percentiles; 0.68 for the 16 and 84 percentiles of Leka et al. 2019 [M].
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    dict of Interval
        By the names of `ContingencyTable.scores`, and `brier_score`, `brier_skill_score`, `roc_area`, `gini`.

    Raises
    ------
    DataError
        Empty, unequal lengths, NaN, a probability outside [0, 1], or a cluster that is missing.
    SettingError
        A setting outside its range.
    """
    method = _Method(observed, probability, clusters, folds, threshold)
    drawn = _drawn_weights(method, block_length, resamples, seed)
    parts = [method.resampled(weights) for weights in drawn]
    return _intervals(method.scores(), parts, level, method.clusters)


def bootstrap_difference(
    observed: npt.ArrayLike,
    probability: npt.ArrayLike,
    other: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    folds: npt.ArrayLike | None = None,
    thresholds: tuple[float | npt.ArrayLike, float | npt.ArrayLike] = (0.5, 0.5),
    block_length: int = 1,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of the differences of all scores of two methods, `probability` minus `other`, on the same samples.

    Each resample draws the same clusters for both methods, so that what is hard for both cancels. A method differs from
    the other at the `level` where the interval excludes 0.

    Parameters
    ----------
    observed, probability, clusters, folds, block_length, resamples, level, seed
        As for `bootstrap`.
    other : array of shape (N,)
        Probability that the other method forecast, for the same samples.
    thresholds : pair of floats or arrays of shape (N,)
        Probability threshold of each method.

    Returns
    -------
    dict of Interval
        By the same names as from `bootstrap`.

    Raises
    ------
    DataError, SettingError
        As for `bootstrap`; also where the two methods have not the same samples.
    """
    first = _Method(observed, probability, clusters, folds, thresholds[0])
    second = _Method(observed, other, clusters, folds, thresholds[1], name="other")
    drawn = _drawn_weights(first, block_length, resamples, seed)
    parts = [_minus(first.resampled(weights), second.resampled(weights)) for weights in drawn]
    value, subtrahend = first.scores(), second.scores()
    difference = {
        name: Score(value[name] - subtrahend[name], value[name].reason or subtrahend[name].reason) for name in value
    }
    return _intervals(difference, parts, level, first.clusters)


class _Method:
    """The forecasts of one method, reduced to sums over each cluster: all that a resample needs."""

    def __init__(
        self,
        observed: npt.ArrayLike,
        probability: npt.ArrayLike,
        clusters: npt.ArrayLike,
        folds: npt.ArrayLike | None,
        threshold: float | npt.ArrayLike,
        *,
        name: str = "probability",
    ) -> None:
        events, values = check_samples(observed, probability, name=name)
        names, codes = _codes(clusters, "clusters", len(events))
        self.clusters, self.samples = len(names), len(events)
        years, fold_of = _codes(np.zeros(len(events)) if folds is None else folds, "folds", len(events))
        least = np.full(len(events), threshold) if np.ndim(threshold) == 0 else threshold
        _, least = check_samples(events, least, name="threshold")
        members = [fold_of == number for number in range(len(years))]
        self._folds = [_Fold(events[m], values[m], values[m] >= least[m], codes[m], self.clusters) for m in members]

    def scores(self) -> dict[str, Score]:
        """Scores of the samples as they are, averaged over the folds."""
        parts = [fold.scores() for fold in self._folds]
        return {
            name: Score(
                float(np.mean([part[name] for part in parts])),
                next((part[name].reason for part in parts if part[name].reason), ""),
            )
            for name in parts[0]
        }

    def resampled(self, weights: FloatArray) -> ScoreArrays:
        """Scores of resamples whose cluster weights are the columns of `weights`, averaged over the folds."""
        parts = [fold.resampled(weights) for fold in self._folds]
        return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


class _Fold:
    def __init__(
        self, events: Outcomes, values: Probabilities, yes: Outcomes, codes: npt.NDArray[np.intp], clusters: int
    ) -> None:
        self._events, self._values = events, values
        self._table = ContingencyTable.from_forecasts(events, yes)
        columns = (events & yes, ~events & yes, events & ~yes, ~events & ~yes, (values - events) ** 2)
        # Rows: TP, FP, FN, TN and the sum of squared errors of each cluster.
        self._sums = np.stack([np.bincount(codes, weights=column, minlength=clusters) for column in columns])
        # The ROC area counts the pairs of an event and a non-event with a lower probability. Row j of `_hits` holds the
        # events with the j-th distinct probability, row j of `_alarms` the non-events that are below it but not below
        # the one before. A non-event with just this probability counts half here and half in the next row.
        steps = np.unique(values[events])
        event_codes, other_codes = codes[events], codes[~events]
        row = np.searchsorted(steps, values[events])
        self._hits = csr_array((np.ones(len(row)), (row, event_codes)), shape=(len(steps), clusters))
        rows = [np.searchsorted(steps, values[~events], side=side) for side in ("left", "right")]
        pairs = (np.concatenate(rows), np.tile(other_codes, 2))
        self._alarms = csr_array((np.full(len(pairs[0]), 0.5), pairs), shape=(len(steps) + 1, clusters))

    def scores(self) -> dict[str, Score]:
        events, values = self._events, self._values
        return self._table.scores() | {
            "brier_score": Score(brier_score(events, values)),
            "brier_skill_score": brier_skill_score(events, values),
            "roc_area": roc_area(events, values),
            "gini": gini(events, values),
        }

    def resampled(self, weights: FloatArray) -> ScoreArrays:
        *counts, squared = self._sums @ weights
        tp, fp, fn, tn = counts
        events, others = tp + fn, fp + tn
        below = np.cumsum(self._alarms @ weights, axis=0)[:-1]
        ordered = np.einsum("jr,jr->r", self._hits @ weights, below)
        with np.errstate(divide="ignore", invalid="ignore"):
            brier = squared / (events + others)
            skill = np.where(events * others > 0, 1 - squared * (events + others) / (events * others), np.nan)
            area = ordered / (events * others)
        probabilistic = {"brier_score": brier, "brier_skill_score": skill, "roc_area": area, "gini": 2 * area - 1}
        return score_arrays(tp, fp, fn, tn) | probabilistic


def _codes(labels: npt.ArrayLike, name: str, length: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    array = np.asarray(labels)
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat):  # text from pandas
        array = array.astype(np.str_)
    if array.shape != (length,):
        raise DataError(f"`{name}` must hold one label for each of the {length} samples, got the shape {array.shape}")
    if array.dtype.kind not in "biufUSM":
        raise DataError(f"`{name}` must be numbers, text or datetime64, got the type {array.dtype}, or missing labels")
    if array.dtype.kind in "fM" and np.isnan(array).any():
        raise DataError(f"`{name}` must not be missing, got {int(np.isnan(array).sum())} missing labels")
    return np.unique(array, return_inverse=True)


def _drawn_weights(method: _Method, block_length: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each cluster was drawn: arrays of shape (clusters, r) for chunks of r resamples."""
    clusters = method.clusters
    if not 1 <= block_length <= clusters:
        raise SettingError(f"`block_length` must lie in [1, {clusters}], the number of clusters, got {block_length}")
    if resamples < 1:
        raise SettingError(f"`resamples` must be at least 1, got {resamples}")
    random = np.random.default_rng(seed)
    blocks = -(-clusters // block_length)
    size = max(1, _CHUNK // max(method.samples, clusters))
    for begin in range(0, resamples, size):
        chunk = min(size, resamples - begin)
        starts = random.integers(clusters, size=(blocks, chunk))
        flat = np.bincount((starts * chunk + np.arange(chunk)).ravel(), minlength=clusters * chunk)
        weights = flat.reshape(clusters, chunk).astype(np.float64)
        yield sum((np.roll(weights, shift, axis=0) for shift in range(1, block_length)), start=weights)


def _minus(first: ScoreArrays, second: ScoreArrays) -> ScoreArrays:
    return {name: first[name] - second[name] for name in first}


def _intervals(values: dict[str, Score], parts: list[ScoreArrays], level: float, clusters: int) -> dict[str, Interval]:
    if not 0 < level < 1:
        raise SettingError(f"`level` must lie between 0 and 1, got {level}")
    percentiles = 50 * (1 - level), 50 * (1 + level)
    result = {}
    for name, value in values.items():
        drawn = np.concatenate([part[name] for part in parts])
        defined = drawn[~np.isnan(drawn)]
        lower, upper, sigma = np.nan, np.nan, np.nan
        reason = value.reason
        if clusters == 1:
            reason = reason or "all samples belong to one cluster: nothing says how another would have turned out"
        elif not defined.size:
            reason = reason or "the score is undefined in every resample"
        elif not reason:
            lower, upper = np.percentile(defined, percentiles)
            sigma = np.std(defined)
        undefined = 1 - defined.size / drawn.size
        result[name] = Interval(value, float(lower), float(upper), float(sigma), undefined, reason)
    return result
