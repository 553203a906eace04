"""The report of a verification: one page that a forecaster can read, and the numbers behind it.

The result of `verify_forecasts` holds tables and figures for any page, and the files of a report.
"""

import base64
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

import jinja2
import numpy as np
import pandas as pd

from kflare.io.json_values import plain
from kflare.verification.comparison import Comparison, VerificationSettings, compare
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import NamedPeriod, as_table
from kflare.verification.pictures import ReportFigure, report_figures
from kflare.verification.scores import DEFINITIONS, ratios
from kflare.verification.tables import ForecastTable, forecast_table

_TABLES: Final = ("contingency", "scores", "differences", "climatology", "reliability")
_OF_PROBABILITY: Final = ("base_rate", "brier_skill_score", "reliability", "resolution", "brier_score", "log_score",
                          "roc_area", "gini")  # fmt: skip
# What a contingency table gives, in the order in which scores are defined.
_OF_TABLE: Final = (*_OF_PROBABILITY[:3], *(name for name in list(DEFINITIONS)[1:] if name in ratios(1, 1, 1, 1)))
_UNDEFINED_OFTEN: Final = 0.01


@dataclass(frozen=True)
class Verification:
    """Forecasts with everything that is known about their worth: the samples, their scores, and figures as PNG."""

    forecasts: ForecastTable
    comparison: Comparison
    pictures: list[ReportFigure]
    settings: VerificationSettings
    missing: str  # "exclude" or "zero"
    event: str  # what was forecast
    source: str  # where the forecasts came from

    def files(self) -> dict[str, bytes]:
        """Files of a report by name: HTML in one file, the tables as CSV, all of it as JSON, the figures as PNG."""
        files = {f"figures/{picture.name}.png": picture.png for picture in self.pictures}
        for name in _TABLES:
            files[f"{name}.csv"] = getattr(self.comparison, name).to_csv(index=False).encode()
        files["verification.json"] = json.dumps(self.as_json(), indent=1, allow_nan=False, ensure_ascii=False).encode()
        files["report.html"] = self.html().encode()
        return files

    def as_json(self) -> dict[str, Any]:
        """All numbers; what is undefined is null, with its reason beside it."""
        tables = {name: plain(getattr(self.comparison, name).to_dict("records")) for name in _TABLES}
        parts = [one.as_json() for one in self.comparison.parts]
        return {**self._summary(), "settings": asdict(self.settings), **tables, "parts": parts}

    def as_text(self) -> str:
        """A summary: contingency tables at the first threshold, with TSS and BSS and their intervals."""
        forecasts, first = self.forecasts, self.settings.thresholds[0]
        counts = f"{len(forecasts.observed)} samples, {int(forecasts.observed.sum())} with an event"
        lines = [counts, *forecasts.notes, *self.comparison.notes]
        found = self.comparison.contingency
        for row in found[found["threshold"].eq(first)].itertuples():
            table = ContingencyTable(row.tp, row.fp, row.fn, row.tn).as_text(event=self.event)
            tss = self._with_interval(row.method, "tss", first)
            bss = self._with_interval(row.method, "brier_skill_score", None)
            lines += ["", f"{row.method}, threshold {100 * row.decides_at:g} %", table, f"TSS {tss}   BSS {bss}"]
        lines += ["", as_table(self.comparison.parts)] if self.comparison.parts else []
        return "\n".join(lines)

    def _with_interval(self, method: str, score: str, threshold: float | None) -> str:
        scores = self.comparison.scores
        at = scores["threshold"].isna() if threshold is None else scores["threshold"].eq(threshold)
        row = scores[at & scores["method"].eq(method) & scores["score"].eq(score)].iloc[0]
        if np.isnan(row["value"]):
            return f"n/a ({row['reason']})"
        span = f" ({row['lower']:.3f} to {row['upper']:.3f})" if row["lower"] < row["upper"] else ""
        return f"{row['value']:.3f}{span}"

    def html(self) -> str:
        """The page, which needs no other file."""
        templates, strict = jinja2.PackageLoader("kflare.verification"), jinja2.StrictUndefined
        environment = jinja2.Environment(
            loader=templates, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True
        )
        reasons: dict[str, int] = {}
        cell = partial(_cell, reasons)
        methods = list(self.forecasts.probability)
        scores, climatology = self.comparison.scores, self.comparison.climatology
        of_method = scores[scores["threshold"].isna()]
        # Base rate stands in every table, though only yes/no scores hold it in the data.
        first = scores[scores["threshold"].eq(self.settings.thresholds[0])]
        probability_rows = _cells(pd.concat([first, of_method]), methods, _OF_PROBABILITY, cell)
        found = {least: scores[scores["threshold"].eq(least)] for least in self.settings.thresholds}
        threshold_rows = {
            least: _cells(pd.concat([rows, of_method]), methods, _OF_TABLE, cell) for least, rows in found.items()
        }
        climatology_rows = None
        if len(climatology):
            climatology_rows = {
                method: [cell("msess", rows[rows["score"].eq("msess")].iloc[0])]
                + [cell("apss_reference", row) for _, row in rows[rows["score"].eq("apss_reference")].iterrows()]
                for method, rows in climatology.groupby("method", sort=False)
            }
        pictures = [{**asdict(picture), "png": base64.b64encode(picture.png).decode()} for picture in self.pictures]
        by_method = self.comparison.reliability.groupby("method", sort=False)
        given = vars(self) | {"pictures": pictures, "summary": self._summary(), "definitions": DEFINITIONS}
        given |= {"of_probability": _OF_PROBABILITY, "of_table": _OF_TABLE, "number": _number, "reasons": reasons}
        given |= {"probability_rows": probability_rows, "threshold_rows": threshold_rows}
        given |= {"climatology_rows": climatology_rows, "matrices": self._matrices(cell) if len(methods) > 1 else []}
        given["reliability"] = {method: rows[rows["count"] > 0].to_dict("records") for method, rows in by_method}
        given["parts"] = as_table(self.comparison.parts) if self.comparison.parts else ""
        return environment.get_template("report.html").render(given)

    def _summary(self) -> dict[str, Any]:
        forecasts = self.forecasts
        samples, events = len(forecasts.observed), int(np.sum(forecasts.observed))
        return {
            "event": self.event, "source": self.source, "samples": samples, "events": events,
            "base_rate": events / samples, "from": f"{pd.Timestamp(forecasts.time.min()):%Y-%m-%dT%H:%MZ}",
            "to": f"{pd.Timestamp(forecasts.time.max()):%Y-%m-%dT%H:%MZ}",
            "regions": None if forecasts.region is None else len(np.unique(forecasts.region)),
            "missing_forecasts": self.missing, "missing": dict(forecasts.missing),
            "clusters": self.comparison.clusters, "event_clusters": self.comparison.event_clusters,
            "block_length": self.comparison.block_length, "notes": [*forecasts.notes, *self.comparison.notes],
        }  # fmt: skip

    def _matrices(self, cell: Callable[[str, Any], dict[str, Any]]) -> list[dict[str, Any]]:
        """Differences of TSS at the first threshold and of BSS, of every method (row) to every other (column)."""
        methods, found = list(self.forecasts.probability), self.comparison.differences
        first = self.settings.thresholds[0]
        wanted = (("tss", f"TSS at {100 * first:g} %", found["threshold"].eq(first)),
                  ("brier_skill_score", "BSS", found["threshold"].isna()))  # fmt: skip
        matrices = []
        for score, label, at in wanted:
            rows = found[at & found["score"].eq(score)]
            cells = {}
            for _, row in rows.iterrows():
                turned = row.copy()
                turned[["value", "lower", "upper"]] = -row["value"], -row["upper"], -row["lower"]
                for pair, difference in (((row["method"], row["other"]), row), ((row["other"], row["method"]), turned)):
                    sure = difference["lower"] > 0 or difference["upper"] < 0
                    cells[pair] = {**cell(score, difference), "sure": bool(sure)}
            matrices.append({"label": label, "methods": methods, "cells": cells, "pairs": len(rows)})
        return matrices


