"""An archive read once: what comes of it, what it costs in memory, and every way it can fail."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.datasets.preprocessing import reduce_field
from kflare.datasets.reduced_images import proxies_of, reduce_images
from kflare.errors import DataError, SettingError
from kflare.observations.reading import read_magnetogram


@pytest.fixture
def paths(tmp_path):
    """Six different Suns."""
    y, x = np.mgrid[:48, :48] - 23.5
    written = []
    for number in range(6):
        image = np.random.default_rng(number).normal(127, 30, (48, 48)).clip(60, 255)
        image[np.hypot(x, y) > 21] = 0
        written.append(tmp_path / f"sun_201401{number + 1:02d}_000000.png")
        Image.fromarray(image.astype(np.uint8)).save(written[-1])
    return written


def test_each_image_is_reduced_and_measured(paths, tmp_path):
    images = reduce_images(
        paths, size=16, byte_range=250.0, folder=tmp_path / "run", measure=lambda seen: seen.data[:2, :3]
    )
    read = [read_magnetogram(path, byte_range=250.0) for path in paths]
    for field, seen in zip(images.fields, read, strict=True):
        np.testing.assert_array_equal(field, reduce_field(seen.data[None, :, :, None], size=16)[0])
    assert (images.fields.dtype, images.fields.shape) == (np.float32, (6, 16, 16, 1))
    assert images.digests == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    pd.testing.assert_frame_equal(images.proxies, pd.DataFrame([proxies_of(seen) for seen in read]))
    np.testing.assert_array_equal(images.measured, [seen.data[:2, :3] for seen in read])
    assert reduce_images(paths, size=16, byte_range=250.0, folder=tmp_path / "run").measured is None


def test_nothing_is_left_in_the_folder(paths, tmp_path):
    images = reduce_images(paths, size=16, byte_range=250.0, folder=tmp_path / "run")
    assert isinstance(images.fields, np.memmap)
    assert sorted(tmp_path.rglob("*")) == sorted(paths)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "sun_20140103_000000.jpg",
            b"404 not found, but as a text file\n",
            "must be a magnetogram in ",
        ),
        (
            "sun_20140103_000000.fits",
            b"404 not found, but as a text file\n",
            "must be a magnetogram in ",
        ),
        ("sun_20140103_000000.png", b"", "empty"),
        ("sun_20140103_000000.png", None, "truncated"),
    ],
)
def test_a_file_that_is_no_image_is_named(paths, tmp_path, name, content, message):
    wrong = tmp_path / name
    wrong.write_bytes(paths[2].read_bytes()[:-300] if content is None else content)
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        reduce_images([*paths[:2], wrong, *paths[3:]], size=16, byte_range=250.0, folder=tmp_path / "run")


def test_a_folder_that_cannot_be_written_to_is_named(paths, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"cannot use .*file for the reduced images: .* choose another --output"):
        reduce_images(paths, size=16, byte_range=250.0, folder=tmp_path / "file")


def test_a_disk_that_is_too_small_is_refused_before_any_image_is_read(paths, tmp_path):
    with pytest.raises(SettingError, match=r"has no room for 6 images of 1000000 pixels"):
        reduce_images(paths, size=1_000_000, byte_range=250.0, folder=tmp_path)
