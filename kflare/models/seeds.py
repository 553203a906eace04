"""A network fitted once per seed: a folder for each run, the best one published, and a summary of all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kflare.datasets.splits import Split
from kflare.io.atomic import write_whole
from kflare.models.fitting import FittedNetwork, TrainingTask, model_metadata
from kflare.models.training import Recipe, TrainingRun
from kflare.verification.evaluation import NamedPeriod, as_table, evaluate_parts


def plot_learning_curve(epochs: Sequence[Mapping[str, float]], path: Path, *, title: str, chosen: int) -> None:
    """Draw the epochs of a run (`TrainingRun.epochs`) into a PNG; `chosen` is the epoch whose weights were kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    x = [row["epoch"] for row in epochs]
    # Colours of Okabe and Ito, distinguishable with any colour vision; line styles differ besides.
    upper.plot(x, [row["loss"] for row in epochs], color="#0072B2", label="training")
    upper.plot(x, [row["val_loss"] for row in epochs], color="#D55E00", linestyle="--", label="validation")
    upper.set(ylabel="weighted cross entropy", title=title)
    lower.plot(x, [row["val_tss"] for row in epochs], color="#D55E00", linestyle="--", label="validation")
    lower.set(ylabel="TSS at the best threshold", xlabel="epoch", ylim=(min(0.0, *(r["val_tss"] for r in epochs)), 1))
    for axes in (upper, lower):
        axes.axvline(chosen, color="0.5", linewidth=1, label=f"chosen: epoch {chosen}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=120))


def fit_seeds(
    task: TrainingTask, split: Split, recipes: Sequence[Recipe], folder: Path, *, periods: Sequence[NamedPeriod] = (),
) -> list[FittedNetwork]:  # fmt: skip
    """Fit a network with each recipe, one per seed; `seed-N` of the folder gets log, curve and forecasts.

    The test span is scored as a whole, by year, by instrument, and by the `periods`.
    """
    parts = {name: task.samples["time"][mask] for name, mask in split.parts().items()}
    spans = {name: [str(part.min()), str(part.max()), len(part)] for name, part in parts.items()}
    common = {"model": task.spec.name, "data": task.fingerprint, "spans": spans, **task.settings}
    keys = task.samples[[name for name in ("time", "region", "instrument") if name in task.samples]]
    fits = []
    for recipe in recipes:
        run = TrainingRun(folder / f"seed-{recipe.seed}", {**common, **asdict(recipe)}, within=folder)
        fitted = _in_parts(task.fit(split, recipe, run), task.samples, split, periods)
        plot_learning_curve(
            run.epochs, run.folder / "learning_curve.png", title=f"{task.spec.name}, seed {recipe.seed}",
            chosen=run.state["best"]["epoch"],
        )  # fmt: skip
        span = np.where(split.test, "test", "validation")
        forecasts = keys.assign(span=span, **fitted.forecasts)[split.validation | split.test]
        write_whole(run.folder / "forecasts.csv", forecasts.to_csv(index=False))
        fits.append(fitted)
    return fits


def _in_parts(net: FittedNetwork, samples: pd.DataFrame, split: Split, periods: Sequence[NamedPeriod]) -> FittedNetwork:
    """The network with further evaluations, of parts of the test span."""
    forecasts, rows = net.forecasts, []
    for whole in (one for one in net.evaluations if one.span == "test"):
        own = whole.method if whole.method in forecasts else "probability"
        frequency = "calibrated" if own == "probability" else f"{own}, calibrated"
        shown = {"output": forecasts[own], "probability": forecasts.get(frequency, forecasts[own])}
        shown |= {"observed": forecasts["observed"], "method": whole.method, "threshold": whole.threshold}
        rows.append(samples.assign(**shown))
    parts = evaluate_parts(pd.concat([row[split.test] for row in rows]), periods=periods)
    return replace(net, evaluations=[*net.evaluations, *parts])


def best_of(fits: Sequence[FittedNetwork]) -> FittedNetwork:
    """The network with the greatest TSS on the validation span."""
    return max(fits, key=lambda fitted: fitted.validation_score)


def published_already(fitted: FittedNetwork, root: Path) -> Path | None:
    """The version that this run has published below the models' folder, also if it was killed afterwards."""
    done = fitted.run.state.get("published")
    return Path(done) if done and Path(done).is_dir() and Path(done).parent.parent == root else None


def publish_best(
    task: TrainingTask, fitted: FittedNetwork, split: Split, root: Path, *, data: Mapping[str, Any], attribution: Any
) -> Path:
    """Publish below `root` and note it in the run; `data` is where samples come from, for the metadata."""
    metadata = model_metadata(
        fitted, event=task.spec.event, times=task.samples["time"], split=split, data={**data, **task.settings},
        fingerprint=task.fingerprint,
    )  # fmt: skip
    path = task.publish(fitted, root, split, metadata, attribution)
    fitted.run.state["published"] = str(path)
    fitted.run.save()
    return path


def write_summary(
    task: TrainingTask, recipes: Sequence[Recipe], fits: Sequence[FittedNetwork], folder: Path, *, split: Split,
    validation: str, published: Path | None
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Write `summary.txt` and `summary.json` of the fits, and return them; `validation` is the rule of its span."""
    spans = []
    for name, mask in split.parts().items():
        events, seen = int(task.observed[mask].sum()), task.samples["time"][mask]
        spans.append(f"{name}: {seen.min():%Y-%m-%d} to {seen.max():%Y-%m-%d}, {events} events in {len(seen)} samples")
    runs = zip(recipes, fits, strict=True)
    seeds = [{"seed": recipe.seed, "scores": [e.as_json() for e in fitted.evaluations]} for recipe, fitted in runs]
    summary: dict[str, Any] = {"model": task.spec.name, "spans": spans, "validation": validation}
    summary |= {"class_weights": list(recipes[0].class_weights), "seeds": seeds}
    summary["published"] = None if published is None else str(published)
    lines = [f"{task.spec.name}: {task.spec.event_text} within 24 h; threshold and calibration from validation data"]
    lines += [*spans, f"the validation span is {validation}"]
    for recipe, fitted in zip(recipes, fits, strict=True):
        epochs = f"epoch {fitted.run.state['best']['epoch']} of {len(fitted.run.epochs)}"
        lines += ["", f"seed {recipe.seed}, {epochs}", as_table(fitted.evaluations)]
    if len(fits) > 1:
        lines += ["", *_means(fits)]
    table = next(e.table for e in best_of(fits).evaluations if e.span == "test")
    events, samples = table.tp + table.fn, table.tp + table.fp + table.fn + table.tn
    lines += ["", f"test span, {events} events in {samples} samples:"]
    lines += [table.as_text(event=f">={task.spec.event} flares"), ""]
    lines += [f"published: {published}" if published else "not published", f"run: {folder}"]
    text = "\n".join(lines)
    write_whole(folder / "summary.json", json.dumps(summary, indent=2))
    write_whole(folder / "summary.txt", text + "\n")
    return text, summary


def _means(fits: Sequence[FittedNetwork]) -> list[str]:
    lines = []
    for place, first in enumerate(fits[0].evaluations):
        if first.span not in ("validation", "test"):
            continue
        same = [fitted.evaluations[place] for fitted in fits]
        tss, bss = (sum(values) / len(same) for values in ([float(e.table.tss) for e in same], [e.bss for e in same]))
        lines.append(f"mean of {len(fits)} seeds, {first.span}, {first.method}: TSS {tss:.3f}, BSS {bss:.3f}")
    return lines
