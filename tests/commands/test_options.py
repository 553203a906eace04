"""The table of all options: what it holds is used, and what is typed is checked by it."""

import importlib
import pkgutil
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from kflare import commands
from kflare.commands.command_line import Command
from kflare.commands.options import command_options, refuse_idle_options
from kflare.errors import SettingError

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
    assert "--issue: `noon` is no date: write it as" in refused(capsys, "forecast", "--once", "--issue", "noon")
    assert "--from: `+2weeks` lies in the future" in refused(capsys, "fetch", "hmi", "--from", "+2weeks")
    assert "--classes: must be a name and a file such as C=c.csv" in refused(capsys, "verify", "--classes", "c.csv")
    assert "--train-until: `soon` is no date" in refused(capsys, "fit", "cnn-m", "--train-until", "soon")
    assert "--train-until: `-6months` is no date" in refused(capsys, "fit", "cnn-m", "--train-until=-6months")
    assert "--test-until: `+1year` lies in the future" in refused(capsys, "fit", "defn-m", "--test-until", "+1year")
    assert "--until: `soon` is no date" in refused(capsys, "attribute", "x", "--until", "soon")
    assert "--from: `2500-01-01` lies in the future" in refused(capsys, "fetch", "hmi", "--from", "2500-01-01")
    assert "--epochs: must lie in 1..1e+09, got 0" in refused(capsys, "fit", "cnn-m", "--epochs", "0")
    assert "--seeds: must lie in 0..4.29497e+09, got -1" in refused(capsys, "fit", "cnn-m", "--seeds=-1")
    assert "--class-weight: must lie in 1e-09..1e+09, got 0" in refused(capsys, "fit", "cnn-m", "--class-weight", "0")
    assert "--resamples: must lie in 1..1e+09, got 0" in refused(capsys, "verify", "x", "--resamples", "0")
    assert "not allowed with argument" in refused(capsys, "forecast", "--once", "--status")
    assert "choose from" in refused(capsys, "fit", "cnn-x")


def test_a_variable_gives_the_default(monkeypatch):
    monkeypatch.setenv("KFLARE_JSOC_URL", "http://mirror.example")
    asked = ["fetch", "hmi", "--from", "2013-10-01", "--until", "2013-10-02", "--output", "x"]
    assert COMMANDS["fetch"].parser().parse_args(asked[1:]).jsoc == "http://mirror.example"


FIT = "--flares f --train-until 2014-01-01 --validate-until 2015-01-01"
DATED = "--from 2013-01-01 --until 2013-01-02 --output o"
_WAYS = {
    "fit images": f"fit cnn-m --magnetograms m {FIT}",
    "fit pretrained": f"fit cnn-m --magnetograms m --pretrain --no-publish {FIT}",
    "fit sharp": f"fit defn-m --sharp s --harp-noaa h {FIT}",
    "fit regions": f"fit defn-m --regions r {FIT}",
    "fit study": "fit defn-m --study s --train-until 2014-01-01",
    "crossvalidate": "crossvalidate defn-m --regions r --flares f",
    "crossvalidate images": "crossvalidate cnn-m --magnetograms m --flares f",
    "crossvalidate baselines": "crossvalidate cnn-m --magnetograms m --flares f --seeds",
    "crossvalidate blocks": "crossvalidate defn-m --sharp s --flares f --blocks 5 --forecasts o",
    "crossvalidate show-scale": "crossvalidate defn-m --sharp s --flares f --show-scale",
    "attribute": "attribute m --model p",
    "attribute served": "attribute m --server a:1 --model-name cnn-m --flares f --regions r --scheduler a:2",
    "analyse": "analyse e m --flares f --regions r",
    "analyse schrijver": "analyse e --list m --flares f --regions r --polarity-method schrijver --threshold 0.5",
    "controls": "controls m --model p",
    "predict images": "predict m",
    "predict images with maps": "predict m --attribute d",
    "predict regions": "predict --regions r",
    "predict regions with flares": "predict --regions r --flares f",
    "features": "features o",
    "features with flares": "features o --flares f --scheduler a:2",
    "verify": "verify t.csv --output o",
    "verify by region": "verify t.csv --output o --cluster region",
    "verify ledger": "verify --ledger sqlite:// --class M --output o",
    "verify classes": "verify --classes C=c.csv M=m.csv --output o",
    "verify the largest": "verify --ledger sqlite:// --class largest --output o",
    "fetch": "fetch --check d",
    "fetch study": f"fetch study {DATED}",
    "fetch hmi": f"fetch hmi {DATED}",
    "fetch aia": f"fetch hmi {DATED} --series aia.lev1_euv_12s",
    "fetch mdi": f"fetch mdi {DATED}",
    "fetch helioviewer": f"fetch helioviewer {DATED}",
    "fetch sharp": f"fetch sharp {DATED}",
    "fetch flares": f"fetch flares {DATED}",
    "fetch hek": f"fetch flares {DATED} --hek",
    "fetch srs": f"fetch srs {DATED}",
    "fetch xrays": f"fetch xrays {DATED}",
    "fetch xray feeds": "fetch xrays --output o",
    "fetch nrt": "fetch nrt --output o",
    "releases publish": "releases --publish v --config c",
    "releases publish quietly": "releases --publish v",
    "releases list": "releases --list",
    "releases verify": "releases --verify",
    "releases sign": "releases --sign v",
    "releases rollback": "releases --rollback m",
    "releases promote": "releases --promote m --config c --notify a:1",
    "releases check": "releases --check a:1",
    "releases protoset": "releases --protoset p",
    "demo": "demo f",
    "serve": "serve",
    "serve batches": "serve --batching-parameters-file b --rest-api-port 0",
    **{f"forecast {mode}": f"forecast --{mode}" for mode in
       ("once", "schedule", "publish", "status", "upgrade-ledger", "verify-ledger", "print-settings", "export o")},
}  # fmt: skip
WAYS = {name: way.split() for name, way in _WAYS.items()}
"""Ways to use each command: together they show each option where it has an effect, and where not."""

