"""From gauss, or from archive bytes, to what the dense CNN sees: the one reduction, for training and for serving.

Yi et al. (2021, section 2) use 512×512 8-bit images of ±100 G. Not in the paper, hence reconstruction (SCIENCE.md D.4):
the scaling to [-1, 1], and off-disk pixels at the lower end, as black as they are in the archive's images.
"""

import tensorflow as tf

from kflare.observations.usability import LARGEST_FIELD, LEAST_COVERAGE, LEAST_SIDE, MOST_BEYOND

__all__ = [
    "CLIPPED_SIZE", "DISK_BYTE", "FIELD_LIMIT", "MAXIMUM_PIXELS", "bytes_to_gauss", "fill_and_scale", "mask_space",
    "reduce_field", "usable",
]  # fmt: skip

FIELD_LIMIT = 100.0
"""Gauss; stronger fields are clipped, as in the archive's images (paper 1, section 2)."""

CLIPPED_SIZE = 512
"""Pixels a side of the archive's images, at which the field saturates; larger magnetograms are averaged to it first."""

DISK_BYTE = 20
"""Bytes above this are on the disk, as in `observations.readers.images`: JPEG noise off the disk stays below."""

MAXIMUM_PIXELS = 4096
"""The largest side of an image that is decoded, that of HMI."""


def reduce_field(magnetogram: tf.Tensor, *, size: int) -> tf.Tensor:
    """Average over areas to the archive's resolution, clip to ±100 G, and average on down to `size`.

    A coarser telescope averages the field before anything saturates. The images that networks are trained on are
    averaged to 512 pixels in gauss and saturate there, so a larger magnetogram does the same; one that is no larger
    than `CLIPPED_SIZE` or `size` is clipped as it is.

    From float32 (N, H, H, 1) in gauss, north up, NaN off disk, to (N, size, size, 1), NaN where less than half of the
    area lies on the disk. A field that is not square raises `tf.errors.InvalidArgumentError` when run.
    """
    shape = tf.shape(magnetogram)
    tf.debugging.assert_equal(shape[1], shape[2], "`magnetogram` must be square: a full disk")
    field = _area_mean(magnetogram, tf.minimum(shape[1], max(CLIPPED_SIZE, size)))
    # Of NaN, `clip_by_value` makes a limit or NaN as the processor has it.
    clipped = tf.where(tf.math.is_nan(field), field, tf.clip_by_value(field, -FIELD_LIMIT, FIELD_LIMIT))
    return _area_mean(clipped, size)


def usable(magnetogram: tf.Tensor) -> tf.Tensor:
    """Whether each field (N, H, H, 1) in gauss can be forecast from, bool (N,): `require_usable` as a graph.

    Where they are too small `tf.errors.InvalidArgumentError` is raised when run.
    """
    tf.debugging.assert_greater_equal(
        tf.shape(magnetogram)[1], LEAST_SIDE, f"`magnetogram` must be at least {LEAST_SIDE} pixels wide: a full disk"
    )
    strength = tf.abs(magnetogram)

    def share(chosen: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(chosen, tf.float32), axis=(1, 2, 3))

    return (share(strength > LARGEST_FIELD) <= MOST_BEYOND) & (share(strength <= LARGEST_FIELD) >= LEAST_COVERAGE)


def _area_mean(field: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Mean of what was measured in each area; NaN where that is less than half of it."""
    measured = tf.abs(field) <= LARGEST_FIELD  # neither NaN nor a fill value
    total = tf.image.resize(tf.where(measured, field, tf.zeros_like(field)), (size, size), method="area")
    weight = tf.image.resize(tf.cast(measured, tf.float32), (size, size), method="area")
    mean = tf.math.divide_no_nan(total, weight)
    return tf.where(weight >= 0.5, mean, tf.fill(tf.shape(mean), float("nan")))


def fill_and_scale(field: tf.Tensor) -> tf.Tensor:
    """Field of `reduce_field` (gauss, NaN off disk) to the network's input in [-1, 1], -1 off disk; any shape."""
    filled = tf.where(tf.math.is_nan(field), tf.fill(tf.shape(field), -FIELD_LIMIT), field)
    return filled / FIELD_LIMIT


def bytes_to_gauss(image: tf.Tensor) -> tf.Tensor:
    """Decode JPEG or PNG images of the archive's scale, byte 0..255 = -100..+100 G.

    From encoded images of shape (N,), north up, all of one size, to float32 gauss (N, H, W, 1); off the disk about
    -100, as archive images are black there: see `mask_space`. What is in colour, not square, or larger than 4096×4096
    raises `tf.errors.InvalidArgumentError` when run.
    """
    return tf.map_fn(_decode, image, fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32))


