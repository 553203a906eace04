"""A week of forecasts of a made-up Sun, for a first look: everything is real but the Sun.

Its regions are found and measured, the released models asked over gRPC, the forecasts recorded in a ledger, joined with
the flares that followed, and published, by the functions that an office runs. Only the files do not come from archives.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pandas as pd

from kflare.archives.near_real_time_data import FEED_REACH, NrtRecord, NrtResult
from kflare.flares.labels import reaches
from kflare.flares.srs import read_srs
from kflare.io.atomic import make_folder, write_whole
from kflare.io.percent import rate
from kflare.models.released import released_models
from kflare.observations.sets import ObservationSet
from kflare.operations import settings as office
from kflare.operations.clock import issue_times, latest_issue
from kflare.operations.cycle import run_cycle
from kflare.operations.demonstration_page import write_week
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Cycle, Forecast, InputRecord, cycle_name
from kflare.operations.inputs import FLARE_LAG, CycleInputs
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import forecast_outcomes
from kflare.operations.publish.publishers import publish_cycle
from kflare.operations.swpc import SwpcForecast
from kflare.sun.disk import FULL_DISK
from kflare.sun.times import HOUR
from kflare.synthetic.files import swpc_probabilities, write_los, write_regions_of_the_day
from kflare.synthetic.sun import SyntheticSun

DAYS: Final = 7
SETTINGS: Final = "kflare.toml"
CAVEAT: Final = (
    "These are a few forecasts of one made-up week, whose windows overlap: too few to tell skill, and of another Sun "
    "than ours. What the released models are worth on the real one stands in their model cards, beside plain methods."
)
_BEFORE: Final = timedelta(days=366)  # of flares, for the rates of the past
_TITLE: Final = "Solar flare forecast for a made-up Sun, beside a made-up SWPC"
_ACTIVITY: Final = 1.5  # a Sun with much to see
_SIZE: Final = 512  # pixels, what the full-disk models see
_SEEN: Final = timedelta(hours=1)  # before the issue time


@dataclass(frozen=True)
class Demonstration:
    """A made-up Sun, and an office that forecasts its flares."""

    sun: SyntheticSun
    issues: tuple[datetime, ...]
    settings: office.ForecastSettings
    regions: pd.DataFrame
    """NOAA's of each day, as of `read_srs`."""

    @classmethod
    def prepare(cls, folder: Path, *, now: datetime, server: str) -> "Demonstration":
        """Of the week before `now` (aware); `server` is the address of the released models, `folder` new or empty."""
        make_folder(folder)
        folder = folder.absolute()
        last = latest_issue(office.ForecastSettings().schedule.hours, now)
        first = last - timedelta(days=DAYS)
        issues = tuple(
            issue for issue in issue_times(office.ForecastSettings().schedule.hours, first, last) if issue > first
        )
        sun = _worth_watching(issues)
        sun.flares.between(sun.start, first).write_csv(folder / "flares_before.csv")
        days = pd.date_range(sun.end - timedelta(days=DAYS + 3), sun.end, freq="D", unit="us").floor("D")
        write_regions_of_the_day(sun.region_table(days), folder / "regions_of_the_day.csv")
        settings = office.ForecastSettings(
            data=office.DataSettings(folder=folder / "data", keep_days=2.0 * DAYS, flares=folder / "flares_before.csv"),
            server=office.ServerSettings(address=server),
            ledger=office.LedgerSettings(f"sqlite:///{folder / 'ledger.sqlite'}"),
            site=office.SiteSettings(folder / "site", _TITLE, models=released_models()),
            log=office.LogSettings(str(folder / "events.log")),
        )
        write_whole(folder / SETTINGS, office.as_toml(settings))
        return cls(sun, issues, settings, read_srs(folder / "regions_of_the_day.csv"))

    def run(self, ledger: Ledger) -> Iterator[Cycle]:
        """Make every forecast of the week, one after the other, and publish the last one of each day."""
        log = EventLog(self.settings.log.path)
        unseen = replace(self.settings, server=replace(self.settings.server, attribution=False))  # no pictures: no maps
        for issue in self.issues:
            own = log.of_cycle(cycle_name(issue))
            shown = issue.hour == self.settings.schedule.hours[-1] or issue == self.issues[-1]
            settings = self.settings if shown else unseen
            cycle = run_cycle(issue, settings, ledger=ledger, log=own, now=issue, observe=self._observe)
            if shown:
                publish_cycle(cycle, self.settings, ledger, own)
            yield cycle

    def words(self, ledger: Ledger) -> list[str]:
        """What became of the forecasts of the full disk, a line for each class."""
        table = forecast_outcomes(ledger, self.issues[0], self.issues[-1])
        table = table[table["region"].eq(FULL_DISK) & table["method"].eq("kflare") & table["observed"].notna()]
        lines = []
        for letter in "CM":
            rows = table[table["threshold"] == letter]
            yes = rows["probability"] >= 0.5
            hits, events = int((rows["observed"][yes] == 1).sum()), int(rows["observed"].sum())
            lines.append(
                f"Class {letter} and above: flares followed {events} of the {len(rows)} forecasts whose 24 h are over; "
                f"their calibrated probability was {rate(rows['calibrated'].mean())} on average. They said yes, by a "
                f"score of 50 or more, {int(yes.sum())} times. Hits {hits}, false alarms {int(yes.sum()) - hits}, "
                f"misses {events - hits}."
            )
        return lines

    def publish_week(self, ledger: Ledger) -> Path:
        """Add a page of the whole week to the site: the last forecast whose outcome is known, and what followed."""
        past = [one for one in ledger.cycles(self.issues[0], self.sun.end) if isinstance(one, Forecast)]
        shown = [one for one in past if one.window_end <= self.issues[-1] - FLARE_LAG][-1]
        site = self.settings.site
        assert site.folder is not None
        assert shown.data_time is not None
        flares = self.sun.flares.between(self.issues[0], self.issues[-1]).table
        return write_week(
            site.folder, site.title, shown=(shown, self.sun.magnetogram(shown.data_time, _SIZE)), past=past,
            flares=flares[reaches(flares["flux"], "C")], words=[*self.words(ledger), CAVEAT],
        )  # fmt: skip

    def newest_image(self) -> Path:
        """The magnetogram of the last forecast."""
        return max(self.settings.data.issue_folder(self.issues[-1]).glob("hmi*.fits"))

    def _observe(
        self, issue: datetime, settings: office.ForecastSettings, *, now: datetime, measured: Collection[datetime]
    ) -> CycleInputs:
        """In the place of `fetch_inputs`."""
        folder, seen = settings.data.issue_folder(issue), issue - _SEEN
        folder.mkdir(parents=True, exist_ok=True)
        feed = folder / "flares.csv"
        self.sun.flares.between(issue - FEED_REACH, now).write_csv(feed)
        flares = NrtResult("goes_flares", "", issue, (NrtRecord(issue, {"": feed}),))
        swpc = SwpcForecast.of_feed(json.dumps(swpc_probabilities(self.sun.flares.table, issue)), issue)
        times = {"magnetogram": seen, "goes_flares": issue, "noaa_regions": issue.replace(hour=0)}
        records = [
            InputRecord(name, self.sun.flares.source, time, (issue - time) / HOUR, None, "made up", "ok")
            for name, time in (times | {"swpc_probabilities": swpc.first}).items()
        ]
        before = [time for time in (seen - timedelta(days=1),) if time not in measured]
        return CycleInputs(
            records=tuple(records), flares=flares, events=NrtResult("goes_events", "", issue),
            observations=self._magnetogram(seen, folder), files={}, xray=None,
            srs=self.regions[self.regions["time"] <= issue],
            earlier=tuple(self._magnetogram(time, folder) for time in before), swpc=swpc,
        )  # fmt: skip

    def _magnetogram(self, time: datetime, folder: Path) -> ObservationSet:
        image = self.sun.magnetogram(time, _SIZE)
        return ObservationSet(time, write_los(image.data, time, folder), {}, None, None, (None, None, None))


def _worth_watching(issues: tuple[datetime, ...]) -> SyntheticSun:
    """The first Sun with flares of class M on two to four days of the week, and never fewer than three regions."""
    first, last = issues[0], issues[-1]
    for seed in range(1000):
        sun = SyntheticSun(first, DAYS + 1, seed=seed, activity=_ACTIVITY)
        flares = sun.flares.table
        strong = ((last - flares["start"][reaches(flares["flux"], "M")]) // pd.Timedelta(days=1)).unique()
        if 2 <= len(strong) <= 4 and 1 in strong and sun.region_table(sun.times()).groupby("time").size().min() >= 3:
            break
    begin = first - _BEFORE
    return SyntheticSun(begin, (last - begin).days + 2, seed=seed, activity=_ACTIVITY)
