"""Where strong fields of opposite polarity meet: polarity inversion lines (PILs) as masks, and as lines with a length.

`near_both_polarities` is the rule of R_VALUE, neutral lines, proxies and `polarity_lines`, and in a graph (a test holds
it to this) of `models.pretraining`. Yi et al. (2021, section 4) compare the guided gradient on the PILs with that on
the rest of a region and on the boundaries of its polarities, but define neither. Reconstruction: by default the rule of
Ji, Cai and co-workers (earthcube2022/ec22_ji_etal, `region_detection.py`), the one published rule that defines both;
docs/science.md lists the others.

Lines with a length are Deep Flare Net's features TotNL, NumNL and MaxNL. Neither the smoothing nor the thresholds of
the authors are known (docs/science.md). Reconstruction: a neutral line is the zero contour of the smoothed field, as
far as there is a strong field of both polarities close by.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage import measure
from skimage.feature import canny

from kflare.errors import SettingError
from kflare.io.arrays import BoolArray, Float64Array, FloatArray
from kflare.observations.magnetogram import Magnetogram

INVERSION_LINE_METHODS = ("edges", "schrijver")
"""How the inversion lines are found, see `polarity_lines`."""


@dataclass(frozen=True, eq=False)
class PolarityLines:
    """Where the polarities of a magnetogram meet, and where they end; bool arrays of shape (H, W)."""

    inversion: BoolArray  # polarity inversion lines, a few pixels wide
    boundary: BoolArray  # edges of the strong polarities that are no inversion line


@dataclass(frozen=True)
class NeutralLineOptions:
    """What counts as a neutral line. Every number is a reconstruction."""

    smoothing: float = 1.0  # Mm, standard deviation of the Gaussian that the field is smoothed with
    threshold: float = 150.0  # gauss of the smoothed field that must be reached on both sides: Schrijver (2007)
    reach: float = 4.0
    """How far from the line they must be reached, Mm. A line goes on by as much beyond the end of the strong fields."""
    shortest: float = 5.0  # Mm; shorter lines do not count

    def __post_init__(self) -> None:
        for name in ("smoothing", "threshold", "reach", "shortest"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SettingError(f"`{name}` of a neutral line must be 0 or more, got {value}")
        if not (self.threshold > 0 and self.reach > 0):
            raise SettingError("`threshold` and `reach` of a neutral line must be above 0")


@dataclass(frozen=True, eq=False)
class NeutralLines:
    """The neutral lines of a map, longest first."""

    lines: tuple[Float64Array, ...]  # row and column of the points of each line, shape (points, 2)
    lengths: tuple[float, ...]  # Mm


def default_threshold(magnetogram: Magnetogram) -> float:
    """Field in gauss above which a pixel belongs to a polarity.

    150 G where the field was measured in gauss (Schrijver 2007, and JSOC's R_VALUE). An image of bytes saturates at its
    `byte_range`, so there it is half of that, at most 100 G. Reconstruction: the paper gives no threshold.
    """
    return 150.0 if magnetogram.byte_range is None else min(100.0, magnetogram.byte_range / 2)


def near_both_polarities(
    field: FloatArray, *, threshold: float, reach: float | None = None, strict: bool = False
) -> BoolArray:
    """Pixels that have a strong field of both polarities near by, bool, shape of `field`.

    A pixel is positive where the field is at least `threshold` gauss (if `strict` more, as JSOC has it), negative where
    it is at most minus this; NaN belongs to neither. Near by is within a circle of `reach` pixels, by default within a
    square of 3×3, as in Schrijver (2007) and JSOC's R_VALUE.
    """
    # Comparisons with NaN are false, so that what was not measured belongs to neither.
    polarities = (field > threshold, field < -threshold) if strict else (field >= threshold, field <= -threshold)
    if not all(polarity.any() for polarity in polarities):
        return np.zeros(field.shape, np.bool_)
    if reach is None:
        near = [_dilated(polarity, 3) for polarity in polarities]
    else:
        near = [ndimage.distance_transform_edt(~polarity) <= reach for polarity in polarities]
    return near[0] & near[1]


def polarity_lines(field: FloatArray, *, threshold: float, method: str = "edges", width: int = 4) -> PolarityLines:
    """Find the polarity inversion lines and the other edges of the strong polarities.

    Of a line-of-sight field (H, W) in gauss; NaN (off the disk, not measured) belongs to no polarity. A pixel is
    positive where the field is at least `threshold` gauss, negative where it is at most minus this.

    By the `method` "edges" the Canny edges of the positive and of the negative mask are each dilated by a square of
    `width` pixels; a PIL is where both meet (Ji, Cai et al.). By "schrijver" each mask is dilated by a 3×3 boxcar; a
    PIL is where both meet (Schrijver 2007, as JSOC computes R_VALUE). The boundary of both: Canny edges outside PILs.
    """
    if method not in INVERSION_LINE_METHODS:
        raise SettingError(f"`method` must be one of {', '.join(INVERSION_LINE_METHODS)}, got {method!r}")
    if not threshold > 0:
        raise SettingError(f"`threshold` of a polarity must be above 0 gauss, got {threshold}")
    if width < 1:
        raise SettingError(f"`width` must be at least 1 pixel, got {width}")
    polarities = ((field >= threshold).astype(np.float64), (field <= -threshold).astype(np.float64))
    edges: list[BoolArray] = [canny(one, sigma=1.0) for one in polarities]  # type: ignore[no-untyped-call]
    if method == "edges":
        inversion = _dilated(edges[0], width) & _dilated(edges[1], width)
    else:
        inversion = near_both_polarities(field, threshold=threshold)
    return PolarityLines(inversion=inversion, boundary=(edges[0] | edges[1]) & ~inversion)


def strong_field(field: FloatArray, *, threshold: float, reach: int = 4) -> BoolArray:
    """Pixels within `reach` of a field of `threshold` gauss or more: an outline that is tighter than a HARP's box."""
    return _dilated(np.abs(field) >= threshold, 2 * reach + 1)


def neutral_lines(
    field: FloatArray, *, step_mm: float, inside: BoolArray | None = None, options: NeutralLineOptions | None = None
) -> NeutralLines:
    """Find the neutral lines of a map, to a fraction of a pixel: the length of a smooth line is right to about 1 %.

    Of the vertical field (h, w) in gauss; NaN where not measured, which is smoothed as 0 and holds no line. A pixel is
    `step_mm` wide; lines are looked for `inside` (bool, (h, w)), or everywhere, by the `options`.
    """
    chosen = NeutralLineOptions() if options is None else options
    known = np.isfinite(field)
    filled = np.where(known, field, 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(filled, chosen.smoothing / step_mm, truncate=3) if chosen.smoothing else filled
    near = near_both_polarities(smooth, threshold=chosen.threshold, reach=chosen.reach / step_mm)
    near &= known if inside is None else known & inside
    if not near.any():
        return NeutralLines((), ())
    # A contour ends where the map is NaN, so that the parts between strong fields come out as lines of their own.
    found = measure.find_contours(np.where(near, smooth, np.float32(np.nan)), 0.0)  # type: ignore[no-untyped-call]
    measured = [(float(np.hypot(*np.diff(line, axis=0).T).sum()) * step_mm, line) for line in found]
    kept = sorted((pair for pair in measured if pair[0] >= chosen.shortest), key=lambda pair: -pair[0])
    return NeutralLines(tuple(line for _, line in kept), tuple(length for length, _ in kept))


def _dilated(mask: BoolArray, side: int) -> BoolArray:
    grown: BoolArray = ndimage.binary_dilation(mask, np.ones((side, side), dtype=np.bool_))
    return grown
