"""The two networks with the same weights for kflare and its peers, and one step of kflare's own training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write(folder: Path) -> None:
    """Weights of both networks, with statistics as if trained, and inputs."""
    import keras

    from kflare.models.registry import model_spec

    random = np.random.default_rng(0)
    for name, shape in (("cnn-m", (512, 512, 1)), ("defn-m", 79)):
        keras.utils.set_random_seed(0)
        found = {}
        for layer in model_spec(name).build(shape).layers:
            for weight in layer.weights:
                value = weight.numpy()
                if weight.name in {"moving_mean", "beta"}:
                    value = random.normal(0, 0.1, value.shape)
                elif weight.name in {"moving_variance", "gamma"}:
                    value = random.uniform(0.5, 1.5, value.shape)
                found[f"{layer.name}/{weight.name}"] = value.astype(np.float32)
        np.savez(folder / f"{name}.npz", **found)
    np.save(folder / "images.npy", random.uniform(-1, 1, (16, 512, 512, 1)).astype(np.float32))
    np.save(folder / "rows.npy", random.normal(0, 1, (150, 79)).astype(np.float32))
    np.save(folder / "labels.npy", (random.random(150) < 0.3).astype(np.float32))


def weights(folder: Path, name: str) -> dict[str, Any]:
    """As `write` left them."""
    with np.load(folder / f"{name}.npz") as found:
        return dict(found)


def network(folder: Path, name: str, shape: Any) -> Any:
    """In Keras, as kflare builds it."""
    from kflare.models.registry import model_spec

    model = model_spec(name).build(shape)
    found = weights(folder, name)
    for layer in model.layers:
        layer.set_weights([found[f"{layer.name}/{weight.name}"] for weight in layer.weights])
    return model


def images(folder: Path, count: int, size: int) -> Any:
    """float32 (N, S, S, 1), noise in [−1, 1]."""
    return np.ascontiguousarray(np.load(folder / "images.npy")[:count, :size, :size])


def fitted(model: Any, inputs: Any, labels: Any, spec: Any, folder: Path) -> tuple[Callable[[int], Any], Any]:
    """What takes so many steps of `kflare.models.training.train`, compiled as there, and its recipe.

    `train` comes to Keras's `fit` with all that is decided; what comes there is kept, and timed without validation.
    """
    import keras
    import tensorflow as tf

    from kflare.models.training import Recipe, TrainingRun, train

    recipe = Recipe(**{**spec.recipe, "epochs": 1}, class_weights=(1.0, 3.0))
    data = tf.data.Dataset.from_tensors((inputs, keras.utils.to_categorical(labels, 2))).cache().repeat()
    kept: list[Any] = []

    class _Kept(Exception):  # noqa: N818 - ends `train` where `fit` would begin
        pass

    def keep(self: Any, *_: Any, **__: Any) -> None:
        kept.append(self)
        raise _Kept

    original, keras.Model.fit = keras.Model.fit, keep
    try:
        train(
            model, data, data, labels > 0, recipe=recipe, run=TrainingRun(folder, {}), steps=recipe.steps_per_epoch or 1
        )
    except _Kept:
        pass
    finally:
        keras.Model.fit = original
    (compiled,) = kept
    return lambda steps: compiled.fit(data, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0), recipe
