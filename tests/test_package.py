"""The package as installed: metadata, names, and commands that start at once."""

import importlib
import importlib.metadata
import os
import pkgutil
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import kflare
from kflare.__main__ import COMMANDS, main
from kflare.models.publish import verify_manifest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

MODULES = sorted(module.name for module in pkgutil.walk_packages(kflare.__path__, "kflare."))


def test_metadata_is_read_from_setup_cfg():
    # setuptools ignores misspelt keys of setup.cfg without a word, so look at what was installed.
    metadata = importlib.metadata.metadata("kflare")
    assert metadata["Version"] == kflare.__version__
    # By `get`: with dask imported the metadata are of `importlib_metadata`, which raises where a field is missing.
    assert "BSD-3-Clause" in {metadata.get("License-Expression"), metadata.get("License")}
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"test", "bench"} <= set(metadata.get_all("Provides-Extra"))
    assert "two commands" in (metadata.get("Description") or metadata.get_payload()).lower()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="elsewhere TensorFlow decides")
@pytest.mark.parametrize(("set_before", "expected"), [(None, "1"), ("0", "0")])
def test_training_takes_onednn_on_every_processor_unless_told_otherwise(set_before, expected):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {} if set_before is None else {"TF_ENABLE_ONEDNN_OPTS": set_before}
    ask = "import os, sys, kflare.commands.fit; print(os.environ['TF_ENABLE_ONEDNN_OPTS'], 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [expected, "False"]  # TensorFlow, which reads it, comes later


def test_package_data_is_found():
    from kflare.regions.feature_table import feature_set

    assert feature_set("sharp")[0].name == "AREA"


