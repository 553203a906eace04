"""What each score is called in a report, and what a reader must know of it; sources stand with the functions."""

from typing import Final, NamedTuple

__all__ = ["DEFINITIONS", "Definition", "documentation"]


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
