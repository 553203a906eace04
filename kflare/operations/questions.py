"""What a cycle asks the served models, and what they answered: one that fails does not end the cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kflare.attribution.image_maps import rectified, scaled
from kflare.attribution.published import ATTRIBUTE
from kflare.errors import DataError, KflareError, ServingError
from kflare.io.arrays import Float32Array
from kflare.models.registry import INTERVAL, model_spec
from kflare.observations.magnetogram import Magnetogram
from kflare.operations.forecast import ModelUse, Probability
from kflare.serving import Client
from kflare.serving.forecasts.served_forecasts import ask_magnetogram, full_disks


@dataclass
class Answers:
    """Replies of the models of one kind."""

    models: list[ModelUse] = field(default_factory=list)
    probability: dict[str, list[Probability]] = field(default_factory=dict)
    """By class, one per row that was asked about."""
    full_disk: dict[str, Probability] = field(default_factory=dict)  # by class, all rows together
    imputed: list[int] | None = None  # per row, the most features that a model had to fill in
    maps: dict[str, tuple[str, Float32Array]] = field(default_factory=dict)
    """By class, where a full-disk model looked for "flare": "cam" or, of one without it, "grad_cam", 0-1 (h, w)."""
    failures: dict[str, str] = field(default_factory=dict)  # models that did not answer, and why


def unreachable_models(client: Client, models: Sequence[str]) -> dict[str, str]:
    """All models and why, if the server does not answer, else none: its restart is waited for once, not per model."""
    try:
        client.served(models)
    except ServingError as error:
        return dict.fromkeys(models, str(error))
    return {}


def wanted_features(
    client: Client, models: Sequence[str], *, label: str | None = None
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The features that each region model asks for, and why one could not be had."""
    features, failures = {}, {}
    for model in models:
        try:
            features[model] = sorted(client.metadata(model, version=label).inputs.get("serving_default", {}))
        except ServingError as error:
            failures[model] = str(error)
    return features, failures


def ask_regions(
    client: Client, table: pd.DataFrame, features: dict[str, list[str]], *, label: str | None = None
) -> Answers:
    """Ask each region model about the rows of a table that has the features of all, NaN = not measured."""
    answers = Answers()
    imputed = np.zeros(len(table), np.int64)
    for model, names in features.items():
        try:
            reply = client.predict_regions(model, table[["time", "region", *names]], version=label)
            probabilities = _probabilities(reply.outputs)  # DataError of a row without a forecast
            disk = full_disks(client, reply, table)
            if len(disk) == 1:
                answers.full_disk[model_spec(model).event] = _probabilities(disk)[0]
        except (DataError, ServingError) as error:
            answers.failures[model] = str(error)
            continue
        answers.models.append(ModelUse(model, reply.version))
        answers.probability[model_spec(model).event] = probabilities
        imputed = np.maximum(imputed, reply.outputs["imputed"])
    answers.imputed = imputed.tolist() if answers.models else None
    return answers


def ask_disk(
    client: Client, magnetogram: Magnetogram, models: Sequence[str], *, attribution: bool, label: str | None = None
) -> Answers:
    """Ask each full-disk model about a magnetogram, with its CAM, or else Grad-CAM, if wanted."""
    answers = Answers()
    for model in models:
        try:
            known = client.metadata(model, version=label).outputs.get(ATTRIBUTE, {}) if attribution else {}
            maps = [method for method in ("cam", "grad_cam") if method in known][:1]
            reply = ask_magnetogram(client, model, magnetogram, maps=maps, version=label)
        except KflareError as error:
            answers.failures[model] = str(error)
            continue
        answers.models.append(ModelUse(model, reply.version))
        answers.probability[model_spec(model).event] = _probabilities(reply.outputs)
        for method in maps:
            answers.maps[model_spec(model).event] = method, scaled(rectified(reply.outputs[method][0]))[..., 1]
    return answers


def _probabilities(outputs: Mapping[str, Float32Array] | pd.DataFrame) -> list[Probability]:
    names = [name for name in ("probability", "calibrated", *INTERVAL) if name in outputs]
    return [Probability.of(*row) for row in zip(*(outputs[name].tolist() for name in names), strict=True)]
