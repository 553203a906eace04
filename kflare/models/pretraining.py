"""Pretraining of the dense CNN without labels, on maps of flux near polarity inversion lines; the labels come last.

A few hundred labelled magnetograms do not show a network where to look, but what matters is measurable on each image:
where flux is, and where strong fields of both polarities meet (as in Schrijver 2007's R). The network learns to predict
these maps; two numbers fitted to the labels then turn the predicted field near polarity inversion lines into a
probability. Not in the papers.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kflare.datasets.pipelines import image_dataset
from kflare.datasets.reduced_images import FULL_SCALE, SATURATED, ReducedImages
from kflare.errors import DataError, ModelError
from kflare.models.training import Recipe, TrainingRun, ValidationSkill, load_weights, save_weights
from kflare.observations.magnetogram import Magnetogram

__all__ = ["flux_maps", "flux_maps_of", "pretrain_on_flux_maps"]

_MEASURED_SIZE = 512  # pixels: larger images are reduced to this before they are measured, so that maps mean the same
_POLARITY_LINES = (60.0, 125.0, 190.0)  # gauss on both sides
_SATURATED = SATURATED * FULL_SCALE  # gauss
_MAPS = 2 + len(_POLARITY_LINES)
_FORECASTING = 3  # of the maps, the one that the forecast is made of: polarity lines beyond 125 G
_CELL = 64  # pixels of the network's input per value of `last_bn`


def flux_maps(field: tf.Tensor, *, cells: int) -> tf.Tensor:
    """The targets of pretraining, float32 (N, cells, cells, 5), of a field (N, S, S, 1) in gauss with NaN off disk.

    Square roots of cell means, gauss^(1/2): unsigned field, saturated field (beyond 237.5 G), and unsigned field near
    polarity inversion lines (`regions.polarity_lines.near_both_polarities` at 60, 125 and 190 G), averaged over 9×9
    pixels. The root tames the few cells with giant spots. `cells` divides S, or 512 where S is larger. Our choice;
    after Schrijver (2007), whose R weighs the field near such lines.
    """
    field = tf.where(tf.math.is_nan(field), tf.zeros_like(field), field)
    size = min(int(field.shape[1]), _MEASURED_SIZE)
    field = tf.image.resize(field, (size, size), method="area")
    strength = tf.abs(field)
    found = [strength, tf.where(strength >= _SATURATED, 100.0, tf.zeros_like(field))]
    for limit in _POLARITY_LINES:
        both = [tf.nn.max_pool2d(tf.cast(sign * field >= limit, tf.float32), 3, 1, "SAME") for sign in (1, -1)]
        found.append(tf.nn.avg_pool2d(both[0] * both[1], 9, 1, "SAME") * strength)
    return tf.sqrt(tf.image.resize(tf.concat(found, axis=-1), (cells, cells), method="area"))


def flux_maps_of(size: int) -> Callable[[Magnetogram], npt.NDArray[np.float32]]:
    """What `reduce_images` measures for a network of a side of `size` pixels: the `flux_maps` of a magnetogram."""

    def measure(magnetogram: Magnetogram) -> npt.NDArray[np.float32]:
        return flux_maps(tf.constant(magnetogram.data[None, :, :, None]), cells=size // _CELL)[0].numpy()

    return measure


def pretrain_on_flux_maps(
    model: keras.Model,
    images: ReducedImages,
    rows: npt.NDArray[np.intp],
    observed: npt.NDArray[np.bool_],
    *,
    validation: tf.data.Dataset,
    validation_observed: npt.NDArray[np.bool_],
    augmented: bool,
    recipe: Recipe,
    run: TrainingRun,
    trunk: Path | None = None,
    verbose: int = 0,
) -> None:
    """Train the network of `build_dense_cnn`, in place, on the `flux_maps` of images, and its last layer on the labels.

    `rows` (N,) are the training images, whose labels are `observed`; `validation` holds batches of (input, anything) of
    M images with labels (M,) and serves the run's record only: there is no early stopping. The learning rate rises over
    the first half epoch to the recipe's and falls along a cosine to 0. `trunk` is a weights file (.weights.h5) of the
    pretrained layers, the same for every class: read if it exists, else written. A run that is finished is read; one
    that was killed goes on from its last whole epoch. Raises `DataError` if the network diverges.
    """
    if run.epochs:
        load_weights(model, run.best_weights)
        return
    with run.held():
        predictor, loss = _pretrained(
            model, images, rows, augmented=augmented, recipe=recipe, run=run, trunk=trunk, verbose=verbose
        )
        plain = image_dataset(images.fields, rows, observed, batch_size=recipe.batch_size)
        _set_last_layer(model, predictor.get_layer("flux_maps").get_weights(), plain, observed)
        skill = ValidationSkill(run, validation, validation_observed, recipe)
        skill.set_model(model)
        skill.on_epoch_end(recipe.epochs - 1, {"loss": loss})
        _keep(run, None)


def _stem(run: TrainingRun) -> str:
    """Begin of the names of what a pretraining with the settings of this run keeps: no other's is gone on with."""
    settings = (run.folder / "settings.json").read_bytes()
    return f"pretraining-{hashlib.sha256(settings).hexdigest()[:12]}"


