"""The methods of a cross-validation: the network with a seed, and the baselines."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from kflare.io.arrays import BoolArray
from kflare.models.baselines import climatology, gradient_boosting, logistic_regression, random_forest
from kflare.models.crossvalidation.folds import Fold, MethodForecast, Unit, conclude
from kflare.models.losses import class_weights
from kflare.models.task import TrainingTask
from kflare.models.training import Recipe, TrainingRun

__all__ = ["NETWORK", "baseline_unit", "network_unit"]

NETWORK = "network"
"""Name of the network among the methods."""

_LEARNERS = {
    "logistic regression": logistic_regression,
    "gradient boosting": gradient_boosting,
    "random forest": random_forest,
}


def network_unit(task: TrainingTask, *, seed: int, recipe: Callable[[BoolArray, int], Recipe]) -> Unit:
    """The network with one seed: threshold and calibration are those that its fit chose.

    `recipe` makes of the training labels and the seed how to train.
    """

    def forecast(fold: Fold, folder: Path) -> list[MethodForecast]:
        how = recipe(task.observed[fold.train], seed)
        settings = {"model": task.spec.name, "data": task.fingerprint, **task.settings, "fold": fold.name}
        run = TrainingRun(folder / f"seed-{seed}", {**settings, "recipe": vars(how)})
        fitted = task.fit(fold, how, run, intervals=False)
        output, probability = (fitted.forecasts[name].to_numpy(np.float32) for name in ("probability", "calibrated"))
        weight = how.class_weights[1] / how.class_weights[0]
        keras.backend.clear_session()
        return [MethodForecast(NETWORK, output, probability, fitted.threshold, weight, seed)]

    return forecast


def baseline_unit(task: TrainingTask) -> Unit:
    """All baselines of a fold; the learners get the network's inputs and its class weights.

    Their 0.5 is then the climatological rate too.
    """

    def forecast(fold: Fold, folder: Path) -> list[MethodForecast]:
        del folder  # nothing to keep
        observed = task.observed
        features, labels = task.inputs(fold), observed[fold.train]
        weights = class_weights(labels)
        results = []
        for name, learn in _LEARNERS.items():
            fitted = learn(features[fold.train], labels, class_weights=weights)
            results.append(conclude(name, fold, observed, fitted(features), class_weight=weights[1] / weights[0]))
        rate = climatology(labels)
        constant = np.full(len(observed), rate, np.float32)
        outputs = {name: method(rate) for name, method in task.frequencies.items()} | {"climatology": constant}
        return results + [conclude(name, fold, observed, p, frequency=True) for name, p in outputs.items()]

    return forecast
