"""A fitted network: what validation data choose for it, and its scores beside other methods on the same samples."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kflare.datasets.splits import Split
from kflare.errors import DataError
from kflare.flares.labels import LEAD_HOURS
from kflare.io.arrays import AnyArray, BoolArray, Float32Array
from kflare.models.calibration import Calibration, fit_calibration
from kflare.models.cross_fitting import OutOfSample, cross_fitted
from kflare.models.disk_calibration import DiskCalibration, calibrate_disk, disk_samples
from kflare.models.feature_scaling import FeatureScaling
from kflare.models.registry import ModelSpec
from kflare.models.training import TrainingRun
from kflare.verification.contingency import best_threshold
from kflare.verification.evaluation import Evaluation, evaluate

OWN = "validation span"
"""Name of the network's own year among those of its calibration."""


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
    disk_calibration: DiskCalibration | None = None  # of P_FD, where enough forecasts of the full disk were at hand

    @property
    def validation_score(self) -> float:
        """TSS on the validation span, by which one of several seeds is chosen."""
        return next(float(e.table.tss) for e in self.evaluations if e.span == "validation")


def require_both_classes(
    observed: BoolArray, split: Split, *, event: str, remedy: str = "move the split dates"
) -> None:
    """Refuse to train where the event, or its absence, never occurs in training or validation; raises `DataError`."""
    for name in ("train", "validation"):
        labels = observed[split.parts()[name]]
        if labels.all() or not labels.any():
            how = f"all {len(labels)} samples" if labels.all() else f"none of {len(labels)} samples"
            raise DataError(f"{event} occurs in {how} of the {name} span: {remedy} or choose another class")


def calibrate_and_evaluate(
    model: keras.Model, run: TrainingRun, observed: BoolArray, split: Split,
    probability: Callable[[BoolArray], Float32Array], *, baselines: dict[str, Float32Array],
    clusters: AnyArray | None, threshold: float | None = None, scaling: FeatureScaling | None = None,
    times: pd.Series | None = None, regions: AnyArray | None = None, disk: BoolArray | None = None,
    others: OutOfSample | None = None, counts: pd.DataFrame | None = None
) -> FittedNetwork:  # fmt: skip
    """Choose calibration and thresholds on the validation span, then look at the test span.

    `probability` takes the mask of M samples to the network's output (M,); `baselines` are the probabilities (N,) of
    other methods; without `clusters` (day or region) there are no intervals. By default each method has the threshold
    of the greatest TSS on the validation span; with a `threshold` all have this one, and baselines are calibrated, too.

    With `times` (N,) and, unless they are of the full disk, `regions` (N,), the calibration has an interval and takes
    the years of the validation span together; with `others`, out-of-sample outputs of other networks of the same recipe
    before the test span, it is the fit to the validation span shrunk to all. `disk` (N,), whether a flare came anywhere
    on the disk, calibrates P_FD too where at least `LEAST_DISK_EVENTS` days of the validation span have an event, by
    `counts` (N, k) of the disk's flares before as well.
    """
    valid = split.validation
    forecast = np.full(len(observed), np.nan, np.float32)
    forecast[valid] = probability(valid)
    calibration = fit_calibration(observed[valid], forecast[valid])
    of_disk: DiskCalibration | None = None
    if times is not None:
        within = None if regions is None else regions[valid]
        seen = OutOfSample.of(observed[valid], forecast[valid], times[valid], regions=within)
        if others is None:
            calibration = cross_fitted(seen)
        else:
            seen = replace(seen, year=np.full(len(seen.year), OWN))
            calibration = cross_fitted(OutOfSample.joined([seen, others]), own=OWN)
        if disk is not None:
            before = None if counts is None else counts[valid]
            of_disk = calibrate_disk(*disk_samples(times[valid], calibration(forecast[valid]), disk[valid], before))
    if threshold is None:
        thresholds = {"network": best_threshold(observed[valid], forecast[valid])[0], "network at 50 %": 0.5}
        thresholds |= {name: best_threshold(observed[valid], other[valid])[0] for name, other in baselines.items()}
        frequencies = baselines
    else:
        thresholds = dict.fromkeys(["network", *baselines], threshold)
        fits = {name: fit_calibration(observed[valid], other[valid]) for name, other in baselines.items()}
        frequencies = {name: np.asarray(fit(baselines[name])) for name, fit in fits.items()}
    forecast[split.test] = probability(split.test)
    calibrated = np.asarray(calibration(forecast))
    scores = []
    for method, least in thresholds.items():
        p, frequency = baselines.get(method, forecast), frequencies.get(method, calibrated)
        for span, mask in (("validation", valid), ("test", split.test)):
            given = (observed[mask], p[mask], frequency[mask])
            groups = None if clusters is None else clusters[mask]
            scores.append(evaluate(method, span, *given, threshold=least, clusters=groups))
    forecasts = pd.DataFrame({"observed": observed, "probability": forecast, "calibrated": calibrated, **baselines})
    if threshold is not None:
        forecasts = forecasts.assign(**{f"{name}, calibrated": p for name, p in frequencies.items()})
    least = float(thresholds["network"])
    return FittedNetwork(model, run, calibration, least, scores, forecasts, scaling, of_disk)


