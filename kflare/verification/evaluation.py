"""What a method is worth on a period, a year, or the images of one instrument, in one line each.

`kflare.fit`, `kflare.crossvalidate` and `kflare.verify` all score parts of their samples by `groups_of` and `evaluate`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, ArrayLike, BoolArray, Float64Array
from kflare.io.json_values import plain
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import ClusteredSamples
from kflare.verification.probabilistic import brier_skill_score, roc_area
from kflare.verification.samples import check_samples

NamedPeriod = tuple[str, datetime, datetime]
"""Name, begin and end (exclusive, aware UTC) of a time that is scored by itself."""


def aligned_columns(rows: Sequence[Sequence[str]], *, left: int, markdown: bool = False) -> list[str]:
    """Lines of a text table, or one in Markdown, the first `left` columns aligned to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [
        [cell.ljust(width) if place < left else cell.rjust(width) for place, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    if not markdown:
        return ["  ".join(row).rstrip() for row in cells]
    cells.insert(1, ["---"] * left + ["---:"] * (len(widths) - left))
    return [f"| {' | '.join(row)} |" for row in cells]


def one_outcome(span: str, events: int, samples: int) -> str:
    """Why a span of samples has undefined scores; empty where both outcomes were observed."""
    seen = f"all {samples} samples have an event" if events else f"none of {samples} samples has an event"
    return "" if 0 < events < samples else f"{span}: {seen}, so that scores which need both are undefined"


def number_cell(value: float) -> str:
    """Three decimals; "–" where undefined."""
    return f"{float(value):.3f}" if np.isfinite(value) else "–"


def interval_cell(lower: float, upper: float) -> str:
    """Two decimals of both ends; "–" where there is no interval."""
    return f"{lower:.2f}..{upper:.2f}" if np.isfinite([lower, upper]).all() else "–"


_RESAMPLES = 2000
_COLUMNS = "span method N rate thr TP FP FN TN ACC POD FAR TSS TSS-95% HSS ApSS FB BSS BSS-95% AUC"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one method on one span."""

    method: str
    span: str
    threshold: float
    table: ContingencyTable
    bss: float  # Brier skill score of the calibrated probability against the span's climatology; perfect 1, no skill 0
    roc_area: float  # area under the ROC curve; perfect 1, no skill 0.5
    tss_interval: tuple[float, float] = (np.nan, np.nan)  # 95 %, by resampling clusters (days, regions), if given
    bss_interval: tuple[float, float] = (np.nan, np.nan)

    @property
    def note(self) -> str:
        """Why scores are undefined, in words; empty where both outcomes were observed."""
        return one_outcome(self.span, self.table.tp + self.table.fn, sum(astuple(self.table)))

    def as_json(self) -> dict[str, Any]:
        """For `kflare.json` and `summary.json`; NaN (undefined) becomes null, and `note` says why."""
        names = ("base_rate", "accuracy", "pod", "far", "tss", "hss", "apss", "frequency_bias")
        scores = {name: float(getattr(self.table, name)) for name in names}
        scores |= {"bss": self.bss, "roc_area": self.roc_area}
        intervals = {"tss_interval": self.tss_interval, "bss_interval": self.bss_interval}
        head = {"method": self.method, "span": self.span, "threshold": plain(self.threshold), "note": self.note}
        known = {name: list(ends) if np.isfinite(ends).all() else None for name, ends in intervals.items()}
        return head | asdict(self.table) | plain(scores) | known


def evaluate(
    method: str, span: str, observed: BoolArray, probability: AnyArray,
    calibrated: AnyArray | None = None, *, threshold: float | Float64Array,
    clusters: AnyArray | None = None, **resampling: Any
) -> Evaluation:  # fmt: skip
    """Score a method on one span of N samples.

    The `probability` is compared with the threshold (a flare is forecast at or above it), one or that of each sample's
    fold, and ranks for the ROC area; `calibrated`, by default the same, is scored by the Brier skill score. `clusters`
    (day or region) give the intervals, `resampling` are options of `ClusteredSamples.resample`.
    """
    frequency = probability if calibrated is None else calibrated
    outcomes, values = check_samples(observed, probability)
    yes, limits = values >= threshold, np.unique(threshold)
    intervals: list[tuple[float, float]] = []
    if clusters is not None:
        samples = ClusteredSamples(outcomes, clusters)
        scored = {"tss": samples.table_scores(yes), "brier_skill_score": samples.probability_scores(frequency)}
        block = min(resampling.pop("block_length", 1), samples.clusters)
        found = samples.resample(scored, block_length=block, **{"resamples": _RESAMPLES, **resampling})
        intervals = [(one.lower, one.upper) for one in (found.interval(score, score) for score in scored)]
    table = ContingencyTable.from_forecasts(outcomes, yes)
    brier, area = float(brier_skill_score(observed, frequency)), float(roc_area(observed, probability))
    return Evaluation(method, span, float(limits[0]) if len(limits) == 1 else np.nan, table, brier, area, *intervals)


def groups_of(
    times: ArrayLike | pd.Series, *, periods: Sequence[NamedPeriod] = (),
    instruments: AnyArray | None = None
) -> dict[str, BoolArray]:  # fmt: skip
    """Samples by year, by instrument and by named period: masks of shape (N,).

    `times` (N,), UTC, begin the forecast windows; `instruments` (N,) name what the images are of. Years and instruments
    are told apart where there are several. `SettingError` as `ordered_periods`, `DataError` where one holds no sample.
    """
    index = pd.DatetimeIndex(times)
    times = (index if index.tz is None else index.tz_convert(None)).to_numpy("datetime64[us]")
    years = np.datetime_as_string(times, "Y")
    kinds = {"year": years} if instruments is None else {"year": years, "instrument": instruments}
    groups: dict[str, BoolArray] = {}
    for kind, values in kinds.items():
        if len(names := np.unique(values)) > 1:
            groups |= {f"{kind} {name}": values == name for name in names}
    for name, begin, end in ordered_periods(periods):
        low, high = (np.datetime64(time.astimezone(UTC).replace(tzinfo=None)) for time in (begin, end))
        groups[f"period {name}"] = (times >= low) & (times < high)
        if not groups[f"period {name}"].any():
            seen = " to ".join(np.datetime_as_string([times.min(), times.max()], "D"))
            raise DataError(f"the period `{name}` holds no sample that is scored: these are of {seen}; move or drop it")
    return groups


def ordered_periods(periods: Sequence[NamedPeriod]) -> list[NamedPeriod]:
    """The periods in order of time; `SettingError` where they overlap, have one name, or end before they begin."""
    ordered = sorted(periods, key=lambda period: period[1])
    for place, (name, begin, end) in enumerate(ordered):
        if begin >= end or name in {other for other, *_ in ordered[:place]}:
            raise SettingError(f"the period `{name}` must be named once and begin before it ends, got {begin} to {end}")
        if place and (before := ordered[place - 1])[2] > begin:
            ends = f"the one ends {before[2]:%Y-%m-%dT%H:%MZ}, the other begins {begin:%Y-%m-%dT%H:%MZ}"
            raise SettingError(f"the periods `{before[0]}` and `{name}` overlap: {ends}; ends are exclusive")
    return ordered


def evaluate_parts(rows: pd.DataFrame, *, periods: Sequence[NamedPeriod] = (), **resampling: Any) -> list[Evaluation]:
    """Score every method by year, instrument and period.

    `rows` have, for each method and sample, `method`, `time` (UTC), `observed`, what `evaluate` takes as `output`,
    `probability` (the frequency) and `threshold`, `cluster`, and of images `instrument`.
    """
    found = []
    for method, group in rows.groupby("method", sort=False):
        instruments = group["instrument"].to_numpy(str) if "instrument" in group else None
        for name, mask in groups_of(group["time"], periods=periods, instruments=instruments).items():
            columns = ("observed", "output", "probability", "threshold", "cluster")
            *values, limits, clusters = (group[column].to_numpy()[mask] for column in columns)
            found.append(evaluate(str(method), name, *values, threshold=limits, clusters=clusters, **resampling))
    return sorted(found, key=lambda one: [*dict.fromkeys(item.span for item in found)].index(one.span))


def as_table(evaluations: Iterable[Evaluation]) -> str:
    """The evaluations as a text table, one line each; "–" where a score is undefined, and below it why."""
    rows, evaluations = [_COLUMNS.split()], list(evaluations)
    for item in evaluations:
        t = item.table
        counts = astuple(t)
        row = [item.span, item.method, str(sum(counts)), number_cell(t.base_rate)]
        row += [f"{item.threshold:.2f}" if np.isfinite(item.threshold) else "–"]
        row += [*map(str, counts), *map(number_cell, (t.accuracy, t.pod, t.far, t.tss))]
        row += [interval_cell(*item.tss_interval), *map(number_cell, (t.hss, t.apss, t.frequency_bias, item.bss))]
        rows.append([*row, interval_cell(*item.bss_interval), number_cell(item.roc_area)])
    notes = dict.fromkeys(item.note for item in evaluations if item.note)
    return "\n".join([*aligned_columns(rows, left=2), *notes])
