"""What the site shows, and its pages, from jinja2 templates: all text is escaped, nothing is loaded from elsewhere."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import jinja2
import pandas as pd

from kflare.io.percent import chance, percent, score
from kflare.operations.forecast import FORECAST_CLASSES, Cycle, Forecast, MarkBounds, RegionForecast, forecast_class
from kflare.operations.publish.curve import WIDTH, days_between, sun_curve
from kflare.operations.publish.pictures import DiskPicture
from kflare.operations.records import utc_text

VERDICTS = {name: name for name in ("hit", "false alarm", "miss", "correct null")}
VERDICTS |= {"open": "not known yet", "none": "no forecast"}
"""What became of a yes/no forecast, and the words for it."""

_HEIGHT = 150.0  # of a strip chart of the last days, in its own units


@dataclass(frozen=True)
class WindowOutcome:
    """What happened in a forecast's window."""

    observed: Mapping[str, bool] = field(default_factory=dict)
    """Whether there was a flare of the class or above; absent while the flare list does not cover the window."""
    flares: tuple[str, ...] = ()  # the flares of class C and above, for the reader: "M1.0 05:04 UT, AR 12740"


@dataclass(frozen=True)
class PastCycle:
    """A forecast or outage of the past, with what happened if that is known."""

    forecast: Cycle
    outcome: WindowOutcome | None = None


@dataclass(frozen=True)
class Figure:
    """A figure: PNG, with a text for readers who cannot see it."""

    name: str
    data: bytes
    alt: str


@dataclass(frozen=True)
class Section:
    """A section of a page: text, a table, figures."""

    title: str
    text: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class SiteData:
    """Everything that a cycle publishes on the site."""

    current: Cycle
    pictures: Sequence[DiskPicture] = ()  # of `current`; the first image is shown first
    past: Sequence[PastCycle] = ()
    """Former forecasts and outages in any order, without `current`; their days in the archive are written again."""
    verification: Sequence[Section] = ()
    record: Sequence[Section] = ()
    """What followed the marks before these forecasts, for the page that explains the numbers."""
    bounds: MarkBounds = field(default_factory=MarkBounds)  # of the office's marks, for when there is no forecast
    title: str = "Solar flare forecast"
    recent_days: float = 7.0  # how far back the page of the last days reaches
    made_of: Mapping[str, str] = field(default_factory=dict)
    """Of each day of the archive a digest of what is on it: see `past_days`."""
    xrays: pd.DataFrame | None = None  # of `cycle_xrays`, and the flares of the same days
    flares: pd.DataFrame | None = None


def time_text(time: datetime | None) -> str:
    """Date and clock in UTC: "2026-01-01 03:00 UTC"."""
    return "–" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def span_text(start: datetime, end: datetime) -> str:
    """A span in UTC: "2026-01-01 03:00 to 2026-01-02 03:00 UTC"."""
    return f"{start.astimezone(UTC):%Y-%m-%d %H:%M} to {time_text(end)}"


