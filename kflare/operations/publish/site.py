"""The web site: a folder of plain files, made again by each cycle and switched as a whole.

`FOLDER` is a symbolic link into `FOLDER.versions`: a new version is built beside the old one, synced to the disk, and
put in its place by renaming one link, so a reader sees the old site or the new one. The pictures of each forecast have
a folder of their own, so that a page never shows boxes over another forecast's Sun.
"""

import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from kflare.errors import SettingError
from kflare.io.atomic import remove_abandoned, replace_link, sync_folder, temporary_folder, write_whole
from kflare.operations.forecast import Forecast
from kflare.operations.outcomes import forecast_outcomes
from kflare.operations.publish.archive import KEEP_PICTURES_DAYS, archive_files, carry_over, past_days, picture_folder
from kflare.operations.publish.csv_table import csv_text
from kflare.operations.publish.curve import REACH, cycle_xrays
from kflare.operations.publish.latest import SCHEMA_NAME, latest_text, schema_text
from kflare.operations.publish.pages import SiteData, root_pages
from kflare.operations.publish.pictures import kept_pictures
from kflare.operations.publish.publication import Publication
from kflare.operations.publish.verification import VERIFIED, record_sections, verification_sections

_ASSETS: Final = ("kflare.css", "kflare.js")
_ABANDONED_SECONDS: Final = 3600.0


def publish_site(publication: Publication, folder: Path) -> None:
    """The publisher: the site after a cycle, from the ledger and the pictures that are kept."""
    cycle, settings, ledger = publication.cycle, publication.settings, publication.ledger
    since = (cycle.issue - VERIFIED).replace(hour=0, minute=0, second=0, microsecond=0)
    outcomes = forecast_outcomes(ledger, since, cycle.issue, regions=False)
    fetched = settings.data.issue_folder(cycle.issue)
    site, bounds = settings.site, settings.marks.bounds
    record = record_sections(cycle, site.models, bounds)
    xrays, flares = cycle_xrays(fetched, cycle.issue), ledger.flares(cycle.issue - REACH, cycle.issue).table
    pictures, scores = kept_pictures(fetched / "pictures"), verification_sections(outcomes)
    data = SiteData(cycle, pictures, (), scores, record, bounds, site.title, site.recent_days, {}, xrays, flares)
    write_site(replace(data, **past_days(data, ledger, outcomes, folder, since=since)), folder)


def write_site(data: SiteData, folder: Path, *, keep_pictures_days: float = KEEP_PICTURES_DAYS) -> Path:
    """Write the site and take it into use in one step; after a SettingError it is as it was.

    `folder` is a link that this makes and moves. The version before the new one is kept, for readers who are just
    loading it; pictures of former forecasts are kept for `keep_pictures_days`.
    """
    if not folder.is_symlink() and folder.exists():
        raise SettingError(f"`{folder}` must be a link to the newest version of the site, and is not: move it away")
    versions = folder.with_name(f"{folder.name}.versions")
    try:
        versions.mkdir(parents=True, exist_ok=True)
        remove_abandoned(versions, seconds=_ABANDONED_SECONDS)
        before = folder.resolve() if folder.is_dir() else None
        with temporary_folder(versions) as building:
            carry_over(before, building, data, keep_pictures_days=keep_pictures_days)
            _write(data, building)
            version = versions / f"{data.current.issue:%Y%m%dT%H%M%SZ}-{building.name.removeprefix('.part-')}"
            for path in (*building.rglob("*/"), building):  # files are on the disk: they were written whole, or linked
                sync_folder(path)
            building.replace(version)
            sync_folder(versions)
        try:
            replace_link(folder, Path(versions.name) / version.name)
        except OSError:
            shutil.rmtree(version, ignore_errors=True)
            raise
        for old in versions.iterdir():
            if not old.name.startswith(".") and old.resolve() not in (version.resolve(), before):
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        fault = f"cannot publish the site `{folder}`: {reason}"
        raise SettingError(f"{fault}; it is as it was: make room, or choose another folder") from error
    return folder


def _write(data: SiteData, folder: Path) -> None:
    # Numbered, so that an archive page finds the first one again.
    paths = {
        picture.name: f"{picture_folder(data.current)}/{number}-{picture.file}"
        for number, picture in enumerate(data.pictures)
    }
    content: dict[str, str | bytes] = {paths[picture.name]: picture.data for picture in data.pictures}
    figures = [one for section in (*data.verification, *data.record) for one in section.figures]
    content |= {f"figures/{one.name}.png": one.data for one in figures}
    content |= {name: (files(__package__) / "templates" / name).read_text(encoding="utf-8") for name in _ASSETS}
    content |= root_pages(data, pictures=paths)
    content |= archive_files(data, folder, pictures=paths)
    content |= {"latest.json": latest_text(data.current), SCHEMA_NAME: schema_text()}
    if isinstance(data.current, Forecast):
        content["forecast.csv"] = csv_text(data.current)
    for name, each in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Carried-over files are links into the version in use: renaming over them leaves that one alone.
        write_whole(path, each)
