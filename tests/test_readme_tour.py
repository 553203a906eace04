"""The commands of the README's uses, as they stand there, on a made-up archive of ten weeks."""

import importlib
import json
import re
import shlex
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kflare.observations.reading import SUFFIXES
from kflare.serving import Server
from kflare.serving.server.config_files import ModelSettings
from kflare.synthetic.sun import SyntheticSun
from tests.sun_archive import SunArchive

ROOT = Path(__file__).resolve().parents[1]
# Years become weeks, and networks are small: what is tried is that each takes what the ones before it left.
TOY = {
    "2013-01-01": "2013-01-01", "2014-01-01": "2013-02-01", "2014-07-01": "2013-02-01", "2015-01-01": "2013-02-20",
    "2016-01-01": "2013-03-12", "2015-11-01": "2013-03-01", "2015-11-03": "2013-03-01T12:00",
    "--test-years 2015": "--blocks 3",
}  # fmt: skip
MORE = {
    "fit cnn-m": "--image-size 128 --epochs 1", "fit defn-m": "--epochs 1", "crossvalidate": "--epochs 1",
    "attribute": "--until 2013-01-08", "analyse": "--resamples 20",
}  # fmt: skip
#: The released models want larger disks than this archive has: those that were just trained are asked.
OURS = {"--model savedmodels/cnn-m": "--model runs/cnn-m/savedmodels/cnn-m"}
#: Beginnings of commands that run elsewhere: in tests/operations, tests/serving and tests/attribution.
ELSEWHERE = ("forecast ", "serve", "releases ", "controls ")


def tour():
    """The commands of kflare in the blocks of its uses, in their order, without `kflare`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Uses")[2].partition("\n## ")[0]
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", "")
    return [line.partition("#")[0].rstrip(" &") for line in re.findall(r"^kflare (.*)$", blocks, re.MULTILINE)]


def test_the_tour_names_only_what_it_fetched_or_made():
    made = {"study", "observations", "features", "runs", "cv-defn-m", "report", "attributions",
            "savedmodels", "kflare.toml", "127.0.0.1:8500"}  # fmt: skip
    commands = tour()
    assert len(commands) > 12
    for command in commands:
        words = shlex.split(command)
        paths = [word for word in words if re.search(r"/|\.(csv|parquet|txt|jpg|toml)$", word)]
        after = [words[place + 1] for place, word in enumerate(words) if word in {"--study", "--magnetograms"}]
        assert {word.partition("/")[0] for word in (*paths, *after)} <= made, command


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.timeout(1800)
def test_each_command_takes_what_those_before_it_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sun = SyntheticSun(datetime(2012, 12, 15, tzinfo=UTC), 90, seed=2, activity=2.0)
    with SunArchive(sun, size=256) as archive, ExitStack() as servers:
        mirrors = {"JSOC": "", "SOHO": "/soho", "NOAA": "/noaa", "HEK": "/hek/her?"}
        for name, path in mirrors.items():
            monkeypatch.setenv(f"KFLARE_{name}_URL", archive.url + path)
        run: list[str] = []
        answers = {}
        for command in tour():
            if command.startswith(ELSEWHERE):
                continue
            line = command
            for given, toy in TOY.items():
                line = re.sub(rf"{given}\b", toy.replace("2013", "20\0"), line)
            line = line.replace("\0", "13")
            line += "".join(f" {more}" for begin, more in MORE.items() if command.startswith(begin))
            for released, ours in OURS.items():
                line = line.replace(released, ours)
            if command.startswith("predict"):
                if "predict" not in run:
                    models = [ModelSettings(one, Path("runs", one, "savedmodels", one)) for one in ("cnn-m", "defn-m")]
                    server = servers.enter_context(Server(models, port=0))
                line += f" --server {server.address}"
            name, *words = shlex.split(line)
            status = importlib.import_module(f"kflare.commands.{name}").main(words)
            out, err = capsys.readouterr()
            assert status == 0, f"{line}\n{out[-2000:]}\n{err[-2000:]}"
            run.append(name)
            answers[command] = out
    assert set(run) == {"fetch", "features", "fit", "crossvalidate", "verify", "predict", "attribute", "analyse"}
    names = [path.name for path in Path("study", "hmi").iterdir() if path.suffix in SUFFIXES]
    assert len(names) > 60
    assert all(name in answers["predict study/hmi"] for name in names)
    assert len(list(Path("maps", "cnn-m").glob("*.png"))) == len(names)
    told = json.loads(answers["predict --regions features/regions.parquet --flares study/flares.csv --json"])
    assert all(0 < one["M+"]["calibrated"] < 1 for window in told["windows"] for one in window["regions"])
    drawn = {path.stem for path in Path("attributions", "cnn-m", "pictures").glob("*.png")}
    assert drawn == {Path(name).stem for name in names if name < "20130108"}
    assert len(drawn) > 4
    assert (Path("attributions", "cnn-m", "analysis") / "summary.json").is_file()
    assert (tmp_path / "runs" / "defn-m" / "savedmodels" / "defn-m" / "1").is_dir()
