"""Training: `Model.fit` with logs, early stopping and model choice on validation data only, and resumption.

A run lives in a folder. Killed at any moment and started again with the same settings, it goes on from the last whole
epoch; with other settings it refuses the folder. `state.json` decides what belongs to the run: an epoch's weights are
written first and count from the moment at which the state, replaced in one step, names that epoch.
"""

import json
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras.src.random import seed_generator

from kflare.errors import DataError, ModelError, SettingError
from kflare.io.arrays import BoolArray
from kflare.io.atomic import held_folders, write_whole
from kflare.io.progress import progress
from kflare.io.run_settings import read_settings_file, require_same_settings
from kflare.models.cluster import fit_in_step, workers_here
from kflare.models.inference import train_by_infer
from kflare.models.losses import WeightedCrossentropy, class_weights
from kflare.verification.contingency import best_threshold

_SETTINGS = "settings.json"


@dataclass
class _Epoch:
    epoch: int
    loss: float
    val_loss: float
    val_tss: float


@dataclass
class _State:
    epochs: list[_Epoch]
    best: _Epoch | None
    published: str | None = None

    def __post_init__(self) -> None:
        if self.epochs and (self.best is None or self.best.epoch not in [row.epoch for row in self.epochs]):
            raise ValueError("the best epoch is none of the epochs")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The papers give few of these: see docs/science.md."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int  # epochs without a better validation score after which training ends
    class_weights: tuple[float, float]
    seed: int = 0
    select: str = "tss"  # validation score that chooses the epoch: "tss" (largest over thresholds) or "loss" (smallest)
    steps_per_epoch: int | None = None  # iterations that count as an epoch of endless data (DeFN checks every 100)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise SettingError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise SettingError(f"`learning_rate` must be a number above 0, got {self.learning_rate}")
        if not 0 <= self.seed < 2**32:
            raise SettingError(f"`seed` must lie in [0, 2^32), got {self.seed}")
        if self.select not in {"tss", "loss"}:
            raise SettingError(f"`select` must be tss or loss, got {self.select!r}")
        WeightedCrossentropy(self.class_weights)  # refuses weights that are not two positive numbers

    @classmethod
    def for_labels(
        cls, fields: Mapping[str, Any], labels: BoolArray, seed: int = 0, *, class_weight: float | None = None
    ) -> Self:
        """A recipe of some fields, whose class weights are `class_weight`, or else those of the training labels."""
        weights = class_weights(labels) if class_weight is None else (1.0, class_weight)
        return cls(**fields, class_weights=weights, seed=seed)


