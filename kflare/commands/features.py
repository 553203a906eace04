"""Find the active regions in observations, follow them, and measure the 79 features of Deep Flare Net."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.errors import DataError, SettingError
from kflare.io.atomic import write_whole
from kflare.io.progress import progress

if TYPE_CHECKING:
    from kflare.datasets.region_run import RunTable
    from kflare.observations.sets import FoundSets
    from kflare.xray.flux import XrayFlux


def _features(args: argparse.Namespace) -> None:
    from datetime import timedelta
    from functools import partial

    from kflare.datasets.region_parts import measure_all, plan, settled_folder
    from kflare.datasets.region_run import complete_run
    from kflare.flares.repairing import read_flares
    from kflare.flares.srs import read_srs
    from kflare.io.workers import run_tasks
    from kflare.observations.sets import find_sets
    from kflare.regions.extraction import Extraction

    options = Extraction(_detection_options(args.detection), args.disambiguation, timedelta(minutes=args.tolerance))
    # Read first: a fault in them would otherwise be found after hours.
    xray = _xrays(args)
    flares = None if args.flares is None else read_flares(args.flares, scale=args.flare_scale)
    srs = None if args.srs is None else read_srs(args.srs)
    cadence = None if args.cadence is None else timedelta(hours=args.cadence)
    span = {"since": args.begin, "until": args.end, "cadence": cadence, "tolerance": options.tolerance}
    found = find_sets([place.absolute() for place in args.observations], **span)
    with settled_folder(args.output, options) as folder:
        _report_left_out(found, folder, args.prog)
        jobs = plan(found.sets, folder, pictures=args.png, srs=None if args.srs is None else args.srs.absolute())
        todo = [job for job in jobs if not job.done]
        work, tasks = partial(measure_all, options=options), [[job] for job in todo]
        with run_tasks(work, tasks, workers=args.workers, scheduler=args.scheduler, prepare=_prepare) as results:
            bar = progress(results, total=len(todo), desc="measuring", unit="time", smoothing=0.05)
            did = [(result.failure, result.scale) for result in bar]
        failures = [failure for failure, _ in did if failure is not None]
        command_line.tell_byte_scale(args.prog, [scale for _, scale in did])
        with progress(total=len(jobs), desc="completing", unit="time") as bar:
            parts, path = [job.part for job in jobs], folder / "regions.parquet"
            run = complete_run(parts, path, xray=xray, flares=flares, srs=srs, done=bar.update)
        _write_lists(run, folder)
    summary = _summary(run, folder, measured=len(todo))
    print(json.dumps(summary, indent=2) if args.json else _as_text(summary, run))
    command_line.report_failures(args.prog, failures, of=f"{len(jobs)} magnetograms", rest=f"the rest is in {folder}")
    if found.unserved:
        raise DataError(f"{'; '.join(found.unserved)}: {folder} is without them; give a larger --tolerance, or others")


def _report_left_out(found: "FoundSets", folder: Path, prog: str) -> None:
    """Say which files are in no set, each in left_out.csv and the first on standard error."""
    import pandas as pd

    left = pd.DataFrame(found.left_out.items(), columns=["file", "reason"])
    write_whole(folder / "left_out.csv", left.to_csv(index=False))
    if len(left):
        rest = f"all in {folder / 'left_out.csv'}"
        print(f"{prog}: {len(left)} files left out, {rest}; first: {left['reason'][0]}", file=sys.stderr)


def _prepare() -> None:
    """Import what a worker needs before its first task."""
    import kflare.datasets.region_parts  # noqa: F401


def _xrays(args: argparse.Namespace) -> "XrayFlux | None":
    from kflare.regions.xray_features import joined
    from kflare.xray.flux import read_xray_flux

    beside = (path for place in args.observations for path in place.rglob("goes_xrays_*.json"))
    paths: list[Path] = args.xrays or sorted(set(beside))
    return joined([read_xray_flux(path, scale="irradiance") for path in paths]) if paths else None


def _detection_options(texts: Sequence[str]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    from kflare.regions.detection import DetectionOptions

    chosen, known = dict(text.partition("=")[::2] for text in texts), DetectionOptions.__annotations__
    if unknown := [name for name in chosen if name not in known]:
        raise SettingError(f"`--detection` takes NAME=VALUE with one of {', '.join(known)}, got {unknown[0]!r}")
    try:
        return TypeAdapter(DetectionOptions).validate_python(chosen)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise SettingError(f"`--detection` {name} must be a number, or true or false, got {chosen[name]!r}") from error


def _write_lists(run: "RunTable", folder: Path) -> None:
    import pandas as pd

    rows = [(event.time, event.kind, " ".join(event.before), " ".join(event.after)) for event in run.events]
    events = pd.DataFrame(rows, columns=["time", "kind", "before", "after"])
    for name, table in (("outcomes.csv", run.outcomes), ("tracks.csv", events)):
        write_whole(folder / name, table.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))


def _summary(run: "RunTable", folder: Path, *, measured: int) -> dict[str, Any]:
    counts = run.outcomes["status"].value_counts()
    return {
        "times": len(run.outcomes), "measured_now": measured, "with_regions": int(counts.get("regions", 0)),
        "no_sunspot": int(counts.get("no sunspot", 0)), "no_data": int(counts.get("no data", 0)), "rows": run.rows,
        "rows_to_forecast": run.forecast, "regions": run.regions, "merges_and_splits": len(run.events),
        "table": str(folder / "regions.parquet"), "outcomes": str(folder / "outcomes.csv"),
    }  # fmt: skip


def _as_text(summary: dict[str, Any], run: "RunTable") -> str:
    first, last = run.outcomes["time"].min(), run.outcomes["time"].max()
    return (
        f"{summary['times']} times from {first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}: "
        f"{summary['with_regions']} with regions, {summary['no_sunspot']} with no sunspot, "
        f"{summary['no_data']} without usable data\n{summary['rows']} rows of {summary['regions']} regions, "
        f"{summary['rows_to_forecast']} of them to be forecast, the rest across the limb\n{summary['table']}"
    )


main = command_line.Command("features", __doc__, _features, resumes=True)
