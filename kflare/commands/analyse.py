"""Tables and figures of Yi et al. (2021, section 4) about the maps that kflare.attribute exported."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from kflare.commands import command_line
from kflare.commands.command_line import chosen_images
from kflare.errors import DataError

_SAME = ("area", "bitmaps", "polarity_threshold", "polarity_method", "line_width", "max_longitude", "resamples")


def _analyse(args: argparse.Namespace) -> None:
    from kflare.attribution.analysis import AnalysisOptions, analyse
    from kflare.attribution.region_tables import read_regions
    from kflare.flares.repairing import read_flares
    from kflare.observations.magnetogram import ByteScale
    from kflare.sharp.daily import read_sharp_daily

    command_line.quiet_tensorflow()
    images = chosen_images(args)
    threshold = args.threshold
    if threshold is None and args.model is not None:
        from kflare.attribution.published import PublishedModel

        threshold = PublishedModel.find(args.model).threshold
    files, output = attribution_files(args.export, images), args.output or args.export / "analysis"
    flares, regions = read_flares(args.flares, scale=args.flare_scale), read_regions(args.regions)
    sharp = None if args.sharp is None else read_sharp_daily(args.sharp)
    decides, same = 0.5 if threshold is None else threshold, {name: getattr(args, name) for name in _SAME}
    options = AnalysisOptions(decides, tuple(args.methods), tolerance_hours=args.tolerance, **same)
    days = [day.date() for day in args.days]
    found = analyse(files, images, output, flares=flares, regions=regions, sharp=sharp, days=days, options=options)
    read = found.images[["image", "byte_range"]].dropna().itertuples(index=False)
    command_line.tell_byte_scale(args.prog, [ByteScale(gauss, "attribution file", image) for image, gauss in read])
    print(json.dumps(found.summary, indent=2, default=str) if args.json else found.as_text())
    total = f"{len(found.failures) + len(found.images)} attribution files"
    command_line.report_failures(args.prog, found.failures.values(), of=total, rest="the rest was analysed")


def attribution_files(folder: Path, images: Sequence[Path]) -> list[Path]:
    """The attribution files of some magnetograms in the folder of an export, sorted by name; `DataError` if none."""
    wanted = {image.stem for image in images}
    maps = folder / "maps" if (folder / "maps").is_dir() else folder
    found = sorted(path for path in maps.glob("[!.]*.fits") if path.stem in wanted)
    if not found:
        raise DataError(f"`{maps}` holds no attribution file of the magnetograms given: export them first")
    return found


main = command_line.Command("analyse", __doc__, _analyse)
