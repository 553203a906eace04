"""Inversion lines lie where the polarities meet, boundaries where they end, and neither where nothing was measured."""

from datetime import UTC, datetime

import numpy as np
import pytest

from kflare.datasets.reduced_images import proxies_of
from kflare.errors import SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.cea import Patch
from kflare.regions.inversion_lines import default_threshold, near_both_polarities, polarity_lines, strong_field
from kflare.regions.los_features import r_value
from kflare.sun.disk import Disk


def bipole(gap=0):
    """A positive square (rows 10-29, columns 10-19) and a negative one of the same size to its right."""
    field = np.zeros((40, 60), np.float32)
    field[10:30, 10:20] = 200
    field[10:30, 20 + gap : 30 + gap] = -200
    return field


def test_the_line_lies_between_the_polarities():
    lines = polarity_lines(bipole(), threshold=100)
    rows, columns = np.nonzero(lines.inversion)
    # Edges are found at most a pixel off the border (between columns 19 and 20) and grow by a square of 4: by 2 pixels
    # to one side and 1 to the other.
    assert columns.min() >= 20 - 1 - 2 - 1
    assert columns.max() <= 19 + 1 + 2 + 1
    assert rows.min() >= 10 - 3
    assert rows.max() <= 29 + 3
    assert lines.inversion[13:27, 19:21].all()


def test_the_boundary_is_the_rest_of_the_edges():
    lines = polarity_lines(bipole(), threshold=100)
    assert not (lines.boundary & lines.inversion).any()
    for columns in (slice(9, 11), slice(29, 31)):  # the outer sides
        assert lines.boundary[13:27, columns].any(axis=1).all()
    assert not lines.boundary[13:27, 18:22].any()
    assert not lines.boundary[:, :8].any()


def test_polarities_that_do_not_meet_have_boundaries_only():
    lines = polarity_lines(bipole(gap=10), threshold=100)
    assert not lines.inversion.any()
    for columns in (slice(18, 21), slice(29, 32)):
        assert lines.boundary[13:27, columns].any(axis=1).all()
    assert not polarity_lines(np.abs(bipole()), threshold=100).inversion.any()


def test_schrijver():
    # The masks grow by one pixel: columns 9-20 and 19-30, rows 9-30. They share 2 columns of 22 pixels.
    lines = polarity_lines(bipole(), threshold=100, method="schrijver")
    expected = np.zeros((40, 60), bool)
    expected[9:31, 19:21] = True
    np.testing.assert_array_equal(lines.inversion, expected)
    assert not (lines.boundary & expected).any()
    assert lines.boundary[13:27, 9:11].any(axis=1).all()


@pytest.mark.parametrize("method", ["edges", "schrijver"])
def test_what_was_not_measured_is_no_polarity(method):
    field = bipole()
    empty = field.copy()
    empty[:8], empty[:, 45:] = np.nan, np.nan
    with_nan = polarity_lines(empty, threshold=100, method=method)
    without = polarity_lines(field, threshold=100, method=method)
    np.testing.assert_array_equal(with_nan.inversion, without.inversion)
    np.testing.assert_array_equal(with_nan.boundary, without.boundary)
    nothing = polarity_lines(np.full((8, 8), np.nan), threshold=100, method=method)
    assert not nothing.inversion.any()
    assert not nothing.boundary.any()


@pytest.mark.parametrize("method", ["edges", "schrijver"])
def test_the_sign_of_the_field_does_not_matter(method):
    random = np.random.default_rng(5)
    field = random.normal(0, 150, (50, 50))
    one, other = (polarity_lines(sign * field, threshold=100, method=method) for sign in (1, -1))
    np.testing.assert_array_equal(one.inversion, other.inversion)
    np.testing.assert_array_equal(one.boundary, other.boundary)


def test_the_threshold_is_included():
    assert polarity_lines(bipole(), threshold=200).inversion.any()
    assert not polarity_lines(bipole(), threshold=200.1).inversion.any()


def test_strong_field_reaches_out():
    field = np.full((20, 20), np.nan)
    field[10, 10] = -300
    near = strong_field(field, threshold=300, reach=4)
    expected = np.zeros((20, 20), bool)
    expected[6:15, 6:15] = True
    np.testing.assert_array_equal(near, expected)


@pytest.mark.parametrize(("byte_range", "gauss"), [(None, 150), (100, 50), (250, 100), (1000, 100)])
def test_threshold_by_the_kind_of_image(byte_range, gauss):
    image = Magnetogram(
        np.zeros((16, 16), np.float32), datetime(2013, 1, 1, tzinfo=UTC), Disk(8, 8, 6), "HMI", "test", byte_range
    )
    assert default_threshold(image) == gauss


def test_settings_out_of_range():
    with pytest.raises(SettingError, match="`method` must be one of edges, schrijver, got 'dbscan'"):
        polarity_lines(bipole(), threshold=100, method="dbscan")
    with pytest.raises(SettingError, match="`threshold` of a polarity must be above 0 gauss, got 0"):
        polarity_lines(bipole(), threshold=0)
    with pytest.raises(SettingError, match="`width` must be at least 1"):
        polarity_lines(bipole(), threshold=100, width=0)


