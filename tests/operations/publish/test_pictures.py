"""The pictures of the site: orientation, common frame, transparency."""

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kflare.errors import DataError
from kflare.observations.magnetogram import Magnetogram
from kflare.operations.publish.pictures import (
    DiskPicture,
    intensity_picture,
    kept_pictures,
    magnetogram_picture,
    overlay_picture,
)
from kflare.sun.disk import Disk


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def with_spot() -> Magnetogram:
    """A disk of radius 40 in 100 pixels, with positive field in the north-east."""
    y, x = np.mgrid[:100, :100]
    data = np.where(np.hypot(x - 49.5, y - 49.5) <= 40, 0, np.nan).astype(np.float32)
    data[26:32, 26:32] = 500.0
    return Magnetogram(data, datetime(2014, 1, 8, tzinfo=UTC), Disk(49.5, 49.5, 40.0), "synthetic", "test")


def test_north_is_up_east_left_and_off_disk_black() -> None:
    grey = pixels(magnetogram_picture(with_spot(), size=100)).astype(int)
    assert grey[29, 29] > 240
    assert abs(grey[70, 70] - 127) < 10
    assert grey[2, 2] < 10


def test_a_hole_in_the_disk_is_grey_not_black() -> None:
    magnetogram = with_spot()
    magnetogram.data[60:70, 60:70] = np.nan
    assert abs(int(pixels(magnetogram_picture(magnetogram, size=100))[65, 65]) - 127) < 10


def test_an_image_of_another_scale_lies_on_the_magnetograms_frame() -> None:
    # The disk of radius 120 is centred at (160, 140); (100, 80) is half a radius east and north of it, which in the
    # magnetogram (centre 49.5, radius 40) is (29.5, 29.5), and in a picture of twice its size edge-wise (60, 60).
    data = np.zeros((300, 300))
    data[77:84, 97:104] = 100.0
    shown = intensity_picture(data, Disk(160.0, 140.0, 120.0), like=with_spot(), palette="sdoaia131", size=200)
    bright = pixels(shown).sum(axis=-1)
    assert np.abs(np.argwhere(bright > 0.5 * bright.max()).mean(axis=0) - 59.5).max() < 1.0


def test_an_image_without_any_measurement_is_refused() -> None:
    with pytest.raises(DataError, match="got none"):
        intensity_picture(np.full((10, 10), np.nan), Disk(5, 5, 4), like=with_spot(), palette="sdoaia131")


def test_an_overlay_is_transparent_where_it_is_zero() -> None:
    map_ = np.zeros((8, 8))
    map_[1, 6] = 1.0
    map_[5, 5] = np.nan
    rgba = pixels(overlay_picture(map_, size=80))
    assert rgba.shape == (80, 80, 4)
    assert rgba[15, 65, 3] > 150
    assert rgba[70, 10, 3] == 0


def test_an_overlay_of_a_network_that_sees_the_sun_on_one_disk() -> None:
    # In 32 cells the Sun has radius 14.06 about 15.5: the cell (8, 20) lies 7.5 above and 4.5 right of its middle.
    map_ = np.zeros((32, 32))
    map_[8, 20] = 1.0
    opaque = pixels(overlay_picture(map_, like=with_spot(), size=200))[..., 3]
    frame = with_spot().disk.resized(with_spot().data.shape[0], 200)
    rows, columns = np.indices(opaque.shape)
    found = (opaque * columns).sum() / opaque.sum(), (opaque * rows).sum() / opaque.sum()
    assert found == pytest.approx(
        (frame.x + 4.5 * frame.radius / 14.0625, frame.y - 7.5 * frame.radius / 14.0625), abs=1
    )


def test_a_picture_has_a_plain_name_and_is_an_image() -> None:
    data = overlay_picture(np.ones((2, 2)))
    assert DiskPicture("grad-cam", "Grad-CAM", data).file == "grad-cam.png"
    for name in ("../x", "A", "", "a b", "a/b"):
        with pytest.raises(DataError, match="`name` of a picture"):
            DiskPicture(name, "x", data)
    with pytest.raises(DataError, match="must be JPEG or PNG"):
        DiskPicture("x", "x", b"<svg onload='alert(1)'>")
    with pytest.raises(DataError, match="`kind`"):
        DiskPicture("x", "x", data, "film")


@pytest.mark.parametrize("index", ["", "[{", "[1]", '[{"name": "x"}]', '[{"name": "x", "label": "", "file": "gone"}]'])
def test_a_damaged_index_costs_the_pictures_only(tmp_path: Path, index: str) -> None:
    (tmp_path / "pictures.json").write_text(index)
    assert kept_pictures(tmp_path) == []
