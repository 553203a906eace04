"""The papers from their archives to their tables, by recipe, on the synthetic Sun's archive."""

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from kflare.commands.options import refuse_idle_options
from kflare.synthetic.sun import SyntheticSun
from tests.sun_archive import SunArchive
from tools.reproduce_paper import _years

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "tools" / "recipes"
PROGRAM = [sys.executable, str(ROOT / "tools" / "reproduce_paper.py")]
DAY = timedelta(days=1)
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "kflare").rglob("*.py")]

# Two days of texts and what is made of them without a network.
SHORT = """
title = "two days"
measured = "by hand"
[settings]
from = "2011-01-01"
until = "2011-01-02"
seeds = ["0", "1"]
[servers]
events = { option = "--url", path = "/events" }
srs = { option = "--url", path = "/srs" }
[line]
megabits_per_second = 8
seconds_per_request = 0.9
connections = 3
[[steps]]
name = "events"
command = "fetch flares {events} --from {begin} --until {end} --wait 0.01 --output events"
each = ["from", "after"]
makes = ["events"]
lack = 0.4
per = [["begin", "end"]]
requests = 20
seconds = 30.0
bytes = 1e6
restart = "at the day that is missing"
[[steps]]
name = "srs"
command = "fetch srs {srs} --from {from} --until {after} --wait 0.01 --output srs"
makes = ["srs"]
per = [["from", "after"], "seeds"]
seconds = 900
bytes = 1e9
restart = "at the day that is missing"
[[steps]]
name = "table"
command = "tools/paper_table_1.py --output table.md"
makes = ["table.md"]
per = []
seconds = 36
bytes = 0
restart = "from its beginning"
"""


def archive(begin, days, *, size=32, activity=1.0):
    return SunArchive(SyntheticSun(begin - DAY, days + 3, seed=2, activity=activity), size=size)


def reproduce(*arguments):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return path


@pytest.fixture
def sun():
    with archive(datetime(2011, 1, 1, tzinfo=UTC), 2) as server:
        yield server


