"""Score any table of forecasts: contingency tables, scores with intervals, reliability, ROC, and one page to read."""

import argparse
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kflare.commands import command_line
from kflare.errors import DataError, SettingError
from kflare.io.atomic import make_folder, write_whole
from kflare.io.progress import progress

if TYPE_CHECKING:
    import pandas as pd


def _verify(args: argparse.Namespace) -> None:
    if args.table is None and args.ledger is None and args.classes is None:
        raise SettingError("give a table of forecasts, `--ledger URL` or `--classes CLASS=FILE`")
    if args.ledger is not None and args.letter is None:
        raise SettingError("`--ledger` needs `--class`: the class to score")
    folder: Path = args.output
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"`--output` must be a new or empty folder, got {folder}: nothing is overwritten")

    from kflare.verification.comparison import VerificationSettings
    from kflare.verification.evaluation import ordered_periods
    from kflare.verification.largest_class import verify_classes
    from kflare.verification.report import verify_forecasts
    from kflare.verification.tables import forecast_table

    ordered_periods(args.periods)
    common = tuple(number for name, number in args.threshold if not name)
    own = tuple((name, number) for name, number in args.threshold if name)
    chosen = {name: getattr(args, name) for name in ("cluster", "block_length", "resamples", "level", "seed")}
    least = common or ((0.5,) if own else VerificationSettings.thresholds)
    settings = VerificationSettings(least, args.window, own_thresholds=own, **chosen)
    told = {name: getattr(args, name) for name in ("missing", "percent", "span", "since", "until")}
    if args.classes is not None or args.letter == "largest":
        if len(common) > 1:
            raise SettingError(f"of a largest class `--threshold` must be one, and a class's own, got {len(common)}")
        found = _of_classes(args)
        tables = {name: forecast_table(frame, **told) for name, (frame, *_) in found.items()}
        sources = {name: source for name, (_, source, _) in found.items()}
        text, numbers, files = verify_classes(tables, settings, sources)
        page = "verification.json"
    else:
        frame, source, event = _forecasts(args, args.letter, args.table)
        shown = partial(progress, desc="verifying", unit="part", leave=False)
        told |= {"event": event, "source": source, "periods": args.periods, "progress": shown}
        result = verify_forecasts(frame, settings=settings, **told)
        text, numbers, files, page = result.as_text(), result.as_json(), result.files(), "report.html"
    make_folder(folder / "figures")
    for name, content in files.items():  # the page comes last: where it stands, everything else does
        write_whole(folder / name, content)
    print(json.dumps(numbers, indent=2, allow_nan=False) if args.json else f"{text}\n\nreport: {folder / page}")


def _forecasts(args: argparse.Namespace, letter: str, table: Path | None) -> "tuple[pd.DataFrame, str, str]":
    """Forecasts of the methods asked for, of a table or of a class in the ledger; where they came from; the event."""
    from kflare.operations.outcomes import table_to_verify
    from kflare.verification.tables import of_methods, read_forecasts

    if table is None:
        frame, source, event = table_to_verify(args.ledger, letter, regions=args.regions)
        return of_methods(frame, args.methods), source, event
    frame = read_forecasts(table, methods=args.methods)
    return frame, f"{table.name}, SHA-256 {hashlib.sha256(table.read_bytes()).hexdigest()}", args.event


def _of_classes(args: argparse.Namespace) -> "dict[str, tuple[pd.DataFrame, str, str]]":
    """The same of each class, in rising order; of a ledger X where it was forecast."""
    from kflare.operations.forecast import FORECAST_CLASSES

    files = dict(args.classes or ())
    names = [name for name, _ in args.classes or ()]
    if names and (not 1 < len(names) == len(files) or not files.keys() <= set(FORECAST_CLASSES)):
        rule = f"must name several of {', '.join(FORECAST_CLASSES)}, each once"
        raise SettingError(f"`--classes` {rule}, got {', '.join(names)}")
    found = {}
    for name in [name for name in FORECAST_CLASSES if name in files or not files]:
        try:
            found[name] = _forecasts(args, name, files.get(name))
        except DataError:
            if files or name != "X":  # which a ledger need not hold
                raise
    return found


main = command_line.Command("verify", __doc__, _verify)