class TrainingRun:
    """A training run's folder: settings, epochs so far, weights of the best and of the last epoch.

    The `settings` are everything that determines the result. A folder without a finished epoch holds no run yet; one
    that holds a run with other settings, or cannot be read, raises `SettingError`. One process at a time works in the
    folder `within`, by default the run's own.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, within: Path | None = None) -> None:
        self.folder = Path(folder)
        self._within = within or self.folder
        self.settings = json.dumps(settings, indent=2, sort_keys=True, default=str)
        self._state = self.folder / "state.json"
        self.state: dict[str, Any] = {"epochs": [], "best": None}
        self._read(settings)

    def _read(self, settings: Mapping[str, Any]) -> None:
        if self._state.exists():
            self.state = read_settings_file(self._state, _State)
            require_same_settings(self.folder / _SETTINGS, settings, what="a run")

    @property
    def epochs(self) -> list[dict[str, float]]:
        """One row per epoch: `epoch`, `loss`, `val_loss`, `val_tss`."""
        return list(self.state["epochs"])

    @property
    def best_weights(self) -> Path:
        """Weights of the epoch with the best validation score."""
        return self.weights(self.state["best"])

    @property
    def last_weights(self) -> Path | None:
        """Weights and optimiser of the last whole epoch, from which training goes on; None before the first."""
        return self.weights(self.epochs[-1]) if self.epochs else None

    def weights(self, row: Mapping[str, float]) -> Path:
        """File of the weights of an epoch; only those of the best and of the last epoch are kept."""
        return self.folder / f"epoch-{row['epoch']:04d}.weights.npz"

    def begin(self) -> None:
        """Make the folder and write the settings; `SettingError` where that is not possible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / _SETTINGS, self.settings)
        except OSError as error:
            raise SettingError(f"cannot use {self.folder} for the run: {error}; choose another --output") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Begin, or go on, and keep the folder for this process alone; `SettingError` while another works there."""
        with held_folders(self._within, self.folder, within=self._within):
            self._read(json.loads(self.settings))  # another may have got on since
            self.begin()
            yield

    def record(self, row: Mapping[str, float], *, better: bool) -> None:
        """Append an epoch, whose weights are written already, to the state and the CSV log."""
        self.state["epochs"].append(dict(row))
        if better:
            self.state["best"] = dict(row)
        self.save()
        write_whole(self.folder / "history.csv", pd.DataFrame(self.state["epochs"]).to_csv(index=False))
        for path in set(self.folder.glob("epoch-*.weights.npz")) - {self.best_weights, self.last_weights}:
            path.unlink()

    def save(self) -> None:
        """Write the state; atomic."""
        write_whole(self._state, json.dumps(self.state, indent=1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What a network built in the block begins with follows from the seed, also beside threads that draw (dask's)."""
    keras.utils.set_random_seed(seed)
    everyones, seed_generator.python_random = seed_generator.python_random, random.Random(seed)  # noqa: S311
    try:
        yield
    finally:
        seed_generator.python_random = everyones


@keras.saving.register_keras_serializable("kflare")
class Adam(keras.optimizers.Adam):
    """Keras' Adam: TensorFlow's operation takes the step of a variable, for which Keras starts twelve."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update a variable and the moments of its gradient."""
        at, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, tf.float32)
        own = {"var": variable, "m": self._momentums[at], "v": self._velocities[at]}
        tf.raw_ops.ResourceApplyAdam(
            **{name: getattr(one, "_value", one).handle for name, one in own.items()},
            beta1_power=self.beta_1**step, beta2_power=self.beta_2**step, lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, grad=gradient,
        )  # fmt: skip


class ValidationSkill(keras.callbacks.Callback):
    """Scores each epoch on validation data, records it with its weights, stops when none was better for long."""

    def __init__(self, run: TrainingRun, data: tf.data.Dataset, observed: BoolArray, recipe: Recipe) -> None:
        super().__init__()
        self.run, self.data, self.observed, self.recipe = run, data, observed, recipe

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Let what dropout draws depend on the seed, the epoch and the worker alone, as the data do."""
        del logs
        first = epoch * 2**20 + workers_here().index * 2**14
        for place, layer in enumerate(self.model.layers):
            if (generator := getattr(layer, "seed_generator", None)) is not None:
                generator.state.assign(np.array([(self.recipe.seed + place) % 2**32, first % 2**32], np.uint32))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Score and record the epoch of this number, counted from 0; `logs` holds its `loss`."""
        probabilities = self.model.predict(self.data, verbose=0)
        if not np.isfinite(probabilities).all():
            how = f"lower --learning-rate (now {self.recipe.learning_rate:g}) or look for outliers in the features"
            raise DataError(f"training diverged in epoch {epoch + 1}: the network gives NaN; {how}")
        weights = np.where(self.observed, self.recipe.class_weights[1], self.recipe.class_weights[0])
        chosen = np.where(self.observed, probabilities[:, 1], probabilities[:, 0])
        val_loss = float(np.mean(-weights * np.log(np.clip(chosen, 1e-10, 1.0))))
        val_tss = float(best_threshold(self.observed, probabilities[:, 1])[1].tss)
        row = {"epoch": epoch + 1, "loss": float(logs["loss"]), "val_loss": val_loss, "val_tss": val_tss}
        logs.update(val_loss=val_loss, val_tss=val_tss)  # for `told_epochs` and TensorBoard
        best = self.run.state["best"]
        better = best is None or self._score(row) > self._score(best)
        # On the disk before the state names them, also through a loss of power.
        save_weights(self.model, self.run.weights(row))
        self.run.record(row, better=better)
        if _finished(self.run, self.recipe):
            self.model.stop_training = True

    def _score(self, row: Mapping[str, float]) -> tuple[float, float]:
        # Many thresholds give the same TSS on few samples; among equals the smaller loss is the better network.
        return (row["val_tss"], -row["val_loss"]) if self.recipe.select == "tss" else (-row["val_loss"], row["val_tss"])


