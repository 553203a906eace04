"""How like two magnetograms are: the fidelity checks of Yi et al. (2021, ApJ 910, 8), section 2.

* Of an 8-bit image and the data that it shows: the correlation of their pixels on the byte scale of ±100 G, both
  reduced to 256² by block average. The paper has 0.91 for MDI and 0.87 for HMI.
* Of two instruments, MDI and HMI: the correlation of their pixels in gauss at 256² (0.9), and CW-SSIM (0.82), after
  both were brought to the same disk by cubic interpolation.

What the paper does not say is an argument here, and its default is ours: the parameters of CW-SSIM, over which pixels
a mean is taken (the disk, here), and that pixel correlations are taken after the disks were brought together.
"""

import warnings
from dataclasses import replace
from typing import Final

import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import BoolArray, ComplexArray, Float32Array, Float64Array
from kflare.observations.magnetogram import Magnetogram
from kflare.sun.disk import Disk, disk_mask

#: What the paper found, by the names of `kflare.observations.similarity.fidelity.fidelity_report`.
PUBLISHED_SIMILARITY: Final = {
    "byte_correlation": {"MDI": 0.91, "HMI": 0.87},
    "gauss_correlation": 0.9,
    "cw_ssim": 0.82,
}

_Image = Float32Array | Float64Array


def pixel_correlation(x: _Image, y: _Image) -> float:
    """Pearson's correlation of the pixels of two images of one shape that are finite in both.

    NaN if fewer than two pixels count or one image is constant there.
    """
    _require_same_shape(x, y)
    both = np.isfinite(x) & np.isfinite(y)
    a, b = x[both].astype(np.float64), y[both].astype(np.float64)
    # Constant up to rounding: what is left of the mean must not be taken for a signal.
    if len(a) < 2 or min(np.ptp(a), np.ptp(b)) <= 1e-12 * max(np.abs(a).max(), np.abs(b).max()):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def byte_correlation(first: Magnetogram, second: Magnetogram, *, size: int = 256, byte_range: float = 100.0) -> float:
    """Pixel correlation of an 8-bit image and data, both on the byte scale, at a reduced size.

    Fields are clipped to ±`byte_range` gauss at full size, as the archive's image was, and then as `gauss_correlation`.
    """
    if not (np.isfinite(byte_range) and byte_range > 0):
        raise SettingError(f"`byte_range` must be the field strength of byte 255 in gauss, above 0; got {byte_range}")
    limit = np.float32(byte_range)
    clipped = [replace(one, data=np.clip(one.data, -limit, limit)) for one in (first, second)]
    return gauss_correlation(clipped[0], clipped[1], size=size)


def gauss_correlation(first: Magnetogram, second: Magnetogram, *, size: int = 256) -> float:
    """Pixel correlation of two magnetograms in gauss at a reduced size, over pixels on both disks, -1 to 1.

    `second` is brought to the disk of `first` where they differ; `size` is the width after the block average, at most
    that of the smaller one. NaN for a constant image.
    """
    x, y = common_frame(first, second, size=size)
    return pixel_correlation(x.data, y.data)


def common_frame(first: Magnetogram, second: Magnetogram, *, size: int) -> tuple[Magnetogram, Magnetogram]:
    """Both magnetograms at `size` pixels, the second on the disk of the first.

    The first is only averaged over blocks. The second is interpolated to the disk of the first before that, at the
    larger of the two widths that its own resolution allows; where the disks already agree to 0.01 pixel it is not.
    """
    ours, theirs = first.disk, second.disk
    apart = max(abs(ours.x - theirs.x), abs(ours.y - theirs.y), abs(ours.radius - theirs.radius))
    if first.data.shape != second.data.shape or apart > 0.01:
        width = min(first.data.shape[0], second.data.shape[0])
        second = aligned(second, disk=ours.resized(first.data.shape[0], width), width=width)
    return first.resized(size), second.resized(size)


def aligned(image: Magnetogram, *, disk: Disk, width: int) -> Magnetogram:
    """Bring a magnetogram to another disk radius and centre, `width` pixels wide, by cubic interpolation.

    An image of more than 1.5 times the resolution is first reduced by area average to the resolution wanted, so that
    the interpolation does not alias. No rotation: both must have north up (they have, after reading), and differential
    rotation within the half hour of the paper's pairs, 0.3 degrees, stays. NaN off `disk`, and where half or more of
    the nearest pixels were not measured.
    """
    from scipy import ndimage

    if width < 2:
        raise SettingError(f"`width` must be at least 2 pixels, got {width}")
    if image.disk.radius > 1.5 * disk.radius:
        image = image.resized(max(2, round(image.data.shape[0] * disk.radius / image.disk.radius)))
    scale = image.disk.radius / disk.radius
    offset = image.disk.place_of(0, 0, disk)[::-1]  # where the first pixel (row, column) comes from

    def interpolated(values: Float64Array, order: int) -> Float64Array:
        moved = ndimage.affine_transform(values, [scale, scale], offset, output_shape=(width, width), order=order)
        return np.asarray(moved, dtype=np.float64)

    measured = np.isfinite(image.data)
    field = interpolated(np.where(measured, image.data, 0.0), 3)
    known = interpolated(measured.astype(np.float64), 1) > 0.5
    return replace(image, data=np.where(known & disk_mask(width, disk), field, np.nan).astype(np.float32), disk=disk)