_DATA = "--sharp --harp-noaa --srs --regions --features"
_MODES = "--issue --now --json"
IDLE = {
    "fit images": _DATA,
    "fit pretrained": f"{_DATA} --patience --select --class-weight --publish",
    "fit sharp": "--magnetograms --byte-range --daily --image-size --no-augment --pretrain --regions",
    "fit regions": "--sharp --magnetograms --byte-range --daily --harp-noaa --image-size --no-augment --pretrain",
    "fit study": "--magnetograms --byte-range --daily --harp-noaa --image-size --no-augment --pretrain",
    "crossvalidate": "--sharp --magnetograms --byte-range --daily --harp-noaa --image-size --no-augment --pretrain "
    "--tolerance --forecasts-threshold",
    "crossvalidate images": f"{_DATA} --tolerance --forecasts-threshold",
    "crossvalidate baselines": f"{_DATA} --epochs --batch-size --learning-rate --patience --select --class-weight "
    "--no-augment --pretrain --calibration --tolerance --forecasts-threshold",
    "crossvalidate blocks": "--magnetograms --byte-range --daily --regions --image-size --no-augment --pretrain "
    "--test-years",
    "crossvalidate show-scale": "--magnetograms --byte-range --daily --srs --regions --features --flare-scale "
    "--test-years --blocks --seeds --calibration --image-size --epochs --batch-size --learning-rate --patience "
    "--select --class-weight --no-augment --pretrain --forecasts --tolerance --forecasts-threshold --output "
    "--resamples --json --shuffled --periods --workers --scheduler",
    "attribute": "--server --model-name --timeout --flare-scale --threshold --bitmaps",
    "attribute served": "--methods --model --reference --workers",
    "analyse": "",
    "analyse schrijver": "--model --line-width",
    "controls": "",
    "demo": "",
    "predict images": "--regions --flares --flare-scale --png",
    "predict images with maps": "--regions --flares --flare-scale",
    "predict regions": "--byte-range --flare-scale --attribute --png",
    "predict regions with flares": "--byte-range --attribute --png",
    "features": "--flare-scale",
    "features with flares": "--workers",
    "verify": "--classes --ledger --class --regions",
    "verify by region": "--classes --ledger --class --regions --block-length",
    "verify ledger": "--percent --event --window --span --classes",
    "verify classes": "--ledger --class --regions --event --periods",
    "verify the largest": "--percent --event --window --span --classes --periods",
    "fetch": "",
    "fetch study": "",
    "fetch hmi": "--wavelength",
    "fetch aia": "",
    "fetch mdi": "",
    "fetch helioviewer": "",
    "fetch sharp": "",
    "fetch flares": "",
    "fetch hek": "--connections --noaa",
    "fetch srs": "",
    "fetch xrays": "",
    "fetch xray feeds": "--satellite",
    "fetch nrt": "",
    "forecast once": "",
    "forecast schedule": _MODES,
    "forecast publish": "",
    "forecast status": "--issue --json",
    "forecast upgrade-ledger": _MODES,
    "forecast verify-ledger": _MODES,
    "forecast print-settings": _MODES,
    "forecast export o": _MODES,
    "releases publish": "--set-aside --signing-key --trusted-key --ca --cert --key --json",
    "releases publish quietly": "--canary --notify --set-aside --signing-key --trusted-key --ca --cert --key --json",
    "releases list": "--set-aside --canary --keep --signing-key --trusted-key --notify --ca --cert --key",
    "releases verify": "--canary --keep --signing-key --notify --ca --cert --key --json",
    "releases sign": "--models --config --set-aside --canary --keep --trusted-key --notify --ca --cert --key --json",
    "releases rollback": "--set-aside --canary --keep --signing-key --trusted-key --notify --ca --cert --key --json",
    "releases promote": "--set-aside --canary --keep --signing-key --trusted-key --json",
    "releases check": "--config --set-aside --canary --keep --signing-key --trusted-key --notify --json",
    "releases protoset": "--models --config --set-aside --canary --keep --signing-key --trusted-key --notify --ca "
    "--cert --key --json",
    "serve": "--enable-per-model-batching-parameters --monitoring-config-file",
    "serve batches": "",
}  # fmt: skip
"""What has no effect there."""


