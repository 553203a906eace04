"""The files of a cross-validation: forecasts for `kflare.verify`, scores as JSON, tables as Markdown.

The tables are laid out as Nishizuka et al. (2021), Table 4: a row per fold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kflare.io.atomic import write_whole
from kflare.io.stored_table import stored_rows
from kflare.models.crossvalidation.compare import compared, verifiable
from kflare.models.crossvalidation.folds import ENSEMBLE, NETWORK, Fold
from kflare.models.crossvalidation.scores import METRICS, Metric, Scoreboard, scoreboard
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import (
    NamedPeriod,
    aligned_columns,
    as_table,
    evaluate_parts,
    interval_cell,
    number_cell,
    one_outcome,
)
from kflare.verification.intervals import Interval

if TYPE_CHECKING:
    from kflare.models.fitting import TrainingTask

_grid = partial(aligned_columns, left=1, markdown=True)

#: TSS of Nishizuka et al. (2021), Table 4, by class and test year: 79 features and other samples than ours.
PUBLISHED_TSS: Mapping[str, Mapping[str, float]] = {
    "M": {"2013": 0.49, "2014": 0.66, "2015": 0.77, "2016": 0.87, "2017": 0.72},
    "C": {"2013": 0.53, "2014": 0.60, "2015": 0.66, "2016": 0.56, "2017": 0.61},
}

SHUFFLED = (
    "These are the same samples and methods, but drawn at random into training, validation and test, as many as "
    "before. Neighbouring samples are nearly equal, so that a method is asked what it was shown, and it knows the "
    "future. No office could have had these scores: never quote them. (The test samples are then of all years, so that "
    "methods that learn nothing change, too.)"
)


def as_text(
    board: Scoreboard, labels: Mapping[str, str], *, title: str, note: str = "",
    published: Mapping[str, float] | None = None,
) -> str:  # fmt: skip
    """A scoreboard as aligned Markdown; `labels` begin each fold's row, `published` is the paper's TSS by fold.

    A `note` on the samples stands below the title.
    """
    sizes = [("Datasets", "test samples", "with event", "clusters", "with event")]
    for fold in board.folds:
        counts = (fold["samples"], fold["events"], fold["clusters"], fold["event_clusters"])
        sizes.append((labels.get(fold["name"], fold["name"]), *map(str, counts)))
    lines = [f"# {title}", *(["", note] if note else []), "", *_grid(sizes)]
    quiet = [one_outcome(f"Test {fold['name']}", fold["events"], fold["samples"]) for fold in board.folds]
    lines += ["", *(f"* {line}" for line in quiet if line)] if any(quiet) else []
    for metric in METRICS:
        shown = published if metric.score == "tss" and published else None
        lines += ["", f"## {metric.title}", "", *_grid(_score_rows(board, labels, metric, shown))]
        if len(seeds := board.seeds.get(metric.key, {})) > 1:
            each = ", ".join(f"seed {seed} {number_cell(value)}" for seed, value in seeds.items())
            mean = f"mean forecast of {len(seeds)} seeds; one by one: {each}; their mean"
            lines += ["", f"network above: {mean} {number_cell(float(np.mean(list(seeds.values()))))}"]
        best = board.best_baseline(metric.key)
        if best and NETWORK in board.methods:
            difference = board.methods[best].network_minus_this[metric.key]
            lead = f"{number_cell(difference.value)} ({_ends(difference)})"
            lines += ["", f"network minus the best baseline ({best}), mean of folds: {lead}"]
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
        behind = [scores.network_minus_this.get(metric.key) for scores in methods.values()]
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


def _ends(interval: Interval) -> str:
    return interval_cell(interval.lower, interval.upper)


def write_report(
    rows: pd.DataFrame, folds: Sequence[Fold], folder: Path, *, task: "TrainingTask", seeds: Sequence[int],
    resamples: int, periods: Sequence[NamedPeriod] = (), shuffled: pd.DataFrame | None = None, note: str = "",
    others: Sequence[pd.DataFrame] = (), tolerance_minutes: float = 48.0
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Write forecasts.parquet, scores.json and table.md; returns the table and the scores.

    `rows` and `folds` are those of `cross_validate`, of the samples of the task, `shuffled` the rows of
    `shuffled_folds`, `note` what to say of all samples; `others` are tables of `read_others`, each compared on the
    samples that it shares with ours, with `tolerance_minutes` as in `compared`.
    """
    spec = task.spec
    write_whole(folder / "forecasts.parquet", lambda file: verifiable(rows).to_parquet(file, index=False))
    boards, notes = {"all samples": scoreboard(rows, resamples=resamples)}, {"all samples": note}
    for theirs in others:
        for methods, shared, told in compared(rows, theirs, tolerance_minutes=tolerance_minutes):
            name = f"samples shared with {methods}"
            boards[name], notes[name] = scoreboard(shared, resamples=resamples), told
    labels, board = fold_labels(task.samples["time"], folds), boards["all samples"]
    paper = PUBLISHED_TSS[spec.event]
    known = spec.kind == "region" and all(fold.name in paper for fold in folds)
    head, given = f"{spec.name}, {spec.event_text} within 24 h", paper if known else None
    board_text = partial(as_text, labels=labels, published=given)
    texts = [board_text(one, title=f"{head}, {name}", note=notes[name]) for name, one in boards.items()]
    found = {name: one.as_json() | {"compared": notes[name]} for name, one in boards.items()}
    test = rows[(rows["span"] == "test") & (rows["seed"] == ENSEMBLE)]
    parts, met = evaluate_parts(test, periods=periods, resamples=resamples), criteria(task, folds, board)
    best = (NETWORK, board.best_baseline("tss"))
    if shown := [one for one in parts if one.method in best]:
        texts.append(f"# Parts of the test samples\n\n```\n{as_table(shown)}\n```")
    if shuffled is not None:
        wrong = scoreboard(shuffled, resamples=resamples)
        found["shuffled"] = {"wrong": SHUFFLED} | wrong.as_json()
        texts += ["# What shuffling would have claimed: WRONG", SHUFFLED, "\n".join(_beside(board, wrong))]
    texts += ["# Criteria for operational evaluation", "\n".join(met)]
    text = "\n\n".join(texts)
    scores = {"model": spec.name, "seeds": list(seeds), **found, "criteria": met,
              "parts": [one.as_json() for one in parts]}  # fmt: skip
    write_whole(folder / "scores.json", json.dumps(scores, indent=2))
    write_whole(folder / "table.md", text + "\n")
    return text, scores


