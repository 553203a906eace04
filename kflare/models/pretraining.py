"""Pretraining of the dense CNN without labels, on maps of field at polarity inversion lines; the labels come last.

A few hundred labelled magnetograms do not show a network where to look, but what matters is measurable on each image:
where strong fields of both polarities meet (as in Schrijver 2007's R). The network learns to predict these maps from
images of many sources (`datasets.nuisances`), each group of its channels at the group's own resolution, so that the
exact CAM of its score is the map that it reads. Two numbers fitted to the labels then turn the mean of one of the maps
into a probability. Not in the papers.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kflare.datasets.pipelines import image_dataset
from kflare.datasets.reduced_images import ReducedImages
from kflare.errors import DataError, ModelError, SettingError
from kflare.io.arrays import BoolArray, Float32Array, Float64Array, IndexArray
from kflare.models.calibration import logits
from kflare.models.cluster import fit_in_step
from kflare.models.cross_fitting import OutOfSample
from kflare.models.dense_cnn import GROUPS
from kflare.models.training import Recipe, TrainingRun, ValidationSkill, load_weights, save_weights, told_epochs

GUISES = 4
"""Sources that each image is shown as in training, besides its own."""

_LINE_FIELD = 20.0  # gauss on both sides of a line, from which on field counts
_STRONG_LINE = 60.0  # gauss on both sides of a strong line
_READ = 3  # of the maps, the first: the score is made of the one that the training labels prefer
_MAPS = 4
_CROP = 256  # pixels: of larger images the network is trained on squares of this side, which hold whole regions
_FULL = 30  # batches of whole images after that, for the statistics of the batch normalisation
_CELL = 4  # pixels of the network's input per value of the maps, along each side
_LEAST_SIDE = 128  # every pixel reaches the score where the side is a multiple of it
_MOST_ERROR = 2.0  # standard deviations from which on the loss of a cell grows linearly
_WARM_UP = 200  # steps
_PARTS = 4  # of the training images, for `held_out`


def line_maps(field: tf.Tensor) -> tf.Tensor:
    """The targets of pretraining, float32 (N, S/4, S/4, 4), of a field (N, S, S, 1) in gauss with NaN off disk.

    Means over cells of 4×4 pixels. G = √(P·Q) is the field at polarity inversion lines, P and Q the means over 3×3
    pixels of max(B − 20 G, 0) and max(−B − 20 G, 0), in gauss; next is the field near strong lines, |B| times the share
    of 9×9 pixels where both polarities exceed 60 G within 3×3; then √G; and |B|. Our choice; after Schrijver (2007),
    whose R weighs the field near such lines.
    """
    field = tf.where(tf.math.is_nan(field), tf.zeros_like(field), field)
    sides = [tf.nn.avg_pool2d(tf.nn.relu(sign * field - _LINE_FIELD), 3, 1, "SAME") for sign in (1.0, -1.0)]
    line = tf.sqrt(sides[0] * sides[1])
    both = [tf.nn.max_pool2d(tf.cast(sign * field >= _STRONG_LINE, tf.float32), 3, 1, "SAME") for sign in (1.0, -1.0)]
    strong = tf.nn.avg_pool2d(both[0] * both[1], 9, 1, "SAME") * tf.abs(field)
    return tf.nn.avg_pool2d(tf.concat([line, strong, tf.sqrt(line), tf.abs(field)], axis=-1), _CELL, _CELL, "VALID")


def line_maps_of(reduced: Float32Array) -> Float32Array:
    """What `reduce_images` measures of each reduced image (S, S, 1) for pretraining: its `line_maps`."""
    return line_maps(tf.constant(reduced[None]))[0].numpy()


def pretrain_on_line_maps(
    model: keras.Model, images: ReducedImages, rows: IndexArray, observed: BoolArray, *,
    validation: tf.data.Dataset, validation_observed: BoolArray, augmented: bool, recipe: Recipe, run: TrainingRun,
    trunk: Path | None = None
) -> None:  # fmt: skip
    """Train the network of `build_dense_cnn`, in place, on the `line_maps` of images, and its last layer on the labels.

    `rows` (N,) are the training images, whose labels are `observed`; `validation` holds batches of (input, anything) of
    M images with labels (M,) and serves the run's record only: there is no early stopping. The learning rate rises to
    the recipe's and falls along a cosine. `trunk` is a weights file (.weights.npz) of the pretrained layers, the same
    for every class: read if it exists, else written. A run that is finished is read; one that was killed goes on from
    its last whole epoch. `DataError`: the network diverges; `SettingError`: the side is no multiple of 128 pixels.
    """
    if run.epochs:
        load_weights(model, run.best_weights)
        return
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.98  # small batches of large images: the statistics of fifty count
    if model.input_shape[1] % _LEAST_SIDE:
        raise SettingError(f"`image_size` must be a multiple of {_LEAST_SIDE} to pretrain, got {model.input_shape[1]}")
    with run.held():
        predictor, loss = _pretrained(model, images, rows, augmented=augmented, recipe=recipe, run=run, trunk=trunk)
        kernel = np.concatenate([predictor.get_layer(_reader(name)).get_weights()[0][0, 0] for name in GROUPS])
        plain = image_dataset(images.fields, rows, observed, batch_size=recipe.batch_size)
        _set_last_layers(model, kernel[:, :_READ].astype(np.float64), plain, observed)
        skill = ValidationSkill(run, validation, validation_observed, recipe)
        skill.set_model(model)
        skill.on_epoch_end(recipe.epochs - 1, {"loss": loss})
        _keep(run, None)


def held_out(observed: BoolArray, probability: Float32Array, times: pd.Series) -> OutOfSample:
    """What the network of a pretraining says of its N training images where their labels are left out.

    The labels set two numbers of its last layer. These are fitted anew without each quarter of the images, in order of
    `times`, from the network's outputs: an affine function of what it reads.
    """
    from sklearn.linear_model import LogisticRegression

    read, found = logits(probability)[:, None], np.full(len(observed), np.nan, np.float32)
    part = np.argsort(np.argsort(times.to_numpy())) * _PARTS // len(observed)
    for number in range(_PARTS):
        out = part == number
        if observed[~out].all() or not observed[~out].any():
            continue  # the others hold one class only: nothing is learnt from them
        regression = LogisticRegression(class_weight="balanced", C=1e3).fit(read[~out], observed[~out])
        found[out] = regression.predict_proba(read[out])[:, 1]
    known = np.isfinite(found)
    names = np.array([f"training, part {number + 1}" for number in part])
    return OutOfSample.of(observed[known], found[known], times[known], years=names[known])


def _stem(run: TrainingRun) -> str:
    """Begin of the names of what a pretraining with the settings of this run keeps: no other's is gone on with."""
    return f"pretraining-{hashlib.sha256((run.folder / 'settings.json').read_bytes()).hexdigest()[:12]}"


