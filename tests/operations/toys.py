"""Small models with the signatures of kflare's SavedModels, for whole cycles."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from kflare.operations.forecast import FORECAST_CLASSES, Probability, RegionForecast
from kflare.serving import full_disk_probability
from kflare.serving.server.servable import Trust

TOYS = Trust(unpublished=True, any_operation=True)  # they have no manifest, and resize as no model of kflare's does


def combined(regions: Sequence[RegionForecast]) -> dict[str, Probability]:
    """1 − Π(1 − P) of each number, as `full_disks` does for a version without a calibration of P_FD."""
    forecast = [region.probability for region in regions if region.probability]
    return {
        name: Probability(
            *map(full_disk_probability, zip(*(vars(one[name]).values() for one in forecast), strict=True))
        )
        for name in FORECAST_CLASSES
        if all(name in one for one in forecast)
    }


def write_region_model(path: Path, *, version: int = 1) -> Path:
    """logit = R_VALUE − 3 + ln(version) + Mhis1d + 1e-22 dt24USFLUX; a feature not measured counts as 0."""
    import tensorflow as tf

    names = ("R_VALUE", "Mhis1d", "dt24USFLUX")
    module = tf.Module()
    module.bias = tf.Variable(math.log(version) - 3, dtype=tf.float32)

    @tf.function(input_signature=[{name: tf.TensorSpec([None], tf.float32, name=name) for name in names}])
    def serve(given):
        features = tf.stack([given[name] for name in names], axis=1)
        unknown = tf.math.is_nan(features)
        known = tf.where(unknown, 0.0, features)
        p = tf.sigmoid(module.bias + tf.linalg.matvec(known, tf.constant([1.0, 1.0, 1e-22])))
        return {
            "probability": p,
            "probabilities": tf.stack([1 - p, p], axis=1),
            "calibrated": p / 3,
            "imputed": tf.reduce_sum(tf.cast(unknown, tf.int32), axis=1),
        }

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


def write_disk_model(path: Path) -> Path:
    """Probability 0.3 for every magnetogram; attribution: the absolute field on 16² cells."""
    import tensorflow as tf

    module = tf.Module()
    module.p = tf.Variable(0.3)
    shape = [tf.TensorSpec([None, None, None, 1], tf.float32, name="magnetogram")]

    def forecast(field):
        p = module.p * tf.ones(tf.shape(field)[:1])
        return {"probability": p, "scores": tf.stack([1 - p, p], axis=1), "calibrated": p / 2}

    @tf.function(input_signature=shape)
    def serve(magnetogram):
        return forecast(magnetogram)

    @tf.function(input_signature=shape)
    def attribute(magnetogram):
        field = tf.abs(tf.where(tf.math.is_nan(magnetogram), 0.0, magnetogram))
        cells = tf.image.resize(field, (16, 16), method="area")
        return forecast(magnetogram) | {"grad_cam": tf.repeat(cells, 2, 3), "guided_backprop": tf.repeat(field, 2, 3)}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve, "attribute": attribute})
    return path


def write_toys(folder: Path) -> None:
    """What `publish_toys` and `publish_version` publish: a region model of version 1 and of version 2, a disk model."""
    for version in (1, 2):
        write_region_model(folder / f"region-{version}", version=version)
    write_disk_model(folder / "disk")


def publish_toys(toys: Path, models: Path) -> Path:
    """defn-c, defn-m, cnn-c and cnn-m, version 1."""
    for name in ("defn-c", "defn-m"):
        shutil.copytree(toys / "region-1", models / name / "1")
    for name in ("cnn-c", "cnn-m"):
        shutil.copytree(toys / "disk", models / name / "1")
    return models


def publish_version(toys: Path, models: Path, name: str, version: int) -> None:
    """A new version of a region model, put in place by one rename."""
    part = models / f".{name}-{version}"
    shutil.copytree(toys / f"region-{version}", part)
    part.rename(models / name / str(version))
