"""What every command shares.

Exit status 0 done, 1 a KflareError (one line on stderr), 2 wrong usage; tracebacks only with --debug.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from kflare.errors import KflareError

__all__ = ["quiet_tensorflow", "run", "utc_time"]


def run(
    parser: argparse.ArgumentParser, action: Callable[[argparse.Namespace], int | None], argv: Sequence[str] | None
) -> int:
    """Parse, act, and turn a KflareError into one line on stderr.

    Parameters
    ----------
    parser : ArgumentParser
        The command's own options; `--debug` is added.
    action : callable
        Does the work with the parsed options; may return an exit status of its own.
    argv : sequence of str or None
        Arguments; None takes those of the process.
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
