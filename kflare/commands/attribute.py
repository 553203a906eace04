"""Attribution maps of an archive: where a full-disk model looks, image by image."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.commands.command_line import chosen_images
from kflare.errors import SettingError
from kflare.io.progress import progress

if TYPE_CHECKING:
    from kflare.attribution.export import Export
    from kflare.attribution.outcomes import ExportOutcomes
    from kflare.attribution.published import AttributionModel


def _attribute(args: argparse.Namespace) -> None:
    from kflare.attribution.export import Export

    if args.model is None and args.server is None:
        raise SettingError("give either --model DIR or --server ADDRESS with --model-name NAME")
    if args.server is not None and args.model_name is None:
        raise SettingError("--server ADDRESS and --model-name NAME go together")
    command_line.quiet_tensorflow()
    images = chosen_images(args)
    source, outcomes = _source(args)
    folder = (args.output or Path("attributions") / source.origin.model).absolute()
    scales = {"byte_range": args.byte_range, "model_range": source.byte_range}
    regions, bitmaps = (None if one is None else one.absolute() for one in (args.regions, args.bitmaps))
    tables = {"regions": regions, "bitmaps": bitmaps}
    settings = Export(folder, batch_size=args.batch_size, pictures=args.png, **tables, **scales)
    with settings.held():
        summary, failures = _export(args, images, source, settings, outcomes)
    print(json.dumps(summary, indent=2) if args.json else _as_text(summary))
    if 0 < summary["images"] == summary.get("images_without_regions"):
        print(f"{args.prog}: note: {args.regions} has no region within 12 h of any image: does it cover their time?",
              file=sys.stderr)  # fmt: skip
    total = f"{summary['images'] + len(failures)} images"
    command_line.report_failures(args.prog, failures, of=total, rest=f"the rest is in {settings.folder}")


def _source(args: argparse.Namespace) -> "tuple[AttributionModel, ExportOutcomes | None]":
    """The model and, with a flare list, what its forecasts are compared with."""
    from kflare.attribution.outcomes import ExportOutcomes
    from kflare.attribution.published import PublishedModel
    from kflare.flares.repairing import read_flares
    from kflare.serving.forecasts.served_forecasts import ServedModel, event_of

    threshold = args.threshold
    source: AttributionModel
    if args.model is not None:
        source = PublishedModel.find(args.model, methods=args.methods, reference=args.reference)
        event, threshold = source.event, source.threshold if threshold is None else threshold
    else:
        if args.flares is not None and threshold is None:
            unknown = "a server does not tell the threshold of its model"
            raise SettingError(f"{unknown}: give it with --threshold, or leave --flares out")
        source = ServedModel.find(args.server, args.model_name, timeout=args.timeout)
        event = event_of(args.model_name)[0]
    flares = None if args.flares is None else read_flares(args.flares, scale=args.flare_scale)
    return source, None if flares is None else ExportOutcomes(flares, event, threshold)


def _export(
    args: argparse.Namespace, images: list[Path], source: "AttributionModel", settings: "Export",
    outcomes: "ExportOutcomes | None"
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    from kflare.attribution.attribution_file import ANSWERED_METHODS, METHODS
    from kflare.attribution.export import export, plan_export, tasks
    from kflare.attribution.harps import BOX
    from kflare.attribution.image_maps import value_columns
    from kflare.attribution.value_table import ValueTable
    from kflare.io.workers import run_tasks

    jobs = plan_export(images, settings, source)
    batches = [jobs] if args.workers == 1 and args.scheduler is None else tasks(jobs, settings)
    work = partial(export, source=source, settings=settings)
    workers = {"workers": args.workers, "scheduler": args.scheduler, "prepare": command_line.quiet_tensorflow}
    failures: list[str] = []
    scales: list[Any] = []
    alone = outlined = 0
    apart: dict[str, float] = {}
    columns = value_columns([name for name in source.methods if name not in ANSWERED_METHODS])
    with (
        ValueTable(settings.folder / "attribution.parquet", outcomes=outcomes, more=columns).open() as table,
        run_tasks(work, batches, **workers) as results,
    ):
        for result in progress(results, total=len(jobs), desc="attributing", unit="image", smoothing=0.05):
            if result.failure is not None:
                failures.append(result.failure)
            table.add(result.rows)
            scales.append(result.scale)
            alone += len(result.rows) == 1
            outlined += sum(row["outline"] not in {None, BOX} for row in result.rows)
            for method in METHODS:
                if result.rows and (name := f"{method}_reference") in result.rows[0]:
                    apart[method] = max(apart.get(method, 0.0), result.rows[0][name])
    command_line.tell_byte_scale(args.prog, scales)
    summary = {
        "model": source.origin.model, "version": source.origin.version, "images": len(jobs) - len(failures),
        "already_done": sum(job.done for job in jobs), "failed": len(failures),
        "rows": table.rows, **({} if args.regions is None else {"images_without_regions": alone}),
        **({} if args.bitmaps is None else {"regions_by_bitmap": outlined}),
        "outcomes": dict(table.outcomes), **({"largest_difference": apart} if args.reference else {}),
        "table": str(table.path), "maps": str(settings.maps),
    }  # fmt: skip
    return summary, failures


def _as_text(summary: dict[str, Any]) -> str:
    made = f"{summary['images']} images attributed by {summary['model']} version {summary['version']}"
    lines = [
        f"{made}, {summary['already_done']} of them before",
        f"{summary['maps']}: a FITS file per image",
        f"{summary['table']}: {summary['rows']} rows",
    ]
    if summary.get("images_without_regions"):
        lines.append(f"{summary['images_without_regions']} images have no region of `--regions` within 12 h")
    if "regions_by_bitmap" in summary:
        lines.append(f"{summary['regions_by_bitmap']} rows have the area of their HARP's bitmap, the others their box")
    if summary.get("largest_difference"):
        found = ", ".join(f"{method} {value:.1e}" for method, value in summary["largest_difference"].items())
        lines.append(f"largest difference of tf-keras-vis's maps from the model's, of their largest value: {found}")
    if summary["outcomes"]:
        lines.append(", ".join(f"{name}: {count}" for name, count in summary["outcomes"].items()))
    return "\n".join(lines)


main = command_line.Command("attribute", __doc__, _attribute, resumes=True)
