"""What a fitted model is worth on validation and test, beside baselines on the same samples."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import brier_skill_score, roc_area

__all__ = ["Evaluation", "as_table", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one method on one span."""

    method: str
    span: str
    threshold: float
    table: ContingencyTable
    bss: float
    """Brier skill score of the calibrated probability against the span's own climatology; perfect 1, no skill 0."""
    roc_area: float
    """Area under the ROC curve; perfect 1, no skill 0.5."""

    def as_json(self) -> dict[str, Any]:
        """For `kflare.json` and `summary.json`; NaN (undefined) becomes null."""
        table = self.table
        scores = {
            "base_rate": table.base_rate,
            "accuracy": table.accuracy,
            "pod": table.pod,
            "far": table.far,
            "tss": table.tss,
            "hss": table.hss,
            "bss": self.bss,
            "roc_area": self.roc_area,
        }
        counts = {"tp": table.tp, "fp": table.fp, "fn": table.fn, "tn": table.tn}
        numbers = {name: float(value) if np.isfinite(value) else None for name, value in scores.items()}
        return {"method": self.method, "span": self.span, "threshold": self.threshold, **counts, **numbers}


def evaluate(
    method: str,
    span: str,
    observed: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float32],
    *,
    threshold: float,
    calibrated: npt.NDArray[np.float32] | None = None,
) -> Evaluation:
    """Score probabilities (N,) at a threshold, and the calibrated ones of a method that has them."""
    frequency = probability if calibrated is None else calibrated
    return Evaluation(
        method,
        span,
        float(threshold),
        ContingencyTable.from_probabilities(observed, probability, threshold=threshold),
        float(brier_skill_score(observed, frequency)),
        float(roc_area(observed, probability)),
    )


def as_table(evaluations: Iterable[Evaluation]) -> str:
    """The evaluations as a text table, one line each; "–" where a score is undefined."""
    head = (
        "span",
        "method",
        "N",
        "rate",
        "thr",
        "TP",
        "FP",
        "FN",
        "TN",
        "ACC",
        "POD",
        "FAR",
        "TSS",
        "HSS",
        "BSS",
        "AUC",
    )
    rows: list[tuple[str, ...]] = [head]
    for item in evaluations:
        t = item.table
        scores = (t.accuracy, t.pod, t.far, t.tss, t.hss, item.bss, item.roc_area)
        counts = (t.tp, t.fp, t.fn, t.tn)
        rows.append(
            (
                item.span,
                item.method,
                str(sum(counts)),
                f"{float(t.base_rate):.3f}",
                f"{item.threshold:.2f}",
                *map(str, counts),
                *(f"{float(score):.3f}" if np.isfinite(score) else "–" for score in scores),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
