"""Fewer pixels, or turned ones, where some of them are missing.

A missing pixel takes no part: a mean is that of what was measured, and where more than half of it is missing the
result is missing too.
"""

import math
from typing import Any

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import Float32Array

# The rows worked on at once: few enough that they stay in the processor's cache.
BAND = 64


def area_mean(data: Float32Array, size: int, *, source: str = "image") -> Float32Array:
    """Reduce an image (H, H), NaN where not measured, to (size, size) by the mean over areas.

    Every new pixel is the mean of the old ones under it, each weighted with the area that it shares with the new one
    and that was measured; new pixels of which more than half the area was not measured are NaN. `size` need not divide
    the width; `DataError` if it is above it, or below 1.
    """
    width = data.shape[0]
    if not 1 <= size <= width:
        rule = f"`size` must be 1 to {width} pixels, the width of `{source}`, since nothing is gained by enlarging"
        raise DataError(f"{rule}; got {size}")
    weights: Any = area_shares(width, size)
    if width > 512:  # below it is no faster, and SciPy takes 0.3 s to import
        from scipy import sparse

        weights = sparse.csr_array(weights)
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
    return np.ascontiguousarray(np.divide(total, area, out=np.full_like(total, np.nan), where=enough & (area > 0)))


def resampled(
    data: Float32Array, about: tuple[float, float], *, angle: float = 0.0, scale: float = 1.0,
    onto: tuple[float, float] | None = None, width: int | None = None
) -> Float32Array:  # fmt: skip
    """Turn, enlarge and move an image (H, H), NaN where not measured, bilinear.

    A value is the mean of its measured neighbours, weighted with their nearness; NaN where they weigh less than a half.
    The strongest value never grows.

    It is turned by `angle`, in degrees counterclockwise, and enlarged, things becoming `scale` times larger, about the
    point `about`, (x, y) in pixels from the left and the top, 0 being the centre of the first pixel. In the new image
    (`width`, `width`), H if None, that point lies at `onto`, if None where it lay.
    """
    from scipy import ndimage

    width = data.shape[0] if width is None else width
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Where a new pixel (row, column) comes from; rows grow downwards.
    matrix = np.array([[cos, sin], [-sin, cos]]) / scale
    offset = np.array(about)[::-1] - matrix @ np.array(about if onto is None else onto)[::-1]
    measured = np.isfinite(data)
    total, weight = (
        ndimage.affine_transform(part, matrix, offset, (width, width), order=1, prefilter=False)
        for part in (np.where(measured, data, np.float32(0)), measured.astype(np.float32))
    )
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight >= 0.5)


def area_shares(width: int, size: int) -> Float32Array:
    """Share of each old pixel (columns) in each new one (rows), in units of an old pixel, shape (size, width)."""
    # Edges as exact fractions with the denominator `size`: no rounding decides which pixel an edge falls into.
    start = np.arange(size, dtype=np.int64) * width
    first, stop = start // size, -(-(start + width) // size)
    new = np.repeat(np.arange(size), stop - first)
    old = np.concatenate([np.arange(a, b) for a, b in zip(first, stop, strict=True)])
    share = np.minimum((old + 1) * size, start[new] + width) - np.maximum(old * size, start[new])
    shares = np.zeros((size, width), dtype=np.float32)
    shares[new, old] = share / size
    return shares
