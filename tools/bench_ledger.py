"""What a cycle's publication, a status and a cycle's question cost as a ledger grows, and its size per cycle.

A made-up ledger (ten regions, features drawn at random, about three flares of class C and above a day) is filled to
each of the ages, four forecasts a day, and once hourly for a year; it is kept. The commands of a duty office run on it
in processes of their own: the start of Python with its imports is included, and told by itself.
"""

import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmark import Row, Timed, kept
from sqlalchemy import insert

from kflare.operations import schema
from kflare.operations.chain import add_link
from kflare.operations.database import transaction
from kflare.operations.forecast import Forecast, InputRecord, ModelUse, Probability, RegionForecast, cycle_name
from kflare.operations.ledger import Ledger, _append, _cycle_row
from kflare.operations.measurement import FEATURES

YEARS = (1, 3, 10)
REGIONS = 10
START = datetime(2020, 1, 1, 3, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
_INPUTS = (
    "magnetogram", "vector_field", "continuum", "aia_131", "aia_193", "aia_304", "aia_1600", "goes_xrays",
    "goes_flares", "goes_events", "aia_131_1h_before", "aia_131_2h_before", "noaa_regions", "swpc_probabilities",
)  # fmt: skip
_FEED = timedelta(days=7)
_TOGETHER = 200  # cycles in one transaction


@dataclass
class Office:
    """One whose ledger is made up as fast as it can be inserted."""

    url: str
    hours: float
    regions: int
    done: int

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.done)
        self.flared = self.issue(self.done - 1) - 3 * HOUR if self.done else START - _FEED

    def issue(self, number: int) -> datetime:
        """Time of a cycle."""
        return START + number * self.hours * HOUR

    def forecast_until(self, count: int) -> None:
        """Cycles up to a number, each with what the feed of its time tells."""
        with Ledger(self.url) as ledger:
            while self.done < count:
                with transaction(ledger.engine, write=True) as connection:
                    for number in range(self.done, min(self.done + _TOGETHER, count)):
                        self._record(connection, self.issue(number))
                self.done = min(self.done + _TOGETHER, count)

    def _record(self, connection: Any, issue: datetime) -> None:
        flares = list(self._flares(issue))
        if flares:
            connection.execute(insert(schema.flares), flares)
        span = {"since": issue - _FEED, "until": issue - 3 * HOUR, "source": "SWPC", "recorded": issue}
        connection.execute(insert(schema.coverage), [span])
        add_link(connection, "flares")
        cycle = self._forecast(issue)
        box = [0.1, 0.1, 0.2, 0.2]
        tracks = [
            {"identity": one.region, "time": f"{issue:%FT%T+00:00}", "box": box, "into": None} for one in cycle.regions
        ]
        tracker = {"options": {"max_gap_hours": 30.0}, "time": f"{issue:%FT%T+00:00}", "tracks": tracks, "events": []}
        values = self.random.lognormal(0, 3, (self.regions, len(FEATURES)))
        features = pd.DataFrame(values, range(1, self.regions + 1), FEATURES)
        connection.execute(insert(schema.cycles), [_cycle_row(cycle, tracker, issue)])
        _append(connection, cycle, features)
        add_link(connection, "cycle", cycle.cycle_id)

    def _flares(self, until: datetime) -> Iterator[dict[str, Any]]:
        since, self.flared = self.flared, until - 3 * HOUR
        span = (self.flared - since) / HOUR
        for number, at in enumerate(np.sort(self.random.random(self.random.poisson(span / 8)))):
            start = (since + at * span * HOUR).replace(second=0, microsecond=0)
            strength = min(self.random.pareto(1.0) + 1, 300)
            goes = (
                f"C{strength:.1f}"
                if strength < 10
                else f"M{strength / 10:.1f}"
                if strength < 100
                else f"X{strength / 100:.1f}"
            )
            days = int((start - START) / DAY)
            yield {
                "start": start, "ordinal": number, "revision": 1, "peak": start + HOUR / 6, "end": start + HOUR / 3,
                "goes_class": goes, "noaa": int(13000 + days + self.random.integers(self.regions)), "source": "SWPC",
                "recorded": until,
            }  # fmt: skip

    def _forecast(self, issue: datetime) -> Forecast:
        days = int((issue - START) / DAY)

        def both(scale: float) -> dict[str, Probability]:
            p = scale * self.random.random(2)
            return {name: Probability(float(one), one / 3, one / 5, one / 2) for name, one in zip("CM", p, strict=True)}

        regions = tuple(
            RegionForecast(
                n + 1, f"{START + (days + n) * DAY:%Y%m%d}-{n}", (13000 + days + n,), (8000 + days + n,),
                -50.0 + 10 * n, float(self.random.normal(0, 15)), (0.1, 0.1, 0.2, 0.2), "forecast", both(0.8), 3,
                ("3 features imputed",), ("C2.1 05:04 UT, AR 13001",),
            )
            for n in range(self.regions)
        )  # fmt: skip
        x, age = Probability(None, float(0.05 * self.random.random()) + 1e-3), round(self.random.random() + 1, 3)
        return Forecast(
            cycle_id=cycle_name(issue), issue=issue, data_time=issue - HOUR, window_start=issue, window_end=issue + DAY,
            next_issue=issue + self.hours * HOUR, rung="all features", rung_reason="", regions=regions,
            full_disk={**both(1.0), "X": x}, cnn=both(1.0), swpc={name: replace(x) for name in "CMX"},
            models=tuple(ModelUse(name, 3) for name in ("defn-c", "defn-m", "cnn-c", "cnn-m")),
            inputs=tuple(
                InputRecord(name, f"hmi.{name}_720s_nrt", issue - age * HOUR, age, 0x400, "", "ok") for name in _INPUTS
            ),
            remarks=("class X and above is from event statistics: no network is taught so rare an event",),
            software="0.1",
        )  # fmt: skip


