"""From the ledger to the readers. Can be done again at any time with the same result.

A new publisher is a module with a function of a `Publication` and a folder, a row of `PUBLISHERS`, and a setting.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kflare.errors import KflareError
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Cycle
from kflare.operations.ledger import Ledger
from kflare.operations.publish.ccmc import publish_ccmc
from kflare.operations.publish.csv_table import publish_csv
from kflare.operations.publish.publication import Publication
from kflare.operations.publish.site import publish_site
from kflare.operations.settings import ForecastSettings


@dataclass(frozen=True)
class Publisher:
    """One form in which cycles are published."""

    name: str
    setting: str  # key of `[site]` that names its folder; unset, nothing is published
    publish: Callable[[Publication, Path], object]
    """Writes into the folder. On KflareError or OSError what is there of former cycles is as it was."""


PUBLISHERS: Final[tuple[Publisher, ...]] = (
    Publisher("site", "folder", publish_site),
    Publisher("ccmc", "ccmc_folder", publish_ccmc),
    Publisher("csv", "csv_folder", publish_csv),
)


def publish_cycle(cycle: Cycle, settings: ForecastSettings, ledger: Ledger, log: EventLog) -> list[str]:
    """Publish a cycle of the ledger everywhere that the settings name; what could not be published, and why."""
    publication, failures = Publication(cycle, settings, ledger, log), []
    for publisher in PUBLISHERS:
        folder = getattr(settings.site, publisher.setting)
        if folder is None:
            continue
        try:
            with log.timed("published", what=publisher.name):
                publisher.publish(publication, folder)
        except (KflareError, OSError) as error:
            log("publish failed", what=publisher.name, reason=str(error))
            failures.append(f"{publisher.name}: {error}")
    return failures
