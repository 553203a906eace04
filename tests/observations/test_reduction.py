"""Means over areas and turns, with missing pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError
from kflare.observations.reduction import BAND, area_mean, resampled

NAN = np.nan


def test_non_integer_ratios_share_pixels_by_area():
    # 3 pixels to 2: each new pixel is 1.5 wide. Along x the first is (1·a + 0.5·b) / 1.5.
    data = np.array([[0, 3, 6]] * 3, dtype=np.float32)
    np.testing.assert_allclose(area_mean(data, 2), [[1, 5]] * 2, rtol=1e-6)
    # And both ways: pixel (0, 0) has the weights 1, ½, ½, ¼ for 9, 0, 0, 0, of 2.25 in all.
    corner = np.zeros((3, 3), np.float32)
    corner[0, 0] = 9
    np.testing.assert_allclose(area_mean(corner, 2), [[4, 0], [0, 0]], rtol=1e-6)


def test_missing_pixels_take_no_part():
    # The upper left new pixel has 1.5² = 2.25 of area; without the corner pixel 1.25 are left, more than half.
    data = np.array([[NAN, 4, 4], [4, 4, 4], [4, 4, 4]], dtype=np.float32)
    np.testing.assert_allclose(area_mean(data, 2), np.full((2, 2), 4), rtol=1e-6)
    # Without its right neighbour too 0.75 are left: less than half.
    data[0, 1] = NAN
    assert np.isnan(area_mean(data, 2)).tolist() == [[True, False], [False, False]]
    # Just half of a block of 4 is enough.
    assert area_mean(np.array([[NAN, 2], [NAN, 4]], np.float32), 1).tolist() == [[3.0]]
    assert np.isnan(area_mean(np.full((3, 3), NAN, np.float32), 2)).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_mean_is_kept(width, size, seed):
    size = min(size, width)
    data = np.random.default_rng(seed).normal(0, 100, (width, width)).astype(np.float32)
    small = area_mean(data, size)
    assert small.shape == (size, size)
    # With nothing missing every old pixel counts the same in the sum of all new ones.
    assert small.mean() == pytest.approx(data.mean(), abs=0.01)
    assert small.min() >= data.min() - 0.001
    assert small.max() <= data.max() + 0.001


@pytest.mark.parametrize("size", [7, 50, 100])
def test_bands_make_no_difference(size, monkeypatch):
    data = np.random.default_rng(1).normal(0, 100, (2 * BAND + 10,) * 2).astype(np.float32)
    data[data > 150] = NAN
    whole = area_mean(data, size)
    monkeypatch.setattr("kflare.observations.reduction.BAND", 11)
    np.testing.assert_allclose(area_mean(data, size), whole, rtol=1e-4, atol=1e-3)


def test_blocks_agree_with_numpy():
    data = np.random.default_rng(2).normal(0, 100, (96, 96)).astype(np.float32)
    np.testing.assert_allclose(area_mean(data, 24), data.reshape(24, 4, 24, 4).mean(axis=(1, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [0, -1, 4])
def test_size_must_fit(size):
    with pytest.raises(DataError, match=r"`size` must be 1 to 3 pixels, the width of `sun\.fits`"):
        area_mean(np.zeros((3, 3), np.float32), size, source="sun.fits")


def test_a_turn_is_counterclockwise_about_its_centre():
    data = np.zeros((9, 9), np.float32)
    data[4, 7] = 1  # three pixels to the right of (4, 4)
    turned = resampled(data, (4, 4), angle=90)
    assert np.argwhere(turned > 0.99).tolist() == [[1, 4]]  # three above
    # About (x, y) = (3, 4) it is four pixels to the right, so four above.
    assert np.argwhere(resampled(data, (3, 4), angle=90) > 0.99).tolist() == [[0, 3]]
    np.testing.assert_array_equal(resampled(data, (4, 4)), data)


def test_it_is_enlarged_about_a_point_that_is_moved():
    data = np.zeros((9, 9), np.float32)
    data[4, 7] = 1
    # Three to the right of (4, 4); twice as far from (5, 8), of 12 pixels, when turned to above it.
    moved = resampled(data, (4, 4), angle=90, scale=2, onto=(5, 8), width=12)
    assert moved.shape == (12, 12)
    assert np.argwhere(moved > 0.99).tolist() == [[2, 5]]
    # Twice as large each way, a pixel is a pyramid of four pixels' volume.
    assert np.nansum(moved) == pytest.approx(4)
    assert np.isnan(resampled(data, (0, 0), onto=(3, 0))[:, :3]).all()  # from beyond the edge


def test_turning_neither_spreads_what_is_missing_nor_invents():
    data = np.full((32, 32), 5, np.float32)
    data[10:14, 10:14] = NAN
    turned = resampled(data, (15.5, 15.5), angle=33)
    # 16 missing pixels stay about 16, no neighbour is dimmed, and the corners that come from outside are missing.
    assert np.isnan(turned[8:24, 8:24]).sum() == pytest.approx(16, abs=5)
    np.testing.assert_allclose(turned[np.isfinite(turned)], 5, rtol=1e-5)
    assert np.isnan(turned[0, 0])
