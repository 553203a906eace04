"""What a client gets to see of a server's replies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from kflare.serving.client.messages import SignatureDefMap
from kflare.serving.tensor_values import type_name

__all__ = ["Metadata", "Reply", "TensorInfo", "VersionState"]

_STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}  # get_model_status.proto


@dataclass(frozen=True)
class Reply:
    """Which version of which model answered, and its outputs by name."""

    model: str
    version: int
    outputs: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TensorInfo:
    """Type ("float32", "string", ...) and shape of an input or output; None = any size."""

    dtype: str
    shape: tuple[int | None, ...] | None


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
        signatures = SignatureDefMap.FromString(response.metadata["signature_def"].value)
        public = {key: value for key, value in signatures.signature_def.items() if not key.startswith("__saved_model")}
        return cls(
            response.model_spec.name,
            int(response.model_spec.version.value),
            {key: _tensor_infos(signature.inputs) for key, signature in public.items()},
            {key: _tensor_infos(signature.outputs) for key, signature in public.items()},
        )


@dataclass(frozen=True)
class VersionState:
    """A version's state as the server tells it ("AVAILABLE", "LOADING", "END", ...), and why it failed, if it did."""

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


def _tensor_infos(infos: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            type_name(info.dtype),
            None
            if info.tensor_shape.unknown_rank
            else tuple(dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim),
        )
        for name, info in infos.items()
    }