def day_text(time: datetime) -> str:
    """The day in UTC: "2026-01-01"."""
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def age_text(age: timedelta | None) -> str:
    """An age in hours and minutes: "1 h 12 min", "1 h", "12 min"."""
    if age is None:
        return "–"
    minutes = round(age.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    text = " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest or not hours))
    return f"−{text}" if minutes < 0 else text


def class_text(name: str | None) -> str:
    """A forecast maximum class for the reader: "M or above"."""
    return {None: "not known", "M": "M or above", "C": "C"}.get(name, name or "")


def driver(forecast: Forecast, name: str) -> tuple[RegionForecast, float, float] | None:
    """The region that gives most of what all combine to for a class, P, its share of -ln(1 - P), and P, or None."""
    rated = [(region, region.probability[name]) for region in forecast.regions if name in region.probability]
    parts = [-math.log1p(-min(one.calibrated or one.deciding, 1 - 1e-9)) for _, one in rated]
    if not parts or (one := forecast.full_disk.get(name)) is None or one.network is None:
        return None
    at = parts.index(max(parts))
    return rated[at][0], parts[at] / sum(parts), -math.expm1(-sum(parts))


def verdict(past: PastCycle, name: str) -> str:
    """What became of the forecast of a class or above, yes where it was likelier than not: a key of `VERDICTS`."""
    if not isinstance(past.forecast, Forecast) or name not in past.forecast.full_disk:
        return "none"
    if past.outcome is None or name not in past.outcome.observed:
        return "open"
    yes = forecast_class({name: past.forecast.full_disk[name]}, calibrated=True) == name
    came = past.outcome.observed[name]
    return ("hit" if came else "false alarm") if yes else ("miss" if came else "correct null")


_LOADER, _STRICT = jinja2.PackageLoader("kflare.operations.publish"), jinja2.StrictUndefined
_ENVIRONMENT: Final = jinja2.Environment(
    loader=_LOADER, autoescape=jinja2.select_autoescape(), undefined=_STRICT, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters.update(percent=percent, chance=chance, score=score, time=time_text, day=day_text)
_ENVIRONMENT.filters.update(age=age_text, iso=utc_text, class_text=class_text)
_ENVIRONMENT.globals.update(thresholds=FORECAST_CLASSES, forecast_class=forecast_class, driver=driver, span=span_text)
_ENVIRONMENT.globals.update(verdict=verdict, verdicts=VERDICTS, is_forecast=lambda one: isinstance(one, Forecast))
_ENVIRONMENT.globals.update(
    region_classes=lambda f: [name for name in FORECAST_CLASSES if any(name in one.probability for one in f.regions)]
)


@dataclass(frozen=True)
class Day:
    """What was forecast on one day (UTC, by issue time), in order."""

    name: str
    entries: tuple[PastCycle, ...]


def by_day(past: Iterable[PastCycle]) -> list[Day]:
    """The days of the forecasts and outages, oldest first."""
    ordered = sorted(past, key=lambda one: one.forecast.issue)
    return [Day(name, tuple(entries)) for name, entries in groupby(ordered, lambda one: day_text(one.forecast.issue))]


def root_pages(data: SiteData, *, pictures: Mapping[str, str]) -> dict[str, str]:
    """The pages at the site's root by file name; `pictures` are the paths of the current pictures by name."""
    current = data.current
    since = current.issue - timedelta(days=data.recent_days)
    past = sorted((one for one in data.past if one.forecast.issue < current.issue), key=lambda one: one.forecast.issue)
    recent = [one for one in past if one.forecast.issue >= since]
    shown = PastCycle(current)
    forecasts = [one.forecast for one in past if isinstance(one.forecast, Forecast)]
    curve = sun_curve(current, forecasts, data.xrays, data.flares)
    common = {"data": data, "current": current, "root": ""}
    now = {"pictures": pictures, "last": forecasts[-1] if forecasts else None, "curve": curve}
    last_days = {"recent": [shown, *reversed(recent)], "charts": _charts([*recent, shown], since)}
    return {
        "index.html": render("forecast.html", common, **now),
        "wall.html": render("wall.html", common, **now),
        "recent.html": render("recent.html", common, **last_days),
        "verification.html": render("verification.html", common),
        "about.html": render("about.html", common, bounds=getattr(current, "bounds", data.bounds)),
    }


def archive_day(data: SiteData, day: Day, *, days: Sequence[str], pictures: Mapping[str, str]) -> str:
    """The page of one day among `days`, oldest first; `pictures`: by cycle, the path of the first one that is kept."""
    at = days.index(day.name)
    around = {"before": days[at - 1] if at else None, "after": days[at + 1] if at + 1 < len(days) else None}
    return render("day.html", {"data": data, "root": "../"}, day=day, pictures=pictures, **around)


def archive_index(data: SiteData, days: Sequence[str]) -> str:
    """The list of all days, newest first, by month."""
    months = {month: list(names) for month, names in groupby(reversed(days), lambda name: name[:7])}
    return render("archive.html", {"data": data, "root": "../"}, months=months)


def render(template: str, common: Mapping[str, Any] | None = None, **more: Any) -> str:
    """A file of `templates`, filled in; values are escaped in HTML and XML."""
    return _ENVIRONMENT.get_template(template).render(common or {}, **more)


def _charts(past: Sequence[PastCycle], since: datetime) -> list[dict[str, Any]]:
    """Strip charts of full-disk probabilities over time, one for each class, in units of their view box."""
    end = past[-1].forecast.issue + timedelta(hours=6)
    span = (end - since).total_seconds()

    def x(time: datetime) -> float:
        return round(WIDTH * (time - since).total_seconds() / span, 1)

    charts, days = [], days_between(since, end)
    for name in reversed(FORECAST_CLASSES):
        marks: list[dict[str, Any]] = []
        for one in past:
            what = verdict(one, name)
            y, words = None, VERDICTS[what]
            if isinstance(one.forecast, Forecast) and what != "none":
                p = one.forecast.full_disk[name]
                y = None if p.calibrated is None else round(_HEIGHT * (1 - p.calibrated), 1)
                words = f"{p.headline}, {words}"
            issue = one.forecast.issue
            marks.append({"x": x(issue), "y": y, "verdict": what, "text": f"{time_text(issue)}: {words}"})
        charts.append({"name": name, "marks": marks, "days": days, "width": WIDTH, "height": _HEIGHT})
    return charts
