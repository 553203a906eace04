"""A fitted network: what validation data choose for it, and its scores beside other methods on the same samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.datasets.splits import Split
from kflare.errors import DataError
from kflare.io.arrays import Float32Array
from kflare.models.calibration import Calibration, fit_calibration
from kflare.models.evaluation import Evaluation, evaluate
from kflare.models.feature_scaling import FeatureScaling
from kflare.models.training import TrainingRun
from kflare.verification.thresholds import best_threshold

__all__ = ["FittedNetwork", "calibrate_and_evaluate", "require_both_classes"]


@dataclass(frozen=True)
class FittedNetwork:
    """A fitted network with what validation data chose for it, and its scores."""

    model: keras.Model
    run: TrainingRun
    calibration: Calibration
    threshold: float
    evaluations: list[Evaluation]
    forecasts: pd.DataFrame  # `observed`, `probability`, `calibrated` and each baseline; the network's NaN in training
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


def calibrate_and_evaluate(
    model: keras.Model,
    run: TrainingRun,
    observed: npt.NDArray[np.bool_],
    split: Split,
    probability: Callable[[npt.NDArray[np.bool_]], Float32Array],
    *,
    baselines: dict[str, Float32Array],
    clusters: npt.NDArray[Any] | None,
    threshold: float | None = None,
    scaling: FeatureScaling | None = None,
) -> FittedNetwork:
    """Choose calibration and thresholds on the validation span, then look at the test span.

    `probability` takes the mask of M samples to the network's output (M,); `baselines` are the probabilities (N,) of
    other methods; without `clusters` (day or region) there are no intervals. By default each method has the threshold
    of the greatest TSS on the validation span; with a `threshold` all have this one, and the baselines are calibrated
    like the network.
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
    return FittedNetwork(model, run, calibration, float(thresholds["network"]), evaluations, forecasts, scaling)
