"""What a cycle's publication and a status cost as a ledger grows, in processor seconds, and its size per cycle.

A made-up ledger (ten regions, features drawn at random, about three flares of class C and above a day) is filled to
each of the ages, and the commands of a duty office run on it in processes of their own. The ratio is to the first age.
The start of Python with its imports is included, and told by itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert

from kflare.operations import schema
from kflare.operations.chain import add_link
from kflare.operations.database import transaction
from kflare.operations.forecast import Forecast, InputRecord, ModelUse, Probability, RegionForecast, cycle_name
from kflare.operations.ledger import Ledger, _append, _cycle_row
from kflare.operations.measurement import FEATURES

_IMPORTS = "import kflare.operations.publish.publishers"
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
    done: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(1)
        self.flared = START - _FEED

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


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench ledger", description=__doc__)
    parser.add_argument("--years", type=float, nargs="+", default=[1, 3, 10], help="default: 1 3 10")
    parser.add_argument("--hours", type=float, default=6.0, help="from one forecast to the next (default: 6)")
    parser.add_argument("--regions", type=int, default=10, help="default: 10")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = folder / "ledger.sqlite"
        hours = ", ".join(f"{hour:g}" for hour in np.arange(3 % args.hours, 24, args.hours))
        (folder / "kflare.toml").write_text(
            f'[schedule]\nhours = [{hours}]\n[server]\naddress = "127.0.0.1:1"\ntimeout_seconds = 0.1\n'
        )
        office = Office(f"sqlite:///{ledger}", args.hours, args.regions)
        for years in args.years:
            count = round(years * 365.25 * 24 / args.hours)
            office.forecast_until(count - 1)
            _seconds("--publish", folder, office.issue(count - 2))  # the site as the cycle before left it
            office.forecast_until(count)
            issue = office.issue(count - 1)
            rows.append({
                "years": years, "cycles": count, "kB per cycle": ledger.stat().st_size / count / 1000,
                "publish": _seconds("--publish", folder, issue), "status": _seconds("--status", folder, issue),
                "features": _features(office.url, issue), "imports": _processor_seconds("-c", _IMPORTS),
            })  # fmt: skip
            if not args.json:
                print(_line(rows), flush=True)
    if args.json:
        print(json.dumps(rows))
    return 0


def _line(rows: Sequence[dict[str, float]]) -> str:
    row, first = rows[-1], rows[0]
    ratio = f" (publish {row['publish'] / first['publish']:.2f} of the first)" if len(rows) > 1 else ""
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items()) + ratio


def _seconds(option: str, folder: Path, now: datetime) -> float:
    """Processor seconds of the command, with the start of Python."""
    given = ["--settings", str(folder / "kflare.toml"), option, "--now", f"{now + HOUR / 6:%FT%TZ}"]
    return _processor_seconds("-m", "kflare.forecast", *given)


def _processor_seconds(*given: str) -> float:
    before = os.times()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False, env=environment)
    after = os.times()
    if done.returncode not in (0, 6):
        raise SystemExit(f"{' '.join(given)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def _features(url: str, issue: datetime) -> float:
    """Processor seconds of what a cycle asks of the ledger, in this process."""
    with Ledger(url) as ledger:
        before = os.times()
        ledger.features(issue - 26 * HOUR, issue)
        after = os.times()
    return after.user + after.system - before.user - before.system


if __name__ == "__main__":
    raise SystemExit(main())
