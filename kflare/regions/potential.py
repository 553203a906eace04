"""The potential field over a map of the vertical field: JSOC's, for its keywords, and the physical one.

They are not the same. JSOC's `greenpot` (`sw_functions.c`) sums Bz / r over a window of 20 × 20 pixels with monopoles
0.001 pixels deep, so that the pixel itself weighs 1 and all others 0.001 / r: its horizontal field is in essence minus
the gradient of Bz per pixel. MEANPOT, TOTPOT, MEANSHR and SHRGT45 of every SHARP rest on it, and so on this page.
"""

import numpy as np
from scipy import fft, signal

from kflare.io.arrays import Float32Array, FloatArray

__all__ = ["greenpot", "potential_field"]


_DEPTH = 0.001  # pixels
_WINDOW = 10  # pixels to the east and south; one less to the west and north


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


def potential_field(bz: FloatArray, *, pad: int = 2) -> tuple[Float32Array, Float32Array]:
    """Horizontal field at the boundary of the half-space whose current-free field has the vertical component `bz`.

    By Fourier transform: B_h = -i k / |k| · Bz (Alissandrakis 1981, Astronomy & Astrophysics 100, 197, for alpha = 0).

    Parameters
    ----------
    bz : numpy.ndarray, float, shape (h, w)
        Vertical field in gauss, row 0 = north, column 0 = east; NaN counts as 0, and so does all around the map.
    pad : int
        How many times as large as the map the periodic box is, in each direction.

    Returns
    -------
    bx, by : numpy.ndarray, float32, shape (h, w)
        Gauss towards west and north.
    """
    filled = np.nan_to_num(np.asarray(bz, np.float64))
    height, width = filled.shape
    rows, columns = fft.next_fast_len(pad * height), fft.next_fast_len(pad * width, real=True)
    spectrum = fft.rfft2(filled, (rows, columns))
    north = -np.fft.fftfreq(rows)[:, np.newaxis]
    west = np.fft.rfftfreq(columns)
    length = np.hypot(west, north)
    length[0, 0] = 1
    spectrum *= -1j / length
    bx = fft.irfft2(spectrum * west, (rows, columns))[:height, :width]
    by = fft.irfft2(spectrum * north, (rows, columns))[:height, :width]
    return bx.astype(np.float32), by.astype(np.float32)
