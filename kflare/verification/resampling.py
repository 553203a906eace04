"""Scores of resamples, without making any: a resample is nothing but a weight for each cluster of samples.

Samples of one day, or of one region, are not independent, so whole clusters are drawn with replacement. How often each
was drawn is a column of the matrix of weights; the contingency tables and sums of squared errors of all resamples are
then one matrix product with the sums over each cluster.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, ArrayLike, Float64Array, IndexArray
from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import (
    bin_of,
    brier_decomposition,
    brier_score,
    brier_skill_score,
    gini,
    log_score,
    msess,
    roc_area,
)  # fmt: skip
from kflare.verification.samples import Outcomes, Probabilities
from kflare.verification.scores import Score, score_arrays

Codes = IndexArray
ScoreArrays = dict[str, Float64Array]

_BINS = 20
# Resamples are drawn in chunks: no intermediate array grows beyond this many float64 values (16 MB).
_CHUNK = 1 << 21


class TableScores:
    """Scores of a yes/no forecast, by the names of `ContingencyTable.scores`.

    `events` (observed), `yes` (forecast) and `codes`, each sample's cluster from 0 on, have shape (N,). The cluster
    weights of R resamples are (clusters, R), their scores (R,); so for the classes below.
    """

    def __init__(self, events: Outcomes, yes: Outcomes, codes: Codes, clusters: int) -> None:
        self.table = ContingencyTable.from_forecasts(events, yes)
        self._counts = _sums((events & yes, ~events & yes, events & ~yes, ~events & ~yes), codes, clusters)

    def scores(self) -> dict[str, Score]:
        """Scores of the samples as they are."""
        return self.table.scores()

    def resampled(self, weights: Float64Array) -> ScoreArrays:
        """Scores of the resamples whose cluster weights are the columns of `weights`."""
        tp, fp, fn, tn = self._counts @ weights
        return score_arrays(tp, fp, fn, tn)


class ProbabilityScores:
    """Brier (skill) score and its parts, log score, ROC area, Gini of `values`, float64 (N,); else as `TableScores`."""

    def __init__(self, events: Outcomes, values: Probabilities, codes: Codes, clusters: int) -> None:
        self._events, self._values = events, values
        # A certainty that proved wrong has an infinite log score; it is counted apart, since 0 times inf is NaN.
        given = np.where(events, values, 1 - values)
        surprise = -np.log(np.where(given > 0, given, 1))
        columns = (events, ~events, (values - events) ** 2, surprise, given == 0)
        self._sums = _sums(columns, codes, clusters)
        # In each bin of the reliability diagram: samples, events and the sum of the probabilities.
        flat, length = bin_of(values, _BINS) * clusters + codes, _BINS * clusters
        parts = (np.bincount(flat, weights=part, minlength=length) for part in (np.ones(len(events)), events, values))
        self._binned = csr_array(np.concatenate([part.reshape(_BINS, clusters) for part in parts]))
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
        """Scores of the samples as they are."""
        events, values = self._events, self._values
        parts = brier_decomposition(events, values, bins=_BINS)
        surprise = log_score(events, values)
        sure = "a forecast of certainty proved wrong" if np.isinf(surprise) else ""
        scores = {"brier_score": Score(brier_score(events, values))}
        scores |= {"brier_skill_score": brier_skill_score(events, values), "reliability": Score(parts.reliability)}
        scores |= {"resolution": Score(parts.resolution), "log_score": Score(surprise, sure)}
        return scores | {"roc_area": roc_area(events, values), "gini": gini(events, values)}

    def resampled(self, weights: Float64Array) -> ScoreArrays:
        """Scores of the resamples whose cluster weights are the columns of `weights`."""
        events, others, squared, surprise, wrong = self._sums @ weights
        samples = events + others
        count, hits, forecast = (self._binned @ weights).reshape(3, _BINS, -1)
        below = np.cumsum(self._alarms @ weights, axis=0)[:-1]
        ordered = np.einsum("jr,jr->r", self._hits @ weights, below)
        with np.errstate(divide="ignore", invalid="ignore"):
            brier = squared / samples
            skill = np.where(events * others > 0, 1 - squared * samples / (events * others), np.nan)
            filled = np.where(count > 0, count, 1)
            reliability = np.sum((forecast - hits) ** 2 / filled, axis=0) / samples
            resolution = np.sum(hits**2 / filled, axis=0) / samples - (events / samples) ** 2
            area = ordered / (events * others)
            surprise = np.where(wrong > 0, np.inf, surprise / samples)
        reliability = np.where(samples > 0, reliability, np.nan)
        scores = {"brier_score": brier, "brier_skill_score": skill, "reliability": reliability}
        scores |= {"resolution": resolution, "log_score": surprise}
        return scores | {"roc_area": area, "gini": 2 * area - 1}


class ReferenceScores:
    """Scores against a reference forecast of the same samples: MSESS, and ApSS of the yes/no forecasts.

    `pair` holds the probabilities of the forecast and of the reference, float64 (N,) each, of which `threshold` makes
    yes/no forecasts; the rest as for `TableScores`.
    """

    def __init__(
        self, events: Outcomes, pair: tuple[Probabilities, Probabilities], threshold: float, codes: Codes, clusters: int
    ) -> None:
        values, reference = pair
        yes, reference_yes = values >= threshold, reference >= threshold
        columns = ((values - events) ** 2, (reference - events) ** 2, yes != events, reference_yes != events)
        self._sums = _sums(columns, codes, clusters)
        tables = [ContingencyTable.from_forecasts(events, forecast) for forecast in (yes, reference_yes)]
        self._scores = {"msess": msess(events, values, reference), "apss_reference": tables[0].apss_against(tables[1])}

    def scores(self) -> dict[str, Score]:
        """Scores of the samples as they are."""
        return self._scores

    def resampled(self, weights: Float64Array) -> ScoreArrays:
        """Scores of the resamples whose cluster weights are the columns of `weights`."""
        squared, reference_squared, wrong, reference_wrong = self._sums @ weights
        return {"msess": _one_minus(squared, reference_squared), "apss_reference": _one_minus(wrong, reference_wrong)}


def cluster_codes(labels: ArrayLike, name: str, length: int) -> tuple[AnyArray, Codes]:
    """Distinct labels, sorted, and the number of each sample's; `DataError` where labels are few, mixed, missing."""
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


