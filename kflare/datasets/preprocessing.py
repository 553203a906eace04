"""From gauss, or from archive bytes, to what the dense CNN sees: the one reduction, for training and for serving.

One Sun, whatever telescope or archive an image is from: the disk is found, brought to one place, size and resolution,
and only then clipped, as in the 8-bit images of Yi et al. (2021, section 2), at ±100 G. Not in the paper, hence
reconstruction (docs/science.md): the scaling to [-1, 1], the resolution, and zero field off the disk.
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from kflare.errors import DataError
from kflare.io.arrays import Float32Array
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.readers.images import DISK_BYTE, EDGE_REACH, ZERO_FIELD_BYTE
from kflare.observations.usability import LARGEST_FIELD, LEAST_COVERAGE, LEAST_SIDE, MOST_BEYOND
from kflare.sun.disk import disk_mask, network_disk

FIELD_LIMIT = 100.0
"""Gauss; stronger fields are clipped, as in the archive's images (paper 1, section 2)."""

MAXIMUM_PIXELS = 4096
"""The largest side of an image that is decoded, that of HMI."""

BLUR = 0.85
"""Standard deviation in the network's pixels of the Gaussian that the field is averaged with."""

LEAST_BLUR = 0.5
"""The same in the image's own pixels, without the width of these: an image that would need less is too coarse."""

LIMB = 0.985
"""Radii from the disk's centre up to which the network sees the Sun: to 80 degrees, within all errors of the limb."""

_BAND = 32  # rows of the network's made at once, of those of the image that weigh in them: a sixth of the work
_NOTHING = 1e-9  # weight, of a sum of 1
_PIXEL_VARIANCE = 1 / 12  # of the mean over one pixel, in pixels


def reduce_field(magnetogram: tf.Tensor, *, size: int) -> tf.Tensor:
    """Bring the Sun to the network's disk and resolution, and clip it to ±100 G there.

    The disk is found by the edge of what was measured. Each of the network's pixels is the mean field around the same
    place of the Sun, weighted with a Gaussian whose width, together with that of the image's own pixels, is `BLUR` of
    the network's: the same on the Sun, however many pixels the image has and wherever in them the disk lies.

    From float32 (N, H, H, 1) in gauss, north up, NaN off disk, to (N, size, size, 1) with the disk of `network_disk`,
    NaN beyond `LIMB` of its radius and where less than half of the weight was measured. All NaN where no whole disk is
    found, or the image is too coarse (a radius below 0.3 of `size`, 76 pixels for a network of 256). A field that is
    not square raises `tf.errors.InvalidArgumentError` when run.
    """
    shape = tf.shape(magnetogram)
    tf.debugging.assert_equal(shape[1], shape[2], "`magnetogram` must be square: a full disk")
    measured = tf.abs(magnetogram[..., 0]) <= LARGEST_FIELD  # neither NaN nor a fill value
    circles = tf.map_fn(_whole_disk, measured, fn_output_signature=tf.TensorSpec((3,), tf.float64))
    target = network_disk(size)
    scale = circles[:, 2] / target.radius
    variance = tf.square(BLUR * scale) - _PIXEL_VARIANCE
    fine = variance >= LEAST_BLUR**2 - 1e-6  # never of NaN
    down, across = (_weights(circles[:, axis], scale, variance, shape[1], size) for axis in (1, 0))
    bands = [_band(down[:, first : first + _BAND]) for first in range(0, size, _BAND)]

    def towards(image: tf.Tensor) -> tf.Tensor:
        rows = [tf.matmul(weights, image[:, first:stop]) for weights, first, stop in bands]
        return tf.matmul(tf.concat(rows, axis=1), across, transpose_b=True)

    # Nothing but finite numbers may stand on either side: converted to ONNX, a choice is a product with 0 or 1.
    finite = tf.where(tf.math.is_nan(magnetogram[..., 0]), 0.0, magnetogram[..., 0])
    field = tf.where(measured, tf.clip_by_value(finite, -LARGEST_FIELD, LARGEST_FIELD), 0.0)
    total, weight = towards(field), towards(tf.cast(measured, tf.float32))
    inside = disk_mask(size, replace(target, radius=LIMB * target.radius))
    mean = tf.math.divide_no_nan(total, weight)
    clipped = tf.minimum(tf.maximum(mean, -FIELD_LIMIT), FIELD_LIMIT)
    return tf.where(inside & fine[:, None, None] & (weight >= 0.5), clipped, float("nan"))[..., None]


