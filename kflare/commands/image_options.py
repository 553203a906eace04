"""The options by which the commands of attribution name magnetograms."""

import argparse
from pathlib import Path

from kflare.commands.command_line import add_byte_range, add_span

__all__ = ["add_image_options", "chosen_images"]


def add_image_options(parser: argparse.ArgumentParser, *, byte_range: bool = True) -> None:
    """Add the magnetograms, their list and span, and how bytes are read; light, so that ``--help`` stays fast."""
    images = parser.add_argument_group("images")
    images.add_argument("magnetograms", nargs="*", type=Path, help="full-disk magnetograms, or folders of them")
    images.add_argument("--list", type=Path, metavar="FILE", help="file with the path of a magnetogram per line")
    add_span(images, "images")
    if byte_range:
        add_byte_range(images)


def chosen_images(args: argparse.Namespace) -> list[Path]:
    """Absolute paths of the magnetograms that the parsed options name; at least one, or an error says why not."""
    from kflare.attribution.export import in_span
    from kflare.datasets.archive import magnetogram_files
    from kflare.datasets.splits import utc_date
    from kflare.errors import DataError, SettingError

    places: list[Path] = list(args.magnetograms)
    if args.list is not None:
        try:
            lines = args.list.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"`--list`: {args.list} cannot be read: {error}") from error
        places += [Path(line.strip()) for line in lines if line.strip()]
    if not places:
        raise SettingError("give magnetograms, folders of them, or --list FILE")
    begin, end = (None if text is None else utc_date(text) for text in (args.begin, args.end))
    images = in_span(magnetogram_files(places), begin=begin, end=end)
    if not images:
        raise DataError(f"none of the magnetograms lies in {args.begin or '...'} to {args.end or '...'}")
    # Workers may have another current folder.
    return [image.absolute() for image in images]
