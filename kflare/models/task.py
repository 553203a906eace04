"""What a model is trained on, in the form that a single fit and a cross-validation share."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from kflare.datasets.splits import Split
from kflare.io.arrays import Float32Array
from kflare.models.fitting import FittedNetwork
from kflare.models.registry import ModelSpec
from kflare.models.training import Recipe, TrainingRun

__all__ = ["AttributionGraph", "FitNetwork", "TrainingTask", "fingerprint"]


class AttributionGraph(Protocol):
    """What the export of an image model needs of `kflare.attribution.compiled.CompiledAttribution`."""

    guided: keras.Model

    def attribute(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logits, Grad-CAM and guided gradients of network inputs."""


class FitNetwork(Protocol):
    """Fits the network to a split."""

    def __call__(
        self, split: Split, recipe: Recipe, run: TrainingRun, *, intervals: bool = True, verbose: int = 0
    ) -> FittedNetwork:
        """Train, calibrate and evaluate; without `intervals` the evaluations have none, which saves time."""


@dataclass(frozen=True)
class TrainingTask:
    """Labelled samples of a model, the methods beside it, and how it is fitted and published."""

    spec: ModelSpec
    samples: pd.DataFrame  # N rows: `time` (UTC), `cluster` (day or region, resampled together), the network's input
    observed: npt.NDArray[np.bool_]  # whether the event followed each sample, shape (N,)
    settings: Mapping[str, Any]  # what a fit depends on besides the samples and the recipe
    notes: tuple[str, ...]  # what a user should know of the samples, one line each
    fit: FitNetwork
    inputs: Callable[[Split], Float32Array]  # of the learning baselines (N, n), standardised by the training span
    # of baselines that learn only the training event rate, (N,)
    frequencies: Mapping[str, Callable[[float], Float32Array]]
    publish: Callable[[FittedNetwork, Path, Split, Mapping[str, Any], Callable[..., AttributionGraph]], Path]
    """Publish a fitted network below the models' folder, with metadata and, for image models, attribution."""

    @cached_property
    def fingerprint(self) -> str:
        """As the function of this name."""
        return fingerprint(self.samples, self.observed)


def fingerprint(samples: pd.DataFrame, observed: npt.NDArray[np.bool_]) -> str:
    """SHA-256 over the samples' cells and labels, so that a model can be traced to its data."""
    digest = hashlib.sha256(observed.tobytes())
    digest.update(pd.util.hash_pandas_object(samples, index=False).to_numpy().tobytes())
    return digest.hexdigest()
