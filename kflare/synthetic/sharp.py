"""The four SHARP parameters of synthetic regions, measured as JSOC does on a small map of each region.

The maps hold the regions' radial field without network, plage clumps and noise, so the values are what a perfect
instrument without limb effects would give. The definitions are those of Bobra et al. (2014, Solar Physics 289, 3549).
"""

import numpy as np

from kflare.io.arrays import Float32Array, Float64Array
from kflare.synthetic.regions import RADIUS_CM, SQUARE_DEGREE, Patches

#: Unit of each parameter but R_VALUE, the log10 of a weighted field sum.
SHARP_UNITS = {"AREA": "uHem", "USFLUX": "Mx", "MEANGBZ": "G/Mm"}

_STEP = 0.25  # degrees
_ROWS, _COLUMNS = 80, 112  # 20° × 28° hold the largest region
_DEGREE = np.sqrt(SQUARE_DEGREE) / 1e8  # Mm
_MICROHEMISPHERE = 2e-6 * np.pi * RADIUS_CM**2  # cm²
_ACTIVE_FIELD = 25.0  # gauss: the smoothed field that bounds an active patch
_STRONG_FIELD = 75.0  # gauss: half the 150 G of Schrijver (2007), since the plage is smooth here
_PIL_FWHM = 15.0  # Mm, likewise
_SHARP_PIXEL = 1.45  # Mm, 2 arcsec: the pixel in which R is summed
_BATCH = 64  # regions at a time, 4.6 MB per array


def patch_parameters(patches: Patches) -> dict[str, Float64Array]:
    """Measure each region, float64, shape (N,) by name.

    AREA (microhemispheres) and USFLUX (Mx) of the radial field above 25 G, MEANGBZ (G/Mm) its mean gradient there,
    R_VALUE (log10; 0 without a strong polarity inversion line).
    """
    measured = [np.zeros((4, 0))]
    for first in range(0, len(patches.flux), _BATCH):
        rows = slice(first, first + _BATCH)
        field = _maps(patches.peak[rows], patches.x[rows], patches.y[rows], patches.sigma[rows])
        measured.append(_measure(field))
    return dict(zip((*SHARP_UNITS, "R_VALUE"), np.concatenate(measured, axis=1), strict=True))


def _maps(peak: Float64Array, x: Float64Array, y: Float64Array, sigma: Float64Array) -> Float32Array:
    """Radial field of each region in gauss, shape (N, rows, columns), north up, west right."""
    across = (np.arange(_COLUMNS) - (_COLUMNS - 1) / 2) * _STEP
    up = ((_ROWS - 1) / 2 - np.arange(_ROWS)) * _STEP
    width = np.hypot(sigma, 0.4 * _STEP)[:, :, np.newaxis]
    horizontal = np.exp(-(((across - x[:, :, np.newaxis]) / width) ** 2) / 2)
    vertical = np.exp(-(((up - y[:, :, np.newaxis]) / width) ** 2) / 2)
    vertical *= (peak * sigma**2)[:, :, np.newaxis] / width**2
    field: Float32Array = vertical.transpose(0, 2, 1).astype(np.float32) @ horizontal.astype(np.float32)
    return field


def _measure(field: Float32Array) -> Float64Array:
    """The four parameters of each map, shape (4, N)."""
    from scipy import ndimage

    strength = np.abs(field)
    active = strength > _ACTIVE_FIELD
    pixels = active.sum(axis=(1, 2), dtype=np.float64)
    pixel_area = _STEP**2 * SQUARE_DEGREE
    gradient = np.hypot(*np.gradient(field, np.float32(_STEP * _DEGREE), axis=(1, 2)))
    mean_gradient = np.where(active, gradient, 0).sum(axis=(1, 2)) / np.maximum(pixels, 1)

    boxcar = (1, 3, 3)
    near_positive = ndimage.maximum_filter(field > _STRONG_FIELD, size=boxcar)
    near_negative = ndimage.maximum_filter(field < -_STRONG_FIELD, size=boxcar)
    line = (near_positive & near_negative).astype(np.float32)
    sigma = _PIL_FWHM / 2.3548 / (_STEP * _DEGREE)
    weighted = (ndimage.gaussian_filter(line, (0, sigma, sigma), truncate=3) * strength).sum(axis=(1, 2))
    r = np.log10(np.maximum(weighted * (_STEP * _DEGREE / _SHARP_PIXEL) ** 2, 1))
    area, flux = pixels * pixel_area / _MICROHEMISPHERE, np.where(active, strength, 0).sum(axis=(1, 2)) * pixel_area
    return np.stack([area, flux, mean_gradient, r]).astype(np.float64)
