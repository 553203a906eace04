"""Confidence intervals of scores, by a bootstrap over clusters of samples that are not independent.

Samples of one day, or of one region, are not independent: a bootstrap over samples would make the intervals too narrow.
Whole clusters (days or HARPs) are therefore drawn with replacement, as Leka et al. (2019) draw days [M].
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kflare.errors import SettingError
from kflare.io.arrays import ArrayLike, Float64Array
from kflare.verification.resampling import ProbabilityScores, ReferenceScores, TableScores, cluster_codes, drawn_weights
from kflare.verification.samples import Outcomes, Probabilities, check_outcomes, check_samples
from kflare.verification.scores import Score

__all__ = ["ClusteredSamples", "Interval", "Resampled", "bootstrap", "rate_interval"]

Progress = Callable[[Iterable[Any]], Iterable[Any]]


class Scorer(Protocol):
    """What scores samples as they are, and their resamples by the weights of clusters, as `TableScores` does."""

    def scores(self) -> dict[str, Score]: ...

    def resampled(self, weights: Float64Array) -> dict[str, Float64Array]: ...


Scorers = Sequence[Sequence[Scorer]]
"""For each fold, what scores its samples; a score is the mean over the folds."""

_SQUARED_DISTANCES = ("reliability", "resolution")


@dataclass(frozen=True)
class Interval:
    """A score and how far chance alone would move it."""

    value: Score  # of the samples as they are (of each fold, averaged); NaN with a reason if undefined
    lower: float  # percentile interval of the resamples; NaN where there is none
    upper: float
    sigma: float  # standard deviation of the resamples; NaN likewise
    undefined: float  # share of the resamples without a score; where not small the interval means little
    reason: str  # why there is no interval: an undefined value, or one cluster only; else empty


@dataclass(frozen=True)
class Resampled:
    """Scores of several forecasts of the same samples, as they are and of common resamples, by forecast and score."""

    scores: Mapping[tuple[Any, str], Score]
    drawn: Mapping[tuple[Any, str], Float64Array]
    level: float
    clusters: int

    def interval(self, forecast: Any, score: str) -> Interval:
        """A score of a forecast with its interval."""
        key = forecast, score
        return _interval(score, self.scores[key], self.drawn[key], level=self.level, clusters=self.clusters)

    def difference(self, forecast: Any, other: Any, score: str) -> Interval:
        """`forecast` minus `other`, each resample being the same clusters for both."""
        a, b = (forecast, score), (other, score)
        with np.errstate(invalid="ignore"):  # of two infinite log scores
            drawn = self.drawn[a] - self.drawn[b]
        value = Score(self.scores[a] - self.scores[b], self.scores[a].reason or self.scores[b].reason)
        return _interval(score, value, drawn, level=self.level, clusters=self.clusters, difference=True)


def rate_interval(events: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the rate of events in samples that are independent."""
    rate, z = events / samples, 1.959963984540054
    middle, half = rate + z**2 / (2 * samples), z * (rate * (1 - rate) / samples + (z / samples) ** 2 / 4) ** 0.5
    whole = 1 + z**2 / samples
    return max((middle - half) / whole, 0.0), min((middle + half) / whole, 1.0)


class ClusteredSamples:
    """Outcomes of N samples, in clusters by `codes`, those of one not independent; arguments as for `bootstrap`."""

    def __init__(self, observed: ArrayLike, clusters: ArrayLike, folds: ArrayLike | None = None) -> None:
        self.observed = check_outcomes(observed)
        length = len(self.observed)
        names, self.codes = cluster_codes(clusters, "clusters", length)
        self.clusters = len(names)
        years, fold_of = cluster_codes(np.zeros(length) if folds is None else folds, "folds", length)
        self._folds = [fold_of == number for number in range(len(years))]

    def table_scores(self, yes: Outcomes) -> Scorers:
        """What scores a yes/no forecast of the samples."""
        return [[TableScores(self.observed[m], yes[m], self.codes[m], self.clusters)] for m in self._folds]

    def probability_scores(self, probability: Probabilities) -> Scorers:
        """What scores a probability."""
        return [
            [ProbabilityScores(self.observed[m], probability[m], self.codes[m], self.clusters)] for m in self._folds
        ]

    def reference_scores(self, probability: Probabilities, reference: Probabilities, threshold: float) -> Scorers:
        """What scores a probability against that of a reference."""
        pair = probability, reference
        return [[ReferenceScores(self.observed, pair, threshold, self.codes, self.clusters)]]

    def all_scores(self, probability: ArrayLike, threshold: float | ArrayLike, *, name: str = "probability") -> Scorers:
        """What scores a probability, and the yes/no forecast of its threshold; checked as by `bootstrap`."""
        _, values = check_samples(self.observed, probability, name=name)
        least = np.full(len(values), threshold) if np.ndim(threshold) == 0 else threshold
        _, least = check_samples(self.observed, least, name="threshold")
        both = zip(self.table_scores(values >= least), self.probability_scores(values), strict=True)
        return [[*table, *of_probability] for table, of_probability in both]

    def resample(
        self, forecasts: Mapping[Any, Scorers], *, block_length: int = 1, resamples: int = 10_000,
        level: float = 0.95, seed: int = 0, progress: Progress = iter
    ) -> Resampled:  # fmt: skip
        """Score forecasts, by any key, with common resamples; as `bootstrap`, `progress` wraps the loop over chunks."""
        values = {
            (key, name): value
            for key, folds in forecasts.items()
            for name, value in _mean_scores([_merged(part.scores() for part in fold) for fold in folds]).items()
        }
        chunks: dict[tuple[Any, str], list[Float64Array]] = {key: [] for key in values}
        numbers = {"samples": len(self.observed), "block_length": block_length, "resamples": resamples, "seed": seed}
        drawn = drawn_weights(self.clusters, **numbers)
        for weights in progress(drawn):
            for key, folds in forecasts.items():
                parts = [_merged(part.resampled(weights) for part in fold) for fold in folds]
                for name in parts[0]:
                    chunks[key, name].append(np.mean([part[name] for part in parts], axis=0))
        return Resampled(values, {key: np.concatenate(parts) for key, parts in chunks.items()}, level, self.clusters)


