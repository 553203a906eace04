"""Score any table of forecasts: contingency tables, scores with intervals, reliability, ROC, and one page to read.

The table is CSV or Parquet: time, probability, observed, and optionally method and region. All methods are scored on
the same samples. The folder gets report.html (one file, with the figures), the tables as CSV and JSON, and the figures.

Examples
--------
python -m kflare.verify forecasts.csv --output report --event "≥M1.0 flares"
python -m kflare.verify forecasts.csv --output report --missing zero --threshold 0.5
python -m kflare.verify swpc_percent.csv --percent --output report
python -m kflare.verify regions.parquet --output report --cluster region
python -m kflare.verify wide.csv --methods NOAA SIDC --output report
python -m kflare.verify --ledger sqlite:///ledger.sqlite --class M --output report
python -m kflare.verify --ledger sqlite:///ledger.sqlite --class C --regions --output report
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kflare.commands import command_line
from kflare.commands.command_line import utc_time

__all__ = ["main"]


def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", nargs="?", type=Path, help="forecasts with their outcomes (CSV or Parquet)")
    add("--ledger", metavar="URL", help="instead of a table: the ledger of kflare.forecast")
    add("--class", dest="letter", choices=("C", "M"), help="with --ledger: the class to score")
    add("--regions", action="store_true", help="with --ledger: forecasts of regions, not of the disk")
    for name in ("since", "until"):
        parser.add_argument(f"--{name}", type=utc_time, metavar="DATE", help="with --ledger: issue time, UTC")
    add("--output", type=Path, required=True, metavar="DIR", help="new or empty folder for the report")
    told = "methods to compare (default: all); in a table without `probability`, the columns that hold them"
    add("--methods", nargs="+", default=(), metavar="NAME", help=told)
    told = "probabilities at or above which an event is forecast (default: 0.5 0.45 0.4)"
    add("--threshold", nargs="+", type=float, default=(0.5, 0.45, 0.4), metavar="P", help=told)
    told = "empty probabilities: leave the sample out for every method, or score them as 0 (default: exclude)"
    add("--missing", choices=("exclude", "zero"), default="exclude", help=told)
    add("--percent", action="store_true", help="the probabilities are percentages")
    add("--event", default="Flares", help='what is forecast, for the headings ("≥M1.0 flares")')
    add("--window", type=float, default=24.0, metavar="HOURS", help="length of the forecast window (default: 24)")
    told = "samples that are not independent, drawn together for the intervals (default: day)"
    add("--cluster", choices=("day", "region"), default="day", help=told)
    told = "days drawn together (default: 1, or more where windows overlap)"
    add("--block-length", type=int, metavar="DAYS", help=told)
    add("--resamples", type=int, default=10_000, metavar="N", help="default: 10000")
    add("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    add("--seed", type=int, default=0, help="of the resamples (default: 0)")
    add("--json", action="store_true", help="print all numbers as JSON instead of a summary")


def _verify(args: argparse.Namespace) -> None:
    from kflare.errors import SettingError

    if (args.table is None) == (args.ledger is None):
        raise SettingError("give either a table of forecasts or `--ledger URL`")
    if (args.ledger is None) != (args.letter is None) or (args.regions and args.ledger is None):
        raise SettingError("`--ledger` needs `--class`; `--class` and `--regions` go with `--ledger` only")
    if args.percent and args.ledger is not None:
        raise SettingError("`--percent` goes with a table: a ledger holds probabilities")
    folder: Path = args.output
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"`--output` must be a new or empty folder, got {folder}: nothing is overwritten")

    import hashlib

    from kflare.verification.comparison import VerificationSettings
    from kflare.verification.report import verify_forecasts
    from kflare.verification.tables import read_forecasts

    settings = VerificationSettings(
        thresholds=tuple(args.threshold),
        window_hours=args.window,
        cluster=args.cluster,
        block_length=args.block_length,
        resamples=args.resamples,
        level=args.level,
        seed=args.seed,
    )
    if args.ledger is not None:
        from kflare.operations.outcomes import table_to_verify

        span = {"since": args.since, "until": args.until}
        frame, source, event = table_to_verify(args.ledger, args.letter, regions=args.regions, **span)
    else:
        frame, event = read_forecasts(args.table, methods=args.methods), args.event
        source = f"{args.table.name}, SHA-256 {hashlib.sha256(args.table.read_bytes()).hexdigest()}"
    told = {"missing": args.missing, "percent": args.percent, "event": event, "source": source}
    result = verify_forecasts(frame, settings=settings, **told, progress=_bar)
    _write(folder, result.files())
    text = f"{result.as_text()}\n\nreport: {folder / 'report.html'}"
    print(json.dumps(result.as_json(), indent=2, allow_nan=False) if args.json else text)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the page last: where it stands, everything else does."""
    from kflare.io.atomic import make_folder, write_whole

    make_folder(folder / "figures")
    for name, content in files.items():
        write_whole(folder / name, content)


def _bar(items: Iterable[Any]) -> Iterator[Any]:
    from tqdm import tqdm

    yield from tqdm(items, desc="verifying", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)


main = command_line.Command("verify", __doc__, _options, _verify)
