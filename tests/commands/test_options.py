"""The table of all options: what it holds is used, and what is typed is checked by it."""

import importlib
import pkgutil
import tomllib
from importlib.resources import files

import pytest

from kflare import commands
from kflare.commands.command_line import Command

TABLE = tomllib.loads(files("kflare.commands").joinpath("options.toml").read_text(encoding="utf-8"))
MODULES = [
    importlib.import_module(f"kflare.commands.{found.name}") for found in pkgutil.iter_modules(commands.__path__)
]
COMMANDS = {module.main.name: module.main for module in MODULES if isinstance(getattr(module, "main", None), Command)}


def sets_in(table):
    for value in table.values():
        if isinstance(value, dict):
            yield from sets_in(value)
            yield from (text for name, text in value.items() if isinstance(text, str) and text in TABLE["shared"])


def test_the_table_is_of_the_commands():
    assert TABLE.keys() - {"shared"} == COMMANDS.keys()


def test_every_shared_set_is_used():
    assert set(sets_in(TABLE)) == set(TABLE["shared"])


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_option_says_what_it_is(command, capsys):
    assert all(action.help for action in command.parser()._actions if action.dest != "what")
    with pytest.raises(SystemExit) as ended:  # argparse fills in its own %(default)s here
        command(["--help"])
    assert ended.value.code == 0
    assert f"usage: kflare.{command.name}" in capsys.readouterr().out


def refused(capsys, command, *argv):
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command](list(argv))
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_value_that_is_none(capsys):
    assert "--port: must lie in 0..65535, got 70000" in refused(capsys, "serve", "--port", "70000")
    assert "--cadence: must be a span such as 24h" in refused(capsys, "fetch", "hmi", "--cadence", "soon")
    assert "--workers: must lie in 1..4096, got 0" in refused(capsys, "features", "x", "--workers", "0")
    assert "--cadence: must lie in 0.001..1e+06, got 0" in refused(capsys, "features", "x", "--cadence", "0")
    assert "--threshold: must lie in 0..1, got 2" in refused(capsys, "attribute", "x", "--threshold", "2")
    assert "--images: must lie in 1..1e+06, got 0" in refused(capsys, "controls", "x", "--images", "0")
    assert "--issue: must be a date or time such as" in refused(capsys, "forecast", "--once", "--issue", "noon")
    assert "not allowed with argument" in refused(capsys, "forecast", "--once", "--status")
    assert "choose from" in refused(capsys, "fit", "cnn-x")


def test_a_variable_gives_the_default(monkeypatch):
    monkeypatch.setenv("KFLARE_JSOC_URL", "http://mirror.example")
    asked = ["fetch", "hmi", "--from", "2013-10-01", "--until", "2013-10-02", "--output", "x"]
    assert COMMANDS["fetch"].parser().parse_args(asked[1:]).jsoc == "http://mirror.example"
