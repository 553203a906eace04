"""The files of a cross-validation: forecasts for `kflare.verify`, scores as JSON, and tables as text and Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kflare.io.atomic import write_whole
from kflare.models.crossvalidation.compare import compared, read_other_forecasts, verifiable
from kflare.models.crossvalidation.folds import Fold
from kflare.models.crossvalidation.scores import scoreboard
from kflare.models.crossvalidation.table import as_text, fold_labels, published_tss
from kflare.models.registry import ModelSpec

__all__ = ["write_report"]


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
    threshold: float = 0.5,
) -> tuple[str, dict[str, Any]]:
    """Write forecasts.parquet, scores.json, table.txt and table.md; returns the table as text and the scores.

    `rows` and `folds` are those of `cross_validate`, of samples at `times`; `others` are tables of other methods, each
    compared on the samples that it shares with ours, with `tolerance_minutes` and `threshold` as in `compared`.
    """
    write_whole(folder / "forecasts.parquet", lambda file: verifiable(rows).to_parquet(file, index=False))
    boards = {"all samples": scoreboard(rows, resamples=resamples)}
    for path in others:
        for method, group in read_other_forecasts(path, by_region="region" in rows).groupby("method", sort=False):
            shared = compared(rows, group, tolerance_minutes=tolerance_minutes, threshold=threshold)
            boards[f"samples shared with {method}"] = scoreboard(shared, resamples=resamples)
    labels = fold_labels(times, folds)
    text, markdown = (
        "\n\n".join(
            as_text(
                board, labels, title=f"{spec.name}, {spec.event_text} within 24 h, {name}",
                published=published_tss(spec, folds), markdown=markdown,
            )
            for name, board in boards.items()
        )
        for markdown in (False, True)
    )  # fmt: skip
    scores = {"model": spec.name, "seeds": list(seeds), **{name: board.as_json() for name, board in boards.items()}}
    write_whole(folder / "scores.json", json.dumps(scores, indent=2))
    write_whole(folder / "table.txt", text + "\n")
    write_whole(folder / "table.md", markdown + "\n")
    return text, scores
