"""Brightenings in a frame."""

import math

import numpy as np
import pytest

from kflare.errors import SettingError
from kflare.regions.brightening import BRIGHT_ABOVE, brightening_features


def test_area_sum_and_maximum_of_what_is_above_the_threshold():
    image = np.full((20, 30), 50, np.float32)
    image[5, 10:13] = [301, 500, 300]
    image[5, 14] = np.nan
    image[18, 28] = 9000  # outside the frame
    values = brightening_features(image, (8, 2, 20, 10), prefix="CH")
    assert values == {"CHArea": 2, "CHAll": 801, "CHMax": 500}
    values = brightening_features(image - 200, (8, 2, 20, 10), prefix="CR")
    assert values == {"CRArea": 2, "CRAll": 401, "CRMax": 300}


def test_a_quiet_frame_has_no_area_but_a_maximum():
    assert brightening_features(np.full((9, 9), 7.0), (0, 0, 9, 9), prefix="CR") == {
        "CRArea": 0,
        "CRAll": 0,
        "CRMax": 7,
    }


@pytest.mark.parametrize("box", [(40, 0, 50, 9), (-5, -5, -1, -1), (3, 3, 3, 6)])
def test_a_frame_without_measured_pixels_is_unknown(box):
    image = np.ones((20, 30))
    assert all(math.isnan(value) for value in brightening_features(image, box, prefix="CH").values())
    assert all(math.isnan(value) for value in brightening_features(image * np.nan, (1, 1, 5, 5), prefix="CH").values())


def test_a_frame_over_the_edge_counts_what_is_in_the_image():
    assert brightening_features(np.full((10, 10), 999.0), (-3, 8, 2, 15), prefix="CH")["CHArea"] == 4


def test_wrong_options_are_refused():
    image = np.ones((5, 5))
    with pytest.raises(SettingError, match="`prefix` of a brightening must be one of CH, CR, got 'UV'"):
        brightening_features(image, (0, 0, 5, 5), prefix="UV")
    assert set(BRIGHT_ABOVE) == {"CH", "CR"}
