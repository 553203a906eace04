"""The SHARP parameters of a region, as JSOC computes its keywords, and the vector features of Deep Flare Net.

The formulas are those of JSOC's `sw_functions.c` (Bobra et al. 2014, Solar Physics 289, 3549, table 3; Lorentz forces:
Fisher et al. 2012, Solar Physics 277, 59), which sum over the pixels that `Patch.used` marks.

The potential field of JSOC's keywords is not the physical one: `greenpot` (`sw_functions.c`) sums Bz / r over a window
of 20 × 20 pixels with monopoles 0.001 pixels deep, so that the pixel itself weighs 1 and all others 0.001 / r: its
horizontal field is in essence minus the gradient of Bz per pixel. MEANPOT, TOTPOT, MEANSHR and SHRGT45 of every SHARP
rest on it, and so do those here.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from scipy import signal

from kflare.errors import DataError
from kflare.io.arrays import Float32Array, Float64Array, FloatArray
from kflare.regions.cea import Patch
from kflare.regions.feature_table import feature_set
from kflare.regions.los_features import area_uhem, central_differences, mean_gradient, r_value

_MU0 = 1.2566370614e-6  # T m / A, with the digits of JSOC
_TESLA = 1e-4  # per gauss
_DEPTH = 0.001  # pixels of `greenpot`
_WINDOW = 10  # pixels to the east and south; one less to the west and north
#: Keyword, or area, of each vector feature of Deep Flare Net.
_NAMES = [feature.name for feature in feature_set("defn79") if feature.group == "VEC"]
VECTOR_KEYWORDS: Final = {name: name.removeprefix("V").upper() for name in _NAMES}

Potential = Callable[[Float32Array], tuple[Float32Array, Float32Array]]


def greenpot(bz: FloatArray) -> tuple[Float32Array, Float32Array]:
    """Horizontal potential field over Bz as JSOC computes it: "gauss" towards west and north, float32 (h, w).

    `bz` is in gauss, row 0 = north, column 0 = east; NaN counts as 0. The outermost pixels are 0.
    """
    offsets = np.arange(-_WINDOW, _WINDOW)
    # JSOC's rows run from the south: its offsets -10..9 to the north are 10..-9 rows here.
    kernel = _DEPTH / np.sqrt(offsets**2 + (-offsets[::-1, np.newaxis]) ** 2 + _DEPTH**2)
    filled = np.nan_to_num(np.asarray(bz, np.float64))
    height, width = filled.shape
    # A correlation: the sum of bz[row + dj, column + di] · kernel. Offset 0 is at index 10 of columns, 9 of rows.
    whole = signal.fftconvolve(filled, kernel[::-1, ::-1])
    top, left = len(offsets) - 1 - (_WINDOW - 1), len(offsets) - 1 - _WINDOW
    potential = whole[top : top + height, left : left + width]
    potential[np.isnan(bz)] = 0
    bx, by = np.zeros((2, height, width), np.float32)
    bx[1:-1, 1:-1] = (potential[1:-1, :-2] - potential[1:-1, 2:]) / 2
    by[1:-1, 1:-1] = (potential[2:, 1:-1] - potential[:-2, 1:-1]) / 2
    return bx, by


def sharp_parameters(patch: Patch, *, potential: Potential = greenpot) -> dict[str, float]:
    """SHARP parameters of a region, in the units and with the constants of JSOC's headers.

    The 16 of Bobra et al. (2014), TOTBSQ, TOTFX, TOTFY, TOTFZ, EPSX, EPSY, EPSZ, CMASK and R_VALUE. MEANGB* are in
    gauss per pixel and SAVNCPP is 1/c² times the current in ampere (c in arcsec), as in headers. A mean over no pixel
    is NaN; R_VALUE is NaN without a line-of-sight field. `DataError` if the patch has no vector field; `potential`
    gives the potential field over Bz, for MEANPOT, TOTPOT, MEANSHR and SHRGT45: JSOC's `greenpot`, or another.
    """
    if patch.bx is None or patch.by is None or patch.bz is None or patch.used is None:
        raise DataError("`patch` must have a vector field, it has none: give `vector` to `cea_patch`")
    used = patch.used
    bx, by, bz = (part.astype(np.float64) for part in (patch.bx, patch.by, patch.bz))
    horizontal2 = bx * bx + by * by
    bh, bt = np.sqrt(horizontal2), np.sqrt(horizontal2 + bz * bz)
    area, metres = patch.pixel_area_cm2, patch.step_m
    count = int(used.sum())
    x, y, z = bx[used], by[used], bz[used]
    # Gauss per pixel. At the very edge of a map JSOC has one-sided derivatives, of wrong sign; regions end before it.
    jz = (central_differences(by)[0] - central_differences(bx)[1])[used]
    known = np.isfinite(jz)
    jz, up = jz[known], z[known]
    twisted = (jz != 0) & (up != 0)
    helicity = (jz * up)[twisted]
    tilted = (bh[used] > 100) & (z != 0)
    current = metres * _TESLA / _MU0  # ampere per gauss per pixel
    b2 = float(np.sum(x * x + y * y + z * z))
    out = {
        "USFLUX": float(np.abs(z).sum()) * area,
        "MEANGAM": _mean(np.degrees(np.arctan(bh[used][tilted] / np.abs(z[tilted])))),
        "MEANGBT": mean_gradient(bt, used), "MEANGBZ": mean_gradient(bz, used), "MEANGBH": mean_gradient(bh, used),
        "MEANJZD": _mean(jz) / metres * _TESLA / _MU0 * 1000, "TOTUSJZ": float(np.abs(jz).sum()) * current,
        "MEANALP": _ratio(float(helicity.sum()), float(np.sum(up[twisted] ** 2))) / metres * 1e6,
        "MEANJZH": _mean(helicity) / metres, "TOTUSJH": float(np.abs(helicity).sum()) / metres,
        "ABSNJZH": abs(float(helicity.sum())) / metres,
        "SAVNCPP": (abs(float(jz[up > 0].sum())) + abs(float(jz[up <= 0].sum()))) * current / patch.arcsec**2,
        "TOTBSQ": b2, "TOTFX": -float(np.sum(x * z)) * area / (4 * math.pi) / 1e20,
        "TOTFY": -float(np.sum(y * z)) * area / (4 * math.pi) / 1e20,
        "TOTFZ": float(np.sum(x * x + y * y - z * z)) * area / (8 * math.pi) / 1e20,
        "EPSX": _ratio(float(np.sum(x * z)), b2), "EPSY": _ratio(float(np.sum(y * z)), b2),
        "EPSZ": _ratio(float(np.sum(x * x + y * y - z * z)), b2), "CMASK": float(count),
    }  # fmt: skip
    px, py = (part.astype(np.float64)[used] for part in potential(patch.bz))
    excess = (x - px) ** 2 + (y - py) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (x * px + y * py + z * z) / np.sqrt((x * x + y * y + z * z) * (px * px + py * py + z * z))
    # Rounding may leave ±1; where a field vanishes there is no angle.
    shear = np.degrees(np.arccos(np.clip(cosine[np.isfinite(cosine)], -1, 1)))
    out |= {"MEANPOT": _mean(excess) / (8 * math.pi), "TOTPOT": float(excess.sum()) * area / (8 * math.pi)}
    out |= {"MEANSHR": _mean(shear), "SHRGT45": 100 * _mean((shear > 45).astype(np.float64))}
    return out | {"R_VALUE": r_value(patch) if patch.los is not None else math.nan}


def vector_features(patch: Patch) -> dict[str, float]:
    """The 16 vector features of Deep Flare Net (`feature_set("defn79")`, group VEC), in the units of that table.

    All are NaN without a vector field, or with none measured; without pixels of sure azimuth sums are 0 and means NaN.
    """
    if patch.bz is None or patch.used is None or not np.isfinite(patch.bz).any():
        return dict.fromkeys(VECTOR_KEYWORDS, math.nan)
    values = sharp_parameters(patch)
    values["AREA"] = area_uhem(patch, patch.used)
    for name in ("MEANGBT", "MEANGBZ", "MEANGBH"):
        values[name] /= patch.step_mm
    values["SAVNCPP"] *= patch.arcsec**2
    return {name: values[keyword] for name, keyword in VECTOR_KEYWORDS.items()}


def _mean(values: Float64Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else math.nan
