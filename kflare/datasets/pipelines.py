"""tf.data pipelines: seeded shuffling, physical augmentation, prefetching."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kflare.datasets.preprocessing import fill_and_scale

__all__ = ["augment", "image_dataset", "one_hot", "table_dataset"]


def one_hot(labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Labels of shape (N,) as float32 (N, 2): [no flare, flare]."""
    return np.stack([~labels, labels], axis=-1).astype(np.float32)


def image_dataset(
    fields: npt.NDArray[np.float32],
    rows: npt.NDArray[np.intp],
    labels: npt.NDArray[np.bool_] | npt.NDArray[np.float32],
    *,
    batch_size: int,
    training: bool = False,
    augmented: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Magnetograms and labels for the dense CNN: batches (B, S, S, 1) in [-1, 1], and (B, 2) or (B, h, w, n).

    `fields` (M, S, S, 1) are those of `reduce_images` in gauss, of which `rows` (N,) are used. `labels` tell whether a
    flare of the class follows, bool (N,), or are maps of what the image shows, float32 (N, h, w, n), north up, which
    are mirrored with it. In `training` the images are shuffled anew every epoch; `augmented` ones go through `augment`.
    """

    def load(row: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        field = tf.numpy_function(lambda number: np.array(fields[number]), [row], tf.float32, stateful=False)
        return tf.ensure_shape(field, fields.shape[1:]), label

    targets = one_hot(labels.astype(bool)) if labels.dtype == np.bool_ else labels
    data = tf.data.Dataset.from_tensor_slices((rows, targets))
    if training:
        data = data.shuffle(len(rows), seed=seed, reshuffle_each_iteration=True)
    data = data.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if augmented:
        generator = tf.random.Generator.from_seed(seed)
        data = data.map(lambda image, label: augment(image, label, generator))
    data = data.map(lambda image, label: (fill_and_scale(image), label), num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def augment(field: tf.Tensor, target: tf.Tensor, generator: tf.random.Generator) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirror a magnetogram (H, W, 1) and reverse its polarity at random, under which flare physics does not change.

    The equations of magnetohydrodynamics keep their form when the field is mirrored or its polarity reversed. By Hale's
    law the mirrored Sun is one of the other hemisphere or the other cycle; only the tilt of Joy's law, a few degrees,
    is turned by the east–west mirror. Other rotations would put the activity belts elsewhere. Not in the papers.

    NaN off the disk survives. A label (2,) stays as it is; maps (h, w, n) of quantities without sign are mirrored too.
    """
    toss = generator.uniform((3,)) < 0.5

    def mirrored(image: tf.Tensor) -> tf.Tensor:
        image = tf.where(toss[0], tf.reverse(image, [1]), image)
        return tf.where(toss[1], tf.reverse(image, [0]), image)

    field = mirrored(field)
    return tf.where(toss[2], -field, field), mirrored(target) if target.shape.rank == 3 else target


def table_dataset(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.bool_],
    *,
    batch_size: int,
    training: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Standardised features (N, n) and labels (N,) for DeFN: (float32 (B, n), float32 (B, 2)).

    For training the samples are shuffled anew in every pass and repeated without end, since DeFN counts iterations.
    """
    data = tf.data.Dataset.from_tensor_slices((features, one_hot(labels)))
    if training:
        data = data.shuffle(len(features), seed=seed, reshuffle_each_iteration=True).repeat()
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)
