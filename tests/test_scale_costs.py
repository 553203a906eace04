"""The costs of docs/scale.md: the arithmetic by hand, and that the page holds what the tool makes."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "scale_costs.py"


def run(*arguments):
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_page_holds_what_the_tool_makes():
    page = (ROOT / "docs" / "scale.md").read_text()
    _, _, rest = page.partition("<!-- by tools/scale_costs.py -->\n")
    assert rest.partition("<!-- end -->")[0].strip() == run().stdout.strip()


def test_the_arithmetic_by_hand():
    # 10^6 × 0.36 s are 100 core hours, at 0.05 each 5; 15 × 365.25 × 24 = 131,490 times 3.6 s are 131.49 core hours.
    told = run("--set", "attribution=0.36", "features=3.6", "--core-hour", "0.05").stdout
    assert "| 1,000,000 × 0.36 s / 3600 | 100 core hours, 5 |" in told
    assert "| 15 × 365.25 × 24 times | 131,490 × 3.6 s / 3600 | 131 core hours, 7 |" in told
    # 10^6 × 50 kB are 0.05 TB.
    assert "| 1,000,000 × 0.05 MB | 0.05 TB |" in told


def test_every_count_is_what_it_says_and_every_unit_is_measured_by_a_command():
    costs = tomllib.loads((ROOT / "tools" / "scale_costs.toml").read_text())
    for scale in costs["scale"]:
        said = scale["count"].replace("×", "*").replace("10^", "1e").rpartition(" ")[0].replace("images", "")
        assert eval(said) == scale["times"], scale["count"]
        assert set(scale["of"]) <= set(costs["unit"])
    for unit in costs["unit"].values():
        assert len({"seconds", "bytes"} & set(unit)) == 1
        tool = unit["by"].split()[:2]
        if tool[0] == "tools/bench":
            assert (ROOT / "tools" / f"bench_{tool[1].partition('/')[0]}.py").exists()
        else:
            assert tool[0] == "kflare" or (ROOT / tool[0]).exists()


@pytest.mark.parametrize("wrong", ["attributions=0.3", "jpeg=5"])
def test_an_unknown_unit_is_refused(wrong):
    told = run("--set", wrong)
    assert told.returncode == 1
    assert told.stderr.startswith("--set takes UNIT=SECONDS of forward, attribution, step, features")
