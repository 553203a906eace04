"""Confidence intervals of scores, by a bootstrap over clusters of samples that share their fate.

Samples of one day, or of one region, are not independent: a bootstrap over samples would make the intervals too narrow.
Whole clusters (days or HARPs) are therefore drawn with replacement, as Leka et al. (2019) draw days [M].
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kflare.errors import SettingError
from kflare.verification.resampling import ProbabilityScores, TableScores, cluster_codes, drawn_weights
from kflare.verification.samples import check_samples
from kflare.verification.scores import Score

__all__ = ["Interval", "bootstrap", "bootstrap_difference", "interval_of"]

FloatArray = npt.NDArray[np.float64]
ScoreArrays = dict[str, FloatArray]

_SQUARED_DISTANCES = ("reliability", "resolution")


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
    """Intervals of all contingency scores and of all scores of the probabilities.

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
        By the names of `ContingencyTable.scores`, and `brier_score`, `brier_skill_score`, `reliability`, `resolution`,
        `log_score`, `roc_area`, `gini`.

    Raises
    ------
    DataError
        Empty, unequal lengths, NaN, a probability outside [0, 1], or a cluster that is missing.
    SettingError
        A setting outside its range.
    """
    method = _Method(observed, probability, clusters, folds, threshold)
    drawn = _draw(method, block_length, resamples, seed)
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
    drawn = _draw(first, block_length, resamples, seed)
    parts = [_minus(first.resampled(weights), second.resampled(weights)) for weights in drawn]
    value, subtrahend = first.scores(), second.scores()
    difference = {
        name: Score(value[name] - subtrahend[name], value[name].reason or subtrahend[name].reason) for name in value
    }
    return _intervals(difference, parts, level, first.clusters, difference=True)


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
        names, codes = cluster_codes(clusters, "clusters", len(events))
        self.clusters, self.samples = len(names), len(events)
        years, fold_of = cluster_codes(np.zeros(len(events)) if folds is None else folds, "folds", len(events))
        least = np.full(len(events), threshold) if np.ndim(threshold) == 0 else threshold
        _, least = check_samples(events, least, name="threshold")
        members = [fold_of == number for number in range(len(years))]
        self._folds = [
            (
                TableScores(events[m], values[m] >= least[m], codes[m], self.clusters),
                ProbabilityScores(events[m], values[m], codes[m], self.clusters),
            )
            for m in members
        ]

    def scores(self) -> dict[str, Score]:
        """Scores of the samples as they are, averaged over the folds."""
        parts = [table.scores() | probability.scores() for table, probability in self._folds]
        return {
            name: Score(
                float(np.mean([part[name] for part in parts])),
                next((part[name].reason for part in parts if part[name].reason), ""),
            )
            for name in parts[0]
        }

    def resampled(self, weights: FloatArray) -> ScoreArrays:
        """Scores of resamples whose cluster weights are the columns of `weights`, averaged over the folds."""
        parts = [table.resampled(weights) | probability.resampled(weights) for table, probability in self._folds]
        return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def _draw(method: _Method, block_length: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    return drawn_weights(
        method.clusters, samples=method.samples, block_length=block_length, resamples=resamples, seed=seed
    )


def _minus(first: ScoreArrays, second: ScoreArrays) -> ScoreArrays:
    with np.errstate(invalid="ignore"):  # of two infinite log scores
        return {name: first[name] - second[name] for name in first}


def interval_of(
    name: str, value: Score, drawn: FloatArray, *, level: float, clusters: int, difference: bool = False
) -> Interval:
    """Interval of a score from its resamples.

    Parameters
    ----------
    name : str
        Name of the score. Reliability and resolution are means of squared distances, to which resampling adds its own
        noise: their resamples are moved so that their mean is the value.
    value : Score
        Of the samples as they are.
    drawn : float64 array of shape (R,)
        Of the resamples; NaN where undefined.
    level : float
        0.95 for the 2.5 and 97.5 percentiles.
    clusters : int
        Number of clusters drawn from.
    difference : bool
        Whether the value is a difference of two scores, which may be negative where the scores may not.

    Raises
    ------
    SettingError
        `level` does not lie between 0 and 1.
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


def _intervals(
    values: dict[str, Score], parts: list[ScoreArrays], level: float, clusters: int, *, difference: bool = False
) -> dict[str, Interval]:
    return {
        name: interval_of(
            name,
            value,
            np.concatenate([part[name] for part in parts]),
            level=level,
            clusters=clusters,
            difference=difference,
        )
        for name, value in values.items()
    }
