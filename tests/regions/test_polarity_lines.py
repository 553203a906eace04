"""Inversion lines lie where the polarities meet, boundaries where they end, and neither where nothing was measured."""

from datetime import UTC, datetime

import numpy as np
import pytest

from kflare.errors import SettingError
from kflare.observations.magnetogram import Disk, Magnetogram
from kflare.regions.polarity_lines import default_threshold, polarity_lines, strong_field


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