@pytest.mark.parametrize("name", ["paper1", "paper2"])
def test_every_step_is_a_line_that_its_command_takes(name):
    path = RECIPES / f"{name}.toml"
    told = reproduce(path, "--estimate")
    assert told.returncode == 0, told.stderr
    # The page shows the estimate.
    title, *_, table = told.stdout.rstrip().split("\n\n")
    assert f"{title.splitlines()[0]}\n\n{table}\n```" in (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    recipe = tomllib.loads(path.read_text())
    assert [line.split()[0] for line in told.stdout.splitlines()[5:]] == [*(s["name"] for s in recipe["steps"]), "all"]
    words = {key: " ".join(value) if isinstance(value, list) else value for key, value in recipe["settings"].items()}
    words |= {"begin": "2011-01-01", "end": "2012-01-01", "after": "2012-01-02"}
    words |= {"operate_after": "2012-01-02"}
    assert recipe["settings"]["flare_scale"] == "as-listed"  # the papers' thresholds, not today's
    for step in recipe["steps"]:
        for made in map(Path, step["makes"]):  # a file is one that kflare writes under this name
            texts = [step["command"], *SOURCES]  # or the step itself
            assert not made.suffix or any(made.name in text for text in texts), made
        assert ("--flares" in step["command"]) == ("--flare-scale {flare_scale}" in step["command"])
        assert step["seconds"] > 0  # a unit of work costs something, or no estimate could be made
        for servers in (
            dict.fromkeys(recipe["servers"], ""),
            {key: f"{server['option']} http://127.0.0.1{server['path']}" for key, server in recipe["servers"].items()},
        ):
            command, *options = shlex.split(step["command"].format(**words, **servers))
            if command.startswith("tools/"):
                assert (ROOT / command).is_file()
                continue
            # argparse ends the program if one is unknown; one that has no effect is refused.
            refuse_idle_options(importlib.import_module(f"kflare.commands.{command}").main.parser(), command, options)


def test_what_two_spans_have_in_common_is_fetched_once():
    first, later = (date(2010, 6, 1), date(2012, 1, 1)), (date(2019, 1, 1), date(2020, 7, 1))
    apart = {
        "2010": (date(2010, 6, 1), date(2011, 1, 1)), "2011": (date(2011, 1, 1), date(2012, 1, 1)),
        "2019": (date(2019, 1, 1), date(2020, 1, 1)), "2020": (date(2020, 1, 1), date(2020, 7, 1)),
    }  # fmt: skip
    assert _years([later, first]) == apart
    assert _years([later, first, (date(2011, 3, 1), date(2012, 1, 1))]) == apart
    # What goes on in the same year has a name of its own.
    longer = _years([first, (date(2010, 9, 1), date(2012, 3, 1)), (date(2012, 5, 1), date(2012, 6, 1))])
    assert list(longer) == ["2010", "2011", "2012", "20120501"]
    assert longer["2012"] == (date(2012, 1, 1), date(2012, 3, 1))


def test_an_estimate_is_costs_times_work(recipe):
    told = reproduce(recipe, "--until", "2011-01-11")
    assert told.returncode == 0, told.stderr
    rows = {line.split()[0]: line.split()[1:5] for line in told.stdout.splitlines()[5:]}
    # 11 days: 30 s; 20 requests of 0.9 s on 3 connections, and 1 MB at 8 Mbit/s: 7 s each.
    assert rows["events"] == ["0.01", "0.09", "0.02", "1"]
    # 11 days and two seeds.
    assert rows["srs"] == ["22.00", "5.50", "0.00", "1"]
    # A program takes as long whatever the span.
    assert rows["table"] == ["0.00", "0.01", "0.00", "1"]
    assert rows["all"][:3] == ["22.0", "5.6", "0.0"]


def test_an_unanswered_file_is_asked_for_again_and_its_lack_is_told(recipe, sun, tmp_path):
    work = tmp_path / "work"
    line = (recipe, "--work", work, "--archive", sun.url)
    sun.fail("20110102SRS", "html")
    told = reproduce(*line)
    assert told.returncode == 1
    assert "step `srs` ended with status 1: see " in told.stderr
    assert "1 of 2 were rejected or not answered for" in (work / "logs" / "srs.txt").read_text()
    state = json.loads((work / "state.json").read_text())["steps"]
    assert (state["events-2011"]["finished"], state["srs"]["finished"]) == (True, False)
    assert not (work / "table.md").exists()
    # Only what is not finished is run again, with what another run got.
    sun.faults.clear()
    asked = len(sun.log)
    told = reproduce(*line)
    assert told.returncode == 0, told.stderr
    assert [path.rpartition("/")[2] for path in sun.log[asked:]] == ["20110102SRS.txt"]
    assert (work / "tables" / "srs.txt").read_text().split()[:4] == ["got", "1", "0.0", "MB"]
    assert "Park et al. (2018)" in (work / "table.md").read_text()
    state = json.loads((work / "state.json").read_text())["steps"]
    assert state["srs"]["bytes"] == sum(path.stat().st_size for path in (work / "srs").iterdir())
    # The costs of this machine.
    told = reproduce(recipe, "--until", "2011-01-21", "--costs", work)
    assert told.returncode == 0, told.stderr
    assert "costs: those of the work folder" in told.stdout
    # What is gone is made again.
    for path in (work / "srs").iterdir():
        path.unlink()
    (work / "srs").rmdir()
    assert reproduce(*line).returncode == 0
    assert len(list((work / "srs").iterdir())) == 2


def test_a_share_may_lack(recipe, tmp_path):
    with archive(datetime(2011, 1, 1, tzinfo=UTC), 5) as server:
        server.fail("20110102events", "html")
        line = (recipe, "--work", tmp_path / "work", "--archive", server.url, "--until", "2011-01-04")
        told = reproduce(*line)
    assert told.returncode == 0, told.stderr
    assert "not everything was to be had for events-2011" in told.stdout
    assert len(server.asked("20110102events")) == 3 * 4  # tries of the step, attempts of each


def test_what_is_wrong_is_one_line(recipe, sun, tmp_path):
    work = tmp_path / "work"
    assert reproduce(recipe, "--work", work, "--archive", sun.url).returncode == 0
    for arguments, message in (
        ((recipe, "--work", work, "--set", "seeds=3"), "was begun with `seeds` = ['0', '1'], not ['3']"),
        ((recipe, "--set", "colour=red"), "`colour=red` must be NAME=VALUE with one of from, until, seeds"),
        ((recipe, "--until", "soon"), "setting `until` must be a date such as 2010-05-01, got soon"),
        ((recipe, "--from", "2030-01-01", "--until", "2029-01-01"), "`until` must be later than `from`, got 2030"),
        ((tmp_path / "none.toml",), "is no recipe"),
        ((recipe, "--costs", tmp_path), "cannot be read"),
    ):
        told = reproduce(*arguments)
        assert (told.returncode, told.stderr.count("\n"), message in told.stderr) == (1, 1, True), told.stderr


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(1800)
def test_the_first_paper_through_a_kill(tmp_path):
    work = tmp_path / "work"
    with archive(datetime(2010, 12, 12, tzinfo=UTC), 40, size=256) as server:
        span = ["--from", "2010-12-12", "--until", "2011-01-21", "--set", "mdi_until=2011-01-01", "epochs=1"]
        span += ["train_until=2010-12-31", "validate_until=2011-01-11", "check_until=2011-01-03", "image_size=128"]
        line = [*PROGRAM, str(RECIPES / "paper1.toml"), "--work", str(work), "--archive", server.url, *span]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        first = subprocess.Popen(line, start_new_session=True, **quiet)
        while len(server.asked(r"hmimag_512\.jpg")) < 3:
            assert first.poll() is None
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)  # with its commands, as when the machine goes down
        first.wait()
        told = subprocess.run(line, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        fetched = server.asked(r"mdimag_512\.jpg")
    assert "[1/" not in told.stderr  # MDI's images were there
    # Each image of MDI once but for those of January's check, one of the 40 days has none.
    assert len(fetched) == len(set(fetched))
    assert "test span" in (work / "runs" / "cnn-c" / "summary.txt").read_text()
    summary = json.loads((work / "attributions" / "analysis" / "summary.json").read_text())
    assert sum(summary["images"].values()) >= 8  # of ten days
    assert list((work / "attributions" / "analysis").glob("*.png"))
    assert "randomisation" in (work / "tables" / "controls.txt").read_text()
    assert "| cnn-c, network" in (work / "tables" / "table-1.txt").read_text()
    assert "byte_correlation" in (work / "tables" / "check-mdi.txt").read_text()
