"""The README's second command, on the synthetic Sun: trains, publishes, serves, asks, and leaves what it promises."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart(tmp_path):
    # tools/quickstart makes .venv and runs this; the environment is the one that runs the tests. A shorter Sun serves.
    environment = {name: value for name, value in os.environ.items() if name != "KFLARE_DATA"}  # the synthetic Sun
    command = [sys.executable, ROOT / "tools" / "quickstart.py", tmp_path, "--days", "150"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "full disk (P_FD)" in done.stdout
    regions = json.loads((tmp_path / "forecast_regions.json").read_text())
    assert regions["models"] == {"defn-c": 1}
    assert regions["windows"][-1]["regions"]
    assert 0 < regions["windows"][-1]["full_disk"][0]["C+"]["calibrated"] < 1
    summary = json.loads((tmp_path / "runs" / "defn-c" / "summary.json").read_text())
    scores = {one["method"]: one["tss"] for one in summary["seeds"][0]["scores"] if one["span"] == "test"}
    assert f"is {scores['network']:.2f} (" in done.stdout
    assert done.stdout.count("== took") == 4
    (demo,) = tmp_path.glob("demo-*")
    assert (demo / "site" / "week.html").is_file()


def test_the_scores_are_told_in_words():
    in_words = runpy.run_path(str(ROOT / "tools" / "quickstart.py"))["in_words"]

    def told(network, interval, plain):
        one = {"span": "test", "tss": network, "tss_interval": interval, "method": "network"}
        other = {"span": "test", "tss": plain, "tss_interval": [plain - 0.1, plain + 0.1]}
        return in_words({"seeds": [{"scores": [one, other | {"method": "logistic regression"}]}]}, 0.41, real=False)

    assert "0.60 (0.50 to 0.70) for the network" in told(0.6, [0.5, 0.7], 0.65)
    assert "cannot be told apart" in told(0.6, [0.5, 0.7], 0.65)
    assert "0.41 for persistence" in told(0.6, [0.5, 0.7], 0.65)
    assert "the network is better" in told(0.6, [0.5, 0.7], 0.4)
    assert "the network is worse" in told(0.2, [0.1, 0.3], 0.4)
    assert "The Sun is made up" in told(0.2, [0.1, 0.3], 0.4)
