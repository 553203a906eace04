"""Distillation: Deep Flare Net as the student of plain methods, with their skill, and no more than the data support.

Neighbouring samples of a region are almost one sample, so a network overfits the few labels within an epoch. Its
teachers do not: a logistic regression on flares of several sizes, which the network contains as its linear part, and
gradient boosting, whose difference from it the rest of the network learns; every probability of theirs is a fresh
target. Several networks are averaged. The architecture is the paper's with a skip (`linear_part.py`), this way of
training is ours; what it gave is in docs/skill.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
from linear_part import LinearPart, bends_of, with_linear_part

from kflare.datasets.splits import Split
from kflare.errors import SettingError
from kflare.flares.labels import reaches
from kflare.io.arrays import BoolArray, Float32Array, Float64Array
from kflare.models.baselines import gradient_boosting, logistic_regression, one_number_regressions
from kflare.models.cross_fitting import OutOfSample
from kflare.models.defn import build_defn
from kflare.models.feature_scaling import fit_scaling
from kflare.models.fitting import FittedNetwork, calibrate_and_evaluate
from kflare.models.losses import WeightedCrossentropy
from kflare.models.region_models import disk_counts
from kflare.models.training import TrainingRun
from kflare.regions.feature_table import Feature

__all__ = ["Distillation", "ensemble_network", "fit_distilled_network", "student", "teacher_targets"]


_LEAST = 1e-5


@dataclass(frozen=True)
class Distillation:
    """How the students are trained; the defaults were chosen on scores of 1999 to 2012."""

    boosting_share: float  # weight of the gradient boosting's logit against the regression's, in [0, 1]
    sizes: tuple[float, ...] = ()  # W m^-2: flares of at least these sizes teach the regression, beside the class's own
    thin: int = 3  # every so manyth training sample is taken: neighbours, 96 minutes apart, are almost one
    members: int = 2  # networks that are averaged; they differ in their seed alone
    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 2e-3  # highest rate of Adam: it rises over the first 20 steps and falls to 0 along a cosine
    dropout: float = 0.25
    parts: int = 4  # parts of the regions: gradient boosting is the teacher of those that it was not fitted to
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.boosting_share <= 1:
            raise SettingError(f"`boosting_share` must lie in [0, 1], got {self.boosting_share:g}")
        for name, least in (("thin", 1), ("members", 1), ("steps", 21), ("batch_size", 1), ("parts", 2)):
            if getattr(self, name) < least:
                raise SettingError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise SettingError(f"`learning_rate` must be a number above 0, got {self.learning_rate}")


def teacher_targets(
    inputs: Float32Array, reached: BoolArray, regions: npt.NDArray[Any], *, how: Distillation, bends: Any = ()
) -> tuple[LinearPart, Float32Array]:
    """The regression and all teachers' probabilities, float32 (N,), of features (N, n).

    `reached` (N, K) is whether a flare of at least each size follows, first of the class forecast. Boosting overfits,
    so it is cross-fitted by region.
    """
    from scipy.special import expit
    from sklearn.ensemble import HistGradientBoostingClassifier

    linear = LinearPart.fitted(inputs, reached, bends=bends)
    logits, observed = linear.logits(inputs), reached[:, 0]
    if how.boosting_share:
        _, number = np.unique(regions, return_inverse=True)
        part = np.random.default_rng(how.seed).permutation(number.max() + 1)[number] % how.parts
        boosting = HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.08, max_leaf_nodes=8, min_samples_leaf=max(1, 300 // how.thin),
            l2_regularization=10.0, max_features=0.3, early_stopping=False, random_state=how.seed,
        )  # fmt: skip
        for held_out in range(how.parts):
            unseen = part == held_out
            boosted = _logits(boosting.fit(inputs[~unseen], observed[~unseen]), inputs[unseen])
            logits[unseen] = (1 - how.boosting_share) * logits[unseen] + how.boosting_share * boosted
    return linear, expit(logits).astype(np.float32)


def student(
    inputs: Float32Array, targets: Float32Array, *, how: Distillation, seed: int, linear: LinearPart | None = None
) -> keras.Model:
    """Deep Flare Net fitted to the teachers' probabilities `targets` (N,) of standardised features (N, n)."""
    keras.utils.set_random_seed(seed)
    # The momentum of 0.99 lags behind so few steps.
    model = build_defn(inputs.shape[1], dropout=how.dropout, bn_momentum=0.9)
    if linear is not None:
        model = with_linear_part(model, linear)
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
    flux: Float64Array,
    split: Split,
    *,
    event: str,
    earlier: tuple[pd.DataFrame, Float64Array] | None,
    how: Distillation,
    run: TrainingRun,
    clusters: npt.NDArray[Any] | None = None,
    others: OutOfSample | None = None,
    disk: BoolArray | None = None,
    also: Callable[[pd.DataFrame, BoolArray], Mapping[str, Float32Array]] | None = None,
) -> FittedNetwork:
    """Fit Deep Flare Net by distillation, beside plain methods on the same training samples.

    `flux` (N,) is that of the largest flare in the 24 h after each row, in W m^-2. The output is 0.5 at the training
    span's event rate, and 0.5 is its threshold: on the search years it served better than the threshold of the greatest
    TSS on a validation year (docs/skill.md). `earlier` are samples of an earlier archive on the table's scale and their
    fluxes, further training data; `also` gives further methods' probabilities (N,) for training rows and outcomes.
    Of `others`, with which the calibration has an interval, and `disk` see `calibrate_and_evaluate`. Nothing is written
    into the folder of the run.
    """
    observed = reaches(flux, event)
    tables, fluxes = [table[split.train]], [flux[split.train]]
    if earlier is not None:
        tables, fluxes = [earlier[0], *tables], [earlier[1], *fluxes]
    training = pd.concat([part.iloc[:: how.thin] for part in tables], ignore_index=True)
    largest = np.concatenate([part[:: how.thin] for part in fluxes])
    reached = np.stack([reaches(largest, event), *(reaches(largest, size) for size in how.sizes)], axis=1)
    outcomes, rate = reached[:, 0], float(reached[:, 0].mean())
    scaling = fit_scaling(training, features)
    known, inputs = scaling.of_table(training), scaling.of_table(table)
    regions = training["region"].to_numpy(str)
    linear, targets = teacher_targets(known, reached, regions, how=how, bends=bends_of(scaling))
    members = [student(known, targets, how=how, seed=how.seed + number, linear=linear) for number in range(how.members)]
    model = ensemble_network(members, event_rate=rate)
    # With these weights 0.5 of a plain method is the training span's event rate too.
    weights = (1.0, (1 - rate) / rate)
    beside = {
        name: learn(known, outcomes, class_weights=weights)(inputs)
        for name, learn in (("logistic regression", logistic_regression), ("gradient boosting", gradient_boosting))
    } | one_number_regressions(training, outcomes, table, class_weights=weights)
    beside |= {} if also is None else also(table[split.train], observed[split.train])

    def probability(mask: npt.NDArray[np.bool_]) -> Float32Array:
        return model.predict(inputs[mask], batch_size=4096, verbose=0)[:, 1]

    return calibrate_and_evaluate(
        model, run, observed, split, probability, baselines=beside, clusters=clusters, threshold=0.5, disk=disk,
        scaling=scaling, times=None if others is None else table["time"], regions=table["region"].to_numpy(str),
        others=others, counts=disk_counts(table, scaling.names),
    )  # fmt: skip


def _logits(classifier: Any, inputs: Float32Array) -> npt.NDArray[np.float64]:
    from scipy.special import logit

    p = np.asarray(classifier.predict_proba(inputs)[:, 1], np.float64)
    return np.asarray(logit(np.clip(p, _LEAST, 1 - _LEAST)))
