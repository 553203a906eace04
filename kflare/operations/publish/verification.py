"""How good the forecasts of the full disk have been, in tables and pictures: these, and those before the release."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import ModelError
from kflare.io.arrays import TimeArray
from kflare.io.percent import rate
from kflare.models.publish import read_metadata
from kflare.operations.forecast import FORECAST_CLASSES, Cycle, MarkBounds
from kflare.operations.publish.pages import Figure, Section
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import ClusteredSamples, Interval, rate_interval
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
    "Full-disk forecasts of the last 366 days whose window has ended and is covered by the flare list. One says yes "
    "where the network's score is 50 or more, the paper's rule, or, likelier than not, where its calibrated "
    "probability is 50 % or more; SWPC and statistics have no score, and say yes by their probability. TSS is 1 for a "
    "perfect forecast and 0 without skill; the Brier skill score is above 0 where the calibrated probability is better "
    "than always forecasting the mean rate. In brackets: 95 % intervals, over days drawn with replacement, where these "
    "tell of any. A dash: not defined, for lack of events or of forecasts."
)

RECORD_HEAD: Final = ("Mark", "By", "From", "Days", "Flare followed (95 %)", "Mean score", "Mean calibrated")

VERIFIED: Final = timedelta(days=366)
"""What is verified: older forecasts are of another Sun, and `kflare.verify` scores them all."""


def verification_sections(outcomes: pd.DataFrame) -> tuple[Section, ...]:
    """Contingency tables and scores of the full-disk forecasts whose outcome is known, with diagrams for each class.

    `outcomes` are of `forecast_outcomes`, in order of time. TSS alone flatters where events are rare: the false alarm
    ratio and the number of events are given beside it.
    """
    rows: list[tuple[str, ...]] = []
    drawn: list[Section] = []
    known = dict(iter(outcomes[outcomes["observed"].notna()].groupby(["threshold", "method"])))
    for name in FORECAST_CLASSES:
        ours = "statistics" if name == "X" else "regions combined"
        for told, method in ((ours, "kflare"), ("full-disk CNN", "cnn"), ("SWPC", "SWPC")):
            if (name, method) in known:
                rows.append(_row(name, told, known[name, method]))
                likely = known[name, method].assign(probability=known[name, method]["calibrated"])
                if method == "kflare" and name != "X" and likely["calibrated"].notna().all():  # X has no other rule
                    rows.append(_row(name, f"{told}, likelier than not", likely))
        if (name, "kflare") in known:
            drawn += _diagrams(name, ours, known[name, "kflare"], known.get((name, "cnn")))
    if not rows:
        return ()
    if not drawn:
        few = f"Diagrams are drawn from {_FEWEST} forecasts upward, once both outcomes have been observed."
        drawn = [Section("Diagrams", few)]
    largest = _largest_class({name: known[name, "kflare"] for name in FORECAST_CLASSES if (name, "kflare") in known})
    return (Section("Contingency tables and scores", _TEXT, _HEAD, tuple(rows)), *largest, *drawn)


def record_sections(cycle: Cycle, models: Path | None, bounds: MarkBounds) -> tuple[Section, ...]:
    """What followed each mark, and a reliability diagram, on days that the networks had not seen.

    From `full_disk_record` in the metadata of the models that answered, below `models`, where they have it: by "score"
    and by "calibrated", lists by whole percent, to which boundaries are rounded, of `days`, of `events` among them and
    of the sums of `score` (`defn-*` from version 9) and `calibrated`.
    """
    sections = []
    for use in getattr(cycle, "models", ()) if models is not None else ():
        try:
            about = read_metadata(models / use.name / str(use.version))
            record, event = about["full_disk_record"], about["class"].removesuffix("+")
            rows = tuple(what_followed(record, bounds)) if event == "M" else ()
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
        sections.append(Section(title, text, RECORD_HEAD, rows, (figure,)))
    return tuple(sections)


def what_followed(record: Mapping[str, Any], bounds: MarkBounds) -> Iterator[tuple[str, ...]]:
    """Rows of `RECORD_HEAD`: of each mark its days, how many an event followed, and the means of what was forecast."""
    for on, begins in bounds.marks.items():
        above = 100
        for mark, least in begins.items():
            first = round(100 * least)
            sums = {name: sum(values[first:above]) for name, values in dict(record[on]).items()}
            days, events = sums["days"], sums["events"]
            followed = rate(events / days, *rate_interval(events, days)) if days else "–"
            score, mean = (
                rate(sums[name] / days if days and name in sums else None) for name in ("score", "calibrated")
            )
            yield mark, on, f"{first}{' %' * (on == 'calibrated')}", str(days), followed, score.removesuffix(" %"), mean
            above = first


def _row(name: str, method: str, known: pd.DataFrame) -> tuple[str, ...]:
    observed, calibrated = known["observed"].to_numpy(bool), known["calibrated"].to_numpy()
    yes = known["probability"].to_numpy() >= _YES
    samples, drawing = _samples(known)
    scorers = {"yes": samples.table_scores(yes)}
    if not np.isnan(calibrated).any():
        scorers["calibrated"] = samples.probability_scores(calibrated)
    found = samples.resample(scorers, **drawing)
    skill = _score(found.interval("calibrated", "brier_skill_score")) if "calibrated" in scorers else "–"
    table = ContingencyTable.from_forecasts(observed, yes)
    counts = [len(known), table.tp + table.fn, table.tp, table.fp, table.fn, table.tn]
    scores = [_score(found.interval("yes", score)) for score in ("tss", "far")]
    return (f"≥ {name}1.0", method, *map(str, counts), *scores, skill)


def _samples(known: pd.DataFrame) -> tuple[ClusteredSamples, dict[str, Any]]:
    """Samples in clusters of a day, and how these are drawn: two together where windows overlap."""
    begin = _utc(known["window_start"])
    samples = ClusteredSamples(known["observed"].to_numpy(bool), begin.astype("M8[D]"))
    overlap = bool((begin[1:] < _utc(known["window_end"])[:-1]).any())
    return samples, {"block_length": min(1 + overlap, samples.clusters), "resamples": _RESAMPLES}


def _utc(times: pd.Series) -> TimeArray:
    return times.dt.tz_localize(None).to_numpy("datetime64[us]")


def _score(found: Interval) -> str:
    # An interval of no width is of days too few, or too much alike, to draw from: no sign of certainty.
    interval = f" [{found.lower:.2f}, {found.upper:.2f}]" if found.lower < found.upper else ""
    return "–" if np.isnan(found.value) else f"{found.value:.2f}{interval}"


def _largest_class(known: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Of the classes that all forecasts have: three, or four with X."""
    forecasts = {time for rows in known.values() for time in rows["time"]}
    names = [name for name, rows in known.items() if len(rows) == len(forecasts)]
    if len(names) < 2:
        return []
    samples, drawing = _samples(known[names[0]])
    yes = {name: known[name]["probability"].to_numpy() >= _YES for name in names}
    table = ClassTable(yes, {name: known[name]["observed"].to_numpy(bool) for name in names}, samples.codes)
    found = samples.resample({"": [[table]]}, **drawing)
    scores = ", ".join(f"{label} {_score(found.interval('', name))}" for name, label in CLASS_SCORES.items())
    head, *rows = table.rows()
    picture = as_png(plot_classes(table.names, table.counts, title="Largest class"))
    alt = "The table as a picture: counts, and their shares of what came in each class."
    text = f"The largest class that was forecast, by the score (rows), and that came (columns). {scores}."
    return [Section("Largest class", text, head, tuple(rows), (Figure("largest-class", picture, alt),))]


