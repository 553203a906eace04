"""The picture of a time: regions framed and named, neutral lines where polarities meet."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import matplotlib.image
import numpy as np
import pytest
from PIL import Image

from kflare.errors import SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.operations.publish.pictures import vector_picture
from kflare.regions import quick_look
from kflare.regions.detection import detect_regions
from kflare.regions.quick_look import draw_quick_look, draw_vector_map
from kflare.regions.vector_field import FullDiskVector
from kflare.sun.disk import Disk

ORANGE, BLUE, RED = (0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9), (0xD5, 0x5E, 0x00)
PURPLE = (0xCC, 0x79, 0xA7)


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


def test_a_frame_across_the_limb_is_seen_on_the_grey_disk(tmp_path):
    found = detect_regions(bipole(1000.0))
    across = replace(found, regions=tuple(replace(region, limb=True) for region in found.regions))
    draw_quick_look(bipole(1000.0), across, tmp_path / "a.png")
    assert share(tmp_path / "a.png", ORANGE) == 0
    assert share(tmp_path / "a.png", PURPLE) > 1e-4


def test_frames_over_the_vector_field_in_its_harp_areas(tmp_path, monkeypatch):
    said = []
    finish = quick_look._finish
    monkeypatch.setattr(quick_look, "_finish", lambda *given: said.append(given[3]) or finish(*given))
    magnetogram = bipole(1000.0)
    detection = detect_regions(magnetogram)
    shape = magnetogram.data.shape
    covered = np.zeros(shape, np.bool_)
    covered[150:240, 160:200] = True  # a HARP that the frame leaves to the west
    field = np.where(covered, np.nan_to_num(magnetogram.data), 0).astype(np.float32)
    none = np.zeros(shape, np.float32)
    vector = FullDiskVector(none, none, field, covered, None, detection.geometry, magnetogram.time, "test")
    # Seen straight from above at disk centre the line of sight is the vertical; the limb is off the disk.
    radial, areas, disk = vector.radial_map(200)
    assert radial[95, 95] == pytest.approx(field[191, 191], rel=0.01)
    assert radial[95, 110] == 0
    assert np.isnan(radial[0, 0])
    assert (areas.mean(), disk.radius) == (pytest.approx(covered.mean(), abs=0.002), 90.0)
    draw_vector_map(vector, detection, tmp_path / "a.png", names=["11875"])
    assert share(tmp_path / "a.png", RED) > 1e-4
    assert share(tmp_path / "a.png", BLUE) > 1e-4
    # A record of the full disk has no areas of HARPs.
    whole = FullDiskVector(
        none, none, magnetogram.data, np.isfinite(magnetogram.data), None, detection.geometry, magnetogram.time, "test"
    )
    draw_vector_map(whole, detection, tmp_path / "b.png")
    assert share(tmp_path / "b.png", BLUE) == 0
    assert ["HARP" in lines for lines in said] == [True, False]
    page = np.asarray(Image.open(io.BytesIO(vector_picture(vector, like=magnetogram, size=400)))).astype(int)
    assert (np.abs(page[150:240, 161] - BLUE).max(axis=1) < 60).mean() > 0.8
    assert (page[0, 0], page[195, 260]) == (pytest.approx(0, abs=8), pytest.approx(127, abs=8))


def test_no_sunspot(tmp_path):
    magnetogram = bipole(50.0)
    draw_quick_look(magnetogram, detect_regions(magnetogram), tmp_path / "a.png")
    assert share(tmp_path / "a.png", ORANGE) == share(tmp_path / "a.png", BLUE) == 0


def test_a_folder_that_is_not_there(tmp_path):
    magnetogram = bipole(50.0)
    with pytest.raises(SettingError, match="choose another folder"):
        draw_quick_look(magnetogram, detect_regions(magnetogram), tmp_path / "absent" / "a.png")
