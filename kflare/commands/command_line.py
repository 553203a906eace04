"""What every command shares.

Exit status 0 done, 1 a KflareError (one line on stderr), 2 wrong usage; tracebacks only with --debug.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kflare.errors import DataError, KflareError, SettingError
from kflare.io.passwords import without_passwords

__all__ = [
    "Command", "add_byte_range", "add_images", "add_span", "add_workers", "chosen_images", "quiet_tensorflow",
    "report_failures", "utc_time",
]  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command, called with the arguments (None: those of the process); returns the exit status.

    `documentation` is what ``--help`` shows, as it is laid out; `action` takes the parsed options and may return an
    exit status of its own. A KflareError becomes one line on stderr.
    """

    name: str
    documentation: str | None
    add_options: Callable[[argparse.ArgumentParser], None]
    action: Callable[[argparse.Namespace], int | None]

    def parser(self, prog: str | None = None) -> argparse.ArgumentParser:
        """The parser of its options, under the name that was typed (default: ``kflare.NAME``)."""
        layout, prog = argparse.RawDescriptionHelpFormatter, prog or f"kflare.{self.name}"
        parser = argparse.ArgumentParser(prog=prog, description=self.documentation, formatter_class=layout)
        self.add_options(parser)
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.set_defaults(prog=prog)
        return parser

    def __call__(self, argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
        """Parse and act."""
        args = self.parser(prog).parse_args(argv)
        try:
            return self.action(args) or 0
        except KflareError as error:
            if args.debug:
                raise
            print(f"{args.prog}: {without_passwords(' '.join(str(error).split()))}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{args.prog}: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of stdout went away, as `| head` does
            sys.stderr.close()
            return 0


def add_byte_range(parser: "argparse._ActionsContainer") -> None:
    """Add `--byte-range`, as `read_magnetogram` takes it."""
    told = "field of byte 255 in 8-bit images (default: 100 for JPEG and PNG, as in the paper)"
    parser.add_argument("--byte-range", type=float, metavar="GAUSS", help=told)


def add_span(parser: "argparse._ActionsContainer", what: str) -> None:
    """Add `--from` (`begin`) and `--until` (`end`), which restrict observations to [begin, end)."""
    parser.add_argument("--from", dest="begin", metavar="DATE", help=f"only {what} from this UTC date or time on")
    parser.add_argument("--until", dest="end", metavar="DATE", help=f"only {what} before this UTC date or time")


def add_images(parser: argparse.ArgumentParser, *, byte_range: bool = True) -> None:
    """Add the magnetograms of the commands of attribution: files, their list and span, and how bytes are read."""
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


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers` and `--scheduler`, as `kflare.io.workers.run_tasks` takes them."""
    work = parser.add_argument_group("workers")
    told = "processes, on a local dask cluster if more than 1 (default: 1)"
    work.add_argument("--workers", type=int, default=1, metavar="N", help=told)
    work.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers do the work instead")


def report_failures(prog: str, failures: Collection[str], *, of: str, rest: str) -> None:
    """Write each failure as a line on stderr and raise `DataError`; without failures nothing."""
    for failure in failures:
        print(f"{prog}: {failure}", file=sys.stderr)
    if failures:
        raise DataError(f"{len(failures)} of {of} could not be used, listed above; {rest}")


def utc_time(text: str) -> datetime:
    """A date or time of ISO 8601 on the command line, as aware UTC."""
    wrong = f"must be a date or time such as 2013-10-23 or 2013-10-23T03:00, got {text!r}"
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(wrong) from error
    if not 1600 <= time.year < 2600:  # far from where Python's own calendar ends
        raise argparse.ArgumentTypeError(wrong)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def quiet_tensorflow() -> None:
    """Import TensorFlow without the notes that it writes to stderr while it starts.

    `TF_CPP_MIN_LOG_LEVEL` comes too late for them: they are written before logging is set up.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_discarded():
        import tensorflow as tf

        tf.config.get_visible_devices()  # complains of missing GPU drivers here, and only once


@contextmanager
def _stderr_discarded() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
