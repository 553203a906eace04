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

from kflare.errors import DataError, KflareError
from kflare.io.passwords import without_passwords

__all__ = ["Command", "add_byte_range", "add_span", "add_workers", "quiet_tensorflow", "report_failures", "utc_time"]


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


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers` and `--scheduler`, as `kflare.io.workers.run_tasks` takes them."""
    work = parser.add_argument_group("workers")
    work.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="processes, on a local dask cluster if more than 1 (default: 1)",
    )  # fmt: skip
    work.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers do the work instead")


def report_failures(prog: str, failures: Collection[str], *, of: str, rest: str) -> None:
    """Write each failure as a line on stderr and raise `DataError`; without failures nothing."""
    for failure in failures:
        print(f"{prog}: {failure}", file=sys.stderr)
    if failures:
        raise DataError(f"{len(failures)} of {of} could not be used, listed above; {rest}")


def utc_time(text: str) -> datetime:
    """A date or time of ISO 8601 on the command line, as aware UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"must be a date or time such as 2013-10-23 or 2013-10-23T03:00, got {text!r}"
        ) from error
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