def _weights(centre: tf.Tensor, scale: tf.Tensor, variance: tf.Tensor, width: tf.Tensor, size: int) -> tf.Tensor:
    """Weight of each of an image's lines (columns) in each of the network's (rows), sum 1, (N, size, width).

    In float64 before they are float32, so that a compiled graph and eager operations give the same.
    """
    places = centre[:, None] + (tf.range(size, dtype=tf.float64) - (size - 1) / 2) * scale[:, None]
    away = tf.range(tf.cast(width, tf.float64))[None, None, :] - places[..., None]
    spread = tf.maximum(variance, LEAST_BLUR**2)
    weights = tf.exp(-tf.square(away) / (2 * spread)[:, None, None]) / tf.sqrt(2 * math.pi * spread)[:, None, None]
    return tf.cast(weights, tf.float32)


def _band(weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of (N, b, width) the columns that weigh anything, and which these are: first <= column < stop."""
    weighs = tf.reduce_any(weights > _NOTHING, axis=(0, 1))
    place = tf.range(tf.size(weighs))
    first = tf.reduce_min(tf.where(weighs, place, tf.size(weighs)))
    stop = tf.reduce_max(tf.where(weighs, place + 1, 0))
    return weights[..., first:stop], first, stop


def usable(magnetogram: tf.Tensor, reduced: tf.Tensor) -> tf.Tensor:
    """Whether each field (N, H, H, 1) in gauss can be forecast from, bool (N,): `require_usable` as a graph.

    `reduced` is what `reduce_field` made of it, of which at least half of the disk must be measured, and hold both
    polarities. Where they are too small `tf.errors.InvalidArgumentError` is raised when run.
    """
    tf.debugging.assert_greater_equal(
        tf.shape(magnetogram)[1], LEAST_SIDE, f"`magnetogram` must be at least {LEAST_SIDE} pixels wide: a full disk"
    )
    strength = tf.abs(magnetogram)

    def share(chosen: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(chosen, tf.float32), axis=(1, 2, 3))

    disk = math.pi * (LIMB * network_disk(reduced.shape[1]).radius / reduced.shape[1]) ** 2
    return (
        (share(strength > LARGEST_FIELD) <= MOST_BEYOND)
        & (share(strength <= LARGEST_FIELD) >= LEAST_COVERAGE)
        & (share(tf.math.is_finite(reduced)) >= disk / 2)
        & (share(reduced > 0) > 0)
        & (share(reduced < 0) > 0)
    )


@lru_cache(maxsize=4)
def reduction(size: int) -> Any:
    """`reduce_field` to one size, compiled: from float32 (H, H) in gauss to (size, size)."""
    return tf.function(
        lambda field: reduce_field(field[None, ..., None], size=size)[0, ..., 0],
        input_signature=[tf.TensorSpec((None, None), tf.float32)],
        autograph=False,
    )


def reduced(image: Magnetogram, *, size: int) -> Float32Array:
    """What `reduce_field` makes of a magnetogram, (size, size); `DataError` says why where it is not `usable`.

    With `require_usable` before, these are the limits of `usable`.
    """
    field: Float32Array = reduction(size)(image.data).numpy()
    if not usable(tf.constant(image.data[None, ..., None]), tf.constant(field[None, ..., None]))[0]:
        raise DataError(f"`{image.source}`: {_reason(image.data, field)}")
    return field


def _reason(data: Float32Array, field: Float32Array) -> str:
    measured, size = tf.abs(data) <= LARGEST_FIELD, field.shape[0]
    x, y, radius = _disk(measured).numpy()
    seen = f"got centre ({x:.1f}, {y:.1f}) and radius {radius:.1f} in {len(data)} pixels"
    least = network_disk(size).radius * math.sqrt(LEAST_BLUR**2 + _PIXEL_VARIANCE) / BLUR
    if math.isnan(radius):
        return "what was measured must be the whole disk, bounded by a circle, but its edge is none; take another image"
    if np.isnan(_whole_disk(measured)[0]):
        return (
            "the whole disk must be seen, its radius 0.25 to 0.5 of the width, its centre within a tenth of the middle;"
            f" {seen}; take another image"
        )
    if radius < least:
        return f"too coarse for a network of {size} pixels: the disk must have a radius of {least:.1f} or more; {seen}"
    if not ((field > 0).any() and (field < 0).any()):
        return f"the disk must hold field of both polarities; {seen}; take another image"
    return f"at least half of the disk must have been measured; {seen}; take another image"


def fill_and_scale(field: tf.Tensor) -> tf.Tensor:
    """Field of `reduce_field` (gauss, NaN off disk) to the network's input in [-1, 1], 0 off disk; any shape."""
    return tf.where(tf.math.is_nan(field), tf.zeros_like(field), field) / FIELD_LIMIT


def bytes_to_gauss(image: tf.Tensor) -> tf.Tensor:
    """Decode JPEG or PNG images of the archive's scale, byte 0..255 = -100..+100 G.

    From encoded images of shape (N,), north up, all of one size, to float32 gauss (N, H, W, 1); off the disk about
    -100, as archive images are black there: see `mask_space`. What is in colour, not square, or larger than 4096×4096
    raises `tf.errors.InvalidArgumentError` when run.
    """
    return tf.map_fn(_decode, image, fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32))


