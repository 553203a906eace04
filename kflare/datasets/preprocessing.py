"""From gauss, or from archive bytes, to what the dense CNN sees. One code for training and for serving.

Yi et al. (2021, section 2) use 512×512 8-bit images of ±100 G. Not in the paper, hence reconstruction (SCIENCE.md D.4):
the scaling to [-1, 1], and off-disk pixels at the lower end, as black as they are in the archive's images.
"""

import tensorflow as tf

__all__ = [
    "DISK_BYTE",
    "FIELD_LIMIT",
    "MAXIMUM_PIXELS",
    "bytes_to_gauss",
    "fill_and_scale",
    "mask_space",
    "reduce_field",
]

FIELD_LIMIT = 100.0
"""Gauss; stronger fields are clipped, as in the archive's images (paper 1, section 2)."""

DISK_BYTE = 20
"""Bytes above this are on the disk, as in `observations.images`: JPEG noise off the disk stays below."""

MAXIMUM_PIXELS = 4096
"""The largest side of an image that is decoded, that of HMI."""


def reduce_field(magnetogram: tf.Tensor, *, size: int) -> tf.Tensor:
    """Clip to ±100 G and average over areas down to `size`.

    Parameters
    ----------
    magnetogram : float32 tensor of shape (N, H, W, 1)
        Line-of-sight field in gauss, north up, NaN off disk.
    size : int
        Side of the network's input in pixels.

    Returns
    -------
    float32 tensor of shape (N, size, size, 1)
        Gauss; NaN where less than half of the area lies on the disk.

    Raises
    ------
    tf.errors.InvalidArgumentError
        When run: not square, so no full disk.
    """
    shape = tf.shape(magnetogram)
    tf.debugging.assert_equal(shape[1], shape[2], "`magnetogram` must be square: a full disk")
    field = tf.clip_by_value(magnetogram, -FIELD_LIMIT, FIELD_LIMIT)
    measured = tf.math.is_finite(magnetogram)
    weight = tf.cast(measured, tf.float32)
    total = tf.image.resize(tf.where(measured, field, tf.zeros_like(field)), (size, size), method="area")
    weight = tf.image.resize(weight, (size, size), method="area")
    mean = tf.math.divide_no_nan(total, weight)
    return tf.where(weight >= 0.5, mean, tf.fill(tf.shape(mean), float("nan")))


def fill_and_scale(field: tf.Tensor) -> tf.Tensor:
    """Field of `reduce_field` (gauss, NaN off disk) to the network's input in [-1, 1], -1 off disk; any shape."""
    filled = tf.where(tf.math.is_nan(field), tf.fill(tf.shape(field), -FIELD_LIMIT), field)
    return filled / FIELD_LIMIT


def bytes_to_gauss(image: tf.Tensor) -> tf.Tensor:
    """Decode JPEG or PNG images of the archive's scale, byte 0..255 = -100..+100 G.

    Parameters
    ----------
    image : string tensor of shape (N,)
        Encoded grey images, all of one size; north up.

    Returns
    -------
    float32 tensor of shape (N, H, W, 1)
        Gauss; off the disk about -100, as archive images are black there: see `mask_space`.

    Raises
    ------
    tf.errors.InvalidArgumentError
        When run: not a JPEG or PNG, in colour, not square, or larger than 4096×4096.
    """
    return tf.map_fn(_decode, image, fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32))


def mask_space(field: tf.Tensor) -> tf.Tensor:
    """Put NaN off the disk of decoded images, found in the graph much as `observations.images.find_disk` does.

    Without it the noise of JPEG around the limb would be taken for field, which training never saw. The disk spans the
    rows and columns that hold enough bright pixels. Where the two spans differ, as with captions beside the disk,
    nothing is masked: black pixels then read -100 G, which is what `fill_and_scale` puts there.

    Parameters
    ----------
    field : float32 tensor of shape (N, H, H, 1)
        Gauss, from `bytes_to_gauss`.

    Returns
    -------
    float32 tensor of shape (N, H, H, 1)
        Gauss, NaN off disk.
    """
    bright = tf.cast(field[..., 0] > DISK_BYTE * (2 * FIELD_LIMIT / 255) - FIELD_LIMIT, tf.float32)
    width = tf.cast(tf.shape(field)[1], tf.float32)
    place = tf.range(width)

    def span(counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inside = counts > 0.03 * width
        low = tf.reduce_min(tf.where(inside, place, width), axis=1)
        high = tf.reduce_max(tf.where(inside, place, -1.0), axis=1)
        return (low + high) / 2, (high - low) / 2 + 0.8  # a chord of 3 % of the width lies this far inside the limb

    y, radius_y = span(tf.reduce_sum(bright, axis=2))
    x, radius_x = span(tf.reduce_sum(bright, axis=1))
    radius = ((radius_x + radius_y) / 2)[:, None, None]
    distance = tf.square(place[None, None, :] - x[:, None, None]) + tf.square(place[None, :, None] - y[:, None, None])
    is_round = (tf.abs(radius_x - radius_y) <= 0.02 * width)[:, None, None]
    space = tf.logical_and(distance > tf.square(radius), is_round)
    return tf.where(space[..., None], float("nan"), field)


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
    # Without the dependency a later operation may fail first, with a message that helps nobody.
    with tf.control_dependencies([check for check in checks if check is not None]):
        pixels = tf.identity(pixels)
    pixels.set_shape((None, None, 1))
    return tf.cast(pixels, tf.float32) * (2 * FIELD_LIMIT / 255) - FIELD_LIMIT
