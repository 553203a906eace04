"""The picture of a time: regions framed and named, neutral lines where polarities meet."""

from datetime import UTC, datetime

import matplotlib.image
import numpy as np
import pytest

from kflare.errors import SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.detection import detect_regions
from kflare.regions.quick_look import draw_quick_look
from kflare.sun.disk import Disk

ORANGE, BLUE = (0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9)


def bipole(strength):
    """Two spots side by side near disk centre, a neutral line between them."""
    y, x = np.mgrid[:400, :400]
    spots = [np.exp(-((x - 200 - dx) ** 2 + (y - 190) ** 2) / 2 / 6**2) for dx in (7, -7)]
    data = (strength * (spots[0] - spots[1])).astype(np.float32)
    data[np.hypot(x - 199.5, y - 199.5) > 180] = np.nan
    return Magnetogram(data, datetime(2014, 1, 1, tzinfo=UTC), Disk(199.5, 199.5, 180.0), "synthetic", "test")


def share(path, color):
    seen = (matplotlib.image.imread(path)[:, :, :3] * 255).round()
    return float((np.abs(seen - color).max(axis=2) < 30).mean())


def test_a_region_with_its_neutral_line(tmp_path):
    magnetogram = bipole(1000.0)
    detection = detect_regions(magnetogram)
    assert len(detection.regions) == 1
    draw_quick_look(magnetogram, detection, tmp_path / "a.png", names=["11875"])
    assert share(tmp_path / "a.png", ORANGE) > 1e-4
    assert share(tmp_path / "a.png", BLUE) > 2e-5
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_no_sunspot(tmp_path):
    magnetogram = bipole(50.0)
    draw_quick_look(magnetogram, detect_regions(magnetogram), tmp_path / "a.png")
    assert share(tmp_path / "a.png", ORANGE) == share(tmp_path / "a.png", BLUE) == 0


def test_a_folder_that_is_not_there(tmp_path):
    magnetogram = bipole(50.0)
    with pytest.raises(SettingError, match="choose another folder"):
        draw_quick_look(magnetogram, detect_regions(magnetogram), tmp_path / "absent" / "a.png")
