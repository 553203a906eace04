"""The archive of the site: a page for each day, written again only when something on it changes."""

import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kflare import __version__
from kflare.flares.labels import reaches
from kflare.io.atomic import write_whole
from kflare.operations.flare_records import flare_texts
from kflare.operations.forecast import Cycle, Forecast, cycle_name
from kflare.operations.ledger import Ledger
from kflare.operations.publish import pages
from kflare.operations.publish.curve import REACH
from kflare.operations.publish.pages import SiteData

KEEP_PICTURES_DAYS: Final = 30.0
_MADE_OF: Final = "archive/days.json"
_DAY: Final = timedelta(days=1)


def picture_folder(forecast: Cycle) -> str:
    """Where the pictures of a forecast lie, from the site's root."""
    return f"pictures/{cycle_name(forecast.issue)}"


def carry_over(before: Path | None, folder: Path, data: SiteData, *, keep_pictures_days: float) -> None:
    """Link days of the archive and newer pictures from the site in use (`before`, None at first) into the new one."""
    if before is None:
        return
    for name in ("archive", *(f"pictures/{one}" for one in _kept_pictures(before, data, keep_pictures_days))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), os.scandir(before / name) as found:
            for path in found:
                new = f"{folder}/{name}/{path.name}"
                try:
                    os.link(path.path, new)
                except FileNotFoundError:
                    continue
                except OSError:  # file systems without hard links
                    write_whole(Path(new), Path(path.path).read_bytes())


def past_days(data: SiteData, ledger: Ledger, outcomes: pd.DataFrame, site: Path, *, since: datetime) -> dict[str, Any]:
    """What of the past goes onto a site whose forecasts have `outcomes` (of `forecast_outcomes`) `since` 0 UT of a day.

    As `SiteData` has it: `past` holds the days that the site in use lacks or shows otherwise, those of the last days,
    and that of the last forecast; `made_of` what each day is made of.
    """
    issue = data.current.issue
    disk = outcomes[outcomes["method"].eq("kflare") & outcomes["observed"].notna()]
    observed: dict[datetime, dict[str, bool]] = {}
    for time, name, happened in zip(disk["time"].dt.to_pydatetime(), disk["threshold"], disk["observed"], strict=True):
        observed.setdefault(time, {})[name] = bool(happened)
    flares = ledger.flares(since, issue + _DAY).table
    flares = flares[reaches(flares["flux"], "C")]
    starts, texts = list(flares["start"].dt.to_pydatetime()), flare_texts(flares)

    def within(begin: datetime, end: datetime) -> tuple[str, ...]:
        return texts[bisect_left(starts, begin) : bisect_left(starts, end)]

    cycles: dict[datetime, list[tuple[datetime, bool]]] = {}
    for time, run in ledger.issues(since, issue).items():
        cycles.setdefault(time.replace(hour=0, minute=0, second=0, microsecond=0), []).append((time, run))
    before = _carried(site)
    pictures = set(_kept_pictures(site, data, KEEP_PICTURES_DAYS))
    names = sorted({*before, *map(pages.day_text, cycles), pages.day_text(issue)})
    place = {name: at for at, name in enumerate(names)}
    templates = resources.files(__package__).joinpath("templates")
    common = _digest([__version__, data.title, *(one.read_text("utf-8") for one in templates.iterdir())])
    shown = max(data.recent_days * _DAY, REACH + _DAY)  # on the page of the last days, and beside the X-rays
    made_of, wanted = {}, {day for day in cycles if issue - day <= shown + _DAY}
    if len(outcomes):
        wanted.add(outcomes["time"].max().to_pydatetime().replace(hour=0, minute=0, second=0, microsecond=0))
    for day, entries in cycles.items():
        at = place[pages.day_text(day)]
        told = [(time, run, observed.get(time), cycle_name(time) in pictures) for time, run in entries]
        made_of[names[at]] = _digest([common, names[max(at - 1, 0) : at + 2], told, within(day, day + 2 * _DAY)])
        if before.get(names[at]) != made_of[names[at]]:
            wanted.add(day)
    past, spans = [], dict[datetime, datetime]()  # days in a row are asked for together: end by beginning
    for day in sorted(wanted):
        begun = next(reversed(spans), day)
        spans[begun if spans.get(begun) == day else day] = day + _DAY
    for begin, end in spans.items():
        for cycle in ledger.cycles(begin, min(end, issue)):
            window = cycle.issue, cycle.issue + _DAY
            if isinstance(cycle, Forecast):
                window = cycle.window_start, cycle.window_end
            past.append(pages.PastCycle(cycle, pages.WindowOutcome(observed.get(cycle.issue, {}), within(*window))))
    return {"past": past, "made_of": {day: digest for day, digest in (before | made_of).items() if digest}}


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _kept_pictures(site: Path, data: SiteData, days: float) -> list[str]:
    oldest = cycle_name(data.current.issue - timedelta(days=days))
    return [path.name for path in site.glob("pictures/*") if path.name >= oldest]


def _carried(site: Path) -> dict[str, str]:
    """The days of the archive of the site in use, with what they are made of, "" if that is not known."""
    try:
        made_of = json.loads((site / _MADE_OF).read_text("utf-8"))
    except (OSError, ValueError):
        made_of = {}
    return {path.stem: str(made_of.get(path.stem, "")) for path in site.glob("archive/????-??-??.html")}


def archive_files(data: SiteData, folder: Path, *, pictures: Mapping[str, str]) -> dict[str, str]:
    """The files of the archive that are new or have changed, by path from the site's root.

    `folder` is the new version with what was carried over; the first of the current `pictures`, path by name, is shown.
    """
    entries = {one.forecast.cycle_id: one for one in (*data.past, pages.PastCycle(data.current))}
    shown = {}
    for cycle, one in entries.items():
        if (first := next((folder / picture_folder(one.forecast)).glob("0-*"), None)) is not None:
            shown[cycle] = str(first.relative_to(folder))
    if pictures:
        shown[data.current.cycle_id] = next(iter(pictures.values()))

    days = pages.by_day(entries.values())
    carried = {path.stem for path in (folder / "archive").glob("????-??-??.html")}
    names = sorted({*carried, *(day.name for day in days)})
    files = {}
    for day in days:
        path = f"archive/{day.name}.html"
        text = pages.archive_day(data, day, days=names, pictures=shown)
        if day.name not in carried or (folder / path).read_text(encoding="utf-8") != text:
            files[path] = text
    made_of = json.dumps(data.made_of, indent=0, sort_keys=True)
    return {**files, "archive/index.html": pages.archive_index(data, names), _MADE_OF: made_of}