def _beside(honest: Scoreboard, wrong: Scoreboard) -> list[str]:
    """Means over the folds of every method, and what they would be of shuffled samples."""
    titles = ("TSS", "TSS at 50 %", "BSS", "ROC area")
    rows = [["Method", *(cell for title in titles for cell in (title, "shuffled (wrong)"))]]
    for name, scores in honest.methods.items():
        pairs = [(scores.mean[metric.key], wrong.methods[name].mean[metric.key]) for metric in METRICS]
        rows.append([name, *(number_cell(one.value) for pair in pairs for one in pair)])
    return _grid(rows)


def criteria(task: "TrainingTask", folds: Sequence[Fold], board: Scoreboard) -> list[str]:
    """What the papers ask of an evaluation for operations, held against a cross-validation; one line each.

    Of Yi et al. (2021, section 3.1), after Cinto et al. (2020), and Nishizuka et al. (2021, section 5).
    """
    times, observed, trained = task.samples["time"], task.observed, min(folds, key=lambda fold: int(fold.train.sum()))
    spans = zip(*(fold.parts().values() for fold in folds), strict=True)
    late = sum(not fold.chronological(times) for fold in folds)
    clusters, eventful = (sum(fold[name] for fold in board.folds) for name in ("clusters", "event_clusters"))
    images, near = "region" not in task.samples, task.numbers.get("lon", pd.Series(dtype=float)).abs().max()
    facts = {
        "limb": "met: images of the whole disk" if images else "the table does not say how near its regions come to it"
        if np.isnan(near) else f"they reach to {near:.0f} degrees of longitude",
        "quiet": f"{clusters - eventful} of {clusters} {'days' if images else 'regions'}",
        "samples": int(trained.train.sum()),
        "events": int(observed[trained.train].sum()),
        "rates": ", ".join(f"{observed[np.logical_or.reduce(masks)].mean():.3f}" for masks in spans),
        "split": f"NOT met: {late} of {len(folds)} tests have training or validation samples after them"
        if late else "met: every test is later than all that was trained and chosen on",
        "methods": len(board.methods),
    }  # fmt: skip
    rows = stored_rows("kflare.models.crossvalidation", "criteria.csv")
    return [f"* {row['source']} ({row['number']}): {row['text'].format(**facts)}" for row in rows]
