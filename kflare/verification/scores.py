"""What a score is: a ratio of sums that may be undefined, and the ratios that a contingency table gives.

The formulas stand here once, for one table (`kflare.verification.contingency`, which documents each of them) and for
the thousands of tables of a bootstrap (`kflare.verification.intervals`).
"""

from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

__all__ = ["DEFINITIONS", "Definition", "Score", "documentation", "ratios", "score_arrays"]


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
    """All scores of K tables (counts or sums of weights) by `ContingencyTable`'s names, (K,), NaN if undefined."""
    counts = [np.asarray(count, dtype=np.float64) for count in (tp, fp, fn, tn)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: np.where(denominator == 0, np.nan, numerator / denominator)
            for name, (numerator, denominator, _) in ratios(*counts).items()
        }


class Definition(NamedTuple):
    """Label, formula, range, perfect value and value without skill of a score, and the decimals to print."""

    label: str
    formula: str
    limits: str
    perfect: str
    no_skill: str
    decimals: int = 3


DEFINITIONS: Final = {
    "base_rate": Definition("Base rate", "s = P/N, share of samples with an event", "0 to 1", "–", "–"),
    "brier_skill_score": Definition("BSS", "1 − BS/[s(1 − s)]: against climatology of the sample", "−∞ to 1", "1", "0"),
    "reliability": Definition("Reliability", "mean (forecast − event rate of its bin)²", "0 to 1", "0", "–", 4),
    "resolution": Definition("Resolution", "mean (event rate of the bin − s)²", "0 to s(1 − s)", "s(1 − s)", "0", 4),
    "brier_score": Definition("BS", "mean (p − o)²", "0 to 1", "0", "s(1 − s)", 4),
    "log_score": Definition("Log score", "mean −ln of the probability given to what happened", "0 to ∞", "0", "–"),
    "roc_area": Definition("ROC area", "chance that an event had the higher probability", "0 to 1", "1", "0.5"),
    "gini": Definition("Gini", "2 × ROC area − 1", "−1 to 1", "1", "0"),
    "tss": Definition("TSS", "POD − POFD", "−1 to 1", "1", "0"),
    "hss": Definition("HSS", "2(TP·TN − FN·FP)/[P(FN + TN) + (TP + FP)Q]", "−1 to 1", "1", "0"),
    "apss": Definition("ApSS", "1 − (FP + FN)/min(P, Q)", "−∞ to 1", "1", "0"),
    "ets": Definition("ETS", "(TP − a)/(TP + FP + FN − a), a = (TP + FP)P/N", "−1/3 to 1", "1", "0"),
    "pod": Definition("POD", "TP/P, probability of detection", "0 to 1", "1", "POFD"),
    "pofd": Definition("POFD", "FP/Q, probability of false detection (false alarm rate)", "0 to 1", "0", "POD"),
    "far": Definition("FAR", "FP/(TP + FP), false alarm ratio", "0 to 1", "0", "1 − s"),
    "csi": Definition("CSI", "TP/(TP + FP + FN)", "0 to 1", "1", "–"),
    "frequency_bias": Definition("FB", "(TP + FP)/P, frequency bias", "0 to ∞", "1", "–"),
    "accuracy": Definition("Accuracy", "(TP + TN)/N", "0 to 1", "1", "max(s, 1 − s)"),
    "msess": Definition("MSESS (climatology)", "1 − BS/BS of the trailing climatology", "−∞ to 1", "1", "0"),
    "apss_reference": Definition(
        "ApSS (climatology)", "1 − errors/errors of the trailing climatology", "−∞ to 1", "1", "0"
    ),
}
"""By the name of the score in the tables of `kflare.verification.comparison`. P events, Q others, N = P + Q samples."""

_SOURCES: Final = {
    "accuracy": "Proportion correct. Yi et al. 2021, eq. (2) [P].",
    "pod": "First term of Yi et al. 2021, eq. (5) [P].",
    "pofd": "Second term of Yi et al. 2021, eq. (5) [P].",
    "far": "Not the false alarm *rate*. The FAR of Nishizuka et al. 2021, Table 3 [D].",
    "tss": "True skill statistic (Peirce; Hanssen and Kuipers), independent of s. Yi et al. 2021, eq. (5) [P].",
    "hss": "Heidke skill score, depends on s. Yi et al. 2021, eq. (3) [P].",
    "apss": "Appleman skill score, (TP − FP)/P for s < 0.5. Yi et al. 2021, eq. (4) [P].",
    "ets": "Equitable threat score (Gilbert). Used by Leka et al. 2019 [M].",
    "csi": "Critical success index, or threat score. Used by Park et al. 2018 [M].",
    "frequency_bias": "Above 1 overforecasting; says nothing about skill. Yi et al. 2021, section 3.1 [P].",
    "base_rate": "Not a score. Yi et al. 2021, section 3.1 [P].",
}


def documentation(name: str) -> str:
    """Definition of a score of a contingency table and its source, marked as in `kflare.verification.contingency`."""
    told = DEFINITIONS[name]
    meaning = f"{told.label}: {told.formula}. Range {told.limits}, perfect {told.perfect}, no skill {told.no_skill}."
    return f"{meaning} {_SOURCES[name]}"