def added_to(argv):
    """The options that a way of using a command has not, without those that make it another way."""
    what = [word for word in argv[1:2] if word in TABLE[argv[0]].get("commands", {})]
    another = {"--check", "--hek", *TABLE[argv[0]].get("exclusive", {})}
    return {
        name: arguments
        for name, arguments in command_options(argv[0], *what).items()
        if name.startswith("-") and name not in (*argv, *another) and ("leaves" not in arguments)
    }


def typed(name, arguments, command):
    """An option with a value that its parser takes."""
    if arguments.get("action") == "store_true":
        return [name]
    choices = arguments.get("choices", [])
    date = {"--validate-until": "2015-01-01", "--test-until": "2016-01-01"}.get(name, "2013-01-01")
    of_type = {"utc_time": date, "past_time": date, "span": "1h", "named_path": "C=c"}
    of_type["named_period"] = "a=2014-01-01..2014-02-01"
    plain = str(max(1, *arguments.get("range", [1])[:1])) if "type" in arguments else "x"
    listed = choices and not isinstance(choices, str)
    value = choices[0] if listed else of_type.get(arguments.get("type"), plain)
    return [name, str(value)]


@pytest.mark.parametrize("way", WAYS)
def test_what_has_no_effect_beside_the_rest_is_refused(way, capsys):
    argv = WAYS[way]
    command = COMMANDS[argv[0]]
    refuse_idle_options(command.parser(), command.name, argv[1:])  # the way itself is none of them
    idle = []
    for name, arguments in added_to(argv).items():
        more = [*argv[1:], *typed(name, arguments, command)]
        try:
            refuse_idle_options(command.parser(), command.name, more)
        except SettingError:
            idle.append(name)
            assert command(more) == 1
            refusal = capsys.readouterr().err
            assert re.match(rf"kflare\.{command.name}: --\S+ has no effect with", refusal)
            assert f"{name} " in refusal.replace(":", " ")
            assert refusal.count("\n") == 1
    assert sorted(idle) == sorted(IDLE[way].split())


def test_the_ways_show_every_option_with_and_without_effect():
    ways = {}
    for way, argv in WAYS.items():
        for name in added_to(argv):
            ways.setdefault((argv[0], name), []).append(name in IDLE[way].split())
        ways |= {(argv[0], name): [False] for name in argv if name.startswith("--")}
    assert {argv[0] for argv in WAYS.values()} == COMMANDS.keys()
    assert [option for option, idle in ways.items() if all(idle)] == []  # none is refused always
    inner = {(name, what) for name in COMMANDS for what in TABLE[name].get("commands", {})}
    assert inner == {tuple(argv[:2]) for argv in WAYS.values()} & inner


def test_a_default_that_is_typed_has_no_effect_either(capsys):
    assert COMMANDS["predict"](["m", "--flare-scale", "irradiance"]) == 1
    assert "--flare-scale has no effect without --flares: leave it out" in capsys.readouterr().err


DATES = ("utc_time", "past_time")


def dated(way):
    """The options of a way of using a command that take a date, those that end a span with what begins it."""
    argv = WAYS[way]
    options = command_options(argv[0], *(word for word in argv[1:2] if word in TABLE[argv[0]].get("commands", {})))
    return {name: arguments for name, arguments in options.items() if arguments.get("type") in DATES}


def test_a_date_that_ends_a_span_says_what_begins_it():
    """Only these stand alone: what is of one moment, and the week of the demonstration."""
    alone = set()
    for way, argv in WAYS.items():
        ends = dated(way)
        begun = {begin for arguments in ends.values() for begin in arguments.get("after", ())}
        assert begun <= ends.keys()
        alone |= {(argv[0], name) for name, arguments in ends.items() if name not in begun and "after" not in arguments}
    assert alone == {("analyse", "--days"), ("demo", "--until"), ("fetch", "--issue"), ("forecast", "--issue"),
                     ("forecast", "--now")}  # fmt: skip


