"""Features of a region in the line-of-sight field: the 11 of Deep Flare Net, and the four of the SHARP samples."""

import math
from typing import Final

import numpy as np
from scipy import ndimage

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, FloatArray
from kflare.regions.cea import Patch
from kflare.regions.feature_table import feature_set
from kflare.regions.inversion_lines import near_both_polarities, neutral_lines
from kflare.sun.constants import MICROHEMISPHERE_CM2

_NAMES: Final = tuple(feature.name for feature in feature_set("defn79") if feature.group in ("LOS", "NL"))
_STRONG_FIELD: Final = 140.0  # gauss
# R_VALUE: Schrijver (2007) and JSOC's `computeR`.
_R_FIELD = 150.0  # gauss
_R_PIXEL = 2.0  # arcsec, about
_R_SIGMA = 10 / 2.3548  # pixels
_R_REACH = 20  # pixels
# The outline that a HARP would have: |B| smoothed by a Gaussian of 12 Mm, above 20 G. It gives HARP 377 on 2011-02-15
# its area and its flux to 1 %. Reconstruction: the HARP module classifies pixels by field and intensity.
_OUTLINE_SIGMA = 12.0
_OUTLINE_FIELD = 20.0


def line_of_sight_features(patch: Patch) -> dict[str, float]:
    """The 11 line-of-sight features of Deep Flare Net (`feature_set("defn79")`, groups LOS and NL), in its units.

    Of the field divided by mu, as if it were vertical; `Area` is that of 140 G and more. Areas and lengths are on the
    Sun, not in the image. Without a line-of-sight field, or with none measured within the region, all are NaN.
    """
    vertical = patch.radial
    if vertical is None or not (inside := patch.inside & np.isfinite(vertical)).any():
        return dict.fromkeys(_NAMES, math.nan)
    values = vertical[inside].astype(np.float64)
    west, north = central_differences(vertical)
    steep = inside & np.isfinite(west) & np.isfinite(north)
    west, north = np.abs(west[steep]) / patch.step_mm, np.abs(north[steep]) / patch.step_mm
    found = neutral_lines(vertical, step_mm=patch.step_mm, inside=inside)
    strength = np.abs(values)
    return {
        "Area": area_uhem(patch, strength >= _STRONG_FIELD), "USflux": float(strength.sum()) * patch.pixel_area_cm2,
        "Bmax": float(values.max()), "Bmin": float(values.min()), "Bave": float(strength.mean()),
        "TotNL": float(sum(found.lengths)), "NumNL": float(len(found.lengths)),
        "MaxNL": max(found.lengths, default=0.0),
        "MaxGraB": float(np.hypot(west, north).max()) if len(west) else math.nan,
        "MaxdxBz": float(west.max()) if len(west) else math.nan,
        "MaxdyBz": float(north.max()) if len(north) else math.nan,
    }  # fmt: skip


def sharp_sample_features(patch: Patch) -> dict[str, float]:
    """AREA, USFLUX, MEANGBZ and R_VALUE as the SHARP samples have them (`feature_set("sharp")`), in its units.

    All of the line-of-sight field as measured, not divided by mu; NaN where there is none. For the frame of a detected
    region the outline that a HARP would have is estimated first; a SHARP brings its own.
    """
    names = ("AREA", "USFLUX", "MEANGBZ", "R_VALUE")
    if patch.los is None or not (known := patch.inside & np.isfinite(patch.los)).any():
        return dict.fromkeys(names, math.nan)
    if not patch.outlined:
        strength = np.where(known, np.abs(patch.los), np.float32(0))
        smooth = ndimage.gaussian_filter(strength, _OUTLINE_SIGMA / patch.step_mm, truncate=3)
        known &= smooth >= _OUTLINE_FIELD
    strength = np.abs(patch.los[known].astype(np.float64))
    # Gauss per pixel of 0.03 degrees, whatever the step of this map.
    gradient = mean_gradient(patch.los, known) * (0.36442 / patch.step_mm)
    values = area_uhem(patch, known), float(strength.sum()) * patch.pixel_area_cm2, gradient, r_value(patch)
    return dict(zip(names, values, strict=True))


def area_uhem(patch: Patch, mask: BoolArray) -> float:
    """Area of the pixels of a mask, millionths of the hemisphere."""
    return float(np.count_nonzero(mask)) * (patch.pixel_area_cm2 / MICROHEMISPHERE_CM2)


def mean_gradient(field: FloatArray, mask: BoolArray) -> float:
    """Mean modulus of the gradient over a mask, per pixel; NaN if there is none.

    As JSOC: by central differences, without the outermost pixels and those whose two derivatives add up to 0.
    """
    west, north = central_differences(field)
    counted = mask & np.isfinite(field) & np.isfinite(west) & np.isfinite(north)
    x, y = west[counted], north[counted]
    kept = x + y != 0
    return float(np.hypot(x, y)[kept].mean()) if kept.any() else math.nan


def r_value(patch: Patch) -> float:
    """R_VALUE: log10 of the unsigned field near neutral lines of steep gradient; 0 where there are none.

    Schrijver (2007, ApJ 655, L117) as JSOC's `computeR` has it: every n-th pixel of the line-of-sight field, n pixels
    being about 2 arcsec, is above 150 G or below -150 G; both masks are grown by a pixel; where they meet, a Gaussian
    of 10 pixels FWHM and unit sum weighs |B|. A patch without a line-of-sight field raises `DataError`.
    """
    if patch.los is None:
        raise DataError("`patch` must have a line-of-sight field, it has none")
    stride = max(round(_R_PIXEL / patch.arcsec), 1)
    coarse = np.nan_to_num(patch.los[::-1][::stride, ::stride].astype(np.float64))  # JSOC counts rows from the south.
    line = near_both_polarities(coarse, threshold=_R_FIELD, strict=True).astype(np.float64)
    offsets = np.arange(-_R_REACH, _R_REACH + 1)
    weight = np.exp(-((offsets / _R_SIGMA) ** 2) / 2)
    weight /= weight.sum()
    for axis in (0, 1):
        line = ndimage.convolve1d(line, weight, axis=axis, mode="constant")
    total = float(np.sum(line * np.abs(coarse)))
    return math.log10(total) if total >= 1 else 0.0


def central_differences(field: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Derivatives towards west and north per pixel; NaN in the outermost pixels."""
    west, north = np.full_like(field, np.nan), np.full_like(field, np.nan)
    west[:, 1:-1] = (field[:, 2:] - field[:, :-2]) / 2
    north[1:-1] = (field[:-2] - field[2:]) / 2
    return west, north
