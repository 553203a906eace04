"""The options of every command, from one table, `options.toml`, which says how it is laid out."""

import argparse
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from kflare.sun.times import UNIT_SECONDS

__all__ = ["OPTION_TYPES", "add_options"]


def _utc_time(text: str) -> datetime:
    """A date or time of ISO 8601 on the command line, as aware UTC."""
    wrong = f"must be a date or time such as 2013-10-23 or 2013-10-23T03:00, got {text!r}"
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(wrong) from error
    if not 1600 <= time.year < 2600:  # far from where Python's own calendar ends
        raise argparse.ArgumentTypeError(wrong)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in UNIT_SECONDS or not number.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"must be a span such as 24h, 90m or 1d, got {text!r}")
    return timedelta(seconds=float(number) * UNIT_SECONDS[unit])


def _named_number(text: str) -> tuple[str, float]:
    """Name, "" where there is none, and number of NAME=0.2 or 0.2."""
    name, _, number = text.rpartition("=")
    return name, float(number)


def _between(least: float, most: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        found = kind(text)
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"must lie in {least:g}..{most:g}, got {text}")
        return found

    return number


OPTION_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "path": Path, "int": int, "float": float, "utc_time": _utc_time, "span": _span,
    "named_number": _named_number, "words": lambda text: text.replace("-", " "),
}  # fmt: skip
"""Of an option's value; text without one."""


def add_options(parser: argparse.ArgumentParser, command: str, words: Mapping[str, Any]) -> None:
    """Add the options of a command to its parser, and its commands where it has several; `words` fill in {these}."""
    table = tomllib.loads(files("kflare.commands").joinpath("options.toml").read_text(encoding="utf-8"))
    _add_groups(parser, table[command], table["shared"], words)


def _add_groups(
    parser: argparse.ArgumentParser, groups: Mapping[str, Any], shared: Mapping[str, Any], words: Mapping[str, Any]
) -> None:
    for title, options in groups.items():
        if title == "commands":
            commands = parser.add_subparsers(dest="what")
            for name, inner in options.items():
                one = commands.add_parser(name, help=inner.pop("about"))
                one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
                _add_groups(one, inner, shared, words)
            continue
        about = options.pop("about", None)
        group = parser.add_argument_group(title, about) if title else parser
        if title == "exclusive":
            group = parser.add_mutually_exclusive_group(required=True)
        for name, arguments in _spelled_out(options, shared):
            group.add_argument(name, **_arguments(arguments, words))


def _spelled_out(options: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, arguments in options.items():
        if isinstance(arguments, str):
            yield from _spelled_out(shared[arguments], shared)
        else:
            yield name, arguments


def _arguments(given: Mapping[str, Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """As argparse takes them."""
    found = dict(given, help=given["help"].format(**words))
    if isinstance(choices := found.get("choices"), str):
        found["choices"] = words[choices.strip("{}")]
    if isinstance(metavar := found.get("metavar"), list):
        found["metavar"] = tuple(metavar)
    if variable := found.pop("environment", None):
        found["default"] = os.environ.get(variable)
    if "type" in found:
        kind, bounds = OPTION_TYPES[found["type"]], found.pop("range", None)
        found["type"] = _between(bounds[0], bounds[1], kind) if bounds else kind
    return found
