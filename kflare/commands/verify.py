"""Score any table of forecasts: contingency tables, scores with intervals, reliability, ROC, and one page to read.

The table is CSV or Parquet: time, probability, observed, and optionally method, region and span. All methods are
scored on the same samples. The folder gets report.html (one file, with the figures), the tables as CSV and JSON, and
the figures.

Examples
--------
python -m kflare.verify forecasts.csv --output report --event "≥M1.0 flares"
python -m kflare.verify forecasts.csv --output report --missing zero --threshold 0.5
python -m kflare.verify swpc_percent.csv --percent --output report
python -m kflare.verify regions.parquet --output report --cluster region
python -m kflare.verify wide.csv --methods NOAA SIDC --threshold 0.5 NOAA=0.4 --since 2016-07-01 --output report
python -m kflare.verify runs/defn-m/seed-0/forecasts.csv --span test --methods probability calibrated --output report
python -m kflare.verify --ledger sqlite:///ledger.sqlite --class M --output report
python -m kflare.verify --ledger sqlite:///ledger.sqlite --class C --regions --output report
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kflare.commands import command_line
from kflare.errors import SettingError
from kflare.io.atomic import make_folder, write_whole

__all__ = ["main"]


def _verify(args: argparse.Namespace) -> None:
    if (args.table is None) == (args.ledger is None):
        raise SettingError("give either a table of forecasts or `--ledger URL`")
    if args.ledger is not None and args.letter is None:
        raise SettingError("`--ledger` needs `--class`: the class to score")
    folder: Path = args.output
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"`--output` must be a new or empty folder, got {folder}: nothing is overwritten")

    import hashlib

    from kflare.verification.comparison import VerificationSettings
    from kflare.verification.report import verify_forecasts
    from kflare.verification.tables import of_methods, read_forecasts

    common = tuple(number for name, number in args.threshold if not name)
    own = tuple((name, number) for name, number in args.threshold if name)
    settings = VerificationSettings(
        thresholds=common or ((0.5,) if own else VerificationSettings.thresholds),
        own_thresholds=own,
        window_hours=args.window,
        cluster=args.cluster,
        block_length=args.block_length,
        resamples=args.resamples,
        level=args.level,
        seed=args.seed,
    )
    if args.ledger is not None:
        from kflare.operations.outcomes import table_to_verify

        frame, source, event = table_to_verify(args.ledger, args.letter, regions=args.regions)
        frame = of_methods(frame, args.methods)
    else:
        frame, event = read_forecasts(args.table, methods=args.methods), args.event
        source = f"{args.table.name}, SHA-256 {hashlib.sha256(args.table.read_bytes()).hexdigest()}"
    told = {name: getattr(args, name) for name in ("missing", "percent", "span", "since", "until", "periods")}
    result = verify_forecasts(frame, settings=settings, **told, event=event, source=source, progress=_bar)
    _write(folder, result.files())
    text = f"{result.as_text()}\n\nreport: {folder / 'report.html'}"
    print(json.dumps(result.as_json(), indent=2, allow_nan=False) if args.json else text)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the page last: where it stands, everything else does."""
    make_folder(folder / "figures")
    for name, content in files.items():
        write_whole(folder / name, content)


def _bar(items: Iterable[Any]) -> Iterator[Any]:
    yield from tqdm(items, desc="verifying", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)


main = command_line.Command("verify", __doc__, _verify)
