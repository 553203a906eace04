"""What readers say when they refuse a file is of use to whoever typed a command, too: it names no argument alone."""

import numpy as np
import pytest
from PIL import Image

from kflare.commands import analyse, crossvalidate, fetch
from kflare.errors import DataError
from kflare.observations.reading import read_magnetogram
from tests.observations.test_producers import cards, fits_file, sun


@pytest.mark.parametrize(
    ("name", "changes", "rule"),
    [
        (
            "a.fits",
            {"T_OBS": None, "DATE-OBS": None},
            "correct the header, or in Python give `read_magnetogram` its `time`",
        ),
        ("a.fits", {"DATE-OBS": "2001-01-01T00:00:00"}, r"which is right\? correct the header, or in Python"),
        ("20131022_235927.fits", {"CRPIX1": None}, "take a file with its keywords .*; in Python `disk` tells it"),
        (
            "20131022_235927.fits",
            {"INSTRUME": "KPVT", "TELESCOP": "KPVT"},
            r"`data.quality` of kflare.forecast\)",
        ),
    ],
)
def test_a_header_that_is_not_enough(name, changes, rule, tmp_path):
    path = tmp_path / name
    path.write_bytes(fits_file(sun(), cards(**changes)))
    with pytest.raises(DataError, match=rule):
        read_magnetogram(path)


def test_an_image_whose_name_tells_no_time(tmp_path):
    Image.fromarray(np.full((64, 64), 127, np.uint8)).save(tmp_path / "sun.png")
    with pytest.raises(DataError, match="rename the file, or in Python give `read_magnetogram` its `time`"):
        read_magnetogram(tmp_path / "sun.png")


@pytest.mark.parametrize(
    ("command", "typed", "named"),
    [
        (analyse, "x y --flares a --regions b --polarity-threshold 0", "--polarity-threshold"),
        (analyse, "x y --flares a --regions b --line-width 0", "--line-width"),
        (analyse, "x y --flares a --regions b --tolerance -1", "--tolerance"),
        (analyse, "x y --flares a --regions b --max-longitude 0", "--max-longitude"),
        (crossvalidate, "defn-m --sharp x --flares y --forecasts z --tolerance -1", "--tolerance"),
        (fetch, "hmi --from 2014-01-02 --until 2014-01-01 --output x", "--until must be later than --from"),
    ],
)
def test_an_option_out_of_its_range_is_named_as_it_was_typed(command, typed, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = command.main(typed.split())
    except SystemExit as stopped:
        status = stopped.code
    err = capsys.readouterr().err
    assert status in (1, 2)
    assert named in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
