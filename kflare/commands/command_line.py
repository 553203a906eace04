"""What every command shares.

Exit status 0 done, 1 a KflareError (one line on stderr), 2 wrong usage; tracebacks only with --debug.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kflare.commands.options import about, add_options, hide_what_is_not_of, refuse_idle_options
from kflare.errors import DataError, KflareError, SettingError
from kflare.io.passwords import without_passwords


@dataclass(frozen=True)
class Command:
    """A command, called with the arguments (None: those of the process); returns the exit status.

    ``--help`` shows the `documentation` and what the table of options says about the command, as they are laid out;
    `action` takes the parsed options and may return an exit status of its own; `words`, of the model
    whose help is asked for, are for `add_options`. A KflareError becomes one line on stderr.
    """

    name: str
    documentation: str | None
    action: Callable[[argparse.Namespace], int | None]
    words: Callable[[str | None], Mapping[str, Any]] = lambda _: {}
    resumes: bool = False

    def parser(self, prog: str | None = None, *, model: str | None = None) -> argparse.ArgumentParser:
        """The parser of its options, under the name that was typed (default: ``kflare.NAME``); help of one model."""
        layout, prog = argparse.RawDescriptionHelpFormatter, prog or f"kflare.{self.name}"
        description = f"{self.documentation}\n\n{about(self.name, model)}"
        parser = argparse.ArgumentParser(prog=prog, description=description, formatter_class=layout)
        add_options(parser, self.name, self.words(model))
        if model is not None:
            hide_what_is_not_of(parser, self.name, model)
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.set_defaults(prog=prog)
        return parser

    def __call__(self, argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
        """Parse and act."""
        typed = sys.argv[1:] if argv is None else argv
        asked = self.words(None).get("models", ()) if {"-h", "--help"} & set(typed) else ()
        args = self.parser(prog, model=next((one for one in typed if one in asked), None)).parse_args(argv)
        try:
            refuse_idle_options(self.parser(prog), self.name, argv)
            return self.action(args) or 0
        except KflareError as error:
            if args.debug:
                raise
            print(f"{args.prog}: {without_passwords(' '.join(str(error).split()))}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            again = "; the same command goes on from what was finished" if self.resumes else ""
            print(f"{args.prog}: interrupted{again}", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of stdout went away, as `| head` does
            sys.stderr.close()
            return 0


def chosen_images(args: argparse.Namespace) -> list[Path]:
    """Absolute paths of the magnetograms that the parsed options name; at least one, or an error says why not."""
    from kflare.attribution.export import in_span
    from kflare.datasets.archive import magnetogram_files

    places: list[Path] = list(args.magnetograms)
    if args.list is not None:
        try:
            lines = args.list.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"`--list`: {args.list} cannot be read: {error}") from error
        places += [Path(line.strip()) for line in lines if line.strip()]
    if not places:
        raise SettingError("give magnetograms, folders of them, or --list FILE")
    images = in_span(magnetogram_files(places), begin=args.begin, end=args.end)
    if not images:
        raise DataError(f"none of the magnetograms lies in {args.begin or '...'} to {args.end or '...'}")
    # Workers may have another current folder.
    return [image.absolute() for image in images]


def tell_byte_scale(prog: str, scales: Iterable[Any]) -> None:
    """Say on stderr, once, which field byte 255 of 8-bit images was taken for, and why."""
    from kflare.observations.byte_scale import scale_note

    if note := scale_note(scales):
        print(f"{prog}: {note}", file=sys.stderr)


def report_failures(prog: str, failures: Collection[str], *, of: str, rest: str) -> None:
    """Write each failure as a line on stderr and raise `DataError`; without failures nothing."""
    for failure in failures:
        print(f"{prog}: {failure}", file=sys.stderr)
    if failures:
        raise DataError(f"{len(failures)} of {of} could not be used, listed above; {rest}")


def quiet_tensorflow() -> None:
    """Import TensorFlow without the notes that it writes to stderr while it starts.

    `TF_CPP_MIN_LOG_LEVEL` comes too late for them: they are written before logging is set up.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