def _keep(run: TrainingRun, path: Path | None) -> None:
    for other in set(run.folder.glob("pretraining-*.weights.h5")) - {path}:
        other.unlink()


class _EachEpoch(keras.callbacks.Callback):
    """Keeps the weights of each epoch in place of those before."""

    def __init__(self, run: TrainingRun, recipe: Recipe) -> None:
        super().__init__()
        self.run, self.recipe = run, recipe

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise DataError(f"training diverged: lower --learning-rate (now {self.recipe.learning_rate:g})")
        path = self.run.folder / f"{_stem(self.run)}-{epoch + 1:04d}.weights.h5"
        save_weights(self.model, path)
        _keep(self.run, path)


def _pretrained(
    model: keras.Model,
    images: ReducedImages,
    rows: npt.NDArray[np.intp],
    *,
    augmented: bool,
    recipe: Recipe,
    run: TrainingRun,
    trunk: Path | None,
    verbose: int,
) -> tuple[keras.Model, float]:
    """A network that predicts the maps and shares the layers of `model`, and its last loss."""
    layer = keras.layers.Conv2D(_MAPS, 1, dtype="float32", name="flux_maps")
    predictor = keras.Model(model.input, layer(model.get_layer("last_bn").output))
    if trunk is not None and trunk.exists():
        load_weights(predictor, trunk)
        return predictor, math.nan
    steps = math.ceil(len(rows) / recipe.batch_size)
    rising = max(1, steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 10,
        max(1, recipe.epochs * steps - rising),
        warmup_target=recipe.learning_rate,
        warmup_steps=rising,
    )
    predictor.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), keras.losses.Huber())
    done = 0
    for path in sorted(run.folder.glob(f"{_stem(run)}-*.weights.h5"))[-1:]:
        predictor.optimizer.build(predictor.trainable_variables)  # or its state would not be restored
        load_weights(predictor, path)
        done = int(path.name.removesuffix(".weights.h5")[-4:])
    data = image_dataset(
        images.fields, rows, _standard(images, rows), batch_size=recipe.batch_size, training=True,
        augmented=augmented, seed=recipe.seed, epoch=done,
    )  # fmt: skip
    fitted = predictor.fit(
        data, initial_epoch=done, epochs=recipe.epochs, steps_per_epoch=steps, shuffle=False, verbose=verbose,
        callbacks=[_EachEpoch(run, recipe)],
    )  # fmt: skip
    loss = fitted.history["loss"][-1] if done < recipe.epochs else math.nan
    if trunk is not None:
        trunk.parent.mkdir(parents=True, exist_ok=True)
        save_weights(predictor, trunk)
    return predictor, float(loss)


def _set_last_layer(
    model: keras.Model,
    layer: Sequence[npt.NDArray[np.float32]],
    images: tf.data.Dataset,
    observed: npt.NDArray[np.bool_],
) -> None:
    """Let `logits` be a logistic regression on the disk's mean of one predicted map, with equal class weights.

    The mean over cells of a 1×1 convolution is the same linear function of the pooled features, so that both steps are
    one dense layer.
    """
    from sklearn.linear_model import LogisticRegression

    pooled = keras.Model(model.input, model.get_layer("global_pool").output).predict(images, verbose=0)
    kernel = layer[0][0, 0, :, _FORECASTING].astype(np.float64)
    predicted = pooled @ kernel
    middle, spread = predicted.mean(), max(predicted.std(), 1e-6)
    regression = LogisticRegression(class_weight="balanced").fit(((predicted - middle) / spread)[:, None], observed)
    slope = regression.coef_[0, 0] / spread
    offset = regression.intercept_[0] - slope * middle
    half = slope * kernel / 2
    model.get_layer("logits").set_weights([np.stack([-half, half], axis=1), np.array([-offset, offset]) / 2])


def _standard(images: ReducedImages, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Maps of N images, each quantity with mean 0 and standard deviation 1 over all of them."""
    if images.measured is None:
        raise ModelError("images without flux maps: give `reduce_images` the `measure` of `flux_maps_of`")
    maps = images.measured[rows]
    deviation = np.maximum(maps.std(axis=(0, 1, 2)), 1e-3)
    return (maps - maps.mean(axis=(0, 1, 2))) / deviation
