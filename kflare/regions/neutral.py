"""Magnetic neutral lines: where strong fields of opposite polarity meet, as lines with a length.

Deep Flare Net's features TotNL, NumNL and MaxNL. Neither the smoothing nor the thresholds of the authors are known
(SCIENCE.md A.5): reconstruction. A neutral line is here the zero contour of the smoothed field, as far as there is a
strong field of both polarities close by.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import measure

from kflare.errors import SettingError
from kflare.regions.inversion_lines import near_both_polarities

__all__ = ["NeutralLineOptions", "NeutralLines", "neutral_lines"]


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

    lines: tuple[npt.NDArray[np.float64], ...]  # row and column of the points of each line, shape (points, 2)
    lengths: tuple[float, ...]  # Mm


def neutral_lines(
    field: npt.NDArray[np.floating],
    *,
    step_mm: float,
    inside: npt.NDArray[np.bool_] | None = None,
    options: NeutralLineOptions | None = None,
) -> NeutralLines:
    """Find the neutral lines of a map.

    Parameters
    ----------
    field : numpy.ndarray, float, shape (h, w)
        Vertical field in gauss; NaN where not measured, which counts as 0 for the smoothing and holds no line.
    step_mm : float
        Width of a pixel, Mm.
    inside : numpy.ndarray, bool, shape (h, w), optional
        Where lines are looked for; everywhere if not given.
    options : NeutralLineOptions, optional
        What counts as one.

    Returns
    -------
    NeutralLines
        To a fraction of a pixel: the length of a smooth line is right to about 1 %.
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