def filled(folder: Path, years: float, hours: float) -> tuple[Path, Office]:
    """A folder with a ledger of so many years, kept, beside what the publication of the cycle before it left."""
    count = round(years * 365.25 * 24 / hours)
    ages = kept(folder, "operations")
    made = ages / f"{count}-{hours:g}h"
    office = Office(f"sqlite:///{made}/ledger.sqlite", hours, REGIONS, count)
    if not made.exists():
        part = ages / "part"
        shutil.rmtree(part, ignore_errors=True)
        younger = [one for one in ages.glob(f"*-{hours:g}h") if int(one.name.partition("-")[0]) < count]
        done = 0
        if younger:
            last = max(younger, key=lambda one: int(one.name.partition("-")[0]))
            shutil.copytree(last, part, ignore=shutil.ignore_patterns("site*"))
            done = int(last.name.partition("-")[0])
        part.mkdir(exist_ok=True)
        filling = Office(f"sqlite:///{part}/ledger.sqlite", hours, REGIONS, done)
        filling.forecast_until(count - 1)
        _command("--publish", settings(part, part, hours), office.issue(count - 2))
        filling.forecast_until(count)
        part.rename(made)
    return made, office


def settings(folder: Path, ledger: Path, hours: float) -> Path:
    """Settings of an office in a folder whose ledger is in another one."""
    times = ", ".join(f"{hour:g}" for hour in np.arange(3 % hours, 24, hours))
    (folder / "kflare.toml").write_text(
        f'[schedule]\nhours = [{times}]\n[server]\naddress = "127.0.0.1:1"\ntimeout_seconds = 0.1\n'
        f'[ledger]\nurl = "sqlite:///{ledger}/ledger.sqlite"\n'
    )
    return folder / "kflare.toml"


def command(folder: Path, option: str, years: float, hours: float) -> Timed:
    """Of the newest cycle, each time from what the publication of the one before left."""
    made, office = filled(folder, years, hours)
    work = Path(tempfile.mkdtemp(prefix="office-", dir=made.parent))
    atexit.register(shutil.rmtree, work, ignore_errors=True)

    def anew() -> None:
        shutil.rmtree(work)
        shutil.copytree(made, work, ignore=shutil.ignore_patterns("ledger.sqlite*"), symlinks=True)
        settings(work, made, hours)

    size = (made / "ledger.sqlite").stat().st_size / office.done / 1000
    run = partial(_command, option, work / "kflare.toml", office.issue(office.done - 1))
    return Timed(run, before=anew, note=f"{size:.1f} kB a cycle")


def _command(option: str, path: Path, now: datetime) -> None:
    given = ["-m", "kflare.forecast", "--settings", str(path), option, "--now", f"{now + HOUR / 6:%FT%TZ}"]
    done = subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 6):
        raise SystemExit(f"{' '.join(given)} ended with {done.returncode}: {done.stderr[-2000:]}")


def features(folder: Path, years: float) -> Timed:
    """What a cycle asks of the ledger, in this process, ten times."""
    made, office = filled(folder, years, 6)
    ledger = Ledger(f"sqlite:///{made}/ledger.sqlite")
    issue = office.issue(office.done - 1)
    return Timed(lambda: [ledger.features(issue - 26 * HOUR, issue) for _ in range(10)], per=10, answer=lambda: None)


def imports(_: Path) -> Timed:
    given = [sys.executable, "-c", "import kflare.operations.publish.publishers"]
    return Timed(lambda: subprocess.run(given, check=True) and None)


def row(what: str, told: str, years: float, hours: float = 6) -> Row:
    every = "" if hours == 6 else f"-every-{hours:g}h"
    return Row(f"ledger/{what}-{years}y{every}", f"{told}, {years} years of forecasts every {hours:g} h",
               partial(command, option=f"--{what}", years=years, hours=hours), "command", prepare=prepare, rounds=3,
               threads=1)  # fmt: skip


def prepare(_: Path) -> None:
    """Ledgers are made by the kflare that is measured: an older one cannot read a newer's."""


ROWS = [
    Row("ledger/imports", "Python with what a publication imports", imports, "command", rounds=3, threads=1),
    *(row("publish", "`forecast --publish`", years) for years in YEARS), row("publish", "`forecast --publish`", 1, 1),
    *(row("status", "`forecast --status`", years) for years in YEARS),
    *(Row(f"ledger/features-{years}y", f"`Ledger.features` of a day, {years} years", partial(features, years=years),
          "call", prepare=prepare, rounds=5, threads=1) for years in YEARS),
]  # fmt: skip