def verify_forecasts(
    frame: pd.DataFrame, *, settings: VerificationSettings | None = None,
    missing: Literal["exclude", "zero"] = "exclude", event: str = "Flares", source: str = "",
    periods: Sequence[NamedPeriod] = (), progress: Callable[[Iterable[Any]], Iterable[Any]] = iter, **chosen: Any
) -> Verification:  # fmt: skip
    """Score every method of a table of forecasts, and draw the figures.

    `frame`, `missing` and the `chosen` (percentages, a span, a time) are as for
    `kflare.verification.tables.forecast_table`, `settings` and `periods` as for `compare`, and so are the errors.
    `event` is what is forecast, such as ``"≥M-class Flares"``, and `source` where the forecasts came from, for the
    reader; `progress` wraps the loops that take long, as tqdm does.
    """
    settings = settings or VerificationSettings()
    forecasts = forecast_table(frame, missing=missing, **chosen)
    comparison = compare(forecasts, settings, periods=periods, progress=progress)
    drawn = report_figures(forecasts, comparison, settings, event=event, progress=progress)
    return Verification(forecasts, comparison, drawn, settings, missing, event, source)


def _cells(
    rows: pd.DataFrame, methods: list[str], names: tuple[str, ...], cell: Callable[[str, Any], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    found = {(row["method"], row["score"]): row for row in rows.to_dict("records")}
    return {method: [cell(name, found[method, name]) for name in names] for method in methods}


def _cell(reasons: dict[str, int], name: str, row: Any) -> dict[str, Any]:
    """A score as text; the reason why a value or an interval is missing becomes a numbered note."""
    decimals = DEFINITIONS[name].decimals
    interval = row["lower"] < row["upper"]  # of no width: of days too few, or too much alike, to draw from
    note = reasons.setdefault(row["reason"], len(reasons) + 1) if row["reason"] else None
    span = f"{_number(row['lower'], decimals)} to {_number(row['upper'], decimals)}" if interval else ""
    often = interval and row["undefined"] > _UNDEFINED_OFTEN
    return {"value": _number(row["value"], decimals), "interval": span, "note": note, "often_undefined": often}


def _number(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    # No negative zero, and the minus sign of typography.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
