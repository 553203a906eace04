"""Scores of a cross-validation: each fold, their mean, and all folds counted together, with intervals.

Every score has the interval of a bootstrap over regions (or days), and every baseline the paired difference of the
network to it on the same samples.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.models.crossvalidation.folds import ENSEMBLE
from kflare.models.crossvalidation.methods import NETWORK
from kflare.models.losses import unweighted
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import Interval, bootstrap, bootstrap_difference
from kflare.verification.probabilistic import brier_skill_score, roc_area

__all__ = ["METRICS", "MethodScores", "Metric", "Scoreboard", "scoreboard"]


@dataclass(frozen=True)
class Metric:
    """A column of the scoreboard: a score, and of which number it is."""

    key: str
    title: str
    score: str
    """Name among the scores of `verification.intervals.bootstrap`."""
    column: str
    """Column of the forecasts."""
    threshold: str | None = None
    """"validation" or "half"; None where the score needs none."""


METRICS = (
    Metric("tss", "TSS, threshold of the greatest TSS on the validation span", "tss", "output", "validation"),
    Metric("tss_half", "TSS, threshold 50 %", "tss", "output", "half"),
    Metric("bss", "Brier skill score of the calibrated probability", "brier_skill_score", "probability"),
    Metric("roc_area", "ROC area", "roc_area", "output"),
    Metric(
        "bss_undone",
        "For reference: Brier skill score after undoing the class weight, p/(p + w(1 − p))",
        "brier_skill_score",
        "undone",
    ),
)


@dataclass
class MethodScores:
    """Scores of one method by the key of the metric; NaN where undefined."""

    folds: dict[str, list[float]] = field(default_factory=dict)
    """One value per fold."""
    mean: dict[str, Interval] = field(default_factory=dict)
    """Of the folds' values, as the average of Table 4."""
    summed: dict[str, Interval] = field(default_factory=dict)
    """Of all folds' samples counted together."""
    behind: dict[str, Interval] = field(default_factory=dict)
    """Network minus this method, mean of folds; empty for the network itself."""
    tables: dict[str, list[ContingencyTable]] = field(default_factory=dict)
    """One contingency table per fold, by the threshold: "validation" and "half"."""
    thresholds: list[float] = field(default_factory=list)
    """Chosen on validation, one per fold."""


