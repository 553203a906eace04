"""The archive of the site: the days that changed are written anew, and no others; what is there is as if all were."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from kflare.flares.catalogue import FlareList
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Forecast, Outage, cycle_name
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import forecast_outcomes
from kflare.operations.publish import archive, verification
from kflare.operations.publish.archive import past_days
from kflare.operations.publish.pages import SiteData
from kflare.operations.publish.publication import Publication
from kflare.operations.publish.site import publish_site
from kflare.operations.settings import DataSettings, ForecastSettings, SiteSettings

SIX, DAY = timedelta(hours=6), timedelta(days=1)
DAYS = 12


class Office:
    """Publishes into a site that goes on, and holds it against one made at once."""

    def __init__(self, make: Callable[..., Forecast], ledger: Ledger, folder: Path) -> None:
        self.base, self.ledger, self.folder = make(), ledger, folder
        self.settings = ForecastSettings(
            data=DataSettings(folder=folder / "data"), site=SiteSettings(models=None, recent_days=2.0)
        )
        self.start = self.base.issue

    def record(self, issue: datetime, factor: float = 1.0) -> None:
        """A forecast of any time, with the scores of the first times a factor."""
        times = {
            "issue": issue,
            "window_start": issue,
            "window_end": issue + DAY,
            "next_issue": issue + SIX,
        }
        known = self.base.full_disk.items()
        disk = {name: replace(one, network=min(factor * one.deciding, 0.99)) for name, one in known}
        self.ledger.record(replace(self.base, cycle_id=cycle_name(issue), full_disk=disk, **times))

    def publish(self, name: str) -> dict[str, bytes]:
        last = self.ledger.last_issue()
        assert last is not None
        cycle = self.ledger.cycle(last)
        assert cycle is not None
        publish_site(
            Publication(cycle, self.settings, self.ledger, EventLog(str(self.folder / "log"))), self.folder / name
        )
        root = (self.folder / name).resolve()
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def tell(self, *flares: tuple[int, str], days: int = DAYS) -> None:
        """SWPC's list until a day, of hours after the start and classes."""
        table = pd.DataFrame({
            "start": pd.DatetimeIndex([self.start + hours * SIX / 6 for hours, _ in flares]).tz_convert("UTC"),
            "goes_class": [one for _, one in flares], "noaa": 10053,
        })  # fmt: skip
        span = {"since": self.start - DAY, "until": self.start + days * DAY, "source": "test"}
        self.ledger.record_flares(FlareList(table, "test", {}), **span)


def test_a_site_that_goes_on_is_the_same_as_one_made_at_once(
    make_forecast: Callable[..., Forecast], database_url: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(2)
    with Ledger(database_url) as ledger:
        office = Office(make_forecast, ledger, tmp_path)
        for number in range(4 * DAYS):
            issue = office.start + number * SIX
            if number in (5, 30):
                ledger.record_missed(Outage(cycle_name(issue), issue, "not run: asleep"), recorded=issue)
            else:
                office.record(issue, float(random.uniform(0.2, 1.6)))
            if number % 4 == 3:
                office.tell((3, "C3.0"), (40, "M1.0"), days=number // 4)
                office.publish("site")
        before = office.publish("site")
        assert before == office.publish("at-once")
        day = f"archive/{office.start + DAY:%Y-%m-%d}.html"
        assert b"M1.0" in before[day]
        # A flare of ten days ago is corrected, and one issue time that was missed is made up for.
        office.tell((3, "C3.0"), (40, "C9.9"))
        office.record(office.start + 5 * SIX)
        after = office.publish("site")
        assert after == office.publish("at-once-again")
        assert b"C9.9" in after[day]
        assert b"No forecast" in before[day]
        assert b"No forecast" not in after[day]


def test_only_days_that_changed_are_read(
    make_forecast: Callable[..., Forecast], database_url: str, tmp_path: Path
) -> None:
    with Ledger(database_url) as ledger:
        office = Office(make_forecast, ledger, tmp_path)
        for number in range(4 * DAYS):
            office.record(office.start + number * SIX)
        office.tell((40, "M1.0"))
        office.publish("site")

        def days() -> set[int]:
            last = ledger.last_issue()
            current = SiteData(ledger.cycle(last), recent_days=2.0)  # type: ignore[arg-type]
            since = office.start.replace(hour=0)
            outcomes = forecast_outcomes(ledger, since, current.current.issue, regions=False)
            past = past_days(current, ledger, outcomes, tmp_path / "site", since=since)["past"]
            return {(one.forecast.issue - since).days for one in past}

        # Not two days, but those whose windows stand below the X-rays of three.
        recent = set(range(DAYS - 5, DAYS))
        assert days() == recent
        office.tell((40, "M1.1"))
        # It started in the windows of the day that it was on and of the day before.
        assert days() == recent | {0, 1}


def test_a_day_at_the_edge_of_the_year_keeps_all_its_forecasts(
    make_forecast: Callable[..., Forecast], database_url: str, tmp_path: Path
) -> None:
    with Ledger(database_url) as ledger:
        office = Office(make_forecast, ledger, tmp_path)
        for number in range(6):
            office.record(office.start + number * SIX)
        first = f"archive/{office.start:%Y-%m-%d}.html"
        before = office.publish("site")[first]
        for number in (0, 1, 2, 3, 4, 5):
            office.record(office.start + verification.VERIFIED + number * SIX)
            after = office.publish("site")[first]
            assert after.count(b'<section class="entry"') == before.count(b'<section class="entry"') == 4


def test_the_archive_does_without_hard_links(
    make_forecast: Callable[..., Forecast], database_url: str, tmp_path: Path, monkeypatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    with Ledger(database_url) as ledger:
        office = Office(make_forecast, ledger, tmp_path)
        for number in range(12):
            office.record(office.start + number * SIX)
        before = office.publish("site")
        monkeypatch.setattr(archive.os, "link", refuse)
        assert office.publish("site") == before
