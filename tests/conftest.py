"""What all tests share: a quiet TensorFlow and the place of the real data."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Observed data of others, never committed: $KFLARE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("KFLARE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}: set KFLARE_DATA to run this test")
    return folder
