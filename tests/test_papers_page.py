"""docs/papers.md and the table that it is made of: everything that a row names is there."""

import ast
import importlib
import runpy
import shlex
from functools import cache
from pathlib import Path

import pytest

from kflare.commands.options import refuse_idle_options
from kflare.sun.times import time_from_name

ROOT = Path(__file__).resolve().parents[1]
_TOOL = runpy.run_path(str(ROOT / "tools" / "papers_page.py"))
STATEMENTS = _TOOL["statements"]()
KEYS = {"paper", "place", "says", "where", "command", "state", "why", "tests"}

each = pytest.mark.parametrize("row", STATEMENTS, ids=lambda row: f"{row['paper']}-{row['says'][:40]}")


@cache
def defined(path):
    """Names at the top of a Python file, and `Class.method` or `Class::method` of its classes."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}{dot}{part.name}" for part in node.body if hasattr(part, "name") for dot in (".", "::")
            }
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_the_page_is_that_of_the_table():
    assert _TOOL["PAGE"].read_text(encoding="utf-8") == _TOOL["page"](), "run python tools/papers_page.py"


def test_there_are_statements_of_both_papers_and_none_twice():
    assert {row["paper"] for row in STATEMENTS} == set(_TOOL["PAPERS"])
    said = [(row["paper"], row["place"], row["says"]) for row in STATEMENTS]
    assert len(set(said)) == len(said)


@each
def test_a_row_is_whole(row):
    assert set(row) == KEYS
    assert row["state"] in _TOOL["STATES"]
    assert row["says"]
    assert row["place"]
    assert row["where"]
    # Who says that it differs or cannot be done says why.
    assert row["why"] or row["state"] == "works"


@each
def test_modules_and_names_are_there(row):
    for place in row["where"]:
        module, _, name = place.partition(":")
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        assert path.is_file(), place
        assert name in defined(path), place


@each
def test_tests_are_there(row):
    assert row["tests"]
    assert len(set(row["tests"])) == len(row["tests"])
    for test in row["tests"]:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert name.rpartition("::")[2].startswith("test_"), test
        assert name in defined(ROOT / file), test


@each
def test_commands_take_these_options(row):
    if not row["command"]:
        return
    program, *words = shlex.split(row["command"])
    if program != "kflare":
        script = words[0] if program == "python" else program
        assert (ROOT / script).is_file()
        assert all((ROOT / word).exists() for word in words if word.startswith("tools/"))
        return
    # An image tells its time by its name, and maps lie in a folder of their model.
    images = [word for word in words if Path(word).suffix in {".jpg", ".jp2", ".png"}]
    assert [word for word in images if time_from_name(word) is None] == []
    assert words[0] != "analyse" or words[1].startswith("attributions/cnn-")
    # argparse ends the program if a word is unknown; an option that has no effect is refused.
    parser = importlib.import_module(f"kflare.commands.{words[0]}").main.parser()
    refuse_idle_options(parser, words[0], words[1:])
