"""An archive read once: what comes of it, what it costs in memory, and every way it can fail."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.datasets.preprocessing import reduce_field, reduced
from kflare.datasets.reduced_images import proxies_of, reduce_images
from kflare.errors import DataError, SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.sun.disk import Disk


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
        paths, size=16, byte_range=250.0, folder=tmp_path / "run", measure=lambda reduced: reduced[6:8, 6:9]
    )
    read = [read_magnetogram(path, byte_range=250.0) for path in paths]
    for field, seen in zip(images.fields, read, strict=True):
        np.testing.assert_allclose(field, reduce_field(seen.data[None, :, :, None], size=16)[0], rtol=0, atol=1e-4)
    assert (images.fields.dtype, images.fields.shape) == (np.float32, (6, 16, 16, 1))
    assert images.digests == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    pd.testing.assert_frame_equal(images.proxies, pd.DataFrame([proxies_of(seen) for seen in read]))
    np.testing.assert_array_equal(images.measured, images.fields[:, 6:8, 6:9])
    assert images.guises.shape == (6, 0, 16, 16, 1)
    assert reduce_images(paths, size=16, byte_range=250.0, folder=tmp_path / "run").measured is None


def test_guises_are_the_same_sun_and_the_same_for_the_same_file(paths, tmp_path):
    images = reduce_images(paths, size=16, byte_range=250.0, folder=tmp_path / "run", guises=3)
    again = reduce_images(paths[::-1], size=16, byte_range=250.0, folder=tmp_path / "run", guises=3)
    np.testing.assert_array_equal(images.guises, again.guises[::-1])
    assert (images.guises.dtype, images.guises.shape) == (np.float16, (6, 3, 16, 16, 1))
    for field, guises in zip(images.fields, images.guises, strict=True):
        for guise in guises:
            seen = np.isfinite(field) & np.isfinite(guise)
            assert seen.sum() > 0.9 * np.isfinite(field).sum()
            assert np.corrcoef(field[seen], guise[seen].astype(float))[0, 1] > 0.5


def test_a_small_image_that_a_guise_would_make_too_coarse_stands_for_it(paths, tmp_path):
    # Radius 21 of 48 pixels: 19.1 are needed for 64, and guises have 16.8 (0.35 of the width) to 23.
    images = reduce_images(paths, size=64, byte_range=250.0, folder=tmp_path, guises=6)
    assert np.isfinite(images.guises).any(axis=(2, 3, 4)).all()


WITHOUT_DISK = {
    "cut": (lambda x, y: np.hypot(x - 9, y) < 21, r"whole disk must be seen, .* got centre \(32\.\d, .* in 48 pixels"),
    "square": (lambda x, y: (abs(x) < 22) & (abs(y) < 22), "bounded by a circle"),
    "coarse": (lambda x, y: np.hypot(x, y) < 21, r"too coarse for a network of 128 .* radius of 38\.2 .* 21\.\d in 48"),
}


@pytest.mark.parametrize("name", WITHOUT_DISK)
def test_an_image_of_no_whole_fine_disk_is_named(name, tmp_path):
    """Failed before: it was reduced all the same, and a network told its answer to nothing."""
    shape, message = WITHOUT_DISK[name]
    y, x = np.mgrid[:48, :48] - 23.5
    field = np.where(shape(x, y), np.random.default_rng(1).normal(0, 50, (48, 48)), np.nan).astype(np.float32)
    image = Magnetogram(field, datetime(2014, 1, 1, tzinfo=UTC), Disk(23.5, 23.5, 21), "HMI", "a.fits")
    with pytest.raises(DataError, match=rf"`a\.fits`: .*{message}"):
        reduced(image, size=128 if name == "coarse" else 32)


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
