"""Scores of the released models' recipes in cross-validation, in the form that their model cards read."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import pandas as pd

from kflare.verification.intervals import ClusteredSamples, Interval

# Of each score: its name among those of `ClusteredSamples`, and the suffix of the columns of `rows` that it is of.
SCORES = {"tss": ("tss", ""), "roc_area": ("roc_area", ""), "bss": ("brier_skill_score", ", calibrated")}


def method_scores(
    rows: pd.DataFrame,
    methods: Sequence[str],
    clusters: npt.NDArray[Any],
    *,
    scores: Sequence[str],
    folds: npt.NDArray[Any] | None = None,
    **how: Any,
) -> dict[str, dict[str, Any]]:
    """Each method's scores at the threshold 0.5, and the network's lead in them, each as [value, lower, upper].

    `rows` has the columns `observed`, METHOD and "METHOD, calibrated"; `how` are options of
    `ClusteredSamples.resample`. All methods are scored on the same resamples.
    """
    samples = ClusteredSamples(rows["observed"].to_numpy(), clusters, folds)
    scorers = {}
    for method in methods:
        output, chance = (rows[f"{method}{suffix}"].to_numpy() for suffix in ("", ", calibrated"))
        scorers[method, ""] = samples.all_scores(output, 0.5)
        scorers[method, ", calibrated"] = samples.probability_scores(chance)
    found = samples.resample(scorers, **how)
    result: dict[str, dict[str, Any]] = {}
    for method in methods:
        keys = {key: ((method, SCORES[key][1]), ("network", SCORES[key][1]), SCORES[key][0]) for key in scores}
        entry = {key: _rounded(found.interval(own, name)) for key, (own, _, name) in keys.items()}
        if method != "network":
            entry |= {
                f"network_minus_{key}": _rounded(found.difference(network, own, name))
                for key, (own, network, name) in keys.items()
            }
        result[method] = entry
    return result


def _rounded(interval: Interval) -> list[float]:
    return [round(float(value), 4) for value in (interval.value, interval.lower, interval.upper)]
