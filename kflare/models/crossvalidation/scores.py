"""Scores of a cross-validation: each fold, their mean, and all folds counted together, with intervals.

Every score has its interval by a bootstrap over regions (or days), every baseline its paired difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kflare.io.arrays import AnyArray
from kflare.io.json_values import plain
from kflare.models.crossvalidation.folds import ENSEMBLE, NETWORK
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import ClusteredSamples, Interval, Resampled, Scorers
from kflare.verification.probabilistic import brier_skill_score, roc_area
from kflare.verification.samples import check_samples


@dataclass(frozen=True)
class Metric:
    """A column of the scoreboard: a score, and of which number it is."""

    key: str
    title: str
    score: str  # name among the scores of `verification.intervals.bootstrap`
    column: str  # column of the forecasts
    threshold: str | None = None  # "validation" or "half"; None where the score needs none


METRICS = (
    Metric("tss", "TSS, threshold of the greatest TSS on the validation span", "tss", "output", "validation"),
    Metric("tss_half", "TSS, threshold 50 %", "tss", "output", "half"),
    Metric("bss", "Brier skill score of the calibrated probability", "brier_skill_score", "probability"),
    Metric("roc_area", "ROC area", "roc_area", "output"),
)


@dataclass(frozen=True)
class MethodScores:
    """Scores of one method by the key of the metric; NaN where undefined."""

    folds: Mapping[str, list[float]]  # one value per fold
    mean: Mapping[str, Interval]  # of the folds' values, as the average of Table 4
    summed: Mapping[str, Interval]  # of all folds' samples counted together
    network_minus_this: Mapping[str, Interval]  # mean of folds; empty for the network itself
    tables: Mapping[str, list[ContingencyTable]]  # one per fold, by the threshold: "validation" and "half"
    thresholds: list[float]  # chosen on validation, one per fold
    notes: dict[str, str]  # what a reader should know, by fold


@dataclass
class Scoreboard:
    """The results of a cross-validation on one set of samples."""

    folds: list[dict[str, Any]]  # name, samples, events, clusters, event_clusters (regions or days with an event)
    methods: dict[str, MethodScores]
    seeds: dict[str, dict[int, float]]  # mean over the folds of each seed of the network, by metric and seed

    def best_baseline(self, metric: str) -> str | None:
        """The method other than the network with the greatest mean over the folds."""
        others = {name: float(m.mean[metric].value) for name, m in self.methods.items() if name != NETWORK}
        defined = {name: value for name, value in others.items() if np.isfinite(value)}
        return max(defined, key=lambda name: defined[name]) if defined else None

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN (undefined) becomes null."""
        best = {metric.key: self.best_baseline(metric.key) for metric in METRICS}
        return plain(vars(self) | {"best_baseline": best})


def scoreboard(rows: pd.DataFrame, *, resamples: int = 2000) -> Scoreboard:
    """Score the test rows of `cross_validate` or `compared`: every method with the same samples in the same order."""
    test = rows[rows["span"] == "test"]
    test = test.assign(half=0.5, validation=test["threshold"])
    alone = test[test["seed"] == ENSEMBLE]
    present = set(alone["method"])
    names = [name for name in dict.fromkeys([NETWORK, *alone["method"]]) if name in present]
    groups = {name: alone[alone["method"] == name] for name in names}
    first = groups[names[0]]
    mean, summed = (_resampled(groups, folds, resamples) for folds in (first["fold"].to_numpy(), None))
    board = Scoreboard([], {}, {})
    for name, part in first.groupby("fold", sort=False):
        of_events = part["cluster"][part["observed"]].nunique()
        sizes = {"samples": len(part), "events": int(part["observed"].sum()), "clusters": part["cluster"].nunique()}
        board.folds.append({"name": str(name), **sizes, "event_clusters": of_events})
    for name, group in groups.items():
        parts = [part for _, part in group.groupby("fold", sort=False)]
        others = METRICS if NETWORK in groups and name != NETWORK else ()
        tables = {
            limit: [ContingencyTable.from_forecasts(one["observed"], one["output"] >= one[limit]) for one in parts]
            for limit in ("validation", "half")
        }
        board.methods[name] = MethodScores(
            {metric.key: [_value(part, metric) for part in parts] for metric in METRICS},
            {metric.key: mean.interval((name, metric), metric.score) for metric in METRICS},
            {metric.key: summed.interval((name, metric), metric.score) for metric in METRICS},
            {metric.key: mean.difference((NETWORK, metric), (name, metric), metric.score) for metric in others},
            tables,
            thresholds=[float(part["threshold"].iloc[0]) for part in parts],
            notes=dict(group.loc[group["note"] != "", ["fold", "note"]].drop_duplicates().to_numpy().tolist()),
        )
    for seed, group in test[test["seed"] != ENSEMBLE].groupby("seed"):
        for metric in METRICS:
            values = [_value(part, metric) for _, part in group.groupby("fold", sort=False)]
            board.seeds.setdefault(metric.key, {})[int(seed)] = float(np.mean(values))
    return board


def _resampled(groups: Mapping[str, pd.DataFrame], folds: AnyArray | None, resamples: int) -> Resampled:
    """All metrics of all methods, with common resamples of the clusters of all folds."""
    first = next(iter(groups.values()))
    samples = ClusteredSamples(first["observed"].to_numpy(bool), first["cluster"].to_numpy(), folds)
    scores: dict[Any, Scorers] = {}
    for name, group in groups.items():
        for metric in METRICS:
            _, values = check_samples(samples.observed, group[metric.column].to_numpy())
            if metric.threshold is None:
                scores[name, metric] = samples.probability_scores(values)
            else:
                scores[name, metric] = samples.table_scores(values >= group[metric.threshold].to_numpy(np.float64))
    return samples.resample(scores, resamples=resamples)


def _value(part: pd.DataFrame, metric: Metric) -> float:
    observed, values = part["observed"].to_numpy(bool), part[metric.column].to_numpy()
    if metric.threshold is not None:
        return float(ContingencyTable.from_forecasts(observed, values >= part[metric.threshold]).tss)
    return float((roc_area if metric.score == "roc_area" else brier_skill_score)(observed, values))