def mask_space(field: tf.Tensor) -> tf.Tensor:
    """Put NaN off the disk of decoded images (N, H, H, 1): `observations.readers.images.find_disk` as a graph.

    A circle is fitted to where the disk begins and ends in each row and column, without those far from it. Where the
    edge is no circle nothing was seen, and all of it is NaN. Captions are told from the disk by lying off the circle,
    and not by being apart from it as in `find_disk`.
    """
    return tf.map_fn(_mask_space, field)


def _mask_space(field: tf.Tensor) -> tf.Tensor:
    # To the nearest byte: models are published with a list of operations that has no rounding.
    grey = tf.cast(tf.cast((field[..., 0] / FIELD_LIMIT + 1) * ZERO_FIELD_BYTE + 0.5, tf.int32), tf.float32)
    centre_x, centre_y, radius = tf.unstack(_disk(grey > DISK_BYTE, grey, ZERO_FIELD_BYTE))
    place = tf.cast(tf.range(tf.shape(field)[0]), tf.float64)
    half_chord = tf.sqrt(tf.square(radius) - tf.square(place - centre_y))  # NaN, so never the larger one, off the disk
    on_disk = tf.abs(place - centre_x)[None, :] <= half_chord[:, None]
    return tf.where(on_disk[..., None], field, float("nan"))


def _whole_disk(measured: tf.Tensor) -> tf.Tensor:
    """Centre (x, y) and radius in pixels, float64 (3,), of the disk of a mask (H, H); NaN unless all of it is seen.

    The rules are those of `sun.disk.require_full_disk`.
    """
    circle, width = _disk(measured), tf.cast(tf.shape(measured)[0], tf.float64)
    x, y, radius = tf.unstack(circle)
    off = tf.maximum(tf.abs(x - (width - 1) / 2), tf.abs(y - (width - 1) / 2))
    cut = radius - tf.minimum(tf.minimum(x, y), tf.minimum(width - x, width - y))
    whole = (radius >= 0.25 * width) & (radius <= 0.5 * width + 1) & (off <= 0.1 * width) & (cut <= 1.5)
    return tf.where(whole, circle, tf.constant(math.nan, tf.float64))


