"""A server's replies as a client returns them, and the check of their probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from kflare.errors import DataError, ServingError
from kflare.io.arrays import AnyArray
from kflare.models.registry import INTERVAL, model_names
from kflare.serving.messages.declared_messages import SignatureDefMap
from kflare.serving.messages.tensor_values import type_name

_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}  # get_model_status.proto
_PROBABILITIES = ("probability", "probabilities", "scores", "calibrated", *INTERVAL)  # outputs of kflare's signatures
_UNUSED = "the reply is not used; serve another version of the model"
_ROUNDING = 1e-6  # a softmax in float32 may end a few units of the last place above 1


@dataclass(frozen=True)
class Reply:
    """Which version of which model answered, and its outputs by name."""

    model: str
    version: int
    outputs: dict[str, AnyArray]


@dataclass(frozen=True)
class TensorInfo:
    """Type ("float32", "string", ...) and shape of an input or output; None = any size."""

    dtype: str
    shape: tuple[int | None, ...] | None

    @classmethod
    def read(cls, info: Any) -> Self:
        """From TensorFlow's message of the same name."""
        dims = tuple(dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim)
        return cls(type_name(info.dtype), None if info.tensor_shape.unknown_rank else dims)


@dataclass(frozen=True)
class Metadata:
    """Inputs and outputs of each signature of the version that answered."""

    model: str
    version: int
    inputs: dict[str, dict[str, TensorInfo]]
    outputs: dict[str, dict[str, TensorInfo]]

    @classmethod
    def read(cls, response: Any) -> Self:
        """From a GetModelMetadataResponse; without the signatures that TensorFlow keeps for itself."""
        signatures = SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
        named = {key: one for key, one in signatures.items() if not key.startswith("__saved_model")}
        inputs, outputs = (
            {key: {name: TensorInfo.read(of) for name, of in getattr(one, side).items()} for key, one in named.items()}
            for side in ("inputs", "outputs")
        )
        return cls(response.model_spec.name, int(response.model_spec.version.value), inputs, outputs)


@dataclass(frozen=True)
class VersionState:
    """A version's state ("AVAILABLE", "LOADING", "END", ...), and why it could not be loaded, if so."""

    version: int
    state: str
    error: str

    @classmethod
    def read(cls, response: Any) -> list[Self]:
        """From a GetModelStatusResponse, newest version first."""
        states = [
            cls(int(entry.version), _STATES.get(entry.state, "UNKNOWN"), entry.status.error_message)
            for entry in response.model_version_status
        ]
        return sorted(states, key=lambda state: -state.version)


def check_outputs(
    outputs: Mapping[str, AnyArray], *, model: str, version: int, rows: int | None = None
) -> dict[str, AnyArray]:
    """A reply's outputs, with those that are probabilities checked to lie within [0, 1], one per row asked for.

    They are clipped where they leave [0, 1] by rounding alone; ServingError names the first one that is NaN or outside,
    DataError the first magnetogram that an image model makes no forecast of. A region that is not usable stays NaN.
    """
    checked = dict(outputs)
    for name in _PROBABILITIES:
        values = checked.get(name)
        if values is None:
            continue
        what = f"`{name}` of {model} version {version} must"
        if rows is not None and values.shape[:1] != (rows,):
            raise ServingError(f"{what} have {rows} rows, as were asked for, got shape {values.shape}: {_UNUSED}")
        if values.dtype.kind not in "fiu":
            raise ServingError(f"{what} be numbers, got {values.dtype}")
        good = (values >= -_ROUNDING) & (values <= 1 + _ROUNDING)  # NaN compares false
        if "usable" in checked and model in model_names("region"):  # a row without forecast is no fault of the others
            good |= np.isnan(values) & ~checked["usable"].reshape(-1, *[1] * (values.ndim - 1))
        if np.isnan(values).any() and name == "probability" and model in model_names("image"):
            row = int(np.argwhere(np.isnan(values))[0][0])
            which = f"magnetogram {row + 1} of {len(values)}" if len(values) > 1 else "the magnetogram"
            raise DataError(
                f"{model} version {version} makes no forecast of {which}: no whole disk is seen in it, the "
                "disk is too coarse for the network (radius under 0.3 of its side), less than half was measured, or "
                "the field has one polarity or is no gauss"
            )
        if not good.all():
            index = tuple(np.argwhere(~good)[0].tolist())
            raise ServingError(f"{what} lie in [0, 1], got {values[index]} at index {list(index)}: {_UNUSED}")
        checked[name] = np.clip(values, 0, 1)
    return checked
