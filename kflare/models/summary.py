"""The summary of a training run as text: scores of every seed, their means, and the contingency table in full."""

from collections.abc import Sequence
from pathlib import Path

from kflare.models.evaluation import as_table
from kflare.models.fitting import Fitted

__all__ = ["summary_text"]


def summary_text(model: str, seeds: Sequence[int], fits: Sequence[Fitted], *, published: str | None, run: Path) -> str:
    """Tell what a run gave.

    Parameters
    ----------
    model : str
        Name of the model, which ends in its class: "cnn-m".
    seeds, fits : sequences of equal length
        The fitted networks; the contingency table shown is that of the one that validates best.
    published : str or None
        Where the model was published.
    run : Path
        The run's folder.
    """
    event = f">={model[-1].upper()}"
    lines = [f"{model}: flare {event}1.0 within 24 h; threshold and calibration from validation data"]
    for seed, fitted in zip(seeds, fits, strict=True):
        epochs = f"epoch {fitted.run.state['best']['epoch']} of {len(fitted.run.epochs)}"
        lines += ["", f"seed {seed}, {epochs}", as_table(fitted.evaluations)]
    if len(fits) > 1:
        lines += ["", *_means(fits)]
    best = max(fits, key=lambda fitted: fitted.validation_score)
    table = next(e.table for e in best.evaluations if e.span == "test")
    samples = table.tp + table.fp + table.fn + table.tn
    lines += [
        "",
        f"test span, {table.tp + table.fn} events in {samples} samples:",
        table.as_text(event=f"{event} flares"),
    ]
    return "\n".join([*lines, "", f"published: {published}" if published else "not published", f"run: {run}"])


def _means(fits: Sequence[Fitted]) -> list[str]:
    lines = []
    for place, first in enumerate(fits[0].evaluations):
        same = [fitted.evaluations[place] for fitted in fits]
        tss, bss = (sum(values) / len(same) for values in ([float(e.table.tss) for e in same], [e.bss for e in same]))
        lines.append(f"mean of {len(fits)} seeds, {first.span}, {first.method}: TSS {tss:.3f}, BSS {bss:.3f}")
    return lines
