"""From a fitted network to a published model: the verification cases, the warm-up requests and `kflare.json`."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from kflare.datasets.preprocessing import FIELD_LIMIT, fill_and_scale, mask_space, reduce_field
from kflare.datasets.splits import Split
from kflare.errors import ModelError
from kflare.flares.labels import LEAD_HOURS
from kflare.models.fitting import Fitted
from kflare.models.publish import SignatureCase, publish
from kflare.models.savedmodel import export_defn, export_dense_cnn

__all__ = ["Attribution", "describe", "fingerprint", "release_defn", "release_dense_cnn"]


class Attribution(Protocol):
    """What a `cnn-*` export needs of `attribution.compiled.CompiledAttribution`."""

    guided: keras.Model

    def attribute(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Logits, Grad-CAM and guided gradients of network inputs."""
        ...


def release_dense_cnn(
    fitted: Fitted,
    root: Path,
    name: str,
    *,
    attribution: Attribution,
    metadata: Mapping[str, Any],
    documents: Mapping[str, bytes] | None = None,
) -> Path:
    """Publish a fitted dense CNN as the next version of `name`; returns the version's directory.

    `documents` are further files of `assets.extra`, such as the model card.
    """
    size = int(fitted.model.input_shape[1])
    magnetogram, png = _example_magnetogram()
    # The PNG holds whole bytes and no NaN, so what it decodes to differs a little from the field itself.
    pixels = tf.io.decode_png(png).numpy()[None].astype(np.float32)
    from_bytes = mask_space(pixels * (2 * FIELD_LIMIT / 255) - FIELD_LIMIT)
    cases: list[SignatureCase] = []
    for signature, inputs, field in (
        ("serving_default", {"magnetogram": magnetogram}, magnetogram),
        ("predict_image", {"image": np.array([png])}, from_bytes),
        ("attribute", {"magnetogram": magnetogram}, magnetogram),
        ("attribute_image", {"image": np.array([png])}, from_bytes),
    ):
        images = fill_and_scale(reduce_field(tf.constant(field), size=size))
        scores = fitted.model(images, training=False).numpy()
        expected = {
            "probability": scores[:, 1],
            "scores": scores,
            "calibrated": fitted.calibration(scores[:, 1]).numpy(),
        }
        if signature.startswith("attribute"):
            _, grad_cam, guided_backprop = attribution.attribute(images)
            expected |= {"grad_cam": grad_cam.numpy(), "guided_backprop": guided_backprop.numpy()}
        cases.append((signature, inputs, expected))

    def export(directory: Path) -> None:
        export_dense_cnn(
            fitted.model,
            directory,
            calibration=fitted.calibration,
            attribute=attribution.attribute,
            guided=attribution.guided,
        )

    contents = {**metadata, "image_size": size}
    return publish(root, name, export=export, cases=cases, metadata=contents, documents=documents)


def release_defn(
    fitted: Fitted,
    root: Path,
    name: str,
    *,
    example: pd.DataFrame,
    metadata: Mapping[str, Any],
    documents: Mapping[str, bytes] | None = None,
) -> Path:
    """Publish a fitted DeFN as the next version of `name`; `example` holds a few rows of its training table.

    `documents` are further files of `assets.extra`, such as the model card.
    """
    scaling = fitted.scaling
    if scaling is None:
        raise ModelError("a DeFN cannot be published without its feature scaling")
    names = list(scaling.names)
    rows = example[names].astype(np.float32).reset_index(drop=True)
    unmeasured = pd.DataFrame([dict.fromkeys(names, np.float32(np.nan))])
    rows = pd.concat([rows, unmeasured], ignore_index=True)
    probabilities = fitted.model(scaling.of_table(rows), training=False).numpy()
    expected = {
        "probability": probabilities[:, 1],
        "probabilities": probabilities,
        "calibrated": fitted.calibration(probabilities[:, 1]).numpy(),
        "imputed": rows.isna().sum(axis=1).to_numpy(np.int32),
    }
    inputs = {column: rows[column].to_numpy(np.float32) for column in names}

    def export(directory: Path) -> None:
        export_defn(fitted.model, directory, scaling=scaling, calibration=fitted.calibration)

    cases: list[SignatureCase] = [("serving_default", inputs, expected)]
    contents = {**metadata, "features": scaling.as_json()}
    return publish(root, name, export=export, cases=cases, metadata=contents, documents=documents)


def describe(
    fitted: Fitted, *, event: str, times: pd.Series, split: Split, data: Mapping[str, Any], fingerprint: str
) -> dict[str, Any]:
    """The part of `kflare.json` that every model has: what it forecasts, from which data, and what it is worth."""
    spans = {
        span: {
            "first": times[mask].min().isoformat(),
            "last": times[mask].max().isoformat(),
            "samples": int(mask.sum()),
        }
        for span, mask in split.parts().items()
    }
    packages = ("kflare", "tensorflow", "keras", "numpy", "tf-keras-vis")
    return {
        "event": f"largest flare >= {event}1.0 starting within {LEAD_HOURS:.0f} h",
        "class": f"{event}+",
        "window_hours": LEAD_HOURS,
        "decision_threshold": fitted.threshold,
        "calibration": {
            "method": "Platt scaling on validation data",
            "slope": fitted.calibration.slope,
            "offset": fitted.calibration.offset,
            "lowest": fitted.calibration.lowest,
        },
        "spans": spans,
        "data": dict(data),
        "data_fingerprint": fingerprint,
        "scores": [evaluation.as_json() for evaluation in fitted.evaluations],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {package: version(package) for package in packages},
    }


def fingerprint(table: pd.DataFrame, observed: npt.NDArray[np.bool_]) -> str:
    """SHA-256 over the samples' cells and labels, so that a model can be traced to its data."""
    digest = hashlib.sha256(observed.tobytes())
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _example_magnetogram() -> tuple[npt.NDArray[np.float32], bytes]:
    """A disk with one bipole as float32 (1, 128, 128, 1) in gauss and as PNG bytes."""
    from PIL import Image

    y, x = np.mgrid[:128, :128] - 63.5
    spots = [(-30, -20, 300), (-20, -22, -300)]
    field = sum(strength * np.exp(-((x - left) ** 2 + (y - top) ** 2) / 18) for left, top, strength in spots)
    on_disk = np.hypot(x, y) < 56
    field = np.where(on_disk, field, np.nan).astype(np.float32)
    scaled = np.clip(np.nan_to_num(field) + FIELD_LIMIT, 0, 2 * FIELD_LIMIT) * (255 / (2 * FIELD_LIMIT))
    buffer = BytesIO()
    Image.fromarray(np.where(on_disk, np.rint(scaled), 0).astype(np.uint8)).save(buffer, format="PNG")
    return field[None, :, :, None], buffer.getvalue()
