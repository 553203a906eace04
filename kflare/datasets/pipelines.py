"""tf.data pipelines: seeded shuffling, physical augmentation, prefetching.

What is drawn depends on seed and number of the epoch or pass alone, so that a stopped training goes on as it would.
"""

import numpy as np
import tensorflow as tf

from kflare.datasets.preprocessing import fill_and_scale
from kflare.io.arrays import BoolArray, Float16Array, Float32Array, IndexArray

_ENDLESS = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)


def one_hot(labels: BoolArray) -> Float32Array:
    """Labels of shape (N,) as float32 (N, 2): [no flare, flare]."""
    return np.stack([~labels, labels], axis=-1).astype(np.float32)


def image_dataset(
    fields: Float32Array, rows: IndexArray, labels: BoolArray | Float32Array, *, batch_size: int,
    guises: Float16Array | None = None, crop: int | None = None, training: bool = False,
    augmented: bool = False, seed: int = 0, epoch: int = 0
) -> tf.data.Dataset:  # fmt: skip
    """Magnetograms and labels for the dense CNN: batches (B, S, S, 1) in [-1, 1], and (B, 2) or (B, h, w, n).

    `fields` (M, S, S, 1) are those of `reduce_images` in gauss, of which `rows` (N,) are used. `labels` tell whether a
    flare of the class follows, bool (N,), or are maps of what the image shows, float32 (N, h, w, n), north up, which
    are mirrored with it. `augmented` ones go through `augment`. Of the `guises` (M, V, S, S, 1) of the images, if there
    are any, and the image itself one is drawn for each epoch; of what is drawn a square of `crop` pixels, and the same
    part of its maps. In `training` there is no end: from `epoch` (0 = the
    first) on epoch follows epoch, each with every image once, in an order of its own.
    """
    targets = tf.constant(one_hot(labels.astype(bool)) if labels.dtype == np.bool_ else labels)
    numbers = tf.constant(rows)

    def chosen(row: int, drawn: float) -> Float32Array:
        many = 0 if guises is None else guises.shape[1]
        guise = int(drawn * (many + 1))
        return np.array(fields[row] if guises is None or guise >= many else guises[row, guise], np.float32)

    def of_epoch(number: tf.Tensor) -> tf.data.Dataset:
        def load(place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = tf.random.stateless_uniform((6,), (seed * 2**20 + number, place))
            field = tf.numpy_function(chosen, [numbers[place], drawn[3]], tf.float32, stateful=False)
            field, target = tf.ensure_shape(field, fields.shape[1:]), targets[place]
            if crop is not None:
                field, target = (_cropped(image, drawn[4:], crop / fields.shape[1]) for image in (field, target))
            if augmented:
                field, target = augment(field, target, drawn[:3] < 0.5)
            return fill_and_scale(field), target

        places = _shuffled(len(rows), seed, number) if training else tf.range(len(rows), dtype=tf.int64)
        drawn = tf.data.Dataset.from_tensor_slices(places).map(load, num_parallel_calls=tf.data.AUTOTUNE)
        return drawn.batch(batch_size)

    data = tf.data.Dataset.range(epoch, 2**31).flat_map(of_epoch).apply(_ENDLESS) if training else of_epoch(epoch)
    return data.prefetch(tf.data.AUTOTUNE)


def _cropped(image: tf.Tensor, drawn: tf.Tensor, share: float) -> tf.Tensor:
    """A square of a share of an image (S, S, n), its corner at a quarter of the square, by two numbers in [0, 1)."""
    side = int(image.shape[0])
    size = round(share * side)
    step = max(1, size // 4)
    corner = tf.cast(drawn * ((side - size) // step + 1), tf.int32) * step
    top, left = corner[0], corner[1]
    return tf.ensure_shape(image[top : top + size, left : left + size], (size, size, image.shape[2]))


def _shuffled(count: int, seed: int, number: tf.Tensor) -> tf.Tensor:
    """The places 0 to count - 1 in the order of the epoch or pass of this number."""
    return tf.random.experimental.stateless_shuffle(tf.range(count, dtype=tf.int64), (seed, number))


def augment(field: tf.Tensor, target: tf.Tensor, toss: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror a magnetogram (H, W, 1) and reverse its polarity, under which flare physics does not change.

    The equations of magnetohydrodynamics keep their form when the field is mirrored or its polarity reversed. By Hale's
    law the mirrored Sun is one of the other hemisphere or the other cycle; only the tilt of Joy's law, a few degrees,
    is turned by the east–west mirror. Other rotations would put the activity belts elsewhere. Not in the papers.

    `toss` (bool, (3,)) tells whether to mirror east and west, to mirror north and south, and to reverse the polarity.
    NaN off the disk survives. A label (2,) stays as it is; maps (h, w, n) of quantities without sign are mirrored too.
    """

    def mirrored(image: tf.Tensor) -> tf.Tensor:
        image = tf.where(toss[0], tf.reverse(image, [1]), image)
        return tf.where(toss[1], tf.reverse(image, [0]), image)

    field = mirrored(field)
    return tf.where(toss[2], -field, field), mirrored(target) if target.shape.rank == 3 else target


def table_dataset(
    features: Float32Array, labels: BoolArray, *, batch_size: int, training: bool = False, seed: int = 0, first: int = 0
) -> tf.data.Dataset:
    """Standardised features (N, n) and labels (N,) for DeFN: (float32 (B, n), float32 (B, 2)).

    For training the samples are shuffled anew in every pass and repeated without end, since DeFN counts iterations;
    `first` is the batch to begin with.
    """
    if not training:
        whole = tf.data.Dataset.from_tensor_slices((features, one_hot(labels)))
        return whole.batch(batch_size).prefetch(tf.data.AUTOTUNE)
    inputs, targets = tf.constant(features), tf.constant(one_hot(labels))
    passes = tf.data.Dataset.range(2**31)
    places = passes.map(lambda number: _shuffled(len(features), seed, number))
    batches = places.rebatch(batch_size).skip(first).apply(_ENDLESS)
    return batches.map(lambda rows: (tf.gather(inputs, rows), tf.gather(targets, rows))).prefetch(tf.data.AUTOTUNE)
