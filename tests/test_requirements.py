"""requirements/*.txt: every version once for each Python, each with hashes, and what setup.cfg asks for among them."""

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def pinned(name):
    """(requirement, hashes) of each pin."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.split(" --hash=")[0]), line.count(" --hash=sha256:")) for line in lines]


@pytest.mark.parametrize("name", ["run.txt", "develop.txt"])
def test_every_pin_has_a_version_and_hashes(name):
    pins = pinned(name)
    assert len(pins) > 100
    for requirement, hashes in pins:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes > 0, requirement
    assert (ROOT / "requirements" / name).stat().st_size < 500_000


@pytest.mark.parametrize(
    ("name", "extras"), [("run.txt", ["postgresql"]), ("develop.txt", ["test", "signing", "docs", "dev", "postgresql"])]
)
@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
def test_what_setup_asks_for_is_pinned(name, extras, python):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked = setup["options"]["install_requires"].split("\n")
    asked += [line for extra in extras for line in setup["options.extras_require"][extra].split("\n")]
    here = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python, "sys_platform": "linux"}
    pins = {}
    for requirement, _ in pinned(name):
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert canonicalize_name(requirement.name) not in pins, requirement
            pins[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    for line in filter(None, asked):
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), f"{line}: run tools/lock"
    # For `--no-build-isolation`.
    assert "setuptools" in pins


def test_the_pinned_development_tools_run_the_pinned_kflare():
    run = {(one.name, str(one.specifier), str(one.marker)) for one, _ in pinned("run.txt")}
    develop = {(one.name, str(one.specifier)) for one, _ in pinned("develop.txt")}
    assert {(name, version) for name, version, _ in run} <= develop