@pytest.mark.slow
def test_a_wheel_and_an_sdist_hold_the_released_models(tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for folder in ("kflare", "savedmodels"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    stale = source / "build" / "lib" / "kflare" / "savedmodels" / "cnn-c" / "0"  # of a build long ago
    stale.mkdir(parents=True)
    (stale / "saved_model.pb").touch()
    build = "from setuptools import build_meta as b; print(b.build_wheel('dist')); print(b.build_sdist('dist'))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=source, check=True, capture_output=True)
    models = ROOT / "savedmodels"
    released = {path.relative_to(ROOT).as_posix() for path in models.rglob("*") if path.is_file()}
    with zipfile.ZipFile(next((source / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
        found = {name.removeprefix("kflare/") for name in wheel.namelist() if name.startswith("kflare/savedmodels/")}
    assert "savedmodels/cnn-c/0/saved_model.pb" not in found
    assert released <= found
    with tarfile.open(next((source / "dist").glob("*.tar.gz"))) as sdist:
        assert released <= {name.partition("/")[2] for name in sdist.getnames()}
    # As who has only the package finds them.
    code = "from kflare.models.released import released_models; print(released_models())"
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}}
    done = subprocess.run([sys.executable, "-c", code], **where, check=True, capture_output=True, text=True)
    models = Path(done.stdout.strip())
    assert models == tmp_path / "installed" / "kflare" / "savedmodels"
    for version in models.glob("*/*"):
        verify_manifest(version)


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_exists(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert [entry for entry in names if not hasattr(module, entry)] == []
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_no_tensorflow_and_no_pandas(command):
    code = (
        "import sys, importlib\n"
        f"command = importlib.import_module('kflare.{command}')\n"
        "try:\n    command.main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'sunpy', 'astropy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


def test_every_command_has_its_door_and_is_listed():
    package = ROOT / "kflare"
    doors = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__", "errors"}
    files = {
        path.stem
        for path in (package / "commands").glob("*.py")
        if re.search(r"^(def )?main\b", path.read_text(), re.MULTILINE)
    }
    assert doors == files == set(COMMANDS)


def test_kflare_lists_and_runs_its_commands(capsys):
    assert main([]) == 0
    assert set(COMMANDS) <= set(capsys.readouterr().out.split())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kflare {kflare.__version__}\n"
    assert main(["fly"]) == 2
    assert "no command `fly`" in capsys.readouterr().err
    # Every line names the command as it was typed.
    assert main(["predict"]) == 1
    assert capsys.readouterr().err.startswith("kflare predict: give either")
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert capsys.readouterr().out.startswith("usage: kflare predict [-h]")
    assert main(["releases", "--rollback", "cnn-c", "--models", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("kflare releases: ")
    with pytest.raises(SystemExit) as end:
        main(["fit", "cnn-x"])
    assert end.value.code == 2


def test_importing_kflare_imports_nothing_heavy():
    code = "import sys, kflare; print(len({'tensorflow', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "0"


def test_wrong_usage_ends_with_status_2(capsys):
    from kflare.commands import fit

    with pytest.raises(SystemExit) as end:
        fit.main(["cnn-x"])
    assert end.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_readme_commands_exist():
    named = re.findall(r"^kflare (\w+) ", README, re.MULTILINE)
    assert len(named) > 10
    assert set(named) <= set(COMMANDS)
    for script in ("tools/quickstart", "tools/test", ".ci/run", "tools/release", "tools/train_released_models"):
        assert script in README
        assert (ROOT / script).stat().st_mode & 0o111


def test_readme_links_work_in_the_source_and_on_an_index():
    text = README
    check = runpy.run_path(str(ROOT / "tools" / "release_check.py"))
    turned = runpy.run_path(str(ROOT / "setup.py"))["on_an_index"]
    near = check["relative_links"](text)
    assert len(near) > 15
    for link in near:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).is_file(), link
        titles = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE) if anchor else ()
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    known = turned(text, "https://github.com/o/kflare", "1.2")
    assert "](https://github.com/o/kflare/raw/v1.2/docs/forecast.png)" in known
    assert "[NOTICE](https://github.com/o/kflare/blob/v1.2/NOTICE)" in known
    assert "#the-marks)" in known
    unknown = turned(text, "", "1.2")
    assert check["relative_links"](known) == check["relative_links"](unknown) == []
    assert "![" not in unknown
    assert "[Yi et al. 2021](https://doi.org/10.3847/1538-4357/abdebe)" in unknown


def test_the_scores_in_the_readme_are_those_of_the_pages():
    """TSS, ROC area and BSS of network, best single number and persistence, rounded."""
    table = re.findall(r"^\| ([CM]), (regions|\S+ days) .*?\| (.*?) \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert [(letter, what.split()[-1]) for letter, what, *_ in table] == [
        (letter, what) for what in ("regions", "days") for letter in "CM"
    ]
    pages = {
        "regions": (ROOT / "docs" / "skill.md").read_text().partition("### 2013 to 2017, by years")[2],
        "days": (ROOT / "docs" / "skill_cnn.md").read_text(),
    }
    for letter, what, *said in table:
        start = f"| ≥{letter}1.0 | TSS" if "regions" in what else f"<!-- scores of cnn-{letter.lower()} -->"
        page = pages[what.split()[-1]].partition(start)[2]
        for name, numbers in zip(["network", r"(?:R_VALUE|line field) alone", "persistence"], said, strict=True):
            row = re.search(rf"^\| {name} \|(.*)$", page, re.MULTILINE)[1]
            scores = [float(one) for one in re.findall(r"(-?\d\.\d{3}) \(", row)[:3]]
            shown = [float(one.replace("−", "-")) for one in numbers.split(", ")]
            assert shown == pytest.approx(scores, abs=0.0051), (letter, what, name)


@pytest.mark.slow
def test_a_release_is_built_and_checked(tmp_path):
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("no git repository")
    environment = {**os.environ, "PYTHON": sys.executable, "KFLARE_ADDRESS": "https://github.com/o/kflare"}
    command = [ROOT / "tools" / "release", "--no-install", tmp_path / "dist"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "public address" not in done.stderr
    wheel, archive = sorted((tmp_path / "dist").iterdir(), key=lambda path: path.suffix == ".gz")
    with zipfile.ZipFile(wheel) as inside:
        told = inside.read(next(name for name in inside.namelist() if name.endswith("METADATA"))).decode()
    assert "Project-URL: Changelog, https://github.com/o/kflare/blob/main/CHANGELOG.md" in told
    # What is broken is found: a wheel without a file, a description with a link to a neighbour, another version.
    check = runpy.run_path(str(ROOT / "tools" / "release_check.py"))
    with zipfile.ZipFile(wheel) as inside, tarfile.open(archive) as packed:
        names = set(inside.namelist()) - {"kflare/sun/times.py"}
        members = {name.partition("/")[2] for name in packed.getnames()}
    assert check["of_files"](names, members, ROOT) == ["the wheel lacks kflare/sun/times.py"]
    broken = told.replace("Version: 0.1.0", "Version: 0.1.9").replace("\n# kflare", "\n# kflare [x](NOTICE)")
    assert check["of_metadata"](broken.encode(), ROOT) == [
        "CITATION.cff knows no version 0.1.9",
        "CHANGELOG.md knows no version 0.1.9",
        "the README's link leads nowhere on an index: NOTICE",
    ]


def test_what_publishes_imports_nothing_that_measures_or_asks():
    """A fifth of a second of each publication."""
    seen = "print({'scipy.ndimage', 'skimage', 'grpc'} & set(sys.modules))"
    code = f"import sys, kflare.operations.publish.publishers\n{seen}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
