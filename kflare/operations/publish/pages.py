"""The pages of the site, from jinja2 templates: every text is escaped, nothing is loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import jinja2

from kflare.io.percent import percent
from kflare.operations.forecast import THRESHOLDS, Forecast, MarkBounds, Outage, forecast_class, utc_text
from kflare.operations.publish import wording
from kflare.operations.publish.site_data import Past, SiteData

__all__ = ["Day", "archive_day", "archive_index", "by_day", "root_pages"]

_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("kflare.operations.publish"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    percent=percent,
    time=wording.time_text,
    day=wording.day_text,
    age=wording.age_text,
    iso=utc_text,
    class_text=wording.class_text,
)
_ENVIRONMENT.globals.update(
    thresholds=THRESHOLDS,
    forecast_class=forecast_class,
    span=wording.span_text,
    verdict=wording.verdict,
    verdicts=wording.VERDICTS,
    is_forecast=lambda one: isinstance(one, Forecast),
)

# The strip chart of the last days, in its own units.
_WIDTH, _HEIGHT = 960.0, 150.0


@dataclass(frozen=True)
class Day:
    """What was forecast on one day (UTC, by issue time), in order."""

    name: str
    entries: tuple[Past, ...]


def by_day(past: Iterable[Past]) -> list[Day]:
    """The days of the forecasts and outages, oldest first."""
    days: dict[str, list[Past]] = {}
    for one in sorted(past, key=lambda one: one.forecast.issue):
        days.setdefault(wording.day_text(one.forecast.issue), []).append(one)
    return [Day(name, tuple(entries)) for name, entries in days.items()]


def root_pages(data: SiteData, *, pictures: Mapping[str, str]) -> dict[str, str]:
    """The pages at the site's root by file name; `pictures` are the paths of the current pictures by name."""
    current = data.current
    since = current.issue - timedelta(days=data.recent_days)
    past = sorted((one for one in data.past if one.forecast.issue < current.issue), key=lambda one: one.forecast.issue)
    recent = [one for one in past if one.forecast.issue >= since]
    shown = Past(current)
    last = next((one.forecast for one in reversed(past) if isinstance(one.forecast, Forecast)), None)
    common = {"data": data, "current": current, "root": ""}
    return {
        "index.html": _render("forecast.html", common, pictures=pictures, last=last),
        "recent.html": _render(
            "recent.html", common, recent=[shown, *reversed(recent)], charts=_charts([*recent, shown], since)
        ),
        "verification.html": _render("verification.html", common),
        "about.html": _render("about.html", common, bounds=getattr(current, "bounds", MarkBounds())),
    }


def archive_day(data: SiteData, day: Day, *, days: Sequence[str], pictures: Mapping[str, str]) -> str:
    """The page of one day.

    Parameters
    ----------
    data : SiteData
        For the site's title.
    day : Day
        The day.
    days : sequence of str
        All days that have a page, oldest first.
    pictures : mapping of str to str
        For cycles whose pictures are kept, the path of the first one from the site's root.
    """
    at = days.index(day.name)
    around = {"before": days[at - 1] if at else None, "after": days[at + 1] if at + 1 < len(days) else None}
    return _render("day.html", {"data": data, "root": "../"}, day=day, pictures=pictures, **around)


def archive_index(data: SiteData, days: Sequence[str]) -> str:
    """The list of all days, newest first, by month."""
    months: dict[str, list[str]] = {}
    for name in reversed(days):
        months.setdefault(name[:7], []).append(name)
    return _render("archive.html", {"data": data, "root": "../"}, months=months)


def _render(template: str, *contexts: Mapping[str, Any], **more: Any) -> str:
    merged: dict[str, Any] = {}
    for context in contexts:
        merged |= context
    return _ENVIRONMENT.get_template(template).render(merged | more)


def _charts(past: Sequence[Past], since: datetime) -> list[dict[str, Any]]:
    """Strip charts of full-disk probabilities over time, one for each class, in units of their view box."""
    end = past[-1].forecast.issue + timedelta(hours=6)
    span = (end - since).total_seconds()

    def x(time: datetime) -> float:
        return round(_WIDTH * (time - since).total_seconds() / span, 1)

    midnights = []
    day = since.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while day < end:
        midnights.append({"x": x(day), "label": f"{day:%d %b}"})
        day += timedelta(days=1)
    charts = []
    for name in reversed(THRESHOLDS):
        marks: list[dict[str, Any]] = []
        for one in past:
            what = wording.verdict(one, name)
            if isinstance(one.forecast, Outage) or what == "none":
                marks.append({"x": x(one.forecast.issue), "y": None, "verdict": "none", "text": "no forecast"})
                continue
            p = one.forecast.full_disk[name].deciding
            words = f"{percent(p)}, {wording.VERDICTS[what]}"
            marks.append({"x": x(one.forecast.issue), "y": round(_HEIGHT * (1 - p), 1), "verdict": what, "text": words})
        for mark, one in zip(marks, past, strict=True):
            mark["text"] = f"{wording.time_text(one.forecast.issue)}: {mark['text']}"
        charts.append({"name": name, "marks": marks, "days": midnights, "width": _WIDTH, "height": _HEIGHT})
    return charts
