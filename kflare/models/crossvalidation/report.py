"""The files of a cross-validation: forecasts for `kflare.verify`, scores as JSON, tables as Markdown.

The tables are laid out as Nishizuka et al. (2021), Table 4: a row per fold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from kflare.errors import SettingError
from kflare.io.atomic import write_whole
from kflare.models.crossvalidation.compare import compared, read_other_forecasts, verifiable
from kflare.models.crossvalidation.folds import NETWORK, Fold
from kflare.models.crossvalidation.scores import METRICS, Metric, Scoreboard, scoreboard
from kflare.models.registry import ModelSpec
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import interval_cell, number_cell
from kflare.verification.intervals import Interval

__all__ = ["PUBLISHED_TSS", "as_text", "fold_labels", "published_tss", "write_report"]

#: TSS of Nishizuka et al. (2021), Table 4, by class and test year: 79 features and other samples than ours.
PUBLISHED_TSS: Mapping[str, Mapping[str, float]] = {
    "M": {"2013": 0.49, "2014": 0.66, "2015": 0.77, "2016": 0.87, "2017": 0.72},
    "C": {"2013": 0.53, "2014": 0.60, "2015": 0.66, "2016": 0.56, "2017": 0.61},
}


def published_tss(spec: ModelSpec, folds: Sequence[Fold]) -> Mapping[str, float] | None:
    """TSS of the paper for a model and its folds; None where it has none."""
    known = PUBLISHED_TSS[spec.event]
    return known if spec.kind == "region" and all(fold.name in known for fold in folds) else None


def as_text(
    board: Scoreboard, labels: Mapping[str, str], *, title: str, note: str = "",
    published: Mapping[str, float] | None = None,
) -> str:  # fmt: skip
    """A scoreboard as aligned Markdown; `labels` begin each fold's row, `published` is the paper's TSS by fold.

    A `note` on the samples stands below the title.
    """
    lines = [f"# {title}", *(["", note] if note else []), "", *_samples(board, labels)]
    for metric in METRICS:
        shown = published if metric.score == "tss" and published else None
        lines += ["", f"## {metric.title}", "", *_grid(_score_rows(board, labels, metric, shown))]
        if metric.key in board.seeds and len(board.seeds[metric.key]) > 1:
            lines += ["", _seed_line(board.seeds[metric.key])]
        best = board.best_baseline(metric.key)
        if best and NETWORK in board.methods:
            difference = board.methods[best].behind[metric.key]
            lines += ["", f"network minus the best baseline ({best}), mean of folds: {_with_interval(difference)}"]
    for limit, name in (("validation", "threshold of each fold's validation span"), ("half", "threshold 50 %")):
        lines += ["", f"## Contingency tables, all folds counted together; {name}", ""]
        lines += _grid(_table_rows(board, limit))
    for name, scores in board.methods.items():
        told = [f"{name}, {labels.get(fold, fold)}: {note}" for fold, note in scores.notes.items()]
        lines += ["", *(f"* {line}" for line in told)] if told else []
    return "\n".join(lines)


def fold_labels(times: pd.Series, folds: Sequence[Fold]) -> dict[str, str]:
    """Spans by fold, such as "Training (2010-2011), Validation (2012), Test (2013)"; by days if not of whole years."""
    years = pd.DatetimeIndex(times).year
    labels = {}
    for fold in folds:
        if not fold.name.isdigit():
            valid, test = (pd.DatetimeIndex(times[mask]) for mask in (fold.validation, fold.test))
            spans = (f"{span.min():%Y-%m-%d}..{span.max():%Y-%m-%d}" for span in (valid, test))
            labels[fold.name] = "{}: Training (rest), Validation ({}), Test ({})".format(fold.name, *spans)
            continue
        first, last = years[fold.train].min(), years[fold.train].max()
        train = str(first) if first == last else f"{first}-{last}"
        labels[fold.name] = f"Training ({train}), Validation ({int(fold.name) - 1}), Test ({fold.name})"
    return labels


def _samples(board: Scoreboard, labels: Mapping[str, str]) -> list[str]:
    rows = [("Datasets", "test samples", "with event", "clusters", "with event")]
    for fold in board.folds:
        counts = (fold["samples"], fold["events"], fold["clusters"], fold["event_clusters"])
        rows.append((labels.get(fold["name"], fold["name"]), *map(str, counts)))
    return _grid(rows)


def _score_rows(
    board: Scoreboard, labels: Mapping[str, str], metric: Metric, published: Mapping[str, float] | None
) -> list[tuple[str, ...]]:
    names = [fold["name"] for fold in board.folds]
    methods = board.methods
    rows: list[tuple[str, ...]] = [("Datasets", *methods)]
    for place, name in enumerate(names):
        cells = (number_cell(scores.folds[metric.key][place]) for scores in methods.values())
        rows.append((labels.get(name, name), *cells))
    means = [scores.mean[metric.key] for scores in methods.values()]
    rows.append(("Average", *(number_cell(mean.value) for mean in means)))
    rows.append(("  95 % interval", *map(_ends, means)))
    if NETWORK in methods:
        behind = [scores.behind.get(metric.key) for scores in methods.values()]
        rows.append(("  network minus method", *("" if d is None else number_cell(d.value) for d in behind)))
        rows.append(("  95 % interval", *("" if d is None else _ends(d) for d in behind)))
    sums = [scores.summed[metric.key] for scores in methods.values()]
    rows.append(("All folds counted together", *(number_cell(total.value) for total in sums)))
    rows.append(("  95 % interval", *map(_ends, sums)))
    if not published:
        return rows
    paper = [published[name] for name in names]
    column = ["paper", *(f"{tss:.2f}" for tss in [*paper, np.mean(paper)])]
    return [(*row, cell) for row, cell in zip_longest(rows, column, fillvalue="")]


def _table_rows(board: Scoreboard, limit: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, scores in board.methods.items():
        table = sum(scores.tables[limit], ContingencyTable())
        values = (("POD", table.pod), ("FAR", table.far), *table.table_1())
        rows.append((name, *map(str, astuple(table)), *(number_cell(value) for _, value in values)))
    return [("Method", "TP", "FP", "FN", "TN", *(label for label, _ in values)), *rows]


def _seed_line(values: Mapping[int, float]) -> str:
    each = ", ".join(f"seed {seed} {number_cell(value)}" for seed, value in values.items())
    mean = float(np.mean(list(values.values())))
    return f"network above: mean forecast of {len(values)} seeds; one by one: {each}; their mean {number_cell(mean)}"


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    lines.insert(1, " | ".join(["---", *["---:"] * (len(widths) - 1)]))
    return [f"| {line} |" for line in lines]


def _ends(interval: Interval) -> str:
    return interval_cell(interval.lower, interval.upper)


def _with_interval(interval: Interval) -> str:
    return f"{number_cell(interval.value)} ({_ends(interval)})" if np.isfinite(interval.value) else "–"


def write_report(
    rows: pd.DataFrame,
    folds: Sequence[Fold],
    folder: Path,
    *,
    spec: ModelSpec,
    times: pd.Series,
    seeds: Sequence[int],
    resamples: int,
    others: Sequence[Path] = (),
    tolerance_minutes: float = 48.0,
    thresholds: Mapping[str, float] = MappingProxyType({}),
) -> tuple[str, dict[str, Any]]:
    """Write forecasts.parquet, scores.json and table.md; returns the table and the scores.

    `rows` and `folds` are those of `cross_validate`, of samples at `times`; `others` are tables of other methods, each
    compared on the samples that it shares with ours, with `tolerance_minutes` as in `compared` and `thresholds` as in
    `read_other_forecasts`.
    """
    write_whole(folder / "forecasts.parquet", lambda file: verifiable(rows).to_parquet(file, index=False))
    boards, notes = {"all samples": scoreboard(rows, resamples=resamples)}, {"all samples": ""}
    tables = [read_other_forecasts(path, by_region="region" in rows, thresholds=thresholds) for path in others]
    unknown = sorted(set(thresholds) - {"", *(name for table in tables for name in table["method"])})
    if unknown:
        raise SettingError(f'there is a threshold for "{unknown[0]}", but no such method among the other forecasts')
    for theirs in tables:
        for methods, shared, told in compared(rows, theirs, tolerance_minutes=tolerance_minutes):
            name = f"samples shared with {methods}"
            boards[name], notes[name] = scoreboard(shared, resamples=resamples), told
    labels = fold_labels(times, folds)
    text = "\n\n".join(
        as_text(
            board, labels, title=f"{spec.name}, {spec.event_text} within 24 h, {name}", note=notes[name],
            published=published_tss(spec, folds),
        )
        for name, board in boards.items()
    )  # fmt: skip
    found = {name: board.as_json() | {"compared": notes[name]} for name, board in boards.items()}
    scores = {"model": spec.name, "seeds": list(seeds), **found}
    write_whole(folder / "scores.json", json.dumps(scores, indent=2))
    write_whole(folder / "table.md", text + "\n")
    return text, scores