def _disk(bright: tf.Tensor, grey: tf.Tensor | None = None, whole: float = 1.0) -> tf.Tensor:
    """Centre (x, y) and radius in pixels, float64 (3,), of the circle that bounds a mask (H, H), or NaN.

    Pixels that the disk covers are `whole` in `grey` (H, H), in the mean, and others as much less as it covers less;
    without it, those of the mask count.
    """
    # Turned as float32: oneDNN without AVX-512 turns no bool and no integer, and says so wherever a model is loaded.
    seen = tf.where(bright, 1.0, 0.0)
    grey = seen if grey is None else grey
    x, along, in_row = _edge(bright, grey, whole)
    y, across, in_column = _edge(tf.transpose(seen) > 0, tf.transpose(grey), whole)
    x, y, edge = tf.concat([x, across], 0), tf.concat([along, y], 0), tf.concat([in_row, in_column], 0)

    def refit(keep: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        circle = _circle(x, y, tf.cast(keep, tf.float64))
        off = tf.abs(tf.sqrt(tf.square(x - circle[0]) + tf.square(y - circle[1])) - circle[2])
        # Three robust standard deviations (1.48 median = 1 sigma), never less than a pixel of jitter.
        return edge & (off <= tf.maximum(tf.cast(1.0, tf.float64), 3 * 1.48 * _median(off, edge))), circle

    _, circle = tf.while_loop(lambda *_: True, refit, (edge, tf.zeros(3, tf.float64)), maximum_iterations=10)
    off = tf.abs(tf.sqrt(tf.square(x - circle[0]) + tf.square(y - circle[1])) - circle[2])
    near = off <= tf.maximum(tf.cast(1.5, tf.float64), 0.01 * tf.cast(tf.shape(bright)[0], tf.float64))
    return tf.where(_count(edge & near) >= 0.8 * _count(edge), circle, float("nan"))


def _edge(bright: tf.Tensor, grey: tf.Tensor, whole: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where the disk begins and ends in each row, in which row, and whether the edge is steep enough to count."""
    width = tf.shape(bright)[0]
    place = tf.range(width)
    first = tf.reduce_min(tf.where(bright, place, width), axis=1)
    last = tf.reduce_max(tf.where(bright, place, -1), axis=1)
    span = tf.cast(last - first, tf.float64)
    # Near the poles of the circle a row cuts it at a grazing angle; the columns see that part better.
    steep = (span >= 0) & (span >= 0.7 * tf.reduce_max(span))

    def covered(end: tf.Tensor) -> tf.Tensor:
        near = end[:, None] + tf.range(-EDGE_REACH, EDGE_REACH + 1)
        there = tf.gather(grey, tf.clip_by_value(near, 0, width - 1), batch_dims=1)
        return tf.reduce_sum(tf.where((near >= 0) & (near < width), tf.cast(there, tf.float64), 0.0), axis=1) / whole

    ends = [
        tf.cast(end, tf.float64) + inwards * (EDGE_REACH + 0.5 - covered(end))
        for end, inwards in ((first, 1), (last, -1))
    ]
    return tf.concat(ends, 0), tf.tile(tf.cast(place, tf.float64), [2]), tf.tile(steep, [2])


def _circle(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Least-squares circle (Kåsa), float64 (3,): x, y and radius; x² + y² = 2 a x + 2 b y + c is linear in a, b, c."""

    def mean(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weight * values) / tf.reduce_sum(weight)

    left, top = mean(x), mean(y)
    x, y = x - left, y - top
    square = tf.square(x) + tf.square(y)
    xx, xy, yy, xs, ys = mean(x * x), mean(x * y), mean(y * y), mean(x * square) / 2, mean(y * square) / 2
    determinant = xx * yy - xy * xy
    a, b = (xs * yy - ys * xy) / determinant, (ys * xx - xs * xy) / determinant
    return tf.stack([left + a, top + b, tf.sqrt(mean(square) + a * a + b * b)])


def _median(values: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    ordered = tf.sort(tf.where(chosen, values, float("inf")))
    count = _count(chosen)
    middle = tf.gather(ordered, [tf.cast((count - 1) / 2, tf.int32), tf.cast(count / 2, tf.int32)])
    return tf.reduce_mean(middle)


def _count(chosen: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(chosen, tf.float64))


def _decode(image: tf.Tensor) -> tf.Tensor:
    # INTEGER_ACCURATE gives the very bytes that Pillow gives; the default INTEGER_FAST differs by a few.
    # channels=0 keeps the file's own, as channels=1 would turn any coloured picture into a magnetogram.
    pixels = tf.io.decode_jpeg(image, channels=0, dct_method="INTEGER_ACCURATE")
    shape = tf.shape(pixels)
    checks = (
        tf.debugging.assert_equal(shape[2], 1, "`image` must be grey: a magnetogram, no coloured picture of one"),
        tf.debugging.assert_equal(shape[0], shape[1], "`image` must be square: a full-disk magnetogram"),
        tf.debugging.assert_less_equal(shape[0], MAXIMUM_PIXELS, "`image` must be at most 4096 pixels wide"),
    )
    # Without the dependency a later operation may fail first, with a message that does not tell the cause.
    with tf.control_dependencies([check for check in checks if check is not None]):
        pixels = tf.identity(pixels)
    pixels.set_shape((None, None, 1))
    return tf.cast(pixels, tf.float32) * (2 * FIELD_LIMIT / 255) - FIELD_LIMIT