def by_hand(field, threshold):
    """Every pixel's 3×3 neighbours looked through one by one."""
    found = np.zeros(field.shape, bool)
    for row, column in np.ndindex(field.shape):
        window = field[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        found[row, column] = (window > threshold).any() and (window < -threshold).any()
    return found


@pytest.fixture(scope="module")
def noisy():
    """Gauss, none at a threshold exactly, with a hole that was not measured."""
    field = np.random.default_rng(7).normal(0, 120, (48, 48)).astype(np.float32)
    field[5:12, 30:41] = np.nan
    return field


def test_both_polarities_within_a_square(noisy):
    found = near_both_polarities(noisy, threshold=150)
    np.testing.assert_array_equal(found, by_hand(noisy, 150))
    assert found.any()


def test_both_polarities_within_a_circle():
    field = np.zeros((9, 9))
    field[4, 2], field[4, 6] = 200, -200
    # Only the middle is within 2 pixels of both; within sqrt(5) its upper and lower neighbours are too.
    assert np.argwhere(near_both_polarities(field, threshold=150, reach=2)).tolist() == [[4, 4]]
    near = near_both_polarities(field, threshold=150, reach=5**0.5)
    assert np.argwhere(near).tolist() == [[3, 4], [4, 4], [5, 4]]


def test_a_strict_threshold_must_be_exceeded():
    field = np.array([[150.0, -150.0]])
    assert near_both_polarities(field, threshold=150).all()
    assert not near_both_polarities(field, threshold=150, strict=True).any()


def test_r_value_weighs_the_field_near_these_lines(noisy):
    # 2 arcsec a pixel, so that every pixel counts: log10 of the sum of |B| times the smoothed line.
    from scipy import ndimage

    field = np.nan_to_num(noisy[::-1].astype(np.float64))
    offsets = np.arange(-20, 21)
    weight = np.exp(-((offsets * 2.3548 / 10) ** 2) / 2)
    line = by_hand(field, 150).astype(np.float64)
    for axis in (0, 1):
        line = ndimage.convolve1d(line, weight / weight.sum(), axis=axis, mode="constant")
    patch = Patch(noisy, np.ones_like(noisy), np.isfinite(noisy), step_m=1.45e6, arcsec=2.0)
    assert r_value(patch) == pytest.approx(np.log10((line * np.abs(field)).sum()), rel=1e-12)


def test_proxies_count_the_pixels_near_these_lines(noisy):
    image = Magnetogram(noisy, datetime(2013, 1, 1, tzinfo=UTC), Disk(24, 20, 18), "HMI", "test")
    on_disk = np.isfinite(noisy)
    count = (by_hand(np.nan_to_num(noisy), 80) & on_disk).sum()
    assert proxies_of(image)["log_pil"] == np.log10((1 + count) / on_disk.sum())


def test_the_field_of_the_lines_is_measured():
    def proxy(strength, byte_range=None):
        # Opposite fields in two columns of 30 pixels in a field of 0.
        field = np.zeros((64, 64), np.float32)
        field[20:50, 31], field[20:50, 32] = strength, -strength
        image = Magnetogram(field, datetime(2013, 1, 1, tzinfo=UTC), Disk(31.5, 31.5, 31), "HMI", "test", byte_range)
        return proxies_of(image)["log_line_field"]

    # Near both polarities are rows 19 to 50 of columns 31 and 32. The 9×9 pixels around a pixel of row r in either of
    # the columns hold both columns, in the rows r - 4 to r + 4 as far as they are among these.
    near = sum(2 * (min(row + 4, 50) - max(row - 4, 19) + 1) / 81 for row in range(20, 50))
    assert proxy(200) == pytest.approx(np.log10(2 * 200 * near / 64**2), abs=1e-6)
    # Below 125 G there is no line; on the byte scale of ±100 G of the papers' images lines are beyond 50 G.
    assert proxy(120) == -3
    assert proxy(60, 100.0) == pytest.approx(np.log10(2 * 60 * near / 64**2), abs=1e-6)


def test_pretraining_sees_the_same_lines(noisy):
    # Cells of 4×4 pixels: the share of the 9×9 pixels around that are near both polarities beyond 60 G, times |B|.
    import tensorflow as tf

    from kflare.models.pretraining import line_maps

    field = np.nan_to_num(noisy)[:32, :32]
    strong = line_maps(tf.constant(field[None, :, :, None]))[0].numpy()[..., 1]
    near = near_both_polarities(field, threshold=60)
    share = np.array(
        [[near[max(r - 4, 0) : r + 5, max(c - 4, 0) : c + 5].mean() for c in range(32)] for r in range(32)]
    )
    cells = (share * np.abs(field)).reshape(8, 4, 8, 4).mean(axis=(1, 3))
    assert cells.max() > 1
    np.testing.assert_allclose(strong, cells, rtol=1e-5, atol=1e-4)
