"""A simulated month of forecasting with everything going wrong that can, and an independent count of what came of it.

The schedule itself runs (`run_schedule`) on a clock that can be moved, against stand-ins of JSOC and SWPC over HTTP,
an embedded server over gRPC, and a real database.
"""

import json
import math
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from kflare.operations import database
from kflare.operations.clock import Clock, issue_times
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import Forecast, Outage
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import forecast_outcomes
from kflare.operations.publish.latest import read_latest
from kflare.operations.running import run_schedule
from kflare.operations.settings import as_toml
from kflare.regions.feature_table import feature_set
from kflare.serving import Server
from kflare.sun.disk import FULL_DISK
from kflare.synthetic.sun import SyntheticSun
from kflare.verification.contingency import ContingencyTable

from .toys import TOYS, publish_toys, publish_version
from .troubles import TROUBLES, LedgerTroubles
from .world import HOUR, World, limb_only, quiet

START = datetime(2014, 3, 1, tzinfo=UTC)
HOURS = (3.0, 9.0, 15.0, 21.0)


class SimulatedClock(Clock):
    """Time passes only by sleeping, and by what the replay does to it."""

    def __init__(self, start: datetime) -> None:
        self._count = 1000.0
        self._offset = start.timestamp() - self._count
        self.tick: Callable[[datetime], None] = lambda _: None

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._offset + self._count, UTC)

    def count(self) -> float:
        return self._count

    def sleep(self, seconds: float) -> None:
        self._count += max(seconds, 1.0)
        self.tick(self.now())

    def leap(self, by: timedelta) -> None:
        """Somebody sets the clock."""
        self._offset += by.total_seconds()

    def suspend(self, span: timedelta) -> None:
        """The machine sleeps."""
        self._count += span.total_seconds()


class _Log(EventLog):
    """When `full`, the disk is full from the recording of the forecast to the end of the publication."""

    full = False
    asked: Callable[[], object] = staticmethod(lambda: None)
    """Called in the middle of each cycle, when the models have been asked."""

    def of_cycle(self, cycle: str) -> "_Log":
        other = _Log(self.path, cycle=cycle)
        other.full, other.asked = self.full, self.asked
        return other

    def __call__(self, event: str, **values: object) -> None:
        super().__call__(event, **values)
        if event == "asked":
            self.asked()
        if self.full and event == "forecast":
            _largest_file(2_000)
        elif values.get("what") == "csv":  # the last of what is published
            _largest_file(resource.RLIM_INFINITY)