@contextmanager
def told_epochs(epochs: int, steps: int, *, done: int) -> Iterator[keras.callbacks.Callback]:
    """A callback that tells how far a training is and what its last epoch reached."""
    first, unit = done * steps, "step"
    with progress(total=epochs * steps, initial=first, desc="training, at most", unit=unit, leave=False) as bar:
        yield keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: bar.update(step + 1 - bar.n % steps),  # noqa: ARG005 - Keras names it
            on_epoch_end=lambda epoch, logs: bar.set_postfix_str(
                f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.3f}" for name, value in logs.items())
            ),
        )


def train(
    model: keras.Model, training: tf.data.Dataset, validation: tf.data.Dataset, observed: BoolArray, *,
    recipe: Recipe, run: TrainingRun, steps: int | None = None
) -> None:  # fmt: skip
    """Train a network that gives probabilities (N, 2) and load its best weights, going on where a killed run stopped.

    The datasets hold batches of (input, one-hot label). `training` is without end and begins with what follows the
    epochs of the run, each of `steps` batches (None: of the recipe's); `observed` are the labels of the validation
    samples in their order. Raises `DataError` if the network diverges.
    """
    if not _finished(run, recipe):
        # Of small networks many steps at once, a divisor of an epoch's: to start each costs more than to make it.
        together = next(n for n in range(50, 0, -1) if (recipe.steps_per_epoch or 1) % n == 0)
        adam = Adam(recipe.learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
        loss = WeightedCrossentropy(recipe.class_weights)
        train_by_infer(model)
        model.compile(optimizer=adam, loss=loss, steps_per_execution=together)
        steps = steps or recipe.steps_per_epoch
        with run.held(), told_epochs(recipe.epochs, steps or 1, done=len(run.epochs)) as told:
            if run.last_weights is not None:
                model.optimizer.build(model.trainable_variables)  # or its state would not be restored
                load_weights(model, run.last_weights)
            board = keras.callbacks.TensorBoard(str(run.folder / "tensorboard"), write_graph=False)
            callbacks = [ValidationSkill(run, validation, observed, recipe), board, told]
            first, last = len(run.epochs), recipe.epochs
            fit_in_step(model, training, first=first, epochs=last, steps=steps, callbacks=callbacks, same=run.settings)
    load_weights(model, run.best_weights)


def _finished(run: TrainingRun, recipe: Recipe) -> bool:
    if not run.epochs:
        return False
    last = run.epochs[-1]["epoch"]
    return last >= recipe.epochs or last - run.state["best"]["epoch"] >= recipe.patience


def save_weights(model: keras.Model, path: Path) -> None:
    """Write weights (and the optimiser's state) whole or not at all; `SettingError` if that is not possible."""
    write_whole(path, lambda file: np.savez(file, *[variable.numpy() for variable in _variables(model)]))


def load_weights(model: keras.Model, path: Path) -> None:
    """Read weights (and the optimiser's state, if the model has one) from a run's folder; raises `ModelError`."""
    try:
        with np.load(path) as arrays:
            for place, variable in enumerate(_variables(model)):
                variable.assign(arrays[f"arr_{place}"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ModelError(f"{path} cannot be read: {error}; delete {path.parent} to train anew") from error


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, then the optimiser's of a network that was compiled, in the order in which files hold them."""
    optimizer = getattr(model, "optimizer", None)
    return [*model.weights, *(optimizer.variables if optimizer else ())]