def drawn_weights(
    clusters: int, *, samples: int, block_length: int, resamples: int, seed: int
) -> Iterator[Float64Array]:
    """How often clusters are drawn, (clusters, r) by chunks of r resamples; `SettingError` for blocks out of range."""
    if not 1 <= block_length <= clusters:
        raise SettingError(f"`block_length` must lie in [1, {clusters}], the number of clusters, got {block_length}")
    if resamples < 1:
        raise SettingError(f"`resamples` must be at least 1, got {resamples}")
    random = np.random.default_rng(seed)
    blocks = -(-clusters // block_length)
    size = max(1, _CHUNK // max(samples, clusters))
    for begin in range(0, resamples, size):
        chunk = min(size, resamples - begin)
        starts = random.integers(clusters, size=(blocks, chunk))
        flat = np.bincount((starts * chunk + np.arange(chunk)).ravel(), minlength=clusters * chunk)
        weights = flat.reshape(clusters, chunk).astype(np.float64)
        yield sum((np.roll(weights, shift, axis=0) for shift in range(1, block_length)), start=weights)


def _sums(columns: tuple[AnyArray, ...], codes: Codes, clusters: int) -> csr_array:
    """Sum of each column over each cluster, (columns, clusters); sparse, as threads slow dense products this small."""
    return csr_array(np.stack([np.bincount(codes, weights=column, minlength=clusters) for column in columns]))


def _one_minus(part: Float64Array, whole: Float64Array) -> Float64Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, 1 - part / whole, np.nan)
