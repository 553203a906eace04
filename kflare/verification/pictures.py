"""The figures of a report as PNG files in memory, for a page or a folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from kflare.io.stored_table import stored_rows
from kflare.verification.comparison import Comparison, VerificationSettings
from kflare.verification.plots import as_png, plot_intervals, plot_reliability, plot_roc, plot_series, plot_thresholds
from kflare.verification.tables import ForecastTable

_ROC_METHODS = 6  # as many curves as a reader can tell apart


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report, as a PNG file."""

    name: str  # file name without suffix, of letters, digits and hyphens only
    kind: str  # of `figures.csv`, which has the words
    caption: str  # what a reader has to know to read it
    alt: str  # what it shows, for those who do not see it
    png: bytes


def report_figures(
    forecasts: ForecastTable, comparison: Comparison, settings: VerificationSettings, *, event: str = "Flares",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> list[ReportFigure]:  # fmt: skip
    """Draw all figures of a report; `progress` wraps the loop over methods, as tqdm does."""
    methods = list(forecasts.probability)
    drawn = [_intervals(comparison, methods, settings, event)]
    for number, method in enumerate(progress(methods), start=1):
        drawn += _of_method(forecasts, method, number, settings, event)
    for number, begin in enumerate(range(0, len(methods), _ROC_METHODS), start=1):
        shown = {method: forecasts.probability[method] for method in methods[begin : begin + _ROC_METHODS]}
        drawing = plot_roc(forecasts.observed, shown, title=event)
        drawn.append(_picture("roc", number, drawing, methods=", ".join(shown)))
    return drawn


def _of_method(
    forecasts: ForecastTable, method: str, number: int, settings: VerificationSettings, event: str
) -> list[ReportFigure]:
    samples = forecasts.observed, forecasts.probability[method]
    title, threshold = f"{method}, {event}", settings.decides_at(method, settings.thresholds[0])
    drawings = {
        "reliability": plot_reliability(*samples, bins=settings.bins, title=title),
        "thresholds": plot_thresholds(*samples, title=title),
        "series": plot_series(forecasts.time, *samples, threshold=threshold, title=title),
    }
    return [_picture(kind, number, one, method=method, percent=100 * threshold) for kind, one in drawings.items()]


def _intervals(comparison: Comparison, methods: list[str], settings: VerificationSettings, event: str) -> ReportFigure:
    first, scores = settings.thresholds[0], comparison.scores
    own = " or its own" if settings.own_thresholds else ""
    panels = {}
    for label, score, at in (
        (f"TSS at {100 * first:g} %{own}", "tss", scores["threshold"].eq(first)),
        ("BSS", "brier_skill_score", scores["threshold"].isna()),
    ):
        rows = scores[at & scores["score"].eq(score)].set_index("method").loc[methods]
        panels[label] = (rows["value"].to_numpy(), rows["lower"].to_numpy(), rows["upper"].to_numpy())
    drawing = plot_intervals(methods, panels, title=event)
    return _picture("intervals", 1, drawing, percent=100 * first, own=own, level=100 * settings.level)


def _picture(kind: str, number: int, figure: Figure, **words: Any) -> ReportFigure:
    (told,) = (row for row in stored_rows("kflare.verification", "figures.csv") if row["kind"] == kind)
    caption, alt = (told[name].format(**words) for name in ("caption", "alt"))
    return ReportFigure(f"{kind}-{number:02}", kind, caption, alt, as_png(figure))
