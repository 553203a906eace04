"""All scores with intervals for as many samples as Nishizuka et al. (2021, Table 1), against a plain loop of resamples.

The loops make each resample and score it with scikit-learn or `scores`, as scripts do. The forecasts are drawn at
random with the event rates of that table; hit rate, Brier score and ROC area of all samples are compared. How the time
grows with the samples is told by the last rows.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import Row, Timed

SAMPLES, DAYS = 31_336, 365
RATES = {"M": 1017 / SAMPLES, "C": 6138 / SAMPLES}
LOOPED = 20  # resamples of a plain loop


def made_up(event: str, samples: int = SAMPLES, days: int = DAYS) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    clusters = np.sort(random.integers(days, size=samples))
    probability = random.beta(1, 1 / RATES[event] - 1, samples)
    return random.random(samples) < probability, probability, clusters


def ours(_: Path, *, event: str, resamples: int, samples: int = SAMPLES, days: int = DAYS) -> Timed:
    from kflare.verification.intervals import bootstrap

    observed, probability, clusters = made_up(event, samples, days)
    run = partial(bootstrap, observed, probability, clusters, resamples=resamples)

    def answer() -> Any:
        found = run()
        return [found[name].value for name in ("pod", "brier_score", "roc_area")]

    return Timed(run, per=resamples if samples == SAMPLES else resamples * samples / 1e6, answer=answer)


def by_loop(make: Callable[[], Callable[[Any, Any], list[float]]], _: Path, *, event: str) -> Timed:
    score = make()
    observed, probability, clusters = made_up(event)
    members = [np.flatnonzero(clusters == day) for day in np.unique(clusters)]
    random = np.random.default_rng(0)

    def run() -> None:
        for _ in range(LOOPED):
            rows = np.concatenate([members[day] for day in random.integers(len(members), size=len(members))])
            score(observed[rows], probability[rows])

    return Timed(run, per=LOOPED, answer=lambda: score(observed, probability))


def by_scikit_learn() -> Callable[[Any, Any], list[float]]:
    from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

    def score(observed: Any, probability: Any) -> list[float]:
        _, _, fn, tp = confusion_matrix(observed, probability >= 0.5).ravel()
        return [tp / (tp + fn), brier_score_loss(observed, probability), roc_auc_score(observed, probability)]

    return score


def by_scores() -> Callable[[Any, Any], list[float]]:
    import xarray
    from scores.categorical import BinaryContingencyManager
    from scores.probability import brier_score, roc_curve_data

    thresholds = np.linspace(0, 1, 101)

    def score(observed: Any, probability: Any) -> list[float]:
        seen, told = xarray.DataArray(observed.astype(float), dims="n"), xarray.DataArray(probability, dims="n")
        table = BinaryContingencyManager((told >= 0.5).astype(float), seen)
        roc_curve_data(told, seen, thresholds)  # its area is that of the thresholds alone: timed, not compared
        exact = _area(observed, probability)
        return [float(table.hit_rate()), float(brier_score(told, seen)), exact]

    return score


def _area(observed: Any, probability: Any) -> float:
    from scipy.stats import mannwhitneyu

    events, others = probability[observed], probability[~observed]
    return float(mannwhitneyu(events, others).statistic / (len(events) * len(others)))


PEERS = {"scikit-learn loop": by_scikit_learn, "scores loop": by_scores}
ROWS = [
    *(Row(f"verification/{event}", f"18 scores with intervals of {SAMPLES} samples, ≥{event}, 10000 resamples; beside "
          "three scores in a loop", partial(ours, event=event, resamples=10_000), "resample",
          {name: partial(by_loop, make, event=event) for name, make in PEERS.items()}, rounds=3, threads=1)
      for event in RATES),
    *(Row(f"verification/rows-{rows}", f"18 scores with intervals of {rows} samples, 86 a day, 1000 resamples",
          partial(ours, event="C", resamples=1000, samples=rows, days=max(rows // 86, 2)), "million × resamples",
          rounds=3, threads=1) for rows in (1_000, 10_000, 100_000, 1_000_000)),
]  # fmt: skip
