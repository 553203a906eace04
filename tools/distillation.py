"""Distillation: Deep Flare Net as the student of plain methods, with their skill, and no more than the data support.

Neighbouring samples of a region are almost one sample, so a network overfits the few labels within an epoch. Its
teachers, a logistic regression and gradient boosting fitted to the training span, do not; every probability of theirs
is a fresh target. Several networks are averaged. The architecture is the paper's, this way of training is ours; what it
gave is in docs/skill.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from kflare.datasets.splits import Split
from kflare.errors import SettingError
from kflare.io.arrays import BoolArray, Float32Array
from kflare.models.baselines import gradient_boosting, logistic_regression
from kflare.models.defn import build_defn
from kflare.models.feature_scaling import fit_scaling
from kflare.models.fitting import FittedNetwork, calibrate_and_evaluate
from kflare.models.losses import WeightedCrossentropy
from kflare.models.training import TrainingRun
from kflare.regions.feature_table import Feature

__all__ = ["Distillation", "ensemble_network", "fit_distilled_network", "student", "teacher_targets"]


_LEAST = 1e-5


@dataclass(frozen=True)
class Distillation:
    """How the students are trained; the defaults were chosen on scores of 1999 to 2012."""

    boosting_share: float  # weight of the gradient boosting's logit against the logistic regression's, in [0, 1]
    members: int = 3  # networks that are averaged; they differ in their seed alone
    steps: int = 800
    batch_size: int = 256
    learning_rate: float = 2e-3  # highest rate of Adam: it rises over the first 20 steps and falls to 0 along a cosine
    dropout: float = 0.25
    parts: int = 4  # parts of the regions: gradient boosting is the teacher of those that it was not fitted to
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.boosting_share <= 1:
            raise SettingError(f"`boosting_share` must lie in [0, 1], got {self.boosting_share:g}")
        for name, least in (("members", 1), ("steps", 21), ("batch_size", 1), ("parts", 2)):
            if getattr(self, name) < least:
                raise SettingError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise SettingError(f"`learning_rate` must be a number above 0, got {self.learning_rate}")


def teacher_targets(
    inputs: Float32Array, observed: BoolArray, regions: npt.NDArray[Any], *, how: Distillation
) -> Float32Array:
    """Teachers' probabilities, float32 (N,), of features (N, n); boosting overfits, so it is cross-fitted by region."""
    from scipy.special import expit
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    logits = _logits(LogisticRegression(max_iter=1000).fit(inputs, observed), inputs)
    if how.boosting_share:
        _, number = np.unique(regions, return_inverse=True)
        part = np.random.default_rng(how.seed).permutation(number.max() + 1)[number] % how.parts
        boosting = HistGradientBoostingClassifier(
            max_iter=100, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=300, l2_regularization=10.0,
            max_features=0.3, early_stopping=False, random_state=how.seed,
        )  # fmt: skip
        for held_out in range(how.parts):
            unseen = part == held_out
            boosted = _logits(boosting.fit(inputs[~unseen], observed[~unseen]), inputs[unseen])
            logits[unseen] = (1 - how.boosting_share) * logits[unseen] + how.boosting_share * boosted
    return expit(logits).astype(np.float32)


def student(inputs: Float32Array, targets: Float32Array, *, how: Distillation, seed: int) -> keras.Model:
    """Deep Flare Net fitted to the teachers' probabilities `targets` (N,) of standardised features (N, n)."""
    keras.utils.set_random_seed(seed)
    model = build_defn(inputs.shape[1], dropout=how.dropout, bn_momentum=0.9)  # 0.99 lags behind 800 steps
    drawn = np.random.default_rng(seed).integers(0, len(inputs), how.steps * how.batch_size)
    both = np.stack([1 - targets, targets], axis=1)
    data = tf.data.Dataset.from_tensor_slices(drawn).batch(how.batch_size)
    table, labels = tf.constant(inputs), tf.constant(both)
    data = data.map(lambda rows: (tf.gather(table, rows), tf.gather(labels, rows))).prefetch(2)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, how.steps - 20, warmup_target=how.learning_rate, warmup_steps=20
    )  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(rate, epsilon=1e-8), loss=WeightedCrossentropy((1.0, 1.0)))
    model.fit(data, epochs=1, shuffle=False, verbose=0)
    return model


