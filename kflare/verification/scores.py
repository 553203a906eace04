"""What a score is: a ratio of sums that may be undefined, and the ratios that a contingency table gives.

The formulas stand here once, for one table (`kflare.verification.contingency`, which documents each of them) and for
the thousands of tables of a bootstrap (`kflare.verification.intervals`).
"""

from typing import Any, Final, NamedTuple, Self

import numpy as np

from kflare.io.arrays import ArrayLike, Float64Array
from kflare.io.stored_table import stored_rows


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


def score_arrays(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> dict[str, Float64Array]:
    """All scores of K tables (counts or sums of weights) by `ContingencyTable`'s names, (K,), NaN if undefined."""
    counts = [np.asarray(count, dtype=np.float64) for count in (tp, fp, fn, tn)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: np.where(denominator == 0, np.nan, numerator / denominator)
            for name, (numerator, denominator, _) in ratios(*counts).items()
        }


class Definition(NamedTuple):
    """Label, formula, range, perfect value and value without skill of a score, decimals to print, and its source."""

    label: str
    formula: str
    limits: str
    perfect: str
    no_skill: str
    decimals: int
    source: str  # with its evidence; "" = not of a contingency table


_ROWS: list[dict[str, Any]] = [*stored_rows("kflare.verification", "scores.csv")]
DEFINITIONS: Final = {row.pop("name"): Definition(**row | {"decimals": int(row["decimals"])}) for row in _ROWS}
"""By the name of the score in the tables of `kflare.verification.comparison`. P events, Q others, N = P + Q samples."""


def documentation(name: str) -> str:
    """Definition of a score of a contingency table and its source, marked as in `kflare.verification.contingency`."""
    told = DEFINITIONS[name]
    meaning = f"{told.label}: {told.formula}. Range {told.limits}, perfect {told.perfect}, no skill {told.no_skill}."
    return f"{meaning} {told.source}"
