"""Fitting the two networks: data in, a trained, calibrated, evaluated network out. Choices see validation data only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.datasets.pipelines import image_dataset, table_dataset
from kflare.datasets.splits import Split
from kflare.errors import DataError
from kflare.models.baselines import logistic_regression
from kflare.models.calibration import Calibration, fit_calibration
from kflare.models.defn import build_defn
from kflare.models.dense_cnn import build_dense_cnn
from kflare.models.evaluation import Evaluation, evaluate
from kflare.models.feature_scaling import FeatureScaling, fit_scaling
from kflare.models.training import Recipe, Run, train
from kflare.regions.feature_table import Feature
from kflare.verification.contingency import best_threshold

__all__ = ["Fitted", "fit_defn", "fit_dense_cnn", "require_both_classes"]

Probability = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Fitted:
    """A fitted network with what validation data chose for it, and its scores."""

    model: keras.Model
    run: Run
    calibration: Calibration
    threshold: float
    evaluations: list[Evaluation]
    scaling: FeatureScaling | None = None

    @property
    def validation_score(self) -> float:
        """TSS on the validation span, by which one of several seeds is chosen."""
        return next(float(e.table.tss) for e in self.evaluations if e.span == "validation")


def require_both_classes(observed: npt.NDArray[np.bool_], split: Split, *, event: str) -> None:
    """Refuse to train where the event, or its absence, never occurs in training or validation; raises `DataError`."""
    for name in ("train", "validation"):
        labels = observed[split.parts()[name]]
        if labels.all() or not labels.any():
            seen = f"all {len(labels)} samples" if labels.all() else f"none of {len(labels)} samples"
            raise DataError(
                f"{event} occurs in {seen} of the {name} span: move the split dates or choose another class"
            )


def fit_dense_cnn(
    paths: Sequence[str],
    observed: npt.NDArray[np.bool_],
    split: Split,
    *,
    size: int,
    byte_range: float,
    augmented: bool,
    recipe: Recipe,
    run: Run,
    baselines: dict[str, npt.NDArray[np.float32]],
    verbose: int = 0,
) -> Fitted:
    """Fit the dense CNN to magnetograms.

    Parameters
    ----------
    paths : sequence of N paths
        Magnetograms.
    observed : bool array of shape (N,)
        Whether a flare of the class starts within 24 h.
    split : Split
        Training, validation and test samples.
    size, byte_range, augmented
        As `image_dataset` takes them.
    recipe, run, verbose
        As `train` takes them.
    baselines : dict of float arrays of shape (N,)
        Probabilities of other methods, evaluated on the same samples.
    """
    names = np.asarray(paths)

    def data(mask: npt.NDArray[np.bool_], **options: Any) -> Any:
        return image_dataset(
            list(names[mask]), observed[mask], size=size, byte_range=byte_range, batch_size=recipe.batch_size, **options
        )

    keras.utils.set_random_seed(recipe.seed)
    model = build_dense_cnn((size, size, 1))
    validation = data(split.validation)
    training = data(split.train, training=True, augmented=augmented, seed=recipe.seed)
    train(model, training, validation, observed[split.validation], recipe=recipe, run=run, verbose=verbose)
    fitted = _choose(model, run, observed, split, lambda mask: model.predict(data(mask), verbose=0)[:, 1])
    return replace(fitted, evaluations=fitted.evaluations + _of_baselines(baselines, observed, split))


def fit_defn(
    table: pd.DataFrame,
    features: Sequence[Feature],
    observed: npt.NDArray[np.bool_],
    split: Split,
    *,
    recipe: Recipe,
    run: Run,
    dropout: float = 0.25,
    verbose: int = 0,
) -> Fitted:
    """Fit Deep Flare Net to a region table, beside a logistic regression on the same columns.

    Parameters
    ----------
    table : DataFrame of N rows
        Checked region table.
    features : sequence of n features
        Columns to use.
    observed : bool array of shape (N,)
        Whether the region flares within 24 h.
    split : Split
        Training, validation and test samples.
    recipe, run, verbose
        As `train` takes them.
    dropout : float
        Share of the first layer dropped in training; the authors keep 0.75.
    """
    scaling = fit_scaling(table[split.train], features)
    inputs = scaling.of_table(table)
    keras.utils.set_random_seed(recipe.seed)
    model = build_defn(len(features), dropout=dropout)
    training = table_dataset(
        inputs[split.train], observed[split.train], batch_size=recipe.batch_size, training=True, seed=recipe.seed
    )
    validation = table_dataset(inputs[split.validation], observed[split.validation], batch_size=4096)
    train(model, training, validation, observed[split.validation], recipe=recipe, run=run, verbose=verbose)
    fitted = _choose(
        model, run, observed, split, lambda mask: model.predict(inputs[mask], batch_size=4096, verbose=0)[:, 1]
    )
    regression = logistic_regression(inputs[split.train], observed[split.train])
    beside = _of_baselines({"logistic regression": regression(inputs)}, observed, split)
    return replace(fitted, scaling=scaling, evaluations=fitted.evaluations + beside)


def _choose(
    model: keras.Model, run: Run, observed: npt.NDArray[np.bool_], split: Split, probability: Probability
) -> Fitted:
    valid = probability(split.validation)
    calibration = fit_calibration(observed[split.validation], valid)
    threshold, _ = best_threshold(observed[split.validation], valid)
    evaluations = []
    for span, mask in (("validation", split.validation), ("test", split.test)):
        p = valid if span == "validation" else probability(mask)
        calibrated = np.asarray(calibration(p))
        evaluations.append(evaluate("network", span, observed[mask], p, threshold=threshold, calibrated=calibrated))
        at_half = evaluate("network at 50 %", span, observed[mask], p, threshold=0.5, calibrated=calibrated)
        evaluations.append(at_half)
    return Fitted(model, run, calibration, float(threshold), evaluations)


def _of_baselines(
    baselines: dict[str, npt.NDArray[np.float32]], observed: npt.NDArray[np.bool_], split: Split
) -> list[Evaluation]:
    rows = []
    for method, probability in baselines.items():
        threshold, _ = best_threshold(observed[split.validation], probability[split.validation])
        for span, mask in (("validation", split.validation), ("test", split.test)):
            rows.append(evaluate(method, span, observed[mask], probability[mask], threshold=threshold))
    return rows
