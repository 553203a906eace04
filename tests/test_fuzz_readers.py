"""The fuzz tool's own examples can be read, and its mutations of both kinds end in an object or a KflareError."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", ["flares", "SRS", "regions", "SHARP", "settings", "XRS", "images"])
def test_a_few_files_of_a_kind(kind):
    command = [sys.executable, ROOT / "tools" / "fuzz_readers.py", "--kind", kind, "--mutations", "60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 files, 0 faults" in done.stdout


def test_an_unknown_kind_is_told():
    command = [sys.executable, ROOT / "tools" / "fuzz_readers.py", "--kind", "cheese"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "no kind 'cheese': there are FITS, JP2, images" in done.stderr
