"""The fuzz tool's own examples can be read, and its mutations of both kinds end in an object or a KflareError."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KINDS = (
    "FITS", "JP2", "images", "flares", "XRS", "SHARP", "SRS", "regions", "forecasts", "settings", "ledger URLs",
    "ledger", "requests",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_files_of_a_kind(kind):
    command = [sys.executable, ROOT / "tools" / "fuzz_readers.py", "--kind", kind, "--mutations", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 files, 0 faults" in done.stdout


def test_an_unknown_kind_is_told():
    command = [sys.executable, ROOT / "tools" / "fuzz_readers.py", "--kind", "cheese"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"no kind 'cheese': there are {', '.join(KINDS)}" in done.stderr
