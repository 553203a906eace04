"""The options of ``python -m kflare.attribute --analyse``, and the analysis that they ask for."""

import argparse
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kflare.errors import DataError, SettingError

if TYPE_CHECKING:
    from kflare.attribution.analysis import Analysis

__all__ = ["add_options", "analyse_export", "attribution_files"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the group of options that only the analysis has; it shares the others of the command.

    Light: imports nothing but the standard library, so that ``--help`` stays fast.
    """
    group = parser.add_argument_group(
        "analysis",
        "Of an export made before; give its magnetograms, --flares and --regions. Goes to --output or DIR/analysis. "
        "The decision threshold is --threshold, else that of --model, else 0.5: the higher of the two scores decides.",
    )
    group.add_argument(
        "--analyse",
        type=Path,
        metavar="DIR",
        help="write the tables and figures of Yi et al. (2021, section 4) about the maps in DIR, and make no maps",
    )
    group.add_argument(
        "--sharp", type=Path, metavar="FILE", help="daily table of SHARP parameters of NOAA regions, for Fig. 7"
    )
    group.add_argument(
        "--days",
        nargs="+",
        default=[],
        metavar="DATE",
        help="days to show as examples, such as 2013-10-23 (default: the clearest forecasts)",
    )
    group.add_argument(
        "--area",
        choices=("box", "field"),
        default="box",
        help="area of a region: its box, or the strong field in it (default: box)",
    )
    group.add_argument(
        "--polarity-method",
        choices=("edges", "schrijver"),
        default="edges",
        help="how polarity inversion lines are found (default: edges)",
    )
    group.add_argument(
        "--polarity-threshold",
        type=float,
        metavar="GAUSS",
        help="field of a polarity (default: 150, in 8-bit images half of --byte-range and at most 100)",
    )
    group.add_argument(
        "--line-width",
        type=int,
        default=4,
        metavar="PIXELS",
        help="square by which edges of polarities are dilated to find where they meet (default: 4)",
    )
    group.add_argument(
        "--max-longitude",
        type=float,
        default=60.0,
        metavar="DEGREES",
        help="largest distance from the central meridian in Figs. 5 and 7 (default: 60, as in the paper)",
    )
    group.add_argument(
        "--tolerance",
        type=float,
        default=12.0,
        metavar="HOURS",
        help="how far position and SHARP record of a region may be from the image in time (default: 12)",
    )
    group.add_argument(
        "--resamples", type=int, default=1000, metavar="N", help="for the bootstrap intervals (default: 1000)"
    )


def analyse_export(
    args: argparse.Namespace, images: Sequence[Path], *, decision_threshold: float | None = None
) -> "Analysis":
    """Run the analysis that the parsed options ask for.

    Parameters
    ----------
    args : Namespace
        The options of `add_options`, and `regions`, `flares`, `output`.
    images : sequence of Path
        The magnetograms; only the attribution files made from these are analysed.
    decision_threshold : float, optional
        Probability from which an image is forecast to flare; None for the paper's 0.5.

    Raises
    ------
    SettingError
        An option is missing or out of its range.
    DataError
        The folder holds no attribution files of these images, or a table cannot be used.
    """
    for name in ("flares", "regions"):
        if getattr(args, name) is None:
            raise SettingError(f"--analyse needs --{name} FILE")
    from kflare.attribution.analysis import analyse
    from kflare.attribution.image_maps import Settings
    from kflare.attribution.region_tables import read_regions, read_sharp_daily
    from kflare.flares.catalogue import read_flares

    settings = Settings(
        decision_threshold=0.5 if decision_threshold is None else decision_threshold,
        area=args.area,
        polarity_threshold=args.polarity_threshold,
        polarity_method=args.polarity_method,
        line_width=args.line_width,
        max_longitude=args.max_longitude,
        tolerance_hours=args.tolerance,
        resamples=args.resamples,
    )
    return analyse(
        attribution_files(args.analyse, images),
        images,
        args.output or args.analyse / "analysis",
        flares=read_flares(args.flares),
        regions=read_regions(args.regions),
        sharp=None if args.sharp is None else read_sharp_daily(args.sharp),
        days=[_day(text) for text in args.days],
        settings=settings,
    )


def attribution_files(folder: Path, images: Sequence[Path]) -> list[Path]:
    """The attribution files of some magnetograms in the folder of an export, sorted by name.

    Raises
    ------
    DataError
        There are none.
    """
    wanted = {image.stem for image in images}
    maps = folder / "maps" if (folder / "maps").is_dir() else folder
    found = sorted(path for path in maps.glob("[!.]*.fits") if path.stem in wanted)
    if not found:
        raise DataError(f"`{maps}` holds no attribution file of the magnetograms given: export them first")
    return found


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise SettingError(f"`--days` must be dates such as 2013-10-23, got {text!r}") from error
