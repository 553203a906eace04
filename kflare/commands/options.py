"""The options of every command, from one table, `options.toml`, which says how it is laid out."""

import argparse
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from kflare.errors import SettingError
from kflare.sun.times import UNIT_SECONDS, read_date

_RULES: Final = ("only_with", "not_with", "leaves", "after")


def _utc_time(text: str) -> datetime:
    """A date of `read_date`."""
    try:
        return read_date(text)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _past_time(text: str) -> datetime:
    if (time := _utc_time(text)) >= datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"`{text}` lies in the future: there are no data of it yet")
    return time


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in UNIT_SECONDS or not number.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"must be a span such as 24h, 90m or 1d, got {text!r}")
    return timedelta(seconds=float(number) * UNIT_SECONDS[unit])


def _named_period(text: str) -> tuple[str, datetime, datetime]:
    name, _, (begin, dots, end) = *text.partition("=")[:2], text.partition("=")[2].partition("..")
    if not name or not dots:
        raise argparse.ArgumentTypeError(f"must be NAME=FROM..UNTIL such as mdi=2009-01-01..2011-01-01, got {text!r}")
    return name, _utc_time(begin), _utc_time(end)


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"must be a name and a file such as C=c.csv, got {text!r}")
    return name, Path(path)


def _between(least: float, most: float, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        found = kind(text)
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"must lie in {least:g}..{most:g}, got {text}")
        return found

    return number


OPTION_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "path": Path, "int": int, "float": float, "utc_time": _utc_time, "past_time": _past_time, "span": _span,
    "named_number": lambda text: (text.rpartition("=")[0], float(text.rpartition("=")[2])),
    "named_path": _named_path, "named_period": _named_period, "words": lambda text: text.replace("-", " "),
}  # fmt: skip
"""Of an option's value; text without one."""


def add_options(parser: argparse.ArgumentParser, command: str, words: Mapping[str, Any]) -> None:
    """Add the options of a command to its parser, and its commands where it has several; `words` fill in {these}."""
    _add_groups(parser, _table()[command], words)


def about(command: str, model: str | None = None) -> str:
    """What a command does, beyond its first line, and examples, or those of models as this one."""
    parts = re.split("(?=python -m )", str(_table()[command].get("about", "")))
    family = (model or "").partition("-")[0]
    return "".join(part for part in parts if family in part or not part.startswith("python -m ")).rstrip()


def hide_what_is_not_of(parser: argparse.ArgumentParser, command: str, model: str) -> None:
    """Leave out of the help what has no effect with a model."""
    hidden: set[str] = set()
    for name, arguments in command_options(command).items():
        for rule in arguments.get("only_with", ()):
            models = [one.removeprefix("model=") for one in rule.split(" or ") if one.startswith("model=")]
            if rule in hidden or (models and not any(fnmatchcase(model, like) for like in models)):
                hidden.add(name)
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to them
        told = (action.help or "").removeprefix("image models: ").removeprefix("region models: ")
        action.help = argparse.SUPPRESS if hidden & {*action.option_strings} else told


def command_options(command: str, what: str | None = None) -> dict[str, dict[str, Any]]:
    """The table's entries of the options of a command, and of one of its commands too, by name as it is typed."""
    groups = _table()[command]
    inner = {} if what is None else groups["commands"][what]
    kinds = [options for title, options in (*groups.items(), *inner.items()) if title not in ("commands", "about")]
    return {name: arguments for options in kinds for name, arguments in _spelled_out(options)}


def refuse_idle_options(parser: argparse.ArgumentParser, command: str, argv: Sequence[str] | None) -> None:
    """Refuse what was typed, even as it is by default, and has no effect beside the rest, and dates out of order."""
    args = vars(parser.parse_args(argv))
    options = command_options(command, args.get("what"))
    _forget_defaults(parser)
    typed = {name for name, value in vars(parser.parse_args(argv)).items() if value is not _NOTHING}
    given = [name for name, arguments in options.items() if _place(name, arguments) in typed]

    def holds(condition: str) -> bool:
        """Whether one of "--this", "--that or name=pattern" is there, or has such a value."""
        asked = [one.partition("=") for one in condition.split(" or ")]
        found = [(args.get(_place(name, options.get(name, {}))), pattern or "*") for name, _, pattern in asked]
        return any(one not in (None, []) and one is not False and fnmatchcase(str(one), like) for one, like in found)

    def own(condition: str) -> str:
        """What of it is an option of this command."""
        return " or ".join(one for one in condition.split(" or ") if one.partition("=")[0] in options) or condition

    for name in given:
        rules = options[name]
        absent = [f"without {own(one)}" for one in rules.get("only_with", ()) if not holds(one)]
        present = [f"with {one}" for one in rules.get("not_with", ()) if holds(one)]
        mode = [f"with {one}" for one in given if name not in options[one].get("leaves", [name]) and name != one]
        if why := [*absent, *present, *mode]:
            # Of two that exclude each other nobody knows which one was meant; the rest was not meant so.
            remedy = "leave one of them out" if present and not absent else "leave it out"
            raise SettingError(f"{name} has no effect {why[0].replace('=', ' ')}: {remedy}")
        for other in (one for one in rules.get("after", ()) if one in given):
            end, begin = (args[_place(one, options[one])] for one in (name, other))
            if end <= begin:
                raise SettingError(f"{name} must be later than {other} {begin:%FT%H:%MZ}, got {end:%FT%H:%MZ}")


_NOTHING: Final = object()


def _forget_defaults(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # noqa: SLF001 - argparse does not tell what was typed
        action.default = _NOTHING
        for inner in (action.choices or {}).values() if isinstance(action, argparse._SubParsersAction) else ():  # noqa: SLF001
            _forget_defaults(inner)


def _place(name: str, arguments: Mapping[str, Any]) -> str:
    """Where argparse puts an option."""
    return str(arguments.get("dest", name.lstrip("-").replace("-", "_")))


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(files("kflare.commands").joinpath("options.toml").read_text(encoding="utf-8"))


def _add_groups(parser: argparse.ArgumentParser, groups: Mapping[str, Any], words: Mapping[str, Any]) -> None:
    for title, options in groups.items():
        if title == "commands":
            commands = parser.add_subparsers(dest="what")
            for name, inner in options.items():
                one = commands.add_parser(name, help=inner["about"], description=inner["about"])
                one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
                _add_groups(one, inner, words)
        elif title != "about":
            group = parser.add_argument_group(title, options.get("about")) if title else parser
            if title == "exclusive":
                group = parser.add_mutually_exclusive_group(required=True)
            for name, arguments in _spelled_out(options):
                group.add_argument(name, **_arguments(arguments, words))


def _spelled_out(options: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, arguments in options.items():
        if name == "about":
            continue
        if isinstance(arguments, str):
            yield from _spelled_out(_table()["shared"][arguments])
        else:
            yield name, arguments


def _arguments(given: Mapping[str, Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """As argparse takes them."""
    found = {name: value for name, value in given.items() if name not in _RULES}
    found["help"] = given["help"].format(**words)
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