def _merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def _mean_scores(folds: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """Scores averaged over the folds, with the reason of the first that is undefined."""
    means = {}
    for name in folds[0]:
        reason = next((fold[name].reason for fold in folds if fold[name].reason), "")
        means[name] = Score(float(np.mean([fold[name] for fold in folds])), reason)
    return means


def bootstrap(
    observed: ArrayLike, probability: ArrayLike, clusters: ArrayLike, *,
    other: ArrayLike | None = None, folds: ArrayLike | None = None, threshold: float | ArrayLike = 0.5,
    other_threshold: float | ArrayLike = 0.5, block_length: int = 1, resamples: int = 10_000, level: float = 0.95,
    seed: int = 0
) -> dict[str, Interval]:  # fmt: skip
    """Intervals of all contingency scores and of all scores of the probabilities, or of their paired differences.

    Of outcomes, bool or 0/1 (N,), and probabilities, 0 to 1 (N,). `clusters` (N,) are the day or region of each sample:
    integers, strings or datetime64 that can be sorted. With the probability of an `other` method for the same samples
    (N,) the intervals are of `probability` minus `other`: each resample draws the same clusters for both, so that what
    is hard for both cancels, and a method differs from the other at the `level` where the interval excludes 0. With
    `folds` (N,), the test year of each sample, every score is the mean over the folds' scores, as in Nishizuka et al.
    (2021), Table 4; the clusters are drawn from all folds together.

    `probability >= threshold` forecasts an event, for the contingency scores; an array (N,) where each fold has its
    own; `other_threshold` is that of `other`. So many clusters as `block_length`, consecutive in sorted order, are
    drawn together (circular block bootstrap), for days that depend on the days before; 1 for regions, whose order means
    nothing. The `level` is 0.95 for the 2.5 and 97.5 percentiles, 0.68 for the 16 and 84 percentiles of Leka et al.
    2019 [M]; the same `seed` gives the same intervals.

    Gives intervals by the names of `ContingencyTable.scores`, and `brier_score`, `brier_skill_score`, `reliability`,
    `resolution`, `log_score`, `roc_area`, `gini`. DataError: samples that cannot be scored, a cluster that is missing;
    SettingError: a setting outside its range.
    """
    samples = ClusteredSamples(observed, clusters, folds)
    methods = {"probability": samples.all_scores(probability, threshold)}
    if other is not None:
        methods["other"] = samples.all_scores(other, other_threshold, name="other")
    found = samples.resample(methods, block_length=block_length, resamples=resamples, level=level, seed=seed)
    names = [score for key, score in found.scores if key == "probability"]
    if other is None:
        return {score: found.interval("probability", score) for score in names}
    return {score: found.difference("probability", "other", score) for score in names}


def _interval(
    name: str, value: Score, drawn: Float64Array, *, level: float, clusters: int, difference: bool = False
) -> Interval:
    """Interval of a score from its resamples of shape (R,), NaN where undefined.

    Reliability and resolution are means of squared distances, to which resampling adds its own noise: their resamples
    are moved so that their mean is the value. A difference of two scores may be negative where the scores may not.
    """
    if not 0 < level < 1:
        raise SettingError(f"`level` must lie between 0 and 1, got {level}")
    defined = drawn[~np.isnan(drawn)]
    lower, upper, sigma = np.nan, np.nan, np.nan
    reason = value.reason
    if clusters == 1:
        reason = reason or "all samples belong to one cluster: nothing says how another would have turned out"
    elif not defined.size:
        reason = reason or "the score is undefined in every resample"
    elif not reason:
        sigma = float(np.std(defined))
        if name in _SQUARED_DISTANCES:
            defined = defined + (value - np.mean(defined))
            defined = defined if difference else np.maximum(defined, 0)
        lower, upper = np.percentile(defined, (50 * (1 - level), 50 * (1 + level)))
    undefined = 1 - np.count_nonzero(~np.isnan(drawn)) / drawn.size
    return Interval(value, float(lower), float(upper), float(sigma), undefined, reason)
