"""From measured features to DeFN's input: transform, standardise, impute. In the graph, for training and serving alike.

Nishizuka et al. (2021) standardise by mean and standard deviation; which features they take logarithms of is not
public. The transforms come from the feature table, the statistics from the training span only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kflare.errors import DataError
from kflare.io.arrays import Float32Array
from kflare.regions.feature_table import Feature

LARGEST = 8.0
"""Standardised values are held to ±8 standard deviations: an outlier must not drive the network where no sample was."""


@dataclass(frozen=True)
class FeatureScaling:
    """Per-feature transform and training statistics; arrays of shape (n,) in the features' order."""

    features: tuple[Feature, ...]
    floor: Float32Array
    mean: Float32Array
    deviation: Float32Array

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names in order."""
        return tuple(feature.name for feature in self.features)

    def standardise(self, measured: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Network's input, float32 (N, n), NaN as the training mean, 0; and how many of each row were, int32 (N,)."""
        present = tf.math.is_finite(measured)
        # Not by one choice of what is present: converted to ONNX, that is a product with 0 or 1, and NaN would stay.
        known = tf.where(tf.math.is_nan(measured), tf.ones_like(measured), measured)
        known = tf.where(tf.math.is_inf(known), tf.ones_like(known), known)
        transformed = _transform(known, self.features, self.floor)
        standard = tf.clip_by_value((transformed - self.mean) / self.deviation, -LARGEST, LARGEST)
        imputed = tf.reduce_sum(tf.cast(~present, tf.int32), axis=1)
        return tf.where(present, standard, tf.zeros_like(standard)), imputed

    def of_table(self, table: pd.DataFrame) -> Float32Array:
        """The network's input for a checked region table, float32 (N, n)."""
        standard, _ = self.standardise(tf.constant(_values(table, self.features)))
        return standard.numpy()

    def as_json(self) -> list[dict[str, Any]]:
        """One entry per feature for `kflare.json`."""
        told = ("name", "unit", "scale", "definition", "evidence")
        statistics = ("floor", "mean", "deviation")
        return [
            {name: getattr(feature, name) for name in told}
            | {name: float(getattr(self, name)[column]) for name in statistics}
            for column, feature in enumerate(self.features)
        ]


def fit_scaling(table: pd.DataFrame, features: Sequence[Feature]) -> FeatureScaling:
    """Training statistics of the training rows of a checked region table; `DataError` for a feature without values."""
    values = _values(table, features)
    floor = np.ones(len(features), np.float32)
    for column, feature in enumerate(features):
        measured = values[:, column][np.isfinite(values[:, column])]
        if not measured.size:
            raise DataError(f"feature `{feature.name}` was never measured in the training span: leave it out")
        if feature.scale == "log10":
            positive = measured[measured > 0]
            if not positive.size:
                fault = f"feature `{feature.name}` is taken as log10"
                raise DataError(f"{fault}, but has no positive value in the training span")
            floor[column] = positive.min()
    transformed = _transform(tf.constant(np.where(np.isfinite(values), values, 1.0)), features, floor).numpy()
    transformed = np.where(np.isfinite(values), transformed, np.nan).astype(np.float64)
    deviation = np.nanstd(transformed, axis=0)
    # A feature that never varies says nothing: any deviation gives 0 for it. Sums of float32 are exact here, so 0 is 0.
    deviation = np.where(deviation > 0, deviation, 1.0)
    mean = np.nanmean(transformed, axis=0)
    return FeatureScaling(tuple(features), floor, mean.astype(np.float32), deviation.astype(np.float32))


def _values(table: pd.DataFrame, features: Sequence[Feature]) -> Float32Array:
    return table[[feature.name for feature in features]].to_numpy(np.float32, na_value=np.nan)


def _transform(values: tf.Tensor, features: Sequence[Feature], floor: Float32Array) -> tf.Tensor:
    scales = np.array([feature.scale for feature in features])
    logarithm = tf.math.log(tf.maximum(values, floor)) / np.float32(np.log(10.0))
    counts = tf.math.log(1.0 + tf.maximum(values, 0.0))  # ONNX has no log1p
    return tf.where(scales == "log10", logarithm, tf.where(scales == "log1p", counts, values))
