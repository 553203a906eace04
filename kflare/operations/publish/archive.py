"""The archive of the site: a page for each day, written again only when something on it changes."""

import os
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from kflare.operations.forecast import Forecast, Outage, cycle_name
from kflare.operations.publish.pages import PastCycle, SiteData, archive_day, archive_index, by_day


def picture_folder(forecast: Forecast | Outage) -> str:
    """Where the pictures of a forecast lie, from the site's root."""
    return f"pictures/{cycle_name(forecast.issue)}"


def carry_over(before: Path | None, folder: Path, data: SiteData, *, keep_pictures_days: float) -> None:
    """Link days of the archive and newer pictures from the site in use (`before`, None at first) into the new one."""
    if before is None:
        return
    oldest = cycle_name(data.current.issue - timedelta(days=keep_pictures_days))
    pictures = [path for path in before.glob("pictures/*/*") if path.parent.name >= oldest]
    for path in (*before.glob("archive/????-??-??.html"), *pictures):
        new = folder / path.relative_to(before)
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, new)
        except FileNotFoundError:
            continue
        except OSError:  # file systems without hard links
            shutil.copy2(path, new)


def archive_files(data: SiteData, folder: Path, *, pictures: Mapping[str, str]) -> dict[str, str]:
    """The files of the archive that are new or have changed, by path from the site's root.

    `folder` is the new version with what was carried over; the first of the current `pictures`, path by name, is shown.
    """
    entries = {one.forecast.cycle_id: one for one in (*data.past, PastCycle(data.current))}
    shown = {}
    for cycle, one in entries.items():
        first = next((folder / picture_folder(one.forecast)).glob("0-*"), None)
        if first is not None:
            shown[cycle] = str(first.relative_to(folder))
    if pictures:
        shown[data.current.cycle_id] = next(iter(pictures.values()))

    days = by_day(entries.values())
    carried = {path.stem for path in (folder / "archive").glob("????-??-??.html")}
    names = sorted({*carried, *(day.name for day in days)})
    files = {}
    for day in days:
        path = f"archive/{day.name}.html"
        text = archive_day(data, day, days=names, pictures=shown)
        if day.name not in carried or (folder / path).read_text(encoding="utf-8") != text:
            files[path] = text
    return {**files, "archive/index.html": archive_index(data, names)}
