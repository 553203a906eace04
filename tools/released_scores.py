"""Scores of the released models' recipes in cross-validation, in the form that their model cards read."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import pandas as pd

from kflare.verification.intervals import Interval, bootstrap, bootstrap_difference

# Of each score: its name in `bootstrap`, and the suffix of the columns of `rows` that it is of.
SCORES = {"tss": ("tss", ""), "roc_area": ("roc_area", ""), "bss": ("brier_skill_score", ", calibrated")}


def method_scores(
    rows: pd.DataFrame, methods: Sequence[str], clusters: npt.NDArray[Any], *, scores: Sequence[str], **how: Any
) -> dict[str, dict[str, Any]]:
    """Each method's scores at the threshold 0.5, and the network's lead in them, each as [value, lower, upper].

    `rows` has the columns `observed`, METHOD and "METHOD, calibrated"; `how` are options of `bootstrap`.
    """
    observed = rows["observed"].to_numpy()
    result: dict[str, dict[str, Any]] = {}
    for method in methods:
        entry, leads = {}, {}
        for key in scores:
            name, suffix = SCORES[key]
            values, network = rows[f"{method}{suffix}"].to_numpy(), rows[f"network{suffix}"].to_numpy()
            entry[key] = _rounded(bootstrap(observed, values, clusters, **how)[name])
            if method != "network":
                lead = bootstrap_difference(observed, network, values, clusters, **how)
                leads[f"network_minus_{key}"] = _rounded(lead[name])
        result[method] = entry | leads
    return result


def _rounded(interval: Interval) -> list[float]:
    return [round(float(value), 4) for value in (interval.value, interval.lower, interval.upper)]