def cw_ssim(
    x: _Image, y: _Image, *, scales: int = 6, orientations: int = 16, window: int = 7, L: float = 0.01,
    where: BoolArray | None = None
) -> float:  # fmt: skip
    r"""Complex-wavelet structural similarity of two images (Sampat et al. 2009; Yi et al. 2021, eq. 1).

    With :math:`c_x` and :math:`c_y` the coefficients of a complex steerable pyramid in a window,

    .. math::

        \text{CW-SSIM}(c_x, c_y) = \frac{2\,\left|\sum_{i=1}^{N} c_{x,i}\, c_{y,i}^*\right| + L}
                                        {\sum_{i=1}^{N} |c_{x,i}|^2 + \sum_{i=1}^{N} |c_{y,i}|^2 + L} ,

    averaged over all whole windows of a subband, then over the subbands. A shift of both images' details by less than
    a wavelet changes the phase of all coefficients in a window alike, and the modulus of the sum not at all.

    `x` and `y`, float (H, W), are in equal units; what is not finite counts as 0. The pyramid has 1 to
    log2(min(H, W)) - 2 `scales` and 2 to 16 `orientations` (the order of its filters is one less), the square `window`
    of the sums an odd width in coefficients. `L`, in the square of the images' unit, is a small positive constant that
    decides where both images are empty. Windows count as far as they lie in `where`, bool (H, W), such as on the disk.

    0 to 1; an image with itself 1, no similarity 0. Symmetric. Two constant images have no coefficients and give
    L / L = 1, whatever the constants; a constant against a structured one gives nearly 0. NaN if `where` is empty.

    Evidence: the formula is the paper's. Complex steerable pyramid: the paper's example (Portilla & Simoncelli 2000),
    computed by pyrtools with circular edges. 7 × 7 windows, 6 scales, 16 orientations: what the authors' program and
    its ports use; neither these nor L nor the average over subbands is stated by Yi et al.
    """
    _require_same_shape(x, y)
    if x.ndim != 2:
        raise DataError(f"an image must have two dimensions, got shape {x.shape}")
    most = most_scales(x.shape)
    if not 1 <= scales <= most:
        raise SettingError(f"`scales` must be 1 to log2 of the width, less 2: {most} for {x.shape}; got {scales}")
    if not 2 <= orientations <= 16:
        raise SettingError(f"`orientations` must be 2 to 16, got {orientations}")
    coarsest = min(x.shape) >> (scales - 1)
    if window < 1 or window % 2 == 0 or window > coarsest:
        raise SettingError(f"`window` must be odd and fit into the coarsest subband of {coarsest} pixels, got {window}")
    if not (np.isfinite(L) and L > 0):
        raise SettingError(f"`L` must be a small constant above 0, got {L}")
    if where is not None and where.shape != x.shape:
        raise DataError(f"`where` must have the shape of the images, {x.shape}, got {where.shape}")
    bands_x, bands_y = (_pyramid(image, scales, orientations) for image in (x, y))
    means = []
    for (scale, orientation), c_x in bands_x.items():
        similar = _similarity(c_x, bands_y[scale, orientation], window, L)
        step = 1 << scale
        weight = np.ones_like(similar) if where is None else _window_means(where[::step, ::step].astype(float), window)
        means.append(float(np.average(similar, weights=weight)) if weight.sum() > 0 else float("nan"))
    # Nothing leaves the range but by rounding.
    return float(np.clip(np.mean(means), 0.0, 1.0))


def most_scales(shape: tuple[int, ...]) -> int:
    """The height of the largest pyramid of an image."""
    return int(np.log2(max(min(shape), 1))) - 2


def _pyramid(image: _Image, scales: int, orientations: int) -> dict[tuple[int, int], ComplexArray]:
    with warnings.catch_warnings():
        # pyrtools and what it imports warn of odd sizes and of names that their dependencies deprecate.
        warnings.simplefilter("ignore")
        from pyrtools.pyramids import SteerablePyramidFreq

        filled = np.where(np.isfinite(image), image, 0.0).astype(np.float64)
        pyramid = SteerablePyramidFreq(filled, height=scales, order=orientations - 1, is_complex=True)
    return {key: band for key, band in pyramid.pyr_coeffs.items() if isinstance(key, tuple)}


def _similarity(c_x: ComplexArray, c_y: ComplexArray, window: int, L: float) -> Float64Array:
    cross = c_x * c_y.conj()
    count = window * window
    common = count * np.hypot(_window_means(cross.real, window), _window_means(cross.imag, window))
    power = count * _window_means(np.abs(c_x) ** 2 + np.abs(c_y) ** 2, window)
    # Running sums may leave a negative rest where there is nothing.
    return np.asarray((2 * common + L) / (np.maximum(power, 2 * common) + L))


def _window_means(values: Float64Array, window: int) -> Float64Array:
    """Means over all windows that lie wholly in the image, shape (H - window + 1, W - window + 1)."""
    from scipy import ndimage

    half = window // 2
    means = ndimage.uniform_filter(values, window, mode="constant")
    return np.asarray(means[half : values.shape[0] - half, half : values.shape[1] - half])


def _require_same_shape(x: _Image, y: _Image) -> None:
    if x.shape != y.shape:
        raise DataError(f"two images must have the same shape to be compared, got {x.shape} and {y.shape}")