def _largest_file(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@dataclass
class Replay:
    """One run.

    Parameters
    ----------
    folder : Path
        For everything that is written.
    toys : Path
        As `write_toys` left them.
    database : str
        URL of the ledger.
    days : float
        How long.
    kills : int
        How many cycles are killed, each at a random moment.
    size : int
        Width of the images.
    faults : mapping of cycle number to name
        See `month`; the numbers count issue times from 0.
    trained : Path, optional
        Folder with `defn-c` and `defn-m` of `kflare.fit`, which answer in place of the toys. What was to be seen 2 h
        before is observed then, and all is kept for a day: the changes of regions are known.
    """

    folder: Path
    toys: Path
    database: str
    days: float = 30
    kills: int = 20
    size: int = 256
    seed: int = 1
    faults: dict[int, str] = field(default_factory=dict)
    trained: Path | None = None
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.sun = SyntheticSun(START, math.ceil(self.days) + 3, seed=5, activity=1.5)
        self.first = START + timedelta(days=1)
        self.issues = list(issue_times(HOURS, self.first, self.first + timedelta(days=self.days)))
        quiet_ones = [n for n in range(2, len(self.issues)) if n not in self.faults]
        self.killed = set(self.random.sample(quiet_ones, min(self.kills, len(quiet_ones))))
        self.clock = SimulatedClock(self.first + HOUR)
        self.notes: dict[int, str] = {}
        self.published: dict[int, bool] = {}
        self._prepared = -1

    def run(self) -> list[str]:
        """Run it all; returns the table of faults and outcomes as Markdown lines.

        Raises AssertionError where the ledger is not what it must be.
        """
        database._BUSY_SECONDS, database._SESSION["lock_timeout"] = 0.5, "500ms"
        self.troubles, self._over = LedgerTroubles(self.database), None
        models = publish_toys(self.toys, self.folder / "models")
        self.models = models
        for name in ("defn-c", "defn-m") if self.trained else ():
            shutil.rmtree(models / name)
            shutil.copytree(self.trained / name, models / name)
        with World(self.sun, size=self.size) as self.world:
            self.server = Server(folder=models, port=0, poll_seconds=0.05, trust=TOYS)
            self.server.start()
            settings = self.world.settings(
                self.folder, server=f"127.0.0.1:{self.server.port}", ledger=self.database, hours=HOURS
            )
            title = "Replay: a made-up Sun, beside a made-up SWPC"
            self.settings = replace(settings, site=replace(settings.site, title=title))
            try:
                with Ledger(self.database) as self.ledger:
                    self.log = _Log(self.settings.log.path)
                    self.clock.tick = self._tick
                    # Counted, since the clock may be set.
                    end = self.clock.count() + (self.issues[-1] + HOUR - self.clock.now()).total_seconds()
                    while self.clock.count() < end:
                        # A fault may end the schedule; a supervisor starts it again.
                        run_schedule(
                            self.settings,
                            ledger=self.ledger,
                            log=self.log,
                            clock=self.clock,
                            keep_running=lambda: self.clock.count() < end,
                        )
                    return self._checked()
            finally:
                self.server.stop()

    # -- what happens ----------------------------------------------------------------------------------------------

    def _tick(self, now: datetime) -> None:
        """Ten minutes before each issue time the world is made ready for it, with its fault."""
        if self._over is not None and now >= self._over:
            self._over = None
            self.troubles.end()
        number = self._prepared + 1
        while number < len(self.issues) and now >= self.issues[number] - timedelta(minutes=10):
            self._prepared = number
            self._prepare(number, self.issues[number])
            number += 1

    def _prepare(self, number: int, issue: datetime) -> None:
        world, fault = self.world, self.faults.get(number, "")
        self.log.asked = lambda: None
        if fault in TROUBLES:
            self._trouble(fault, issue)
        world.faults.clear()
        world.swpc.faults.clear()
        world.forget(issue - timedelta(hours=30 if self.trained else 12))
        if self.trained:
            # What the first cycles compare with; later ones have it in the ledger.
            for hours in (25,) * (number < 4) + (13,) * (number < 2):
                world.observe(issue - hours * HOUR)
            world.observe(issue - 3 * HOUR)
        self._restore()
        seen = issue - HOUR
        hole = timedelta(0)
        match fault:
            case "JSOC down":
                world.observe(seen, without=("all",))
                world.fail(".", "reset")
            case "JSOC slow":
                world.observe(seen)
                world.fail("jsoc_info", "slow", seconds=0.5)
            case "HTML instead of FITS":
                world.observe(seen)
                world.fail("/SUM1/.*magnetogram", "html", times=2)
            case "truncated file":
                world.observe(seen)
                world.fail("/SUM1/.*magnetogram", "truncate", size=3000, times=1)
            case "eclipse":
                world.observe(seen - 2 * HOUR)
                world.observe(seen, quality=0x600, without=("vector", "aia"))
            case "CROTA2 = 0":
                world.observe(seen, roll=0.0)
            case "missing AIA":
                world.observe(seen, without=("aia",))
            case "GOES hole":
                world.observe(seen)
                hole = 4 * HOUR
            case "no region on disk":
                world.observe(seen, seen=quiet)
            case "only limb regions":
                world.observe(seen, seen=limb_only)
            case "data 4 h old":
                world.observe(seen - 3 * HOUR)
            case _:
                world.observe(seen)
        if fault == "model server down":
            self.server.stop()
        if fault == "new model version":
            if self.trained:  # the same network under another number
                part = shutil.copytree(self.models / "defn-m" / "1", self.models / ".defn-m-2")
                part.rename(self.models / "defn-m" / "2")
            else:
                publish_version(self.toys, self.models, "defn-m", 2)
            time.sleep(1.0)
        self.log.full = fault == "disk full at publish"
        if fault == "clock leaps a day ahead for five minutes":
            self._leap(timedelta(days=1))
        if fault == "flare reclassified":
            known = self.sun.flares.table
            weak = known[(known["end"] < issue) & (known["end"] > issue - timedelta(days=2)) & (known["flux"] < 1e-5)]
            world.classes |= dict.fromkeys(weak["start"].iloc[-1:], "M1.0")
            self.notes[number] = f"{len(weak.iloc[-1:])} flare is M1.0 from now on"
        world.tell(issue, hole=hole)
        if number in self.killed:
            self.notes[number] = self._kill(issue)
        if fault == "once, 30 days ahead":
            said = self._once(issue, now=issue + timedelta(days=30))
            assert "the clock cannot be right" in said, said
            self.notes[number] = "refused, nothing recorded"
        if fault == "nonsense settings":
            said = self._once(issue, "keep_days = 3.0", "keep_days = inf")
            assert "`data.keep_days` must be a finite number" in said, said
            self.notes[number] = "refused by key"
        if fault == "forged rows":
            self.notes[number] = f"{len(self.troubles.forge(self.ledger))} of the links seen not to fit; put back"
        if fault == "machine asleep":
            self.clock.suspend(timedelta(hours=8))
            self.notes[number] = "the machine slept 8 h from 10 min before issue"
        self.say(f"{issue:%F %H} {fault or ('killed' if number in self.killed else '')}")

    def _restore(self) -> None:
        """Yesterday's faults are mended."""
        if not self.server.models.available() or not self._answers():
            self.server = Server(folder=self.models, port=self.server.port, poll_seconds=0.05, trust=TOYS)
            self.server.start()

    def _answers(self) -> bool:
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.server.port)) == 0

    def _leap(self, by: timedelta) -> None:
        self.clock.leap(by)
        left = [5]

        def back(now: datetime) -> None:
            left[0] -= 1
            if left[0] == 0:
                self.clock.leap(-by)
                self.clock.tick = self._tick

        self.clock.tick = back

    def _trouble(self, fault: str, issue: datetime) -> None:
        """From the middle of the cycle until ten minutes later."""

        def begin() -> None:
            self.log.asked = lambda: None
            self.troubles.begin(fault, self.ledger)
            self._over = issue + timedelta(minutes=10)

        self.log.asked = begin

    def _once(self, issue: datetime, old: str = "", new: str = "", *, now: datetime | None = None) -> str:
        """`--once` in a process of its own, which must fail: what it says, in one line."""
        path = self.folder / "once.toml"
        path.write_text(as_toml(self.settings).replace(old, new) if old else as_toml(self.settings))
        before = self.ledger.newest_link()
        command = [sys.executable, "-m", "kflare.forecast", "--settings", str(path), "--once"]
        done = subprocess.run([*command, "--now", f"{now or issue:%FT%T}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert self.ledger.newest_link() == before
        return done.stderr

    def _kill(self, issue: datetime) -> str:
        """A process of its own begins the cycle and is killed at a random moment of it."""
        path = self.folder / "kflare.toml"
        path.write_text(as_toml(self.settings))
        times = ["--issue", f"{issue:%FT%T}", "--now", f"{issue + timedelta(seconds=5):%FT%T}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "kflare.forecast", "--settings", str(path), "--once", *times],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # From the import of Python to publication: how long that takes is learnt from the first.
        limit = self.random.uniform(0.1, 1.0) * getattr(self, "_took", 25.0)
        begun = time.monotonic()
        try:
            process.wait(limit)
            self._took = time.monotonic() - begun
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        events = [json.loads(line) for line in Path(self.settings.log.path).read_text().splitlines() if line]
        last = [event["event"] for event in events if event["cycle"] == f"{issue:%Y%m%dT%H%MZ}"]
        return f"killed after {limit:.1f} s, after: {last[-1] if last else 'nothing'}"

    # -- what came of it -------------------------------------------------------------------------------------------

    def _checked(self) -> list[str]:
        cycles = list(self.ledger.cycles(self.issues[0], self.issues[-1] + HOUR))
        # Nothing lost, nothing doubled: each issue time once, as a whole forecast or a recorded outage.
        assert [cycle.issue for cycle in cycles] == self.issues
        assert self.ledger.faults() == []
        assert not list((self.settings.data.folder / "unrecorded").glob("*"))
        named = [cycle.rung if isinstance(cycle, Forecast) else f"outage: {cycle.reason}" for cycle in cycles]
        assert all(named)
        published = read_latest((self.settings.site.folder / "latest.json").read_text())
        assert published == cycles[-1]
        for cycle in cycles:
            if isinstance(cycle, Forecast):
                assert all(one.deciding > 0 for one in cycle.full_disk.values())
        self._count_independently(cycles)
        versions = [
            use.version
            for cycle in cycles
            if isinstance(cycle, Forecast)
            for use in cycle.models
            if use.name == "defn-m"
        ]
        if "new model version" in self.faults.values():
            assert set(versions) == {1, 2}
            assert versions == sorted(versions)
        return [*self._table(cycles), "", *self._rungs(cycles), *(self._lacking(cycles) if self.trained else [])]

    def _rungs(self, cycles: list[Forecast | Outage]) -> list[str]:
        counts = Counter(cycle.rung if isinstance(cycle, Forecast) else "outage" for cycle in cycles)
        return [f"{number:4d} of {len(cycles)} cycles: {name}" for name, number in counts.most_common()]

    def _lacking(self, cycles: list[Forecast | Outage]) -> list[str]:
        """Which of the 79 features the regions that were forecast do not have, near disk centre and near the limb."""
        found = []
        for cycle in cycles:
            if not isinstance(cycle, Forecast) or cycle.data_time is None:
                continue
            minute = timedelta(minutes=1)
            table = self.ledger.features(cycle.data_time - minute, cycle.data_time + minute).set_index("region")
            asked = {one.region: abs(one.lon) for one in cycle.regions if one.status == "forecast"}
            rows = table.loc[table.index.isin(list(asked))]
            found.append(rows.assign(distance=[asked[name] for name in rows.index]))
        rows = pd.concat(found)
        names = [feature.name for feature in feature_set("defn79")]
        kinds = {
            "any of the 79": names,
            "changes over 2 h": [name for name in names if name.startswith("dt02")],
            "changes over 12 h": [name for name in names if name.startswith("dt12")],
            "changes over 24 h": [name for name in names if name.startswith("dt24") and "Mean" not in name],
            "changes over 24 h of means of the vector field": [name for name in names if name.startswith("dt24Mean")],
            "means of the vector field": [name for name in names if name.startswith("Mean")],
            "past flares: no NOAA number": [name for name in names if "his" in name],
        }
        kinds["any other"] = [name for name in names if not any(name in own for own in list(kinds.values())[1:])]
        lines = [f"{len(rows)} regions forecast; which lack, of those within 30 degrees, 30 to 60, beyond:"]
        edges = ((0, 30), (30, 60), (60, 91))
        near = [rows[(rows["distance"] >= low) & (rows["distance"] < high)] for low, high in edges]
        for kind, own in kinds.items():
            shares = (f"{part[own].isna().any(axis=1).mean():.2f}" for part in near)
            lines.append(f"  {kind}: {rows[own].isna().any(axis=1).mean():.2f}; {', '.join(shares)}")
        return lines

    def _count_independently(self, cycles: list[Forecast | Outage]) -> None:
        """Contingency tables of the ledger against plain loops over the Sun's own flares."""
        table = forecast_outcomes(self.ledger, self.issues[0], self.issues[-1] + HOUR)
        disk = table[(table["region"] == FULL_DISK) & (table["method"] == "kflare") & table["observed"].notna()]
        flares = [
            (row.start, self.world.classes.get(row.start, row.goes_class)) for row in self.sun.flares.table.itertuples()
        ]
        told_until = self.issues[-1] - 3 * HOUR
        for threshold, letters in (("C", "CMX"), ("M", "MX")):
            own = disk[disk["threshold"] == threshold]
            found = ContingencyTable.from_probabilities(own["observed"] > 0, own["probability"])
            counts = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
            for cycle in cycles:
                if isinstance(cycle, Outage) or cycle.window_end > told_until:
                    continue
                yes = cycle.full_disk[threshold].deciding >= 0.5
                event = any(
                    cycle.window_start <= start < cycle.window_end and goes_class[0] in letters
                    for start, goes_class in flares
                )
                counts[("t" if yes == event else "f") + ("p" if yes else "n")] += 1
            assert (found.tp, found.fp, found.fn, found.tn) == tuple(counts.values()), (threshold, found, counts)
            self.say(f"class {threshold}: {counts} in the ledger and by plain count")

    def _table(self, cycles: list[Forecast | Outage]) -> list[str]:
        lines = ["| issue | fault | outcome |", "| --- | --- | --- |"]
        for number, cycle in enumerate(cycles):
            fault = self.faults.get(number, "process killed" if number in self.killed else "")
            if not fault and number - 1 not in self.faults:
                continue
            note = self.notes.get(number, "")
            if isinstance(cycle, Forecast):
                reason = f" ({cycle.rung_reason[:90]})" if cycle.rung_reason else ""
                age = "" if cycle.data_age is None else f"; data {cycle.data_age / HOUR:.1f} h old"
                outcome = f"{cycle.rung}{reason}{age}"
            else:
                outcome = f"outage: {cycle.reason[:110]}"
            lines.append(f"| {cycle.issue:%d %H}h | {fault}{': ' * bool(note)}{note} | {outcome} |")
        return lines


def month() -> dict[int, str]:
    """Every fault of the month, by number of the issue time; 120 in 30 days."""
    return {
        4: "JSOC slow",
        8: "JSOC down",
        9: "JSOC down",
        14: "HTML instead of FITS",
        18: "truncated file",
        22: "eclipse",
        26: "CROTA2 = 0",
        30: "missing AIA",
        34: "GOES hole",
        38: "no region on disk",
        42: "only limb regions",
        46: "model server down",
        47: "model server down",
        52: "data 4 h old",
        60: "new model version",
        66: "disk full at publish",
        72: "clock leaps a day ahead for five minutes",
        78: "machine asleep",
        88: "flare reclassified",
        92: "ledger stopped",
        95: "ledger locked",
        98: "ledger full",
        102: "once, 30 days ahead",
        105: "forged rows",
        108: "nonsense settings",
    }
