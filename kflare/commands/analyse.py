r"""Tables and figures of Yi et al. (2021, section 4) about the maps that kflare.attribute exported.

Compares the forecasts with flares, the guided gradient with polarity inversion lines, and the Grad-CAM values of active
regions with their flares and SHARP parameters. Writes CSV, PNG and PDF files, and summary.json.

Examples
--------
python -m kflare.attribute hmi_daily --byte-range 250 --model savedmodels/cnn-m

python -m kflare.analyse attributions/cnn-m hmi_daily --flares swpc_flares_2010-2025.csv \
    --regions srs_1996-2018.csv --sharp sharp_noaa_daily_2010-2019.csv --days 2013-10-23
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from kflare.commands import command_line
from kflare.commands.command_line import add_images, chosen_images, utc_time

__all__ = ["attribution_files", "main"]


def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("export", type=Path, help="folder that kflare.attribute wrote to")
    add_images(parser, byte_range=False)
    add = parser.add_argument_group("tables").add_argument
    add("--flares", type=Path, required=True, metavar="FILE", help="flare list")
    positions = "positions of regions: SRS (or a folder), region table"
    add("--regions", type=Path, required=True, metavar="FILE", help=positions)
    add("--sharp", type=Path, metavar="FILE", help="daily table of SHARP parameters of NOAA regions, for Fig. 7")
    decision = "Probability from which an image was forecast to flare (default: 0.5, the higher score decides)."
    add = parser.add_argument_group("decision", decision).add_argument
    add("--threshold", type=float, metavar="P", help="this one")
    add("--model", type=Path, metavar="DIR", help="that of a published model")
    add = parser.add_argument_group("rules", "What the paper leaves open.").add_argument
    told = "area of a region: its box, or the strong field in it (default: box)"
    add("--area", choices=("box", "field"), default="box", help=told)
    told = "how polarity inversion lines are found (default: edges)"
    add("--polarity-method", choices=("edges", "schrijver"), default="edges", help=told)
    told = "field of a polarity (default: 150, in 8-bit images half of their --byte-range and at most 100)"
    add("--polarity-threshold", type=float, metavar="GAUSS", help=told)
    told = "square by which edges of polarities are dilated to find where they meet (default: 4)"
    add("--line-width", type=int, default=4, metavar="PIXELS", help=told)
    told = "largest distance from the central meridian in Figs. 5 and 7 (default: 60, as in the paper)"
    add("--max-longitude", type=float, default=60.0, metavar="DEGREES", help=told)
    told = "how far position and SHARP record of a region may be from the image in time (default: 12)"
    add("--tolerance", type=float, default=12.0, metavar="HOURS", help=told)
    add("--resamples", type=int, default=1000, metavar="N", help="for the bootstrap intervals (default: 1000)")
    add = parser.add_argument_group("output").add_argument
    add("--output", type=Path, metavar="DIR", help="folder to write to (default: EXPORT/analysis)")
    told = "days to show as examples, such as 2013-10-23 (default: the clearest forecasts)"
    add("--days", nargs="+", default=[], type=utc_time, metavar="DATE", help=told)
    add("--json", action="store_true", help="print the summary as JSON")


def _analyse(args: argparse.Namespace) -> None:
    from kflare.attribution.analysis import AnalysisOptions, analyse
    from kflare.attribution.region_tables import read_regions
    from kflare.flares.repairing import read_flares
    from kflare.sharp.daily import read_sharp_daily

    command_line.quiet_tensorflow()
    images = chosen_images(args)
    threshold = args.threshold
    if threshold is None and args.model is not None:
        from kflare.attribution.published import PublishedModel

        threshold = PublishedModel.find(args.model).threshold
    found = analyse(
        attribution_files(args.export, images),
        images,
        args.output or args.export / "analysis",
        flares=read_flares(args.flares),
        regions=read_regions(args.regions),
        sharp=None if args.sharp is None else read_sharp_daily(args.sharp),
        days=[day.date() for day in args.days],
        options=AnalysisOptions(
            decision_threshold=0.5 if threshold is None else threshold,
            area=args.area,
            polarity_threshold=args.polarity_threshold,
            polarity_method=args.polarity_method,
            line_width=args.line_width,
            max_longitude=args.max_longitude,
            tolerance_hours=args.tolerance,
            resamples=args.resamples,
        ),
    )
    print(json.dumps(found.summary, indent=2) if args.json else found.as_text())
    total = f"{len(found.failures) + len(found.images)} attribution files"
    command_line.report_failures(args.prog, found.failures.values(), of=total, rest="the rest was analysed")


def attribution_files(folder: Path, images: Sequence[Path]) -> list[Path]:
    """The attribution files of some magnetograms in the folder of an export, sorted by name; `DataError` if none."""
    from kflare.errors import DataError

    wanted = {image.stem for image in images}
    maps = folder / "maps" if (folder / "maps").is_dir() else folder
    found = sorted(path for path in maps.glob("[!.]*.fits") if path.stem in wanted)
    if not found:
        raise DataError(f"`{maps}` holds no attribution file of the magnetograms given: export them first")
    return found


main = command_line.Command("analyse", __doc__, _options, _analyse)
