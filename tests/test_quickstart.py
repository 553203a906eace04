"""The README's first command, on the synthetic Sun: trains, publishes, serves, asks, and leaves what it promises."""

import json
import os
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
    disk, regions = (json.loads((tmp_path / f"forecast_{kind}.json").read_text()) for kind in ("disk", "regions"))
    assert disk["models"] == {"cnn-c": 1}
    assert regions["models"] == {"defn-c": 1}
    assert 0 < disk["windows"][0]["full_disk"][0]["C+"]["calibrated"] < 1
    assert regions["windows"][-1]["regions"]
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
