"""JSOC's potential field and the physical one."""

import numpy as np
import pytest

from kflare.regions.vector_parameters import greenpot

from .fields import dipole, potential_field


def test_greenpot_is_the_sum_that_jsoc_writes():
    """The loops of `greenpot` in sw_functions.c, rows from the south."""
    rng = np.random.default_rng(5)
    bz = rng.normal(0, 100, (26, 31))
    bz[4, 7] = np.nan
    south_up = bz[::-1]
    filled, (ny, nx) = np.nan_to_num(south_up), bz.shape
    pot = np.zeros((ny, nx))
    for j in range(ny):
        for i in range(nx):
            if np.isnan(south_up[j, i]):
                continue
            j2, i2 = np.mgrid[max(j - 10, 0) : min(j + 10, ny), max(i - 10, 0) : min(i + 10, nx)]
            pot[j, i] = (filled[j2, i2] * 0.001 / np.sqrt((i2 - i) ** 2 + (j2 - j) ** 2 + 0.001**2)).sum()
    bx, by = np.zeros((2, ny, nx))
    bx[1:-1, 1:-1] = -(pot[1:-1, 2:] - pot[1:-1, :-2]) / 2
    by[1:-1, 1:-1] = -(pot[2:, 1:-1] - pot[:-2, 1:-1]) / 2
    found = greenpot(bz)
    np.testing.assert_allclose(found[0], bx[::-1], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found[1], by[::-1], rtol=0, atol=1e-4)


def test_greenpot_is_hardly_a_potential_field():
    """With monopoles a thousandth of a pixel deep it is minus the gradient of Bz in gauss per pixel."""
    _, _, bz = dipole((61, 61))
    bx, _ = greenpot(bz)
    minus_gradient = -(bz[1:-1, 2:] - bz[1:-1, :-2]) / 2
    assert np.abs(bx[1:-1, 1:-1] - minus_gradient).max() < 0.05 * np.abs(minus_gradient).max()


@pytest.mark.parametrize("depth", [8.0, 15.0])
def test_the_potential_field_of_a_dipole(depth):
    bx, by, bz = dipole((300, 360), depth=depth)
    px, py = potential_field(bz)
    middle = (slice(100, 200), slice(120, 240))
    strongest = np.hypot(bx, by).max()
    # The field of the charges beyond the map is taken as 0.
    assert np.abs(px - bx)[middle].max() < 0.01 * strongest
    assert np.abs(py - by)[middle].max() < 0.01 * strongest


def test_unmeasured_pixels_count_as_no_field():
    _, _, bz = dipole((64, 64))
    holed = bz.copy()
    holed[:3] = np.nan
    filled = np.nan_to_num(holed)
    for method in (greenpot, potential_field):
        for with_holes, without in zip(method(holed), method(filled), strict=True):
            assert np.isfinite(with_holes).all()
            np.testing.assert_allclose(with_holes[5:], without[5:], atol=1e-3)
