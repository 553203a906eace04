"""Operate Deep Flare Net on an archive, as if each issue time of its span were the present.

Every forecast is made by the functions of kflare.forecast, of the newest observations of 1 to 5 h before its issue
time, recorded in OUTPUT/ledger.sqlite, and the newest is published as OUTPUT/site/index.html. Without observations
there is none, as in the paper (section 3.2). Unlike there the data are what the archive has now, not near-real-time
data, which are not kept, and flares are known at once. An interrupted run goes on with the forecast that is missing.

python tools/operate_archive.py observations --models models --xrays xrays/*.nc --flares events --srs srs \
    --from 2019-01-01 --until 2020-07-01 --output operation
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kflare.archives.near_real_time_data import NrtResult
from kflare.commands.command_line import quiet_tensorflow
from kflare.errors import DataError, KflareError
from kflare.flares.catalogue import FlareList
from kflare.flares.repairing import read_flares
from kflare.flares.srs import read_srs
from kflare.io.atomic import make_folder, write_whole
from kflare.observations.sets import ObservationSet, sets_in
from kflare.operations.clock import issue_times
from kflare.operations.cycle import run_cycle
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import FULL, IMPUTED, MAGNETOGRAM_ONLY, Forecast, InputRecord, cycle_name
from kflare.operations.inputs import CycleInputs
from kflare.operations.ledger import Ledger
from kflare.operations.publish.publishers import publish_cycle
from kflare.operations.settings import (
    DataSettings,
    ForecastSettings,
    LedgerSettings,
    LogSettings,
    MarksSettings,
    ServerSettings,
    SiteSettings,
    as_toml,
)
from kflare.regions.xray_features import joined
from kflare.serving import Server
from kflare.sun.times import HOUR
from kflare.xray.flux import XrayFlux, read_xray_flux

_DAY = timedelta(days=1)
_YEAR = timedelta(days=366)  # of flares before the first forecast
_COMPARED = (24, 12, 2)  # hours that changes are over, of the magnetogram, and over 24 h of all
_NEAR = timedelta(minutes=30)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("observations", type=Path, help="folder that `kflare fetch hmi` filled")
    parser.add_argument("--models", type=Path, required=True, help="folder with defn-c and defn-m, of `kflare fit`")
    parser.add_argument("--xrays", type=Path, nargs="+", metavar="FILE", help="GOES X-ray flux")
    parser.add_argument("--flares", type=Path, required=True, help="list of flares, or folder of daily events")
    parser.add_argument(
        "--flare-scale", choices=["irradiance", "as-listed"], default="irradiance",
        help="scale of the flares' classes in the ledger: today's (default), or as the list has them",
    )  # fmt: skip
    parser.add_argument("--srs", type=Path, required=True, help="NOAA's regions of each day")
    parser.add_argument("--from", dest="since", type=_date, required=True, metavar="DATE")
    parser.add_argument("--until", type=_date, required=True, metavar="DATE", help="exclusive")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    quiet_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        if lacking := [name for name in ("defn-c", "defn-m") if not (args.models / name).is_dir()]:
            raise DataError(f"`{args.models}` has no folder {lacking[0]}: publish it with `kflare fit --publish`")
        print(operate(args))
    except KflareError as error:
        print(f"operate_archive: {error}", file=sys.stderr)
        return 1
    return 0


def operate(args: argparse.Namespace) -> str:
    """Run every cycle and publish the newest forecast; what came of them, in lines."""
    flares = read_flares(args.flares, scale="irradiance" if args.flare_scale == "irradiance" else "as listed")
    # The ledger takes classes for today's: those of the list, where these are meant.
    flares = FlareList(flares.table, flares.source, told=flares.told)
    xrays = [read_xray_flux(path, scale="irradiance") for path in args.xrays or ()]
    begin, end = args.since - 2 * _DAY, args.until
    sets = sets_in(args.observations.absolute(), since=begin, until=end)
    archive = Archive(sets, joined(xrays) if xrays else None, read_srs(args.srs))
    make_folder(args.output)
    output = args.output.absolute()
    issues = list(issue_times(ForecastSettings().schedule.hours, args.since, args.until))
    with Server(folder=args.models.absolute(), port=0) as server:
        settings = ForecastSettings(
            data=DataSettings(folder=output / "data"),
            server=ServerSettings(address=server.address, disk_models=()),
            ledger=LedgerSettings(f"sqlite:///{output / 'ledger.sqlite'}"),
            site=SiteSettings(folder=output / "site", models=args.models.absolute()),
            log=LogSettings(str(output / "events.log")),
            marks=MarksSettings(by="score"),  # the paper's
            rungs=(FULL, IMPUTED, MAGNETOGRAM_ONLY),
        )
        write_whole(output / "kflare.toml", as_toml(settings))
        log, came, page = EventLog(settings.log.path), Counter[str](), output / "site" / "index.html"
        # Its pictures are kept for some days only: it is published when it is made.
        shown = max((issue for issue in issues if archive.seen(issue, settings)), default=None)
        if shown is None:
            raise DataError(f"{args.observations} holds nothing of 1 to 5 h before any of {len(issues)} issue times")
        with Ledger(settings.ledger.url) as ledger:
            for since, until in flares.between(args.since - _YEAR, args.until + _DAY).told:
                ledger.record_flares(flares, since=since, until=until, source=flares.source, recorded=args.since)
            for issue in issues:
                cycle, own = ledger.cycle(issue) if ledger.was_run(issue) else None, log.of_cycle(cycle_name(issue))
                new = cycle is None
                if cycle is None:
                    cycle = run_cycle(issue, settings, ledger=ledger, log=own, now=issue, observe=archive.observe)
                came[cycle.rung if isinstance(cycle, Forecast) else "no forecast"] += 1
                publish = issue == shown and (new or not page.exists())
                if publish and (failures := publish_cycle(cycle, settings, ledger, own)):
                    raise DataError(failures[0])
    lines = [f"{name:20}{number:6}" for name, number in came.most_common()]
    return "\n".join([f"{len(issues)} issue times, {issues[0]:%F} to {issues[-1]:%F}", *lines])


@dataclass(frozen=True)
class Archive:
    """What was observed, in order of time."""

    sets: Sequence[ObservationSet]
    xray: XrayFlux | None
    srs: pd.DataFrame

    def observe(
        self, issue: datetime, settings: ForecastSettings, *, now: datetime, measured: Collection[datetime]
    ) -> CycleInputs:
        """In the place of `fetch_inputs`: what there was, and what it compares with if no cycle measured it."""
        del now  # the present is the issue time
        seen = self.seen(issue, settings)
        before = [] if seen is None else [
            near if hours == 24 else ObservationSet(near.time, near.magnetogram)
            for hours in _COMPARED
            if (near := self._near(seen.time - hours * HOUR)) and all(abs(near.time - t) > _NEAR for t in measured)
        ]  # fmt: skip
        flux = None if self.xray is None else self.xray.between(issue - 3 * _DAY, issue)
        times = {
            "magnetogram": None if seen is None else seen.time, "vector_field": seen and seen.vector_time,
            "aia_1600": seen.time if seen and seen.aia_1600 else None,
            "aia_131": seen.time if seen and seen.aia_131[0] else None,
            "goes_xrays": None if flux is None or flux.missing == 1 else issue, "noaa_regions": issue.replace(hour=0),
        }  # fmt: skip
        files = {"aia_1600": seen and seen.aia_1600, "aia_131": seen and seen.aia_131[0]}
        return CycleInputs(
            records=tuple(_record(name, issue, time) for name, time in times.items()),
            flares=NrtResult("goes_flares", "", issue), events=NrtResult("goes_events", "", issue), observations=seen,
            files={name: path for name, path in files.items() if path}, xray=flux, srs=self.srs, earlier=tuple(before),
        )  # fmt: skip

    def seen(self, issue: datetime, settings: ForecastSettings) -> ObservationSet | None:
        """The newest set of the hours before an issue time in which data are not too old."""
        ages = settings.schedule.data_age_first_hours * HOUR, settings.schedule.data_age_last_hours * HOUR
        return next((one for one in reversed(self.sets) if ages[0] <= issue - one.time <= ages[1]), None)

    def _near(self, time: datetime) -> ObservationSet | None:
        near = min(self.sets, key=lambda one: abs(one.time - time))
        return near if abs(near.time - time) <= _NEAR else None


def _record(name: str, issue: datetime, time: datetime | None) -> InputRecord:
    if time is None:
        return InputRecord(name, "archive", None, None, None, "the archive has none of this time", "missing")
    return InputRecord(name, "archive", time, round((issue - time) / HOUR, 3), None, "of the archive", "ok")


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
