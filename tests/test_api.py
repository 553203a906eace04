"""What each room offers to a notebook: there, documented, listed on one page, and loaded only when it is used."""

import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import kflare

ROOT = Path(__file__).resolve().parents[1]
_TOOL = runpy.run_path(str(ROOT / "tools" / "api_page.py"))
ROOMS = _TOOL["rooms"]()


def test_the_page_lists_what_there_is():
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == _TOOL["page"](), "run python tools/api_page.py"


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_is_that_of_a_module_of_the_room(room):
    # Importing the module would put it in the place of the function.
    modules = {path.stem for path in (ROOT / room.replace(".", "/")).iterdir()}
    assert not modules & set(ROOMS[room])


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_nothing_until_a_name_is_used(room):
    code = (
        f"import sys, {room}\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'sunpy', 'astropy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"from {room} import {ROOMS[room][0]}\n"
        f"assert set({ROOMS[room]!r}) <= set(dir({room}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


# What builds, trains or asks a network in this process; all other modules load TensorFlow when they need it, if at all.
NETWORKS = {
    *(f"kflare.attribution.{name}" for name in ("compiled", "controls", "exact_cam", "guided", "network_maps")),
    *(f"kflare.datasets.{name}" for name in ("pipelines", "preprocessing")),
    *(
        f"kflare.models.{name}"
        for name in ("defn", "dense_cnn", "feature_scaling", "fitting", "image_models", "inference")
    ),
    *(f"kflare.models.{name}" for name in ("losses", "pretraining", "region_models", "savedmodel", "seeds")),
    "kflare.models.training",
}


def test_only_what_needs_a_network_loads_tensorflow():
    modules = {module.name for module in pkgutil.walk_packages(kflare.__path__, "kflare.")} - {"kflare.__main__"}
    assert modules > NETWORKS
    code = (
        "import importlib, sys\n"
        f"for name in {sorted(modules - NETWORKS)}:\n"
        "    importlib.import_module(name)\n"
        "    assert not {'tensorflow', 'keras'} & set(sys.modules), name\n"
        "from kflare.attribution import Attribution, PublishedModel, agreement, place_regions, read_attribution\n"
        "from kflare.datasets import proxies_of\n"
        "from kflare.models import fit_calibration, region_event_statistics\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_state_of_an_office_and_a_forecast_from_rows_are_told_without_what_measures_images():
    """Half of their time went into packages that they do not use."""
    for module, unused in {
        "kflare.operations.status": {"scipy", "skimage", "astropy", "sunpy", "sklearn", "matplotlib"},
        "kflare.serving.forecasts.served_forecasts": {"skimage", "sunpy", "sklearn", "matplotlib", "scipy.signal"},
    }.items():
        code = f"import sys, {module}\nprint(*{unused} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr or done.stdout


def test_the_page_shows_the_values_of_constants():
    page = _TOOL["page"]()
    assert "| `MODELS` | `cnn-c`, `cnn-m`, `defn-c`, `defn-m` |" in page
    assert " of 4 |" not in page


def test_what_a_notebook_does_first():
    from kflare.verification import ContingencyTable, tss

    observed, forecast = [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]
    # Hit rate 1/2 less false alarm rate 1/4.
    assert tss(observed, forecast) == ContingencyTable.from_forecasts(observed, forecast).tss == 0.25


def test_a_path_may_be_a_text(tmp_path):
    from kflare.attribution import read_attribution
    from kflare.errors import DataError
    from kflare.observations import sets_in
    from kflare.operations import read_settings

    (tmp_path / "kflare.toml").write_text("")
    (tmp_path / "maps.fits").write_bytes(b"SIMPLE  =")
    assert read_settings(str(tmp_path / "kflare.toml")) == read_settings(tmp_path / "kflare.toml")
    with pytest.raises(DataError, match="whole attribution file"):
        read_attribution(str(tmp_path / "maps.fits"))
    # Not the letters of the text, one folder each.
    with pytest.raises(DataError, match="no magnetogram"):
        sets_in(str(tmp_path))
