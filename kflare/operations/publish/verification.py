"""How good the forecasts of the full disk have been, in tables and pictures: these, and those before the release."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import binomtest

from kflare.errors import ModelError
from kflare.io.arrays import BoolArray
from kflare.io.percent import chance
from kflare.models.publish import read_metadata
from kflare.operations.forecast import FORECAST_CLASSES, Forecast, MarkBounds, Outage, Probability
from kflare.operations.publish.pages import Figure, PastCycle, Section
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import ClusteredSamples, Interval
from kflare.verification.largest_class import CLASS_SCORES, ClassTable
from kflare.verification.plots import as_png, plot_classes, plot_reliability, plot_roc, plot_series

_FEWEST = 20  # forecasts; fewer fill no diagram
# As `forecast_class`: a rounding below 50 % is 50 %.
_YES: Final = 0.5 - 1e-9
# Enough for two digits of an interval; the report of `kflare.verify` draws more.
_RESAMPLES: Final = 500
_HEAD: Final = (
    "Event", "Method", "Forecasts", "Events", "Hits", "False alarms", "Misses", "Correct nulls", "TSS",
    "False alarm ratio", "Brier skill score (calibrated)",
)  # fmt: skip
_TEXT: Final = (
    "Full-disk forecasts whose window has ended and is covered by the flare list. A forecast says yes where the "
    "network's score is 50 or more. TSS is 1 for a perfect forecast and 0 without skill; the Brier skill score is "
    "above 0 where the calibrated probability is better than always forecasting the mean rate. In brackets: 95 % "
    "intervals, over days drawn with replacement. A dash: not defined, for lack of events or of forecasts."
)

_RECORD_HEAD: Final = ("Mark", "By", "From", "Days", "Flare followed (95 %)", "Mean calibrated")

Known = Sequence[tuple[Forecast, bool]]


def verification_sections(past: Sequence[PastCycle]) -> tuple[Section, ...]:
    """Contingency tables and scores of the full-disk forecasts whose outcome is known, with diagrams for each class.

    TSS alone flatters where events are rare: the false alarm ratio and the number of events are given beside it.
    """
    rows: list[tuple[str, ...]] = []
    drawn: list[Section] = []
    every = [
        (one.forecast, one.outcome.observed)
        for one in sorted(past, key=lambda one: one.forecast.issue)
        if isinstance(one.forecast, Forecast) and one.outcome is not None
    ]
    for name in FORECAST_CLASSES:
        known = [(forecast, observed[name]) for forecast, observed in every if name in observed]
        for method, of in (("regions combined", "full_disk"), ("full-disk CNN", "cnn"), ("SWPC", "swpc")):
            answered = [(forecast, event) for forecast, event in known if name in getattr(forecast, of)]
            if answered:
                rows.append(_row(name, method, of, answered))
        drawn += _diagrams(name, [(forecast, event) for forecast, event in known if name in forecast.full_disk])
    if not rows:
        return ()
    if not drawn:
        few = f"Diagrams are drawn from {_FEWEST} forecasts upward, once both outcomes have been observed."
        drawn = [Section("Diagrams", few)]
    return (Section("Contingency tables and scores", _TEXT, _HEAD, tuple(rows)), *_largest_class(every), *drawn)


def record_sections(cycle: Forecast | Outage, models: Path | None, bounds: MarkBounds) -> tuple[Section, ...]:
    """What followed each mark, and a reliability diagram, on days that the networks had not seen.

    From `full_disk_record` in the metadata of the models that answered, below `models`, where they have it: lists by
    whole percent, to which boundaries are rounded, of `days`, of `events` among them and of the sum of `calibrated`, by
    "score" and by "calibrated".
    """
    sections = []
    for use in getattr(cycle, "models", ()) if models is not None else ():
        try:
            about = read_metadata(models / use.name / str(use.version))
            record, event = about["full_disk_record"], about["class"].removesuffix("+")
            rows = tuple(_marked(record, bounds)) if event == "M" else ()
            days, events = (np.array(record["calibrated"][name], np.int64) for name in ("days", "events"))
            text = str(record["about"])
        except (ModelError, LookupError, TypeError, ValueError):  # the forecast is published without
            continue
        centres = np.concatenate([(np.arange(100) + 0.5) / 100] * 2)
        counts = np.concatenate([events, days - events])
        observed, p = np.repeat(np.arange(200) < 100, counts), np.repeat(centres, counts)
        drawing = plot_reliability(observed, p, bins=10, title=f"{use.name}, full disk, calibrated, ≥ {event}1.0")
        alt = f"Observed rate of a flare ≥ {event}1.0 against its calibrated probability, before this release."
        figure = Figure(f"record-{event.lower()}", as_png(drawing), alt)
        title = f"What followed, flares ≥ {event}1.0"
        sections.append(Section(title, text, _RECORD_HEAD, rows, (figure,)))
    return tuple(sections)


def _marked(record: Mapping[str, Any], bounds: MarkBounds) -> Iterator[tuple[str, ...]]:
    for on, begins in bounds.marks.items():
        above = 100
        for mark, least in begins.items():
            first = round(100 * least)
            days, events, mean = (sum(record[on][name][first:above]) for name in ("days", "events", "calibrated"))
            rate = "–"
            if days:
                rate = chance(events / days, *binomtest(events, days).proportion_ci(0.95, method="wilson"))
            start = f"{first} %" if on == "calibrated" else str(first)
            yield mark, on, start, str(days), rate, chance(mean / days if days else None)
            above = first


def _row(name: str, method: str, of: str, known: Known) -> tuple[str, ...]:
    probabilities: list[Probability] = [getattr(forecast, of)[name] for forecast, _ in known]
    observed = np.array([event for _, event in known])
    yes = np.array([one.deciding >= _YES for one in probabilities])
    samples, drawing = _samples([forecast for forecast, _ in known], observed)
    scorers = {"yes": samples.table_scores(yes)}
    calibrated = [one.calibrated for one in probabilities if one.calibrated is not None]
    if len(calibrated) == len(known):
        scorers["calibrated"] = samples.probability_scores(np.array(calibrated))
    found = samples.resample(scorers, **drawing)
    skill = _score(found.interval("calibrated", "brier_skill_score")) if "calibrated" in scorers else "–"
    table = ContingencyTable.from_forecasts(observed, yes)
    counts = [len(known), table.tp + table.fn, table.tp, table.fp, table.fn, table.tn]
    scores = [_score(found.interval("yes", score)) for score in ("tss", "far")]
    return (f"≥ {name}1.0", method, *map(str, counts), *scores, skill)


def _samples(forecasts: Sequence[Forecast], observed: BoolArray) -> tuple[ClusteredSamples, dict[str, Any]]:
    """Samples in clusters of a day, and how these are drawn: two together where windows overlap."""
    samples = ClusteredSamples(observed, np.array([one.window_start.date() for one in forecasts], dtype="M8[D]"))
    overlap = any(later.window_start < one.window_end for one, later in pairwise(forecasts))
    return samples, {"block_length": min(1 + overlap, samples.clusters), "resamples": _RESAMPLES}


def _score(found: Interval) -> str:
    if np.isnan(found.value):
        return "–"
    text = f"{found.value:.2f}"
    return text if np.isnan(found.lower) else f"{text} [{found.lower:.2f}, {found.upper:.2f}]"


def _largest_class(every: Sequence[tuple[Forecast, Mapping[str, bool]]]) -> list[Section]:
    """Of the classes that all forecasts have: three, or four with X."""
    names = [name for name in FORECAST_CLASSES if all(name in one.full_disk and name in seen for one, seen in every)]
    if len(names) < 2:
        return []
    events = {name: np.array([seen[name] for _, seen in every]) for name in names}
    samples, drawing = _samples([one for one, _ in every], events[names[0]])
    yes = {name: np.array([one.full_disk[name].deciding >= _YES for one, _ in every]) for name in names}
    table = ClassTable(yes, events, samples.codes)
    found = samples.resample({"": [[table]]}, **drawing)
    scores = ", ".join(f"{label} {_score(found.interval('', name))}" for name, label in CLASS_SCORES.items())
    head, *rows = table.rows()
    picture = as_png(plot_classes(table.names, table.counts, title="Largest class"))
    alt = "The table as a picture: counts, and their shares of what came in each class."
    text = f"The largest class that was forecast (rows) and that came (columns). {scores}."
    return [Section("Largest class", text, head, tuple(rows), (Figure("largest-class", picture, alt),))]


def _diagrams(name: str, known: Known) -> list[Section]:
    observed = np.array([happened for _, happened in known], dtype=np.bool_)
    if len(known) < _FEWEST or observed.all() or not observed.any():
        return []
    event = f"≥ {name}1.0"
    low = name.lower()
    deciding = np.array([forecast.full_disk[name].deciding for forecast, _ in known])
    times = np.array([forecast.window_start.replace(tzinfo=None) for forecast, _ in known], dtype="datetime64[us]")
    methods = {"regions combined": deciding}
    if all(name in forecast.cnn for forecast, _ in known):
        methods["full-disk CNN"] = np.array([forecast.cnn[name].deciding for forecast, _ in known])
    figures = [
        Figure(
            f"series-{low}",
            as_png(plot_series(times, observed, deciding, threshold=_YES, title=f"Forecast and outcome, {event}")),
            f"Forecast probability of a flare {event} over time, marked as hit, miss, false alarm or correct null.",
        ),
        Figure(
            f"roc-{low}",
            as_png(plot_roc(observed, methods, title=f"ROC, {event}")),
            f"Relative operating characteristic of {', '.join(methods)} for a flare {event}.",
        ),
    ]
    calibrated = [forecast.full_disk[name].calibrated for forecast, _ in known]
    if all(p is not None for p in calibrated):
        drawing = plot_reliability(
            observed, np.array(calibrated, dtype=np.float64), bins=10, title=f"Reliability, calibrated, {event}"
        )
        alt = f"Observed rate of a flare {event} against its calibrated probability, with the number of forecasts."
        figures.append(Figure(f"reliability-{low}", as_png(drawing), alt))
    return [
        Section(f"Flares {event}", f"{len(known)} forecasts, {int(observed.sum())} events.", figures=tuple(figures))
    ]
