"""Features of the line-of-sight field."""

import math
from dataclasses import replace

import numpy as np
import pytest

from kflare.errors import DataError
from kflare.regions.feature_table import feature_set
from kflare.regions.los_features import line_of_sight_features, r_value, sharp_sample_features

from .fields import STEP_M, patch_of
from .sharp_cea import read_sharp_cea

SHAPE = (81, 101)
STEP = STEP_M / 1e6  # 0.3644 Mm


def los_patch(los, **changes):
    blank = np.zeros(los.shape, np.float32)
    patch = patch_of(blank, blank, blank, los=los.astype(np.float32))
    return replace(patch, bx=None, by=None, bz=None, used=None, **changes)


def test_a_plane_has_the_values_of_a_plane():
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    # 4 G per pixel to the west, -3 to the north; the outermost pixels are not inside.
    field = 4.0 * (columns - 50) + 3.0 * (rows - 40)
    values = line_of_sight_features(los_patch(field))
    inner = field[1:-1, 1:-1]
    pixel = STEP_M**2 * 1e4
    assert values["USflux"] == pytest.approx(np.abs(inner).sum() * pixel, rel=1e-6)
    assert values["Area"] == pytest.approx((np.abs(inner) >= 140).sum() * pixel / 3.0438e16, rel=1e-4)
    assert (values["Bmax"], values["Bmin"]) == (inner.max(), inner.min()) == (4 * 49 + 3 * 39, -4 * 49 - 3 * 39)
    assert values["Bave"] == pytest.approx(np.abs(inner).mean(), rel=1e-6)
    assert values["MaxdxBz"] == pytest.approx(4 / STEP, rel=1e-5)
    assert values["MaxdyBz"] == pytest.approx(3 / STEP, rel=1e-5)
    assert values["MaxGraB"] == pytest.approx(5 / STEP, rel=1e-5)
    # 150 G are 30 pixels = 11 Mm from the zero line: farther than the reach of 4 Mm.
    assert values["NumNL"] == values["TotNL"] == values["MaxNL"] == 0


def test_features_are_those_of_the_table_in_its_order():
    names = [feature.name for feature in feature_set("defn79") if feature.group in {"LOS", "NL"}]
    assert list(line_of_sight_features(los_patch(np.ones(SHAPE)))) == names


def test_the_field_is_divided_by_mu():
    field = np.random.default_rng(3).normal(0, 300, SHAPE)
    radial = line_of_sight_features(los_patch(field, mu=np.full(SHAPE, 0.5, np.float32)))
    seen = line_of_sight_features(los_patch(field))
    for name in ("USflux", "Bmax", "Bmin", "Bave", "MaxGraB", "MaxdxBz", "MaxdyBz"):
        assert radial[name] == pytest.approx(2 * seen[name], rel=1e-5), name
    assert radial["Area"] > seen["Area"]


def test_a_field_is_strong_from_140_gauss_on_and_a_line_from_150():
    field = np.full(SHAPE, 139.0)
    field[:, 50:] *= -1
    weak = line_of_sight_features(los_patch(field))
    assert weak["Area"] == weak["NumNL"] == 0
    values = line_of_sight_features(los_patch(field * 1.5))
    assert values["NumNL"] == 1
    # From the second row to the last but one.
    assert values["TotNL"] == pytest.approx((SHAPE[0] - 3) * STEP, rel=0.03)
    assert values["Area"] > 0


@pytest.mark.parametrize("los", [None, np.full(SHAPE, np.nan, np.float32)])
def test_what_was_not_measured_is_unknown(los):
    patch = los_patch(np.zeros(SHAPE))
    patch = replace(patch, los=los)
    for values in (line_of_sight_features(patch), sharp_sample_features(patch)):
        assert all(math.isnan(value) for value in values.values())
    if los is None:
        with pytest.raises(DataError, match="`patch` must have a line-of-sight field"):
            r_value(patch)


def test_r_value_of_a_straight_line():
    """|B| = 600 G on both sides of a line through a wide map of 1-arcsec pixels, every second of which is taken."""
    field = np.full((201, 401), 600.0)
    field[:, 200:] *= -1
    patch = los_patch(field, arcsec=1.0)
    # The masks, grown by a pixel, meet on two columns of 101 rows; the weight has unit sum, so that its total is
    # 2 · 101 less what leaves the map at both ends: per end and column sigma / sqrt(2 pi) - 1/2 pixels, about.
    sigma = 10 / 2.3548
    expected = 600 * 2 * (101 - 2 * (sigma / math.sqrt(2 * math.pi) - 0.5))
    assert r_value(patch) == pytest.approx(math.log10(expected), abs=0.005)
    assert r_value(los_patch(np.abs(field))) == 0


def test_the_shipped_sharp_features_of_harp_377(real_data):
    """AREA 5447, USFLUX 2.312e22, MEANGBZ 36.16 and R_VALUE 4.803 in the samples at 01:36; the map is of 02:00."""
    patch = read_sharp_cea((real_data / "sharp_cea_377").glob("*.fits"))
    values = sharp_sample_features(patch)
    assert list(values) == ["AREA", "USFLUX", "MEANGBZ", "R_VALUE"]
    assert values["AREA"] == pytest.approx(5447, rel=0.01)
    assert values["USFLUX"] == pytest.approx(2.312e22, rel=0.01)
    assert values["MEANGBZ"] == pytest.approx(36.16, rel=0.01)
    assert values["R_VALUE"] == pytest.approx(4.803, abs=0.03)
    # Of a frame around it, without the outline that JSOC knows.
    framed = replace(patch, inside=np.ones_like(patch.inside), outlined=False)
    estimated = sharp_sample_features(framed)
    assert estimated["AREA"] == pytest.approx(values["AREA"], rel=0.03)
    assert estimated["USFLUX"] == pytest.approx(values["USFLUX"], rel=0.01)
    assert estimated["MEANGBZ"] == pytest.approx(values["MEANGBZ"], rel=0.03)
    assert estimated["R_VALUE"] == values["R_VALUE"]


def test_a_quiet_frame_has_no_outline():
    rng = np.random.default_rng(4)
    values = sharp_sample_features(los_patch(rng.normal(0, 8, SHAPE)))
    assert values["AREA"] == values["USFLUX"] == values["R_VALUE"] == 0
    assert math.isnan(values["MEANGBZ"])
