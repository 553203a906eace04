"""All scores of all methods on the same samples, with intervals, and the paired differences of any two methods.

One set of resamples serves every method and threshold, so that all differences are paired.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd

from kflare.errors import SettingError
from kflare.io.arrays import AnyArray
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import Evaluation, NamedPeriod, evaluate_parts
from kflare.verification.intervals import ClusteredSamples, Interval, Progress, Scorers
from kflare.verification.probabilistic import reliability, trailing_climatology
from kflare.verification.tables import ForecastTable


@dataclass(frozen=True)
class VerificationSettings:
    """How forecasts are verified.

    `cluster` names what is drawn for the intervals: all samples of a UTC "day", or of a "region"; `resamples`, `level`
    and `seed` are those of `kflare.verification.intervals.bootstrap`.
    """

    thresholds: tuple[float, ...] = (0.5, 0.45, 0.4)  # of probability; those of Nishizuka et al. 2021 (Table 2)
    window_hours: float = 24.0  # length of the forecast window
    cluster: Literal["day", "region"] = "day"
    block_length: int | None = None  # days drawn together; None: 1, or as many as overlapping windows tie together
    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0
    bins: int = 20  # of the reliability diagram
    climatology_days: int = 120  # length of the trailing climatology
    own_thresholds: tuple[tuple[str, float], ...] = ()  # method and threshold, in place of the first of `thresholds`

    def __post_init__(self) -> None:
        if not self.thresholds or len(set(self.thresholds)) < len(self.thresholds):
            raise SettingError(f"thresholds must be one or more different numbers, got {self.thresholds}")
        named = [method for method, _ in self.own_thresholds]
        if len(set(named)) < len(named):
            raise SettingError(f"a method has one threshold of its own, got several for {', '.join(named)}")
        for threshold in (*self.thresholds, *(own for _, own in self.own_thresholds)):
            if not 0 < threshold < 1:
                raise SettingError(f"a threshold must lie between 0 and 1, got {threshold:g}")
        if not self.window_hours > 0:
            raise SettingError(f"`window_hours` must be positive, got {self.window_hours:g}")
        if not 0 < self.level < 1:
            raise SettingError(f"`level` must lie between 0 and 1, got {self.level:g}")

    def decides_at(self, method: str, threshold: float) -> float:
        """The probability from which a method says yes where others do from one of `thresholds`."""
        return dict(self.own_thresholds).get(method, threshold) if threshold == self.thresholds[0] else threshold

    def resampling(self) -> dict[str, Any]:
        """Options of `ClusteredSamples.resample`."""
        return {"resamples": self.resamples, "level": self.level, "seed": self.seed}


@dataclass(frozen=True)
class Comparison:
    """What the forecasts are worth, as tables with one number per row."""

    # `threshold` is that of the settings, `decides_at` the method's own where it has one
    contingency: pd.DataFrame  # `method`, `threshold`, `tp`, `fp`, `fn`, `tn`, `decides_at`
    scores: pd.DataFrame  # `method`, `threshold` (NaN: of the probability itself), `score`, fields of an `Interval`
    differences: pd.DataFrame  # the same for `method` minus `other`, every pair
    climatology: pd.DataFrame  # `msess` and `apss_reference`, also `samples`; no rows where outcomes are too few
    reliability: pd.DataFrame  # `method`, `bin_from`, `bin_to` and the fields of a `Reliability`
    block_length: int  # days that were drawn together
    clusters: int  # number of days or regions
    event_clusters: int  # of those with an event: all that the scores know of events
    notes: tuple[str, ...]  # what a reader of the intervals has to know
    parts: tuple[Evaluation, ...]  # by year, instrument and period, at the first threshold


def compare(
    forecasts: ForecastTable, settings: VerificationSettings | None = None, *, periods: Sequence[NamedPeriod] = (),
    progress: Progress = iter
) -> Comparison:  # fmt: skip
    """Score all methods of a table, all on the same samples.

    `settings` are the defaults if None; `periods` are spans of time that are scored by themselves, besides years and
    instruments; `progress` wraps the loop over chunks of resamples, as tqdm does.

    DataError or SettingError as `groups_of`; SettingError too if the samples have no region to draw by, or the blocks
    are shorter than overlapping windows demand.
    """
    settings = settings or VerificationSettings()
    for method, _ in settings.own_thresholds:
        if method not in forecasts.probability:
            compared = ", ".join(forecasts.probability)
            raise SettingError(f'there is no method "{method}" for a threshold of its own: compared are {compared}')
    labels, block_length, notes = clusters_of(forecasts, settings)
    keys = {"time": forecasts.time, "observed": forecasts.observed, "cluster": labels}
    keys |= {} if forecasts.instrument is None else {"instrument": forecasts.instrument}
    rows = [
        pd.DataFrame(keys | {"method": name, "output": p, "probability": p,
                             "threshold": settings.decides_at(name, settings.thresholds[0])})
        for name, p in forecasts.probability.items()
    ]  # fmt: skip
    parts = evaluate_parts(pd.concat(rows), periods=periods, block_length=block_length, **settings.resampling())
    samples = ClusteredSamples(forecasts.observed, labels)
    scorers: dict[Any, Scorers] = {}
    tables = []
    for method, probability in forecasts.probability.items():
        scorers[method, None] = samples.probability_scores(probability)
        for threshold in settings.thresholds:
            least = settings.decides_at(method, threshold)
            scorers[method, threshold] = samples.table_scores(probability >= least)
            table = ContingencyTable.from_forecasts(forecasts.observed, probability >= least)
            tables.append((method, threshold, *astuple(table), least))
    found = samples.resample(scorers, block_length=block_length, progress=progress, **settings.resampling())
    scored = [((*key, score), found.interval(key, score)) for key, score in found.scores]
    pairs = [
        ((first, second, threshold, score), found.difference((first, threshold), (second, threshold), score))
        for first, second in combinations(forecasts.probability, 2)
        for (method, threshold), score in found.scores
        if method == first
    ]
    edges = np.arange(settings.bins + 1) / settings.bins
    curves = [
        pd.DataFrame({"method": method, "bin_from": edges[:-1], "bin_to": edges[1:]}).assign(
            **vars(reliability(forecasts.observed, probability, bins=settings.bins))
        )
        for method, probability in forecasts.probability.items()
    ]
    climatology, more = _against_climatology(forecasts, settings, labels, block_length)
    contingency = pd.DataFrame(tables, columns=["method", "threshold", "tp", "fp", "fn", "tn", "decides_at"])
    scores = _frame(scored, ["method", "threshold", "score"])
    differences = _frame(pairs, ["method", "other", "threshold", "score"])
    tables_ = contingency, scores, differences, climatology, pd.concat(curves, ignore_index=True)
    drawn = block_length, samples.clusters, len(np.unique(labels[forecasts.observed]))
    return Comparison(*tables_, *drawn, notes=(*notes, *more), parts=tuple(parts))


def clusters_of(forecasts: ForecastTable, settings: VerificationSettings) -> tuple[AnyArray, int, list[str]]:
    """Cluster of each sample, the block length, and what to say about it."""
    step, window = forecasts.shortest_step_hours(), settings.window_hours
    overlap = step < window
    seen = f"Windows of {window:g} h overlap, for forecasts follow each other after {step:g} h"
    seen += ": one flare is the event of several samples."
    if settings.cluster == "region":
        if forecasts.region is None:
            raise SettingError("`cluster` is region, but the forecasts have no column `region`: draw by day")
        if settings.block_length not in (None, 1):
            rule = "`block_length` must be 1 for regions, whose order means nothing"
            raise SettingError(f"{rule}, got {settings.block_length}")
        return forecasts.region, 1, [seen] if overlap else []
    if settings.cluster != "day":
        raise SettingError(f'`cluster` must be "day" or "region", got "{settings.cluster}"')
    days = forecasts.time.astype("datetime64[D]")
    needed = 1 + int(np.ceil(window / 24)) if overlap else 1
    if settings.block_length is None:
        length = min(needed, len(np.unique(days)))
    elif settings.block_length < needed:
        fault = f"`block_length` must be at least {needed} days, got {settings.block_length}"
        raise SettingError(f"{fault}: windows of {window:g} h overlap, as forecasts follow each other after {step:g} h")
    else:
        length = settings.block_length
    if length > 1:
        seen += f" Blocks of {length} days are drawn."
    return days, length, [seen] if overlap else []


def _against_climatology(
    forecasts: ForecastTable, settings: VerificationSettings, labels: AnyArray, block_length: int
) -> tuple[pd.DataFrame, list[str]]:
    days = settings.climatology_days
    reference = trailing_climatology(forecasts.time, *forecasts.history, days=days, window_hours=settings.window_hours)
    known = ~np.isnan(reference)
    columns = ["method", "threshold", "score"]
    if not known.any():
        note = f"There is no trailing climatology: the outcomes do not reach back {days} days."
        return _frame([], columns).assign(samples=0), [note]
    samples = ClusteredSamples(forecasts.observed[known], labels[known])
    scorers = {
        (name, least): samples.reference_scores(p[known], reference[known], settings.decides_at(name, least))
        for name, p in forecasts.probability.items()
        for least in settings.thresholds
    }
    block_length = min(block_length, samples.clusters)
    found = samples.resample(scorers, block_length=block_length, **settings.resampling())
    rows = [
        ((method, None if score == "msess" else threshold, score), found.interval((method, threshold), score))
        for (method, threshold), score in found.scores
        if score != "msess" or threshold == settings.thresholds[0]
    ]
    return _frame(rows, columns).assign(samples=int(known.sum())), []


def _frame(rows: list[tuple[tuple[Any, ...], Interval]], keys: list[str]) -> pd.DataFrame:
    table = [(*key, float(found.value), *astuple(found)[1:]) for key, found in rows]
    frame = pd.DataFrame(table, columns=[*keys, *(field.name for field in fields(Interval))])
    return frame.astype({"threshold": np.float64})