def ensemble_network(members: list[keras.Model], *, event_rate: float) -> keras.Model:
    """One functional model of several of `build_defn`: the mean of their logits, with its prior moved to 50/50.

    The networks state frequencies. Adding the log odds of "no event" at the training span's `event_rate` makes 0.5 the
    climatological rate, which is what the class weights of Nishizuka et al. (2021) do in training.
    """
    if not 0 < event_rate < 1:
        raise SettingError(f"`event_rate` must lie in (0, 1), got {event_rate:g}")
    features = keras.Input(members[0].input_shape[1:], name="features")
    parts = []
    for number, member in enumerate(members):
        logits = keras.Model(member.input, member.get_layer("logits").output, name=f"member{number}")
        parts.append(logits(features))
    mean = keras.layers.Average(name="logits")(parts) if len(parts) > 1 else parts[0]
    shift = keras.layers.Rescaling(1.0, offset=[0.0, math.log((1 - event_rate) / event_rate)], name="prior")
    probabilities = keras.layers.Activation("softmax", dtype="float32", name="probabilities")(shift(mean))
    model = keras.Model(features, probabilities, name="defn_ensemble")
    model.trainable = False
    return model


def fit_distilled_network(
    table: pd.DataFrame,
    features: Sequence[Feature],
    observed: npt.NDArray[np.bool_],
    split: Split,
    *,
    earlier: tuple[pd.DataFrame, npt.NDArray[np.bool_]] | None,
    how: Distillation,
    run: TrainingRun,
    clusters: npt.NDArray[Any] | None = None,
) -> FittedNetwork:
    """Fit Deep Flare Net by distillation, beside its teachers' methods on the same training samples.

    The output is 0.5 at the training span's event rate, and 0.5 is its threshold: on the search years it served better
    than the threshold of the greatest TSS on a validation year (docs/skill.md). `earlier` are samples of an earlier
    archive on the table's scale and their outcomes, further training data; nothing is written into the folder of the
    run.
    """
    tables, labels = [table[split.train]], [observed[split.train]]
    if earlier is not None:
        tables, labels = [earlier[0], *tables], [earlier[1], *labels]
    training, outcomes = pd.concat(tables, ignore_index=True), np.concatenate(labels)
    scaling = fit_scaling(training, features)
    known, inputs = scaling.of_table(training), scaling.of_table(table)
    targets = teacher_targets(known, outcomes, training["region"].to_numpy(str), how=how)
    members = [student(known, targets, how=how, seed=how.seed + number) for number in range(how.members)]
    rate = float(outcomes.mean())
    model = ensemble_network(members, event_rate=rate)
    # With these weights 0.5 of a plain method is the training span's event rate too.
    weights = (1.0, (1 - rate) / rate)
    beside = {
        name: learn(known, outcomes, class_weights=weights)(inputs)
        for name, learn in (("logistic regression", logistic_regression), ("gradient boosting", gradient_boosting))
    }

    def probability(mask: npt.NDArray[np.bool_]) -> Float32Array:
        return model.predict(inputs[mask], batch_size=4096, verbose=0)[:, 1]

    return calibrate_and_evaluate(
        model, run, observed, split, probability, baselines=beside, clusters=clusters, threshold=0.5,
        scaling=scaling,
    )  # fmt: skip


def _logits(classifier: Any, inputs: Float32Array) -> npt.NDArray[np.float64]:
    from scipy.special import logit

    p = np.asarray(classifier.predict_proba(inputs)[:, 1], np.float64)
    return np.asarray(logit(np.clip(p, _LEAST, 1 - _LEAST)))
