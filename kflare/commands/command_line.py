"""What every command shares.

Exit status 0 done, 1 a KflareError (one line on stderr), 2 wrong usage; tracebacks only with --debug.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from kflare.errors import DataError, KflareError

__all__ = ["add_workers", "parser", "quiet_tensorflow", "report_failures", "run", "utc_time"]


def parser(command: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of a command; ``--help`` shows the documentation of its module as it is laid out."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=command, description=documentation, formatter_class=layout)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers` and `--scheduler`, as `kflare.io.workers.run_tasks` takes them."""
    work = parser.add_argument_group("workers")
    work.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="processes, on a local dask cluster if more than 1 (default: 1)",
    )  # fmt: skip
    work.add_argument("--scheduler", metavar="ADDRESS", help="dask scheduler whose workers do the work instead")


def report_failures(command: str, failures: Collection[str], *, of: str, rest: str) -> None:
    """Write each failure as a line on stderr and raise `DataError`; without failures nothing."""
    for failure in failures:
        print(f"{command}: {failure}", file=sys.stderr)
    if failures:
        raise DataError(f"{len(failures)} of {of} could not be used, listed above; {rest}")


def run(
    parser: argparse.ArgumentParser, action: Callable[[argparse.Namespace], int | None], argv: Sequence[str] | None
) -> int:
    """Parse with `--debug` added, act, and turn a KflareError into one line on stderr.

    The action may return an exit status of its own; None as `argv` takes the arguments of the process.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    try:
        return action(args) or 0
    except KflareError as error:
        if args.debug:
            raise
        line = " ".join(str(error).split())
        print(f"{parser.prog}: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of stdout went away, as `| head` does
        sys.stderr.close()
        return 0


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
