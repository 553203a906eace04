"""What a score is: a ratio of sums that may be undefined, and the ratios that a contingency table gives.

The formulas stand here once, for one table (`kflare.verification.contingency`, which documents each of them) and for
the thousands of tables of a bootstrap (`kflare.verification.intervals`).
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Score", "ratios", "score_arrays"]


class Score(float):
    """A float that knows why it is NaN; `reason` is empty where the score is defined."""

    reason: str

    def __new__(cls, value: float, reason: str = "") -> Self:
        """Attach the reason to the number."""
        score = super().__new__(cls, value)
        score.reason = reason
        return score


def ratios(tp: Any, fp: Any, fn: Any, tn: Any) -> dict[str, tuple[Any, Any, str]]:
    """Numerator, denominator and why there may be none, for counts that are integers or arrays."""
    events, non_events, forecasts = tp + fn, fp + tn, tp + fp
    samples = events + non_events
    rarer = np.minimum(events, non_events)
    association = tp * tn - fp * fn
    no_event = "no event was observed"
    one_class = "only one of the two outcomes was observed"
    one_cell = "all samples are hits, or all are correct nulls"
    return {
        "accuracy": (tp + tn, samples, "there is no sample"),
        "pod": (tp, events, no_event),
        "pofd": (fp, non_events, "an event was observed in every sample"),
        "far": (fp, forecasts, "no event was forecast"),
        "tss": (association, events * non_events, one_class),
        "hss": (2 * association, events * (fn + tn) + forecasts * non_events, one_cell),
        "apss": (rarer - fp - fn, rarer, one_class),
        # (TP - a) / (TP + FP + FN - a) with a = (TP + FP) P / N, both multiplied by N to stay in integers
        "ets": (association, samples * (forecasts + fn) - forecasts * events, one_cell),
        "csi": (tp, forecasts + fn, "no event was observed and none was forecast"),
        "frequency_bias": (forecasts, events, no_event),
        "base_rate": (events, samples, "there is no sample"),
    }


def score_arrays(
    tp: npt.ArrayLike, fp: npt.ArrayLike, fn: npt.ArrayLike, tn: npt.ArrayLike
) -> dict[str, npt.NDArray[np.float64]]:
    """All scores of many tables at once: of resamples, or of one forecast at many thresholds.

    Counts or sums of weights of K tables; arrays (K,) by the properties of `ContingencyTable`, NaN where undefined.
    """
    counts = [np.asarray(count, dtype=np.float64) for count in (tp, fp, fn, tn)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: np.where(denominator == 0, np.nan, numerator / denominator)
            for name, (numerator, denominator, _) in ratios(*counts).items()
        }
