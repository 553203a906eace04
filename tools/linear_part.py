"""A regression inside Deep Flare Net: a skip from the features to the logits, to which the paper's network adds.

On the samples at hand a logistic regression forecasts as well as the network (docs/skill.md). So the network contains
it: the skip starts at the regression's solution and is drawn back to it, and what the network adds starts at nothing.
The skip is ours, not the papers'.
"""

from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import BoolArray, Float32Array, Float64Array
from kflare.models.feature_scaling import FeatureScaling

__all__ = ["DecayTo", "LinearPart", "bends_of", "with_linear_part"]


@keras.saving.register_keras_serializable(package="kflare")
class DecayTo(keras.regularizers.Regularizer):
    """strength · Σ (w − start)²: draws weights back to where they began; `start` has their shape."""

    def __init__(self, start: Any, strength: float) -> None:
        self.start, self.strength = np.asarray(start, np.float32), strength

    def __call__(self, weights: Any) -> Any:
        """The penalty, a number."""
        return self.strength * keras.ops.sum(keras.ops.square(weights - self.start))

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        return {"start": self.start.tolist(), "strength": self.strength}


@dataclass(frozen=True)
class LinearPart:
    """A regression that Deep Flare Net contains, and how firmly it is held to it."""

    weights: Float64Array
    """Of the n standardised features, then of what each rises above its bend; shape (n + number of bends,)."""
    offsets: Float64Array
    """Of the logit for each size of flares, shape (K,); the first is that of the class forecast."""
    bends: tuple[tuple[int, float], ...] = ()
    """Column and standardised value from which on a feature has a slope of its own."""
    decay: float = 1.0
    """Strength of the decay of the weights to these."""
    correction_decay: float = 1e-3
    """Strength of the decay to 0 of the last layer of what the network adds."""

    @classmethod
    def fitted(
        cls,
        inputs: Float32Array,
        reached: BoolArray,
        *,
        bends: tuple[tuple[int, float], ...] = (),
        strength: float = 3e-5,
        class_weights: tuple[float, float] = (1.0, 1.0),
    ) -> Self:
        """Fit the regression to standardised features (N, n).

        `reached`, (N,) or (N, K): whether a flare of at least each of K sizes follows, first of the class forecast. All
        sizes share the weights, each has its own offset (proportional odds, McCullagh 1980, J. R. Stat. Soc. B 42, 109
        [M]): large flares are few, and what leads to small ones leads to them. `strength` is that of ridge, of the mean
        loss, at least that of the plain regression; `DataError` where a size is always or never reached.
        """
        from sklearn.linear_model import LogisticRegression

        sizes = reached.reshape(len(inputs), -1)
        if (sizes.all(axis=0) | ~sizes.any(axis=0)).any():
            raise DataError("the training samples hold one class only, so nothing can be learnt: move the split dates")
        count, terms = sizes.shape[1], _terms(np.asarray(inputs, np.float64), bends)
        # A column of 30 for each further size: ridge hardly holds its offset.
        places = np.repeat(30 * np.eye(count)[:, 1:], len(inputs), axis=0)
        rows = np.hstack([np.tile(terms, (count, 1)), places])
        model = LogisticRegression(
            C=min(1.0, 1 / (strength * len(rows))), solver="newton-cholesky", max_iter=100,
            class_weight={False: class_weights[0], True: class_weights[1]},
        ).fit(rows, sizes.T.ravel())  # fmt: skip
        weights, further = np.split(model.coef_[0], [terms.shape[1]])
        return cls(weights, model.intercept_ + 30 * np.append(0.0, further), bends)

    def logits(self, inputs: Float32Array) -> Float64Array:
        """Of the class forecast for standardised features (N, n), shape (N,)."""
        return np.asarray(_terms(np.asarray(inputs, np.float64), self.bends) @ self.weights + self.offsets[0])


def bends_of(scaling: FeatureScaling) -> tuple[tuple[int, float], ...]:
    """The bend of R_VALUE, if it is among the features: it is 0 without a strong inversion line, else above 2.

    A bend at 1 log10 Mx lets the regression tell "none" from "little", as `R_VALUE alone` of the baselines does.
    """
    standard = (1.0 - scaling.mean) / scaling.deviation
    return tuple((column, float(standard[column])) for column, name in enumerate(scaling.names) if name == "R_VALUE")


def _terms(inputs: Float64Array, bends: tuple[tuple[int, float], ...]) -> Float64Array:
    return np.hstack([inputs, *(np.maximum(inputs[:, [column]] - value, 0) for column, value in bends)])


def with_linear_part(network: keras.Model, linear: LinearPart) -> keras.Model:
    """A network of `build_defn` whose layer `logits` is the regression, `linear`, plus its own, `correction`.

    The correction starts at 0, so that the untrained network is the regression. `SettingError` if the regression is of
    another number of features.
    """
    features, hidden = network.input, network.get_layer("logits").input
    n_features = features.shape[1]
    if len(linear.weights) != n_features + len(linear.bends):
        raise SettingError(f"`linear` must be of {n_features} features, got {len(linear.weights)} weights")
    terms = [features]
    for column, value in linear.bends:
        one = keras.layers.Dense(1, name=f"bend{column}", trainable=False)
        bent = one(features)
        one.set_weights([np.eye(n_features)[:, [column]], np.array([-value])])
        terms.append(keras.layers.Activation("relu", name=f"above{column}")(bent))
    kernel = np.stack([np.zeros(len(linear.weights)), linear.weights], axis=1)
    regression = keras.layers.Dense(2, kernel_regularizer=DecayTo(kernel, linear.decay), name="linear")
    correction = keras.layers.Dense(
        2, kernel_initializer="zeros", use_bias=False, name="correction",
        kernel_regularizer=keras.regularizers.L2(linear.correction_decay),
    )  # fmt: skip
    logits = regression(keras.layers.Concatenate(name="terms")(terms) if linear.bends else features)
    regression.set_weights([kernel, np.array([0.0, linear.offsets[0]])])
    logits = keras.layers.Add(name="logits")([logits, correction(hidden)])
    probabilities = keras.layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(features, probabilities, name="defn")
