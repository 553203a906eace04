"""What can be forecast from: the same limits for files as in the graph."""

from datetime import UTC, datetime

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kflare.datasets.preprocessing import reduce_field, reduced, usable
from kflare.datasets.reduced_images import reduce_images
from kflare.errors import DataError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.usability import require_usable
from kflare.serving.forecasts.served_forecasts import ask_magnetogram
from kflare.sun.disk import Disk


def magnetogram(data):
    data = np.asarray(data, np.float32)
    side = data.shape[0]
    return Magnetogram(data, datetime(2014, 1, 1, tzinfo=UTC), Disk(side / 2, side / 2, 0.45 * side), "HMI", "a.fits")


def fields():
    y, x = np.mgrid[:64, :64] - 31.5
    off = np.hypot(x, y) > 28
    good = np.where(off, np.nan, np.random.default_rng(0).normal(0, 50, (64, 64)))
    spots = good.copy()
    spots[30:32, 20] = -32768.0
    return {
        "good": (good, None),
        "strong": (np.where(off, np.nan, np.where(x < 0, -6000.0, 6000.0)), None),
        "constant": (np.where(off, np.nan, 6000.0), r"hold field of both polarities, got 6000 to 6000 G"),
        "one pixel below 0": (np.where(off, np.nan, np.where((x == 0.5) & (y == 0.5), -5.0, 50.0)), "both polarities"),
        "gap": (np.where((np.abs(x) < 12) & (np.abs(y) < 12), np.nan, good), None),
        "ring": (np.where(np.hypot(x, y) < 22, np.nan, good), "at least 25%|at least half of the disk"),
        "cut": (np.where(np.hypot(x - 12, y) > 28, np.nan, np.nan_to_num(good)), "the whole disk must be seen"),
        "square": (np.nan_to_num(good, nan=3.0), "bounded by a circle|the whole disk must be seen"),
        "coarse": (np.where(np.hypot(x, y) > 18.5, np.nan, good), r"too coarse .* radius of 19\.1 or more"),
        "two fill values": (spots, None),
        "nothing": (np.full((64, 64), np.nan), r"have measured at least 25% of its pixels, got 0\.0%"),
        "absurd": (np.full((64, 64), 1e38), r"hold gauss, at most 10,000 .* got 1e\+38 G, and 100\.0% of the pixels"),
        "fill values": (np.where(off, -32768.0, good), r"got 32768 G, and \d+\.\d% of the pixels beyond"),
        "a corner": (np.where((x < -8) & (y < 0), good, np.nan), "have measured at least 25%"),
    }


@pytest.mark.parametrize("name", fields())
def test_files_and_the_graph_have_the_same_limits(name):
    field, reason = fields()[name]
    field = field.astype(np.float32)
    given = tf.constant(field[None, ..., None])
    assert bool(usable(given, reduce_field(given, size=64))[0]) is (reason is None)
    if reason is None:
        # Few fill values are no field of any region.
        kept = require_usable(magnetogram(field)).data
        np.testing.assert_array_equal(kept, np.where(np.abs(field) > 10_000, np.nan, field))
        assert np.isfinite(reduced(magnetogram(kept), size=64)).any()
    else:
        with pytest.raises(DataError, match=f"`a.fits`: .*({reason})"):
            reduced(require_usable(magnetogram(field)), size=64)


@pytest.mark.parametrize("side", [1, 31])
def test_a_few_pixels_are_no_disk(side):
    with pytest.raises(DataError, match=f"must be at least 32 pixels wide, got {side}"):
        require_usable(magnetogram(np.zeros((side, side))))


def test_no_command_asks_or_learns_about_what_cannot_be_forecast_from(tmp_path):
    with pytest.raises(DataError, match=r"`a\.fits`: a magnetogram to forecast from must"):
        ask_magnetogram(None, "cnn-c", magnetogram(np.full((64, 64), np.nan)))
    y, x = np.mgrid[:24, :24] - 11.5
    path = tmp_path / "sun_20140101_000000.png"
    Image.fromarray(np.where(np.hypot(x, y) < 10, 128, 0).astype(np.uint8)).save(path)
    with pytest.raises(DataError, match=r"20140101_000000\.png`: .* must be at least 32 pixels wide, got 24"):
        reduce_images([path], size=16, byte_range=None, folder=tmp_path)