def _keep(run: TrainingRun, path: Path | None) -> None:
    for other in set(run.folder.glob("pretraining-*.weights.npz")) - {path}:
        other.unlink()


class _EachEpoch(keras.callbacks.Callback):
    """Keeps the weights of each epoch in place of those before."""

    def __init__(self, run: TrainingRun, recipe: Recipe) -> None:
        super().__init__()
        self.run, self.recipe = run, recipe

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise DataError(f"training diverged: lower --learning-rate (now {self.recipe.learning_rate:g})")
        path = self.run.folder / f"{_stem(self.run)}-{epoch + 1:04d}.weights.npz"
        save_weights(self.model, path)
        _keep(self.run, path)


def _reader(group: str) -> str:
    return f"read_{group}"


def _readers(model: keras.Model) -> keras.Model:
    """A network that predicts the standardised maps and shares the layers of `model`: linear in each group's channels.

    A group that is finer than the maps is averaged, a coarser one repeated: so the mean of a map is the same linear
    function of the features' means.
    """
    side = model.input_shape[1] // _CELL
    parts: list[Any] = []
    for name in GROUPS:
        group = model.get_layer(name).output
        layer = keras.layers.Conv2D(
            _MAPS, 1, use_bias=not parts, kernel_initializer="zeros", dtype="float32", name=_reader(name)
        )  # fmt: skip
        part = layer(group)
        if group.shape[1] > side:
            part = keras.layers.AveragePooling2D(group.shape[1] // side)(part)
        elif group.shape[1] < side:
            part = keras.layers.UpSampling2D(side // group.shape[1])(part)
        parts.append(part)
    return keras.Model(model.input, keras.layers.Add()(parts))


class _MapLoss(keras.losses.Loss):
    """Huber loss of the cells, and the squared error of each map's mean in standard deviations of the images' means.

    The forecast rests on the means, in which small errors of many cells would add up.
    """

    def __init__(self, deviation: Float32Array) -> None:
        super().__init__(name="line_maps")
        self._deviation = tf.constant(deviation)

    def call(self, expected: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        error = tf.cast(predicted, tf.float32) - expected
        size = tf.abs(error)
        cells = tf.where(size < _MOST_ERROR, tf.square(error) / 2, _MOST_ERROR * (size - _MOST_ERROR / 2))
        mean = tf.square(tf.reduce_mean(error, axis=(1, 2)) / self._deviation)
        return tf.reduce_mean(cells, axis=(1, 2, 3)) + tf.reduce_mean(mean, axis=-1)


def _pretrained(
    model: keras.Model, images: ReducedImages, rows: IndexArray, *, augmented: bool, recipe: Recipe,
    run: TrainingRun, trunk: Path | None
) -> tuple[keras.Model, float]:  # fmt: skip
    """A network that predicts the maps and shares the layers of `model`, and its last loss."""
    side = min(model.input_shape[1], _CROP)
    small = keras.models.clone_model(model, input_tensors=keras.Input((side, side, model.input_shape[3])))
    small.set_weights(model.get_weights())
    predictor = _readers(small)
    if trunk is not None and trunk.exists():
        load_weights(predictor, trunk)
        model.set_weights(small.get_weights())
        return predictor, math.nan
    steps = math.ceil(len(rows) / recipe.batch_size)
    rising = min(_WARM_UP, recipe.epochs * steps // 4)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 30, max(1, recipe.epochs * steps - rising), alpha=0.0,
        warmup_target=recipe.learning_rate, warmup_steps=rising,
    )  # fmt: skip
    targets = _standard(images, rows)
    # Parts of images differ more than whole ones.
    deviation = np.maximum(targets.mean(axis=(1, 2)).std(axis=0), 1e-3) * model.input_shape[1] / side
    predictor.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), _MapLoss(deviation))
    done = 0
    for path in sorted(run.folder.glob(f"{_stem(run)}-*.weights.npz"))[-1:]:
        predictor.optimizer.build(predictor.trainable_variables)  # or its state would not be restored
        load_weights(predictor, path)
        done = int(path.name.removesuffix(".weights.npz")[-4:])
    data = image_dataset(
        images.fields, rows, targets, guises=images.guises, crop=side if side < model.input_shape[1] else None,
        batch_size=recipe.batch_size, training=True, augmented=augmented, seed=recipe.seed, epoch=done,
    )  # fmt: skip
    with told_epochs(recipe.epochs, steps, done=done) as told:
        losses = fit_in_step(
            predictor, data, first=done, epochs=recipe.epochs, steps=steps, same=run.settings,
            callbacks=[_EachEpoch(run, recipe), told],
        )  # fmt: skip
    loss = losses[-1] if losses else math.nan
    model.set_weights(small.get_weights())
    if side < model.input_shape[1]:
        whole = image_dataset(
            images.fields, rows, targets, batch_size=recipe.batch_size, training=True, seed=recipe.seed
        )  # fmt: skip
        for batch, _ in whole.take(_FULL):
            model(batch, training=True)
        small.set_weights(model.get_weights())
    if trunk is not None:
        trunk.parent.mkdir(parents=True, exist_ok=True)
        save_weights(predictor, trunk)
    return predictor, float(loss)


def _set_last_layers(model: keras.Model, kernels: Float64Array, images: tf.data.Dataset, observed: BoolArray) -> None:
    """Let `logits` be a logistic regression on the disk's mean of one map that is read, with equal class weights.

    Of the maps, whose weights in the pooled features are the columns of `kernels` (221, n), the one is taken that
    describes the training labels best: regressions on one number each have likelihoods that compare. The batch
    normalisation before it is no longer needed, and does nothing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    normalisation = model.get_layer("last_bn")
    one, zero = np.ones(len(kernels), np.float32), np.zeros(len(kernels), np.float32)
    normalisation.set_weights([one, zero, zero, one - normalisation.epsilon])
    pooled = keras.Model(model.input, model.get_layer("global_pool").output).predict(images, verbose=0)
    found: list[tuple[float, Float64Array, float]] = []
    for kernel in kernels.T:
        read = pooled.astype(np.float64) @ kernel
        middle, spread = read.mean(), max(read.std(), 1e-6)
        standard = ((read - middle) / spread)[:, None]
        regression = LogisticRegression(class_weight="balanced").fit(standard, observed)
        weight = np.where(observed, 0.5 / observed.mean(), 0.5 / (1 - observed.mean()))
        cost = log_loss(observed, regression.predict_proba(standard)[:, 1], sample_weight=weight)
        slope = regression.coef_[0, 0] / spread
        found.append((cost, slope * kernel, regression.intercept_[0] - slope * middle))
    _, kernel, offset = min(found, key=lambda one: one[0])
    layer = np.stack([-kernel, kernel], axis=1) / 2, np.array([-offset, offset]) / 2
    model.get_layer("logits").set_weights([part.astype(np.float32) for part in layer])


def _standard(images: ReducedImages, rows: IndexArray) -> Float32Array:
    """Maps of N images, each quantity with mean 0 and standard deviation 1 over all of them."""
    if images.measured is None:
        raise ModelError("images without line maps: give `reduce_images` the measure `line_maps_of`")
    maps = images.measured[rows]
    deviation = np.maximum(maps.std(axis=(0, 1, 2)), 1e-3)
    return (maps - maps.mean(axis=(0, 1, 2))) / deviation
