"""Which pixels are on the disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.sun.disk import Disk, disk_columns, disk_mask


@given(
    width=st.integers(1, 40),
    x=st.floats(-30, 60),
    y=st.floats(-30, 60),
    radius=st.floats(0.1, 60),
)
def test_the_mask_is_the_distance_from_the_centre(width, x, y, radius):
    index = np.arange(width, dtype=np.float64)
    expected = (index - x) ** 2 <= radius**2 - (index[:, np.newaxis] - y) ** 2
    np.testing.assert_array_equal(disk_mask(width, Disk(x, y, radius)), expected)


def test_columns_of_a_small_disk():
    # Centre (2, 1), radius 1: row 0 has column 2, row 1 columns 1 to 3, row 2 column 2.
    first, stop = disk_columns(5, Disk(2, 1, 1))
    assert (stop - first).tolist() == [1, 3, 1, 0, 0]
    assert (first[:3].tolist(), stop[:3].tolist()) == ([2, 1, 2], [3, 4, 3])


@pytest.mark.parametrize("size", [16, 48, 100])
def test_resized_keeps_the_place_on_the_sun(size):
    disk = Disk(40.3, 61.7, 33.0)
    small = disk.resized(128, size)
    # Distances from the left edge, at -1/2, and the radius are the same parts of the width.
    assert (small.x + 0.5) / size == pytest.approx((disk.x + 0.5) / 128)
    assert (small.y + 0.5) / size == pytest.approx((disk.y + 0.5) / 128)
    assert small.radius / size == pytest.approx(disk.radius / 128)
