r"""Run an office on the synthetic Sun for months, so that there is a real ledger to retrain on, without a network.

One forecast a day by the released models, with everything real but the files: regions are found and measured in
magnetograms of 512 pixels, the models asked, cycles and flares recorded. The folder gets kflare.toml and ledger.sqlite.

python tools/synthetic_office.py office --days 400       # to today; then docs/operations.md, "Retraining every month"
"""

import argparse
import logging
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kflare.commands.command_line import quiet_tensorflow
from kflare.errors import KflareError, SettingError
from kflare.flares.srs import read_srs
from kflare.io.atomic import write_whole
from kflare.models.released import released_models
from kflare.operations.demonstration import SETTINGS, Demonstration
from kflare.operations.ledger import Ledger
from kflare.operations.settings import (
    DataSettings,
    ForecastSettings,
    LedgerSettings,
    LogSettings,
    ScheduleSettings,
    ServerSettings,
    SiteSettings,
    as_toml,
)
from kflare.serving import Server
from kflare.synthetic.files import write_regions_of_the_day
from kflare.synthetic.sun import SyntheticSun

_BEFORE = 30  # days of flares that the first forecast knows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new one")
    parser.add_argument("--days", type=int, default=400, metavar="N", help="default: 400")
    parser.add_argument("--until", type=date.fromisoformat, metavar="DATE", help="last day (default: today)")
    parser.add_argument("--activity", type=float, default=1.0, metavar="X", help="1 = solar maximum (default: 1)")
    parser.add_argument("--seed", type=int, default=2, metavar="N", help="of the Sun (default: 2)")
    args = parser.parse_args(argv)
    quiet_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        last = datetime.combine(args.until or datetime.now(UTC).date(), datetime.min.time(), UTC) + timedelta(hours=3)
        with Server(folder=released_models(), port=0) as server:
            office = open_office(args, last, server.address)
            with Ledger(office.settings.ledger.url) as ledger:
                for number, cycle in enumerate(office.run(ledger), start=1):
                    if number % 20 == 0 or number == len(office.issues):
                        print(f"{number} of {len(office.issues)} forecasts, to {cycle.issue:%Y-%m-%d}", flush=True)
    except KflareError as error:
        print(f"synthetic_office: {error}", file=sys.stderr)
        return 1
    return 0


def open_office(args: argparse.Namespace, last: datetime, server: str) -> Demonstration:
    """What `Demonstration.prepare` makes of a week, of months."""
    folder = args.folder.absolute()
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise SettingError(f"`{args.folder}` cannot be made: {error.strerror}; name a new folder") from error
    issues = tuple(last - timedelta(days=back) for back in range(args.days - 1, -1, -1))
    begin = issues[0] - timedelta(days=_BEFORE)
    sun = SyntheticSun(begin, (last - begin).days + 2, seed=args.seed, activity=args.activity)
    sun.flares.between(begin, issues[0]).write_csv(folder / "flares_before.csv")
    days = pd.date_range(issues[0] - timedelta(days=1), sun.end, freq="D", unit="us").floor("D")
    write_regions_of_the_day(sun.region_table(days), folder / "regions_of_the_day.csv")
    settings = ForecastSettings(
        data=DataSettings(folder=folder / "data", keep_days=2.0, flares=folder / "flares_before.csv"),
        schedule=ScheduleSettings(hours=(3.0,)),
        server=replace(ServerSettings(), address=server, attribution=False),
        ledger=LedgerSettings(f"sqlite:///{folder / 'ledger.sqlite'}"),
        site=SiteSettings(folder=None, models=released_models()),
        log=LogSettings(str(folder / "events.log")),
    )
    write_whole(folder / SETTINGS, as_toml(settings))
    return Demonstration(sun, issues, settings, read_srs(folder / "regions_of_the_day.csv"))


if __name__ == "__main__":
    sys.exit(main())
