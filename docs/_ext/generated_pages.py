"""Pages made when the site is built, in generated/: settings, commands, the API, and Markdown from outside docs/.

What is shown has its one owner elsewhere: the table of settings, the parsers, the stubs, the registry, the files.
"""

import argparse
import dataclasses
import importlib
import inspect
import json
import re
import runpy
from os.path import relpath
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUT = DOCS / "generated"
# Pages of the site that lie elsewhere in the repository, where GitHub shows them.
OUTSIDE = {
    "serving/README.md": "serving",
    "CONTRIBUTING.md": "contributing",
    "ARCHITECTURE.md": "architecture",
    "CHANGELOG.md": "changelog",
}
# The newest model card of each model.
_CARDS = sorted(ROOT.glob("savedmodels/*/*/assets.extra/MODEL_CARD.md"), key=lambda card: int(card.parts[-3]))
OUTSIDE |= {str(card.relative_to(ROOT)): f"card-{card.parts[-4]}" for card in _CARDS}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def setup(app):
    app.connect("config-inited", lambda *_: write_pages())
    app.connect("source-read", _turn_links)
    app.connect("autodoc-process-docstring", _plain_bars)
    return {"parallel_read_safe": True}


def write_pages():
    """Write all of them."""
    pages = {"settings.md": settings_page(), "commands.md": commands_page(), "api.rst": api_page()}
    pages |= {f"commands/{name}.md": command_page(name) for name in _commands()}
    pages |= {f"api/{room}.rst": room_page(room, names) for room, names in rooms().items()}
    pages |= {f"{name}.md": with_links(ROOT / file, OUT / f"{name}.md") for file, name in OUTSIDE.items()}
    pages |= {"parts/registry.md": registry_tables(), "parts/scores.md": score_table()}
    for name, text in pages.items():
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_text(text, encoding="utf-8")
    importlib.import_module("model_diagrams").write_diagrams(OUT / "parts")
    importlib.import_module("cycle_diagram").write_cycle(OUT / "parts" / "cycle.svg")


# Markdown of elsewhere ------------------------------------------------------------------------------------------------


def with_links(file, page, text=None):
    """The Markdown of a file with its links as seen from a page of the site; what is no page of it is only named."""

    def turned(found):
        picture, words, (target, mark, anchor) = found[1], found[2], found[3].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        goal = (file.parent / target).resolve()
        inside = OUTSIDE.get(str(goal.relative_to(ROOT)))
        goal = goal if inside is None else OUT / f"{inside}.md"
        if not picture and not (goal.suffix == ".md" and goal.is_relative_to(DOCS)):
            return words
        return f"{picture}[{words}]({relpath(goal, page.parent)}{mark}{anchor})"

    return _LINK.sub(turned, file.read_text(encoding="utf-8") if text is None else text)


def _turn_links(app, docname, content):
    file = Path(app.env.doc2path(docname))
    if file.suffix == ".md" and not file.is_relative_to(OUT):
        content[0] = with_links(file, file, content[0])


def _plain_bars(app, what, name, obj, options, lines):
    """|B| in a docstring is an amount, not reStructuredText's mark of a substitution."""
    lines[:] = [re.sub(r"(?<![`|\w])\|(?=\S)(?=[^|]*\|)", r"\\|", line) for line in lines]


# Settings and commands ------------------------------------------------------------------------------------------------


def settings_page():
    """Every key of kflare.toml, with unit, default and meaning."""
    from kflare.operations.settings import ForecastSettings, told_of_settings

    lines = [
        "# Settings", "",
        "`kflare.toml` holds the settings of the operational forecast. Each key has a default; one that is not known",
        "is refused. `kflare forecast --print-settings` prints all, with the same comments, to begin with:", "",
        "```sh", "kflare forecast --print-settings > kflare.toml", "```", "",
        "Relative paths are relative to the folder of the file. How it all works together:",
        "[operations](../operations.md).",
    ]  # fmt: skip
    told, settings = told_of_settings(), ForecastSettings()

    def table(entries):
        rows = ["", "| key | unit | default | meaning |", "| --- | --- | --- | --- |"]
        for name, key, value in entries:
            unit, meaning = told[name]
            shown = "not set" if value is None else f"`{json.dumps(value, default=str, ensure_ascii=False)}`"
            rows.append(f"| `{key}` | {unit or '–'} | {shown} | {_cell(meaning)} |")
        return rows

    lines += table([("rungs", "rungs", settings.rungs)])
    for section in dataclasses.fields(settings):
        value = getattr(settings, section.name)
        if dataclasses.is_dataclass(value):
            keys = [
                (f"{section.name}.{key.name}", key.name, getattr(value, key.name)) for key in dataclasses.fields(value)
            ]
            lines += ["", f"## `[{section.name}]`", "", inspect.getdoc(type(value)), *table(keys)]
    return "\n".join(lines) + "\n"


def _commands():
    from kflare.__main__ import COMMANDS

    return COMMANDS


def commands_page():
    """The list of commands."""
    lines = [
        "# Commands", "",
        "`kflare COMMAND` and `python -m kflare.COMMAND` are the same. Exit status: 0 done, 1 an error (one line on",
        "stderr that says what to do), 2 wrong usage, 130 interrupted; `forecast` has more; `--debug` shows tracebacks",
        "An option that would have no effect is refused. These pages are made from the parsers, as `--help` is.", "",
        "| command | what it does |", "| --- | --- |",
    ]  # fmt: skip
    lines += [f"| [`kflare {name}`](commands/{name}.md) | {job} |" for name, job in _commands().items()]
    lines += ["", "```{toctree}", ":hidden:", "", *(f"commands/{name}" for name in _commands()), "```", ""]
    return "\n".join(lines)