@pytest.mark.parametrize("way", [way for way in WAYS if any("after" in one for one in dated(way).values())])
def test_dates_in_the_wrong_order_are_refused_before_anything_is_read(way, capsys, tmp_path, monkeypatch):
    """None of the files is there: whoever looked for one would say so."""
    monkeypatch.chdir(tmp_path)
    argv, ends = WAYS[way], dated(way)
    kept = [word for at, word in enumerate(argv) if not {word, argv[at - 1]} & ends.keys()]
    pairs = [(end, begin) for end in ends for begin in ends[end].get("after", ()) if end not in IDLE[way].split()]
    for end, begin in pairs:
        needed = [] if "--train-until" not in {*ends} - {end, begin} else ["--train-until"]
        needed += ["2014-03-01" if begin == "--train-from" else "2014-01-01"] * len(needed)
        for first in ("2014-02-02", "2014-02-01"):
            assert COMMANDS[argv[0]]([*kept[1:], *needed, end, "2014-02-01", begin, first]) == 1
            told = f"{end} must be later than {begin} {first}T00:00Z, got 2014-02-01T00:00Z"
            assert capsys.readouterr().err == f"kflare.{argv[0]}: {told}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["fit images", "crossvalidate images", "fit regions", "verify", "verify ledger"])
def test_periods_in_the_wrong_order_are_refused_before_anything_is_read(way, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for periods, told in {
        "a=2014-02-01..2014-01-01": "the period `a` must be named once and begin before it ends",
        "a=2014-01-01..2014-02-01 a=2014-03-01..2014-04-01": "the period `a` must be named once",
        "a=2014-01-01..2014-02-01 b=2014-01-15..2014-03-01": "the periods `a` and `b` overlap",
    }.items():
        assert COMMANDS[WAYS[way][0]]([*WAYS[way][1:], "--periods", *periods.split()]) == 1
        assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_issue_of_the_future_is_refused_before_the_ledger_is_opened(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for mode in ("--once", "--publish"):
        assert COMMANDS["forecast"]([mode, "--issue", "2026-01-02", "--now", "2026-01-01"]) == 1
        assert "`--issue` must not lie in the future, got 2026-01-02T00:00Z" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_option_is_read():
    """By its command's module, or those that take its options from it: none stands in the table alone."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(commands.__path__[0]).glob("*.py"))
    for name in COMMANDS:
        for what in [None, *TABLE[name].get("commands", {})]:
            for option, arguments in command_options(name, what).items():
                dest = arguments.get("dest", option.lstrip("-").replace("-", "_"))
                assert re.search(rf"\.{dest}\b|\"{dest}\"|def _{dest}\b", sources), (name, option)


def shown(capsys, command, *argv):
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command](list(argv))
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["fit", "crossvalidate"])
@pytest.mark.parametrize("model", ["cnn-m", "defn-c"])
def test_the_help_of_a_model_is_of_what_it_takes(capsys, command, model):
    text, whole = shown(capsys, command, model, "--help"), shown(capsys, command, "--help")
    taken = {"cnn-m": ["--magnetograms", "--byte-range", "--daily", "--image-size", "--no-augment", "--pretrain"],
             "defn-c": ["--sharp", "--harp-noaa", "--srs", "--regions", "--features"]}  # fmt: skip
    for name, options in taken.items():
        assert all((option in text) == (name == model) for option in options)
        assert all(option in whole for option in options)
    # Nor the defaults, examples and titles of the others.
    epochs = {"cnn-m": "at most so many; default: 100\n", "defn-c": "at most so many; default: 160 of 100 iterations\n"}
    assert epochs[model] in " ".join(text.split(" ")).replace("\n" + 24 * " ", " ")
    examples = re.findall(r"python -m kflare\.\w+ (\w+)-", text)
    assert set(examples) == {model.split("-")[0]}
    assert "image models: " not in text
    assert "region models: " not in text
    assert "for cnn-c, cnn-m" in whole


@pytest.mark.parametrize("name", COMMANDS)
def test_help_keeps_the_lines_of_what_is_said_about_a_command(name, capsys):
    text = shown(capsys, name, "--help")
    assert TABLE[name].get("about", "").strip() in text
    assert max(map(len, TABLE[name].get("about", "").splitlines()), default=0) <= 120


def test_help_of_a_part_says_what_it_does(capsys):
    assert "FITS of a full-disk series of JSOC" in shown(capsys, "fetch", "hmi", "--help")
