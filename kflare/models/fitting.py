"""Fitting the two networks: data in, a trained, calibrated, evaluated network out. Choices see validation data only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.datasets.pipelines import image_dataset, table_dataset
from kflare.datasets.splits import Split
from kflare.errors import DataError
from kflare.models.baselines import gradient_boosting, logistic_regression
from kflare.models.calibration import Calibration, fit_calibration
from kflare.models.defn import build_defn
from kflare.models.dense_cnn import build_dense_cnn
from kflare.models.distillation import Distillation, joined, student, teacher_targets
from kflare.models.evaluation import Evaluation, evaluate
from kflare.models.feature_scaling import FeatureScaling, fit_scaling
from kflare.models.pretraining import train_by_reading
from kflare.models.training import Recipe, Run, train
from kflare.regions.feature_table import Feature
from kflare.verification.thresholds import best_threshold

__all__ = ["Fitted", "dense_cnn_defaults", "fit_defn", "fit_dense_cnn", "fit_distilled_defn", "require_both_classes"]


@dataclass(frozen=True)
class Fitted:
    """A fitted network with what validation data chose for it, and its scores."""

    model: keras.Model
    run: Run
    calibration: Calibration
    threshold: float
    evaluations: list[Evaluation]
    forecasts: pd.DataFrame
    """Per sample: `observed`, `probability`, `calibrated`, and a column per baseline; NaN in the training span."""
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


def dense_cnn_defaults(teach: str) -> dict[str, Any]:
    """How `fit_dense_cnn` trains unless told otherwise, as fields of `Recipe`."""
    if teach == "polarity-lines":  # no early stopping: `patience` and `select` are not used
        return {"epochs": 30, "batch_size": 16, "learning_rate": 1e-3, "patience": 30, "select": "tss"}
    return {"epochs": 100, "batch_size": 8, "learning_rate": 2e-4, "patience": 20, "select": "tss"}


def fit_dense_cnn(
    paths: Sequence[str],
    observed: npt.NDArray[np.bool_],
    split: Split,
    *,
    size: int,
    byte_range: float | None,
    augmented: bool,
    recipe: Recipe,
    run: Run,
    baselines: dict[str, npt.NDArray[np.float32]],
    clusters: npt.NDArray[Any] | None = None,
    teach: str = "flares",
    trunk: Path | None = None,
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
    clusters : array of shape (N,), optional
        Day of each sample: samples of a day are resampled together for the intervals.
    teach : str
        "flares": all layers by the labels, as in the paper. "polarity-lines": what the images show, and only the last
        layer by the labels; see `train_by_reading`.
    trunk : Path, optional
        With "polarity-lines": as `train_by_reading` takes it.
    """
    names = np.asarray(paths)

    def data(mask: npt.NDArray[np.bool_], **options: Any) -> Any:
        return image_dataset(
            list(names[mask]), observed[mask], size=size, byte_range=byte_range, batch_size=recipe.batch_size, **options
        )

    keras.utils.set_random_seed(recipe.seed)
    model = build_dense_cnn((size, size, 1))
    validation = data(split.validation)
    if teach == "polarity-lines":
        train_by_reading(
            model, list(names[split.train]), observed[split.train], validation, observed[split.validation],
            byte_range=byte_range, augmented=augmented, recipe=recipe, run=run, trunk=trunk, verbose=verbose,
        )  # fmt: skip
    else:
        training = data(split.train, training=True, augmented=augmented, seed=recipe.seed)
        train(model, training, validation, observed[split.validation], recipe=recipe, run=run, verbose=verbose)

    def probability(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        return model.predict(data(mask), verbose=0)[:, 1]

    threshold = 0.5 if teach == "polarity-lines" else None  # two numbers fitted with equal weights: nothing to choose
    return _conclude(
        model, run, observed, split, probability, baselines=baselines, clusters=clusters, threshold=threshold
    )


def fit_defn(
    table: pd.DataFrame,
    features: Sequence[Feature],
    observed: npt.NDArray[np.bool_],
    split: Split,
    *,
    recipe: Recipe,
    run: Run,
    dropout: float = 0.25,
    clusters: npt.NDArray[Any] | None = None,
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
    clusters : array of shape (N,), optional
        Region of each sample: samples of a region are resampled together for the intervals.
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

    def probability(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        return model.predict(inputs[mask], batch_size=4096, verbose=0)[:, 1]

    regression = logistic_regression(inputs[split.train], observed[split.train])
    beside = {"logistic regression": regression(inputs)}
    fitted = _conclude(model, run, observed, split, probability, baselines=beside, clusters=clusters)
    return replace(fitted, scaling=scaling)


def fit_distilled_defn(
    table: pd.DataFrame,
    features: Sequence[Feature],
    observed: npt.NDArray[np.bool_],
    split: Split,
    *,
    earlier: tuple[pd.DataFrame, npt.NDArray[np.bool_]] | None,
    how: Distillation,
    run: Run,
    clusters: npt.NDArray[Any] | None = None,
) -> Fitted:
    """Fit Deep Flare Net as the student of plain methods, beside these methods on the same training samples.

    The output is 0.5 at the training span's event rate, and 0.5 is its threshold: on the search years it served
    better than the threshold of the greatest TSS on a validation year (docs/skill.md).

    Parameters
    ----------
    table, features, observed, split, clusters
        As `fit_defn` takes them; `table` has the column `region`.
    earlier : pair of DataFrame and bool array, optional
        Samples of an earlier archive on the table's scale and their outcomes: further training data.
    how : Distillation
        How the networks are taught.
    run : Run
        Where the run would live; nothing is written.
    """
    tables, labels = [table[split.train]], [observed[split.train]]
    if earlier is not None:
        tables, labels = [earlier[0], *tables], [earlier[1], *labels]
    training, outcomes = pd.concat(tables, ignore_index=True), np.concatenate(labels)
    scaling = fit_scaling(training, features)
    learnt, inputs = scaling.of_table(training), scaling.of_table(table)
    targets = teacher_targets(learnt, outcomes, training["region"].to_numpy(str), how=how)
    members = [student(learnt, targets, how=how, seed=how.seed + number) for number in range(how.members)]
    rate = float(outcomes.mean())
    model = joined(members, event_rate=rate)

    def probability(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        return model.predict(inputs[mask], batch_size=4096, verbose=0)[:, 1]

    # With these weights 0.5 of a plain method is the training span's event rate too.
    weights = (1.0, (1 - rate) / rate)
    beside = {
        name: learn(learnt, outcomes, class_weights=weights)(inputs)
        for name, learn in (("logistic regression", logistic_regression), ("gradient boosting", gradient_boosting))
    }
    fitted = _conclude(model, run, observed, split, probability, baselines=beside, clusters=clusters, threshold=0.5)
    return replace(fitted, scaling=scaling)


def _conclude(
    model: keras.Model,
    run: Run,
    observed: npt.NDArray[np.bool_],
    split: Split,
    probability: Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float32]],
    *,
    baselines: dict[str, npt.NDArray[np.float32]],
    clusters: npt.NDArray[Any] | None,
    threshold: float | None = None,
) -> Fitted:
    """Choose calibration and thresholds on the validation span, then look at the test span.

    With a given threshold it is that of all methods, and the baselines are calibrated like the network.
    """
    valid = split.validation
    forecast = np.full(len(observed), np.nan, np.float32)
    forecast[valid] = probability(valid)
    calibration = fit_calibration(observed[valid], forecast[valid])
    if threshold is None:
        thresholds = {"network": best_threshold(observed[valid], forecast[valid])[0], "network at 50 %": 0.5}
        thresholds |= {name: best_threshold(observed[valid], other[valid])[0] for name, other in baselines.items()}
        frequencies = baselines
    else:
        thresholds = dict.fromkeys(["network", *baselines], threshold)
        frequencies = {
            name: np.asarray(fit_calibration(observed[valid], other[valid])(other)) for name, other in baselines.items()
        }
    forecast[split.test] = probability(split.test)
    calibrated = np.asarray(calibration(forecast))
    evaluations = []
    for method, least in thresholds.items():
        for span, mask in (("validation", valid), ("test", split.test)):
            p, frequency = (baselines[method], frequencies[method]) if method in baselines else (forecast, calibrated)
            groups = None if clusters is None else clusters[mask]
            evaluations.append(
                evaluate(method, span, observed[mask], p[mask], frequency[mask], threshold=least, clusters=groups)
            )
    forecasts = pd.DataFrame({"observed": observed, "probability": forecast, "calibrated": calibrated, **baselines})
    if threshold is not None:
        forecasts = forecasts.assign(**{f"{name}, calibrated": p for name, p in frequencies.items()})
    return Fitted(model, run, calibration, float(thresholds["network"]), evaluations, forecasts)
