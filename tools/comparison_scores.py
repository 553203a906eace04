"""Scores of several methods on the same samples, all treated alike, with intervals and paired differences, as Markdown.

Others choose thresholds and calibrate in their own ways, or not at all. Beside what each method issued, every one is
therefore also given a threshold and a calibration by the same rule: from the other four of five contiguous blocks of
the samples, so that none is judged by the samples that chose for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.models.calibration import fit_calibration
from kflare.verification.contingency import best_threshold
from kflare.verification.intervals import ClusteredSamples, Interval, Resampled

__all__ = ["Method", "score_tables", "weeks"]

BLOCKS = 5
RESAMPLES = 2000


@dataclass(frozen=True)
class Method:
    """What one method forecast for N samples."""

    output: npt.NDArray[np.float64]  # (N,) what is held against its threshold, and ranks for the ROC area
    threshold: float
    chance: npt.NDArray[np.float64]  # (N,) the probability that it issued

    @classmethod
    def of(cls, probability: npt.ArrayLike, threshold: float = 0.5) -> "Method":
        """A method that issues one number."""
        values = np.asarray(probability, np.float64)
        return cls(values, threshold, values)


def weeks(times: pd.Series) -> npt.NDArray[np.int64]:
    """Number of the week of each sample: days are resampled by sevens."""
    days = pd.DatetimeIndex(times).tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int64)
    return days // 7


def score_tables(
    times: pd.Series,
    observed: npt.NDArray[np.bool_],
    clusters: npt.NDArray[Any],
    methods: Mapping[str, Method],
    against: Sequence[str],
) -> list[str]:
    """Markdown: a table of scores, and one of the lead of each method of `against` over every other one.

    N samples in any order, of which those of a cluster (region, week) are resampled together.
    """
    order = np.argsort(pd.DatetimeIndex(times).asi8, kind="stable")
    block = np.empty(len(order), np.int64)
    block[order] = np.arange(len(order)) * BLOCKS // len(order)
    samples = ClusteredSamples(observed, clusters)
    scorers = {}
    for name, method in methods.items():
        scorers[name, "own"] = samples.table_scores(method.output >= method.threshold)
        chosen = _by_block(block, observed, method.output, _decided)
        scorers[name, "chosen"] = samples.table_scores(chosen > 0)
        scorers[name, "output"] = samples.probability_scores(method.output)
        scorers[name, "issued"] = samples.probability_scores(method.chance)
        scorers[name, "calibrated"] = samples.probability_scores(_by_block(block, observed, method.chance, _calibrated))
    found = samples.resample(scorers, resamples=RESAMPLES)
    return [*_scores(found, methods), "", *_leads(found, list(methods), against)]


_LEARNT = Callable[[npt.NDArray[np.bool_], npt.NDArray[np.float64]], Callable[[npt.NDArray[np.float64]], Any]]


def _by_block(
    block: npt.NDArray[np.int64], observed: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], learn: _LEARNT
) -> npt.NDArray[np.float64]:
    """Each block's values as what was learnt of all others makes them, (N,)."""
    result = np.empty(len(values))
    for number in range(BLOCKS):
        mine = block == number
        result[mine] = learn(observed[~mine], values[~mine])(values[mine])
    return result


def _decided(
    observed: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
    threshold, _ = best_threshold(observed, values)
    return lambda others: others >= threshold


def _calibrated(
    observed: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    fitted = fit_calibration(observed, values.astype(np.float32))
    return lambda others: np.asarray(fitted(others.astype(np.float32)), np.float64)


def _scores(found: Resampled, methods: Mapping[str, Method]) -> list[str]:
    columns = (
        "method", "threshold", "TSS at it", "TSS, chosen on other blocks", "ROC area", "BSS as issued",
        "its reliability", "BSS, calibrated on other blocks",
    )  # fmt: skip
    rows = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * 7]
    for name, method in methods.items():
        cells = [
            _cell(found.interval((name, kind), score), digits)
            for kind, score, digits in (
                ("own", "tss", 2), ("chosen", "tss", 2), ("output", "roc_area", 3),
                ("issued", "brier_skill_score", 2), ("issued", "reliability", 3),
                ("calibrated", "brier_skill_score", 2),
            )
        ]  # fmt: skip
        rows.append(f"| {name} | {method.threshold:.3g} | {' | '.join(cells)} |")
    return rows


def _leads(found: Resampled, names: Sequence[str], against: Sequence[str]) -> list[str]:
    compared = (("TSS", "chosen", "tss", 2), ("ROC area", "output", "roc_area", 3),
                ("BSS", "calibrated", "brier_skill_score", 2))  # fmt: skip
    rows = [
        "| lead over | " + " | ".join(f"{ours}: {label}" for ours in against for label, *_ in compared) + " |",
        "| --- |" + " ---: |" * (len(against) * len(compared)),
    ]
    for name in names:
        cells = [
            "" if ours == name else _lead(found.difference((ours, kind), (name, kind), score), digits)
            for ours in against
            for _, kind, score, digits in compared
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _cell(interval: Interval, digits: int, sign: str = "") -> str:
    if not np.isfinite(interval.value):
        return "–"
    form = f"{sign}.{digits}f"
    ends = f" ({interval.lower:{form}} to {interval.upper:{form}})" if np.isfinite(interval.lower) else ""
    return f"{interval.value:{form}}{ends}".replace("-", "−")


def _lead(interval: Interval, digits: int) -> str:
    """In bold where the interval excludes 0."""
    text = _cell(interval, digits, sign="+")
    return f"**{text}**" if interval.lower > 0 or interval.upper < 0 else text
