"""What every command shares.

Exit status 0 done, 1 a KflareError (one line on stderr), 2 wrong usage; tracebacks only with --debug.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from kflare.errors import KflareError

__all__ = ["run"]


def run(
    parser: argparse.ArgumentParser, action: Callable[[argparse.Namespace], None], argv: Sequence[str] | None
) -> int:
    """Parse, act, and turn a KflareError into one line on stderr.

    Parameters
    ----------
    parser : ArgumentParser
        The command's own options; `--debug` is added.
    action : callable
        Does the work with the parsed options.
    argv : sequence of str or None
        Arguments; None takes those of the process.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    # TensorFlow's start-up notes are of no use to a user; set before it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        action(args)
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
    return 0
