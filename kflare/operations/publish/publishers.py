"""From the ledger to the readers: web site, CCMC files, CSV. Can be done again at any time with the same result."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError, KflareError
from kflare.flares.labels import in_window, reaches
from kflare.operations.disk_pictures import kept_pictures
from kflare.operations.event_log import EventLog
from kflare.operations.flare_records import Current
from kflare.operations.forecast import Forecast, Outage
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import FULL_DISK, outcomes
from kflare.operations.publish.ccmc import write_ccmc
from kflare.operations.publish.site import publish_site
from kflare.operations.publish.site_data import Outcome, Past, SiteData
from kflare.operations.publish.csv_table import write_csv
from kflare.operations.publish.verification import verification_sections
from kflare.operations.settings import ForecastSettings

__all__ = ["flare_texts", "issue_folder", "publish"]

# Verification looks back one year: older forecasts are of another Sun, and `kflare.verify` scores them all.
_VERIFIED: Final = timedelta(days=366)


def issue_folder(settings: ForecastSettings, issue: datetime) -> Path:
    """Where the observations and pictures of an issue time are kept."""
    return settings.data.folder / f"{issue:%Y%m%dT%H%MZ}"


def publish(cycle: Forecast | Outage, settings: ForecastSettings, ledger: Ledger, log: EventLog) -> list[str]:
    """Publish what a cycle ended with, everywhere that the settings name.

    Parameters
    ----------
    cycle : Forecast or Outage
        As it stands in the ledger.
    settings : ForecastSettings
        Where to.
    ledger : Ledger
        For what was forecast before, and what happened.
    log : EventLog
        Takes each publication, and each that failed.

    Returns
    -------
    list of str
        What could not be published, and why. What is there of former cycles is as it was.
    """
    site, failures = settings.site, []

    def attempt(what: str, action: Callable[[], object]) -> None:
        try:
            with log.timed("published", what=what):
                action()
        except (KflareError, OSError) as error:
            log("publish failed", what=what, reason=str(error))
            failures.append(f"{what}: {error}")

    if site.folder is not None:
        folder = site.folder
        attempt("site", lambda: publish_site(_site_data(cycle, settings, ledger), folder))
    if isinstance(cycle, Forecast):
        if site.ccmc_folder is not None:
            ccmc = site.ccmc_folder
            attempt("ccmc", lambda: _send(cycle, ccmc, site.ccmc_model, log))
        if site.csv_folder is not None:
            csv = site.csv_folder / f"forecast_{cycle.issue:%Y%m%dT%H%MZ}.csv"
            attempt("csv", lambda: _write_csv(cycle, csv))
    return failures


def _send(forecast: Forecast, folder: Path, model: str, log: EventLog) -> None:
    try:
        write_ccmc(forecast, folder, model=model)
    except DataError as error:  # statistics, or old data: not to be compared under the network's name
        log("not sent", what="ccmc", reason=str(error))


def _write_csv(forecast: Forecast, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(forecast, path)


def _site_data(cycle: Forecast | Outage, settings: ForecastSettings, ledger: Ledger) -> SiteData:
    past = _past(cycle.issue, ledger)
    return SiteData(
        current=cycle,
        pictures=kept_pictures(issue_folder(settings, cycle.issue) / "pictures"),
        past=past,
        verification=verification_sections(past),
        title=settings.site.title,
        recent_days=settings.site.recent_days,
    )


def _past(issue: datetime, ledger: Ledger) -> list[Past]:
    since = issue - _VERIFIED
    cycles = list(ledger.cycles(since, issue))
    table = outcomes(ledger, since, issue)
    disk = table[(table["region"] == FULL_DISK) & (table["method"] == "kflare")]
    observed = {
        (row.time.to_pydatetime(), row.threshold): bool(row.observed)
        for row in disk.itertuples()
        if not np.isnan(row.observed)
    }
    flares = ledger.flares(since, issue + timedelta(days=1))
    return [Past(cycle, _outcome(cycle, observed, flares)) for cycle in cycles]


def _outcome(cycle: Forecast | Outage, observed: dict[tuple[datetime, str], bool], flares: Current) -> Outcome:
    start = flares.table["start"]
    if isinstance(cycle, Outage):
        inside = flares.table[in_window(start, cycle.issue, cycle.issue + timedelta(days=1))]
        return Outcome({}, flare_texts(inside))
    known = {name: observed[cycle.issue, name] for name in cycle.full_disk if (cycle.issue, name) in observed}
    inside = flares.table[in_window(start, cycle.window_start, cycle.window_end)]
    return Outcome(known, flare_texts(inside))


def flare_texts(table: pd.DataFrame) -> tuple[str, ...]:
    """Flares of class C and above for the reader: "M1.0 05:04 UT, AR 12740"."""
    strong = table[reaches(table["flux"], "C")]
    return tuple(
        f"{row.goes_class} {row.start:%H:%M} UT" + ("" if pd.isna(row.noaa) else f", AR {row.noaa}")
        for row in strong.itertuples()
    )
