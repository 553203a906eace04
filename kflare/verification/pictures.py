"""The figures of a report as PNG files in memory, for a page or a folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from kflare.verification.comparison import Comparison, VerificationSettings
from kflare.verification.plots import as_png, plot_intervals, plot_reliability, plot_roc, plot_series, plot_thresholds
from kflare.verification.tables import ForecastTable

_ROC_METHODS = 6  # as many curves as a reader can tell apart


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report, as a PNG file."""

    name: str  # file name without suffix, of letters, digits and hyphens only
    kind: str  # "intervals", "reliability", "roc", "thresholds" or "series"
    caption: str  # what a reader has to know to read it
    alt: str  # what it shows, for those who do not see it
    png: bytes


def report_figures(
    forecasts: ForecastTable,
    comparison: Comparison,
    settings: VerificationSettings,
    *,
    event: str = "Flares",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[ReportFigure]:
    """Draw all figures of a report; `progress` wraps the loop over methods, as tqdm does."""
    methods = list(forecasts.probability)
    drawn = [_intervals(comparison, methods, settings, event)]
    for number, method in enumerate(progress(methods), start=1):
        drawn += _of_method(forecasts, method, number, settings, event)
    for number, begin in enumerate(range(0, len(methods), _ROC_METHODS), start=1):
        shown = {method: forecasts.probability[method] for method in methods[begin : begin + _ROC_METHODS]}
        caption = "Each point is a threshold; the height above the diagonal is the TSS."
        alt = f"ROC curves of {', '.join(shown)}; the areas are in the table of scores of the probabilities."
        drawn.append(_picture("roc", number, caption, alt, plot_roc(forecasts.observed, shown, title=event)))
    return drawn


def _of_method(
    forecasts: ForecastTable, method: str, number: int, settings: VerificationSettings, event: str
) -> list[ReportFigure]:
    observed, probability = forecasts.observed, forecasts.probability[method]
    title, threshold = f"{method}, {event}", settings.decides_at(method, settings.thresholds[0])
    return [
        _picture(
            "reliability",
            number,
            f"{method}: on the diagonal, events are as frequent as forecast. Bars: one sigma for independent samples.",
            f"Reliability diagram of {method} with the counts of its bins; the numbers are in the table below.",
            plot_reliability(observed, probability, bins=settings.bins, title=title),
        ),
        _picture(
            "thresholds",
            number,
            f"{method}: the best threshold of these samples is hindsight; a threshold has to be chosen on others.",
            f"TSS and false alarm ratio of {method} against the threshold.",
            plot_thresholds(observed, probability, title=title),
        ),
        _picture(
            "series",
            number,
            f"{method}: hits, misses and false alarms at {100 * threshold:g} %.",
            f"Forecast probability of {method} over time, with the outcome of each sample.",
            plot_series(forecasts.time, observed, probability, threshold=threshold, title=title),
        ),
    ]


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
    caption = (
        f"TSS at {100 * first:g} %{own} and BSS with {100 * settings.level:g} % intervals. No skill is 0. "
        "Overlapping intervals do not mean that two methods are equal: see the paired differences."
    )
    alt = "TSS and BSS of each method with intervals, the same numbers as in the tables of scores."
    return _picture("intervals", 1, caption, alt, plot_intervals(methods, panels, title=event))


def _picture(kind: str, number: int, caption: str, alt: str, figure: Figure) -> ReportFigure:
    return ReportFigure(f"{kind}-{number:02}", kind, caption, alt, as_png(figure))
