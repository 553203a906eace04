"""Fewer pixels, or turned ones, where some of them are missing.

A missing pixel takes no part: a mean is that of what was measured, and where more than half of it is missing the
result is missing too.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from kflare.errors import DataError

__all__ = ["area_mean", "area_shares", "rolled"]

# The rows worked on at once: few enough that they stay in the processor's cache.
BAND = 64


def area_mean(data: npt.NDArray[np.float32], size: int, *, source: str = "image") -> npt.NDArray[np.float32]:
    """Reduce an image (H, H), NaN where not measured, to (size, size) by the mean over areas.

    Every new pixel is the mean of the old ones under it, each weighted with the area that it shares with the new one
    and that was measured; new pixels of which more than half the area was not measured are NaN. `size` need not divide
    the width; `DataError` if it is above it, or below 1.
    """
    width = data.shape[0]
    if not 1 <= size <= width:
        raise DataError(
            f"`size` must be 1 to {width} pixels, the width of `{source}`, since nothing is gained by enlarging; "
            f"got {size}"
        )
    weights = area_shares(width, size)
    total, area = np.zeros((2, size, width), dtype=np.float32)
    for row in range(0, width, BAND):
        band = data[row : row + BAND]
        measured = ~np.isnan(band)
        rows = slice(row * size // width, math.ceil((row + len(band)) * size / width))
        shares = weights[rows, row : row + len(band)]
        total[rows] += shares @ np.where(measured, band, np.float32(0))
        area[rows] += shares @ measured.view(np.uint8).astype(np.float32)
    total, area = (weights @ total.T).T, (weights @ area.T).T
    # Shares are in units of an old pixel; a ten-thousandth is for sums of thirds that fall short of the half.
    enough = area >= 0.5 * (width / size) ** 2 - 1e-4
    mean = np.divide(total, area, out=np.full_like(total, np.nan), where=enough & (area > 0))
    return np.ascontiguousarray(mean)


def rolled(data: npt.NDArray[np.float32], angle: float, x: float, y: float) -> npt.NDArray[np.float32]:
    """Turn an image (H, H), NaN where not measured, by `angle` degrees counterclockwise about a point, bilinear.

    The point that stays is `x`, `y` pixels from the left and the top; 0 is the centre of the first pixel. A value is
    the mean of its measured neighbours, weighted with their nearness; NaN where they weigh less than a half. The
    strongest value never grows.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Where a new pixel (row, column) comes from; rows grow downwards.
    matrix = np.array([[cos, sin], [-sin, cos]])
    centre = np.array([y, x])
    offset = centre - matrix @ centre
    measured = ~np.isnan(data)

    def turned(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        result = ndimage.affine_transform(image, matrix, offset, order=1, mode="constant", cval=0.0, prefilter=False)
        return np.asarray(result, dtype=np.float32)

    total = turned(np.where(measured, data, np.float32(0)))
    weight = turned(measured.astype(np.float32))
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight >= 0.5)


def area_shares(width: int, size: int) -> "sparse.csr_array":
    """Share of each old pixel (columns) in each new one (rows), in units of an old pixel, shape (size, width)."""
    # Edges as exact fractions with the denominator `size`: no rounding decides which pixel an edge falls into.
    start = np.arange(size, dtype=np.int64) * width
    first, stop = start // size, -(-(start + width) // size)
    new = np.repeat(np.arange(size), stop - first)
    old = np.concatenate([np.arange(a, b) for a, b in zip(first, stop, strict=True)])
    share = np.minimum((old + 1) * size, start[new] + width) - np.maximum(old * size, start[new])
    return sparse.csr_array(((share / size).astype(np.float32), (new, old)), shape=(size, width))