def _diagrams(name: str, ours: str, known: pd.DataFrame, cnn: pd.DataFrame | None) -> list[Section]:
    observed, calibrated = known["observed"].to_numpy(bool), known["calibrated"].to_numpy()
    if len(known) < _FEWEST or observed.all() or not observed.any():
        return []
    event, low = f"≥ {name}1.0", name.lower()
    deciding = known["probability"].to_numpy()
    methods = {ours: deciding}
    if cnn is not None and len(cnn) == len(known):
        methods["full-disk CNN"] = cnn["probability"].to_numpy()
    title = f"Forecast and outcome, {event}"
    series = as_png(plot_series(_utc(known["window_start"]), observed, deciding, threshold=_YES, title=title))
    seen = f"Forecast probability of a flare {event} over time, marked as hit, miss, false alarm or correct null."
    roc = as_png(plot_roc(observed, methods, title=f"ROC, {event}"))
    told = f"Relative operating characteristic of {', '.join(methods)} for a flare {event}."
    figures = [Figure(f"series-{low}", series, seen), Figure(f"roc-{low}", roc, told)]
    if not np.isnan(calibrated).any():
        drawing = plot_reliability(observed, calibrated, bins=10, title=f"Reliability, calibrated, {event}")
        alt = f"Observed rate of a flare {event} against its calibrated probability, with the number of forecasts."
        figures.append(Figure(f"reliability-{low}", as_png(drawing), alt))
    return [Section(f"Flares {event}", f"{len(known)} forecasts, {observed.sum()} events.", figures=tuple(figures))]