def model_metadata(
    fitted: FittedNetwork, *, event: str, times: pd.Series, split: Split, data: Mapping[str, Any], fingerprint: str
) -> dict[str, Any]:
    """The part of `kflare.json` that every model has: what it forecasts, from which data, and what it is worth."""
    spans: dict[str, dict[str, Any]] = {}
    for span, mask in split.parts().items():
        seen = times[mask]
        spans[span] = {"first": seen.min().isoformat(), "last": seen.max().isoformat(), "samples": len(seen)}
    packages = ("kflare", "tensorflow", "keras", "numpy", "tf-keras-vis")
    return {
        "event": f"largest flare >= {event}1.0 starting within {LEAD_HOURS:.0f} h", "class": f"{event}+",
        "window_hours": LEAD_HOURS, "decision_threshold": fitted.threshold,
        "calibration": fitted.calibration.as_json(),
        **({"disk_calibration": fitted.disk_calibration.as_json()} if fitted.disk_calibration else {}), "spans": spans,
        "data": dict(data), "data_fingerprint": fingerprint,
        "scores": [evaluation.as_json() for evaluation in fitted.evaluations],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {package: version(package) for package in packages},
    }  # fmt: skip


class AttributionGraph(Protocol):
    """What the export of an image model needs of `kflare.attribution.compiled.CompiledAttribution`."""

    guided: keras.Model

    def attribute(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits and the attribution outputs of network inputs, as `savedmodel.Attribute`."""


@dataclass(frozen=True)
class TrainingTask:
    """Labelled samples of a model, the methods beside it, and how it is fitted and published."""

    spec: ModelSpec
    samples: pd.DataFrame  # N rows: `time` (UTC), `cluster` (day or region, resampled together), the network's input
    observed: BoolArray  # whether the event followed each sample, shape (N,)
    settings: Mapping[str, Any]  # what a fit depends on besides the samples and the recipe
    notes: tuple[str, ...]  # what a user should know of the samples, one line each
    fit: Callable[..., FittedNetwork]
    """Train, calibrate and evaluate by (split, recipe, run, *, intervals=True); intervals take time."""
    inputs: Callable[[Split], Float32Array]  # of the learning baselines (N, n), standardised by the training span
    # of baselines that learn only the training event rate, (N,)
    frequencies: Mapping[str, Callable[[float], Float32Array]]
    numbers: pd.DataFrame  # N rows, with the columns of `one_number_regressions` that the samples have
    publish: Callable[[FittedNetwork, Path, Split, Mapping[str, Any], Callable[..., AttributionGraph]], Path]
    """Publish a fitted network below the models' folder, with metadata and, for image models, attribution."""

    @cached_property
    def fingerprint(self) -> str:
        """As the function of this name."""
        return fingerprint(self.samples, self.observed)


def fingerprint(samples: pd.DataFrame, observed: BoolArray) -> str:
    """SHA-256 over the samples' cells and labels, so that a model can be traced to its data."""
    digest = hashlib.sha256(observed.tobytes())
    digest.update(pd.util.hash_pandas_object(samples, index=False).to_numpy().tobytes())
    return digest.hexdigest()