def command_page(name):
    """One command: what it does, with examples, and its options."""
    parser = importlib.import_module(f"kflare.commands.{name}").main.parser(f"kflare {name}")
    lines = [f"# kflare {name}", "", *_description(parser), *_usage(parser), *_options(parser, 2)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help for choice in action._choices_actions}
            for word, inner in action.choices.items():
                lines += [
                    "",
                    f"## kflare {name} {word}",
                    "",
                    f"{told[word][:1].upper()}{told[word][1:]}.",
                    "",
                    *_options(inner, 3),
                ]
    return "\n".join(lines) + "\n"


def _description(parser):
    """The docstring, whose examples are a list of command lines under a rule of dashes."""
    text, _, examples = (parser.description or "").strip().partition("\n\nExamples\n--------\n")
    lines = [_escaped(text)]
    return [*lines, "", "```sh", examples.strip(), "```", ""] if examples else [*lines, ""]


def _usage(parser):
    return ["```text", parser.format_usage().strip(), "```", ""]


def _options(parser, level):
    lines = []
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        actions = [
            action for action in actions if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
        ]
        if not actions:
            continue
        title = {"positional arguments": "Arguments", "options": "Options"}.get(group.title, group.title)
        lines += ["", f"{'#' * level} {title[:1].upper()}{title[1:]}", ""]
        lines += [group.description, ""] if group.description else []
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| {_option(parser, action)} | {_cell(_help(parser, action))} |" for action in actions]
    return lines


def _option(parser, action):
    formatter = parser._get_formatter()
    named = formatter._get_default_metavar_for_optional(action) if action.option_strings else action.dest
    value = "" if action.nargs == 0 else formatter._format_args(action, action.metavar or named)
    return f"`{' '.join(filter(None, [', '.join(action.option_strings), value]))}`".replace("|", "\\|")


def _help(parser, action):
    formatter = parser._get_formatter()
    choices = f" One of {', '.join(map(str, action.choices))}." if action.choices and action.metavar else ""
    return formatter._expand_help(action) + choices


def _cell(text):
    return _escaped(text).replace("|", "\\|")


def _escaped(text):
    """Words that Markdown would take for marks."""
    return re.sub(r"(?<!`)([<*_])(?!`)", r"\\\1", text) if "`" not in text else text


# The API --------------------------------------------------------------------------------------------------------------


def rooms():
    return runpy.run_path(str(ROOT / "tools" / "api_page.py"))["rooms"]()


def api_page():
    """The list of rooms."""
    lines = [
        "API", "===", "",
        "Each room offers these names, loaded when first used: ``from kflare.observations import read_magnetogram``.",
        "Everything else in a room may change. :doc:`One page with all of them </api>`.", "",
        ".. toctree::", "   :maxdepth: 1", "", *(f"   api/{room}" for room in rooms()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def room_page(room, names):
    """One room: what it is for, a table of its names, and each of them."""
    module = importlib.import_module(room)
    things = {name: getattr(module, name) for name in names}
    told = {name: thing for name, thing in things.items() if callable(thing)}
    lines = [room, "=" * len(room), "", f".. py:module:: {room}", "", inspect.getdoc(module) or "", ""]
    lines += [
        f".. currentmodule:: {room}",
        "",
        ".. autosummary::",
        "   :nosignatures:",
        "",
        *(f"   {name}" for name in told),
        "",
    ]
    for name, thing in things.items():
        lines += [name, "-" * len(name), ""]
        if name in told:
            kind = "autoclass" if inspect.isclass(thing) else "autofunction"
            lines += [f".. {kind}:: {room}.{name}", ""]
        else:
            values = [thing] if isinstance(thing, (int, float, str)) else list(thing)
            shown = ", ".join(f"``{getattr(value, 'name', value)}``" for value in values)
            lines += [f".. py:data:: {room}.{name}", "", f"   {shown}", ""]
    return "\n".join(lines)


# The models -----------------------------------------------------------------------------------------------------------


def registry_tables():
    """The rows of the registry, and how each is trained by default."""
    from kflare.models.registry import MODELS

    lines = ["| model | forecasts | asked with | architecture |", "| --- | --- | --- | --- |"]
    asked = {"image": "a full-disk magnetogram", "region": "the features of an active region"}
    for one in MODELS:
        event = f"{one.event_text} within 24 h"
        lines.append(f"| `{one.name}` | {event} | {asked[one.kind]} | {one.documentation} |")
    keys = sorted({key for one in MODELS for key in one.recipe})
    lines += [
        "",
        "Trained by default with:",
        "",
        f"| model | {' | '.join(f'`{key}`' for key in keys)} |",
        "| --- " * (len(keys) + 1) + "|",
    ]
    for one in MODELS:
        for recipe, note in ((one.recipe, ""), (one.pretraining, ", `--pretrain`")):
            if recipe:
                lines.append(f"| `{one.name}`{note} | {' | '.join(str(recipe.get(key, '–')) for key in keys)} |")
    return "\n".join(lines) + "\n"


def score_table():
    """The scores, as reports have them."""
    from kflare.io.stored_table import stored_rows

    lines = ["| score | value | range | perfect | no skill | source |", "| --- " * 6 + "|"]
    for row in stored_rows("kflare.verification", "scores.csv"):
        cells = (row["label"], row["formula"], row["limits"], row["perfect"], row["no_skill"], row["source"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
