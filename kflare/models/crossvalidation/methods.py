"""The methods of a cross-validation: the network with a seed, and everything that it has to beat."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kflare.models.baselines import climatology, gradient_boosting, logistic_regression, random_forest
from kflare.models.crossvalidation.folds import Fold, MethodForecast, Unit, conclude
from kflare.models.fitting import Fitted
from kflare.models.losses import class_weights
from kflare.models.training import Recipe, Run

__all__ = ["NETWORK", "baseline_unit", "network_unit"]

NETWORK = "network"
"""Name of the network among the methods."""

_LEARNERS = {
    "logistic regression": logistic_regression,
    "gradient boosting": gradient_boosting,
    "random forest": random_forest,
}

Outcomes = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def network_unit(
    observed: Outcomes,
    *,
    seed: int,
    recipe: Callable[[Outcomes, int], Recipe],
    fit: Callable[[Fold, Recipe, Run], Fitted],
    settings: Mapping[str, Any],
) -> Unit:
    """The network with one seed: threshold and calibration are those that its fit chose.

    Parameters
    ----------
    observed : bool array of shape (N,)
        Outcomes.
    seed : int
        Of the weights, the shuffling and the dropout.
    recipe : callable
        From the training labels and the seed to how to train.
    fit : callable
        Fits the network to a fold.
    settings : mapping
        What determines the result besides the recipe, for the run's folder.
    """

    def forecast(fold: Fold, folder: Path) -> list[MethodForecast]:
        how = recipe(observed[fold.train], seed)
        fitted = fit(fold, how, Run(folder / f"seed-{seed}", {**settings, "fold": fold.name, "recipe": vars(how)}))
        used = fold.validation | fold.test
        output, probability = (
            np.where(used, fitted.forecasts[name].to_numpy(np.float32), np.float32(np.nan))
            for name in ("probability", "calibrated")
        )
        weight = how.class_weights[1] / how.class_weights[0]
        keras.backend.clear_session()
        return [MethodForecast(NETWORK, output, probability, fitted.threshold, weight, seed)]

    return forecast


def baseline_unit(
    observed: Outcomes, inputs: Callable[[Fold], Floats], *, stated: Mapping[str, Callable[[float], Floats]]
) -> Unit:
    """All baselines of a fold.

    The learners get the network's inputs and its class weights, so that their 0.5 is the climatological rate too.

    Parameters
    ----------
    observed : bool array of shape (N,)
        Outcomes.
    inputs : callable
        Standardised features (N, n) of a fold, with the statistics of its training span.
    stated : mapping of str to callable
        Methods that learn nothing: from the training span's event rate to frequencies (N,).
    """

    def forecast(fold: Fold, folder: Path) -> list[MethodForecast]:
        del folder  # nothing to keep
        features, labels = inputs(fold), observed[fold.train]
        weights = class_weights(labels)
        results = []
        for name, learn in _LEARNERS.items():
            fitted = learn(features[fold.train], labels, class_weights=weights)
            results.append(conclude(name, fold, observed, fitted(features), class_weight=weights[1] / weights[0]))
        rate = climatology(labels)
        constant = np.full(len(observed), rate, np.float32)
        outputs = {name: method(rate) for name, method in stated.items()} | {"climatology": constant}
        return results + [conclude(name, fold, observed, p, frequency=True) for name, p in outputs.items()]

    return forecast