@dataclass
class Scoreboard:
    """Everything that is told of a cross-validation on one set of samples."""

    folds: list[dict[str, Any]]
    """Per fold: `name`, `samples`, `events`, `clusters`, `event_clusters` (regions or days with an event)."""
    methods: dict[str, MethodScores]
    seeds: dict[str, dict[int, float]]
    """Mean over the folds of each seed of the network, by metric and seed."""

    def best_baseline(self, metric: str) -> str | None:
        """The method other than the network with the greatest mean over the folds."""
        others = {name: float(m.mean[metric].value) for name, m in self.methods.items() if name != NETWORK}
        defined = {name: value for name, value in others.items() if np.isfinite(value)}
        return max(defined, key=lambda name: defined[name]) if defined else None

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN (undefined) becomes null."""
        return {
            "folds": self.folds,
            "methods": {name: _method_json(scores) for name, scores in self.methods.items()},
            "seeds": {m: {str(seed): _plain(v) for seed, v in values.items()} for m, values in self.seeds.items()},
            "best_baseline": {metric.key: self.best_baseline(metric.key) for metric in METRICS},
        }


def scoreboard(rows: pd.DataFrame, *, resamples: int = 2000) -> Scoreboard:
    """Score the test rows of `cross_validate`.

    Parameters
    ----------
    rows : DataFrame
        Its answer, or that of `compared`; every method must have the same samples in the same order.
    resamples : int
        Of the bootstrap.
    """
    test = rows[rows["span"] == "test"]
    weights = test.groupby("class_weight")["output"]
    undone = weights.transform(lambda output: unweighted(output.to_numpy(np.float64), float(output.name)))
    test = test.assign(undone=undone, half=0.5, validation=test["threshold"])
    alone = test[test["seed"] == ENSEMBLE]
    names = list(dict.fromkeys([NETWORK, *alone["method"]]))
    groups = {name: alone[alone["method"] == name] for name in names}
    groups = {name: group for name, group in groups.items() if len(group)}
    first = next(iter(groups.values()))
    board = Scoreboard(_folds(first), {}, {})
    network = groups.get(NETWORK)
    for name, group in groups.items():
        scores = MethodScores()
        parts = [part for _, part in group.groupby("fold", sort=False)]
        scores.thresholds = [float(part["threshold"].iloc[0]) for part in parts]
        for limit in ("validation", "half"):
            scores.tables[limit] = [
                ContingencyTable.from_forecasts(part["observed"], part["output"] >= part[limit]) for part in parts
            ]
        for metric in METRICS:
            scores.folds[metric.key] = [_value(part, metric) for part in parts]
            scores.mean[metric.key] = _interval(group, metric, resamples, folds=True)
            scores.summed[metric.key] = _interval(group, metric, resamples, folds=False)
            if network is not None and name != NETWORK:
                scores.behind[metric.key] = _difference(network, group, metric, resamples)
        board.methods[name] = scores
    for seed, group in test[test["seed"] != ENSEMBLE].groupby("seed"):
        parts = [part for _, part in group.groupby("fold", sort=False)]
        for metric in METRICS:
            values = [_value(part, metric) for part in parts]
            board.seeds.setdefault(metric.key, {})[int(seed)] = float(np.mean(values))
    return board


def _folds(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "name": str(name),
            "samples": len(part),
            "events": int(part["observed"].sum()),
            "clusters": int(part["cluster"].nunique()),
            "event_clusters": int(part["cluster"][part["observed"]].nunique()),
        }
        for name, part in rows.groupby("fold", sort=False)
    ]


def _value(part: pd.DataFrame, metric: Metric) -> float:
    observed, values = part["observed"].to_numpy(bool), part[metric.column].to_numpy()
    if metric.threshold is not None:
        return float(ContingencyTable.from_forecasts(observed, values >= part[metric.threshold]).tss)
    return float((roc_area if metric.score == "roc_area" else brier_skill_score)(observed, values))


def _interval(group: pd.DataFrame, metric: Metric, resamples: int, *, folds: bool) -> Interval:
    return bootstrap(
        group["observed"].to_numpy(bool), group[metric.column].to_numpy(), group["cluster"].to_numpy(),
        folds=group["fold"].to_numpy() if folds else None, threshold=_threshold(group, metric), resamples=resamples,
    )[metric.score]  # fmt: skip


def _difference(network: pd.DataFrame, other: pd.DataFrame, metric: Metric, resamples: int) -> Interval:
    return bootstrap_difference(
        network["observed"].to_numpy(bool), network[metric.column].to_numpy(), other[metric.column].to_numpy(),
        network["cluster"].to_numpy(), folds=network["fold"].to_numpy(),
        thresholds=(_threshold(network, metric), _threshold(other, metric)), resamples=resamples,
    )[metric.score]  # fmt: skip


def _threshold(group: pd.DataFrame, metric: Metric) -> npt.NDArray[np.float64] | float:
    return 0.5 if metric.threshold is None else group[metric.threshold].to_numpy(np.float64)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _interval_json(interval: Interval) -> dict[str, Any]:
    numbers = {"value": interval.value, "lower": interval.lower, "upper": interval.upper, "sigma": interval.sigma}
    return {name: _plain(value) for name, value in numbers.items()} | {
        "undefined": interval.undefined,
        "reason": interval.reason,
    }


def _method_json(scores: MethodScores) -> dict[str, Any]:
    return {
        "folds": {metric: [_plain(value) for value in values] for metric, values in scores.folds.items()},
        **{
            name: {metric: _interval_json(interval) for metric, interval in getattr(scores, name).items()}
            for name in ("mean", "summed")
        },
        "network_minus_this": {metric: _interval_json(interval) for metric, interval in scores.behind.items()},
        "tables": {limit: [asdict(table) for table in tables] for limit, tables in scores.tables.items()},
        "thresholds": scores.thresholds,
    }