def mask_space(field: tf.Tensor) -> tf.Tensor:
    """Put NaN off the disk of decoded images (N, H, H, 1): `observations.readers.images.find_disk` as a graph.

    A circle is fitted to the first and the last bright pixel of each row and column, without those far from it. Where
    the edge is no circle nothing is masked: black pixels then read -100 G, which is what `fill_and_scale` puts there.
    Where besides less than `LEAST_COVERAGE` of the image is bright nothing was seen, and all of it is NaN.
    Captions are told from the disk by lying off the circle, and not by being apart from it as in `find_disk`.
    """
    return tf.map_fn(_mask_space, field)


def _mask_space(field: tf.Tensor) -> tf.Tensor:
    bright = field[..., 0] > (DISK_BYTE + 0.5) * (2 * FIELD_LIMIT / 255) - FIELD_LIMIT
    place = tf.cast(tf.range(tf.shape(field)[0]), tf.float64)
    (x, along, in_row), (y, across, in_column) = _edge(bright), _edge(tf.transpose(bright))
    x, y, edge = tf.concat([x, across], 0), tf.concat([along, y], 0), tf.concat([in_row, in_column], 0)

    def refit(keep: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        circle = _circle(x, y, tf.cast(keep, tf.float64))
        off = tf.abs(tf.sqrt(tf.square(x - circle[0]) + tf.square(y - circle[1])) - circle[2])
        # Three robust standard deviations (1.48 median = 1 sigma), never less than a pixel of jitter.
        return edge & (off <= tf.maximum(tf.cast(1.0, tf.float64), 3 * 1.48 * _median(off, edge))), circle

    unknown = tf.zeros(3, tf.float64)
    _, circle = tf.while_loop(lambda *_: True, refit, (edge, unknown), maximum_iterations=10)
    centre_x, centre_y, radius = tf.unstack(circle)
    off = tf.abs(tf.sqrt(tf.square(x - centre_x) + tf.square(y - centre_y)) - radius)
    near = off <= tf.maximum(tf.cast(1.5, tf.float64), 0.01 * tf.cast(tf.size(place), tf.float64))
    is_disk = _count(edge & near) >= 0.8 * _count(edge)
    half_chord = tf.sqrt(tf.square(radius) - tf.square(place - centre_y))  # NaN, so never the larger one, off the disk
    on_disk = tf.abs(place - centre_x)[None, :] <= half_chord[:, None]
    mostly_bright = tf.reduce_mean(tf.cast(bright, tf.float32)) >= LEAST_COVERAGE
    return tf.where(tf.where(is_disk, on_disk, mostly_bright)[..., None], field, float("nan"))


def _edge(bright: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where each row's bright part begins and ends, in which row, and whether the edge is steep enough to count."""
    width = tf.shape(bright)[0]
    place = tf.range(width)
    first = tf.reduce_min(tf.where(bright, place, width), axis=1)
    last = tf.reduce_max(tf.where(bright, place, -1), axis=1)
    span = tf.cast(last - first, tf.float64)
    # Near the poles of the circle a row cuts it at a grazing angle; the columns see that part better.
    steep = (span >= 0) & (span >= 0.7 * tf.reduce_max(span))
    ends = tf.concat([tf.cast(first, tf.float64) - 0.5, tf.cast(last, tf.float64) + 0.5], 0)
    return ends, tf.tile(tf.cast(place, tf.float64), [2]), tf.tile(steep, [2])


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
