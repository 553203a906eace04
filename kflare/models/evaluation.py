"""What a fitted model is worth on validation and test, beside baselines on the same samples."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import bootstrap
from kflare.verification.probabilistic import brier_skill_score, roc_area

__all__ = ["Evaluation", "aligned_columns", "as_table", "evaluate", "interval_cell", "number_cell"]


def aligned_columns(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Lines of a text table, the first `left` columns aligned to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def number_cell(value: float) -> str:
    """Three decimals; "–" where undefined."""
    return f"{float(value):.3f}" if np.isfinite(value) else "–"


def interval_cell(lower: float, upper: float) -> str:
    """Two decimals of both ends; "–" where there is no interval."""
    return f"{lower:.2f}..{upper:.2f}" if np.isfinite([lower, upper]).all() else "–"


_RESAMPLES = 2000
_NO_INTERVAL = (np.nan, np.nan)
_COLUMNS = "span method N rate thr TP FP FN TN ACC POD FAR TSS TSS-95% HSS BSS BSS-95% AUC"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one method on one span."""

    method: str
    span: str
    threshold: float
    table: ContingencyTable
    bss: float  # Brier skill score of the calibrated probability against the span's climatology; perfect 1, no skill 0
    roc_area: float  # area under the ROC curve; perfect 1, no skill 0.5
    tss_interval: tuple[float, float] | None = None  # 95 %, by resampling clusters (days, regions), if given
    bss_interval: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """For `kflare.json` and `summary.json`; NaN (undefined) becomes null."""
        names = ("base_rate", "accuracy", "pod", "far", "tss", "hss")
        scores = {name: float(getattr(self.table, name)) for name in names}
        scores |= {"bss": self.bss, "roc_area": self.roc_area}
        intervals = {"tss_interval": self.tss_interval, "bss_interval": self.bss_interval}
        return {
            "method": self.method,
            "span": self.span,
            "threshold": self.threshold,
            **asdict(self.table),
            **{name: value if np.isfinite(value) else None for name, value in scores.items()},
            **{name: list(ends) if ends and np.isfinite(ends).all() else None for name, ends in intervals.items()},
        }


def evaluate(
    method: str,
    span: str,
    observed: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float32],
    calibrated: npt.NDArray[np.float32] | None = None,
    *,
    threshold: float,
    clusters: npt.NDArray[Any] | None = None,
) -> Evaluation:
    """Score a method on one span of N samples.

    The `probability` is compared with the threshold (a flare is forecast at or above it) and ranks for the ROC area;
    `calibrated`, by default the same, is scored by the Brier skill score. `clusters` (day or region) give the
    intervals.
    """
    frequency = probability if calibrated is None else calibrated
    tss, bss = None, None
    if clusters is not None:
        # Two resamplings, since TSS is of the decision and BSS of the frequency.
        decision = bootstrap(observed, probability, clusters, threshold=threshold, resamples=_RESAMPLES)["tss"]
        skill = bootstrap(observed, frequency, clusters, resamples=_RESAMPLES)["brier_skill_score"]
        tss, bss = (decision.lower, decision.upper), (skill.lower, skill.upper)
    table = ContingencyTable.from_probabilities(observed, probability, threshold=threshold)
    brier, area = float(brier_skill_score(observed, frequency)), float(roc_area(observed, probability))
    return Evaluation(method, span, float(threshold), table, brier, area, tss, bss)


def as_table(evaluations: Iterable[Evaluation]) -> str:
    """The evaluations as a text table, one line each; "–" where a score is undefined."""
    rows = [_COLUMNS.split()]
    for item in evaluations:
        t = item.table
        counts = astuple(t)
        row = [item.span, item.method, str(sum(counts)), number_cell(t.base_rate), f"{item.threshold:.2f}"]
        row += [*map(str, counts), *map(number_cell, (t.accuracy, t.pod, t.far, t.tss))]
        row += [interval_cell(*item.tss_interval or _NO_INTERVAL), *map(number_cell, (t.hss, item.bss))]
        rows.append([*row, interval_cell(*item.bss_interval or _NO_INTERVAL), number_cell(item.roc_area)])
    return "\n".join(aligned_columns(rows, left=2))
