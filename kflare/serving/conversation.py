"""What a client asks and how it reads the answers, without the calls themselves.

Each question is a generator: it yields a `Call` (or a `Pause`), is sent the reply or thrown the `grpc.RpcError`, and
returns what was asked for. `Client` and `AsyncClient` only make the calls, each in its own way.
"""

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
import numpy.typing as npt

from kflare.errors import DataError, KflareError, ServingError
from kflare.serving.messages import GetModelMetadataRequest, GetModelStatusRequest, PredictRequest
from kflare.serving.probabilities import check_probabilities
from kflare.serving.region_inputs import region_inputs
from kflare.serving.replies import Metadata, Reply, VersionState
from kflare.serving.tensor_values import fill_tensor, read_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MODELS", "Call", "Conversation", "Inputs", "Pause", "Steps", "Version"]

MODELS = ("cnn-c", "cnn-m", "defn-c", "defn-m")
"""The names of kflare's models: full disk and region, each for ≥C1.0 and ≥M1.0 within 24 h."""

Inputs = Mapping[str, npt.NDArray[Any] | Sequence[bytes]]
Version = int | str | None
"""A version's number, its label such as "stable", or None for the newest."""


@dataclass(frozen=True)
class Call:
    """A request to send, and its deadline in seconds."""

    request: Any
    timeout: float


@dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


_Result = TypeVar("_Result")
Steps = Generator[Call | Pause, Any, _Result]


class Conversation:
    """The questions to one target, and the signatures that it told before."""

    def __init__(self, target: str, timeout: float) -> None:
        self.target = target
        self.timeout = timeout
        self._metadata: dict[tuple[str, Version], Metadata] = {}

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        signature: str = "serving_default",
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Steps[Reply]:
        """See `Client.predict`."""
        request = PredictRequest(output_filter=outputs or ())
        _specify(request, model, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            try:
                fill_tensor(request.inputs[name], value)
            except TypeError as error:
                raise DataError(f"input `{name}` of {model} cannot be sent: {error}") from error
        response = yield from self._ask(request, timeout)
        answered = int(response.model_spec.version.value)
        try:
            arrays = {name: read_tensor(proto) for name, proto in response.outputs.items()}
        except ValueError as error:
            message = f"the reply of {model} version {answered} at {self.target} cannot be read: {error}"
            raise ServingError(message) from error
        sizes = {len(value) for value in inputs.values() if getattr(value, "ndim", 1)}
        rows = sizes.pop() if len(sizes) == 1 else None
        return Reply(model, answered, check_probabilities(arrays, model=model, version=answered, rows=rows))

    def predict_images(
        self, model: str, images: Sequence[bytes | Path], *, version: Version = None, timeout: float | None = None
    ) -> Steps[Reply]:
        """See `Client.predict_images`."""
        if isinstance(images, bytes | str | Path) or not images:
            raise DataError("`images` must be a non-empty list of JPEG or PNG files, as their bytes or paths")
        encoded = [_read_image(image) for image in images]
        return self.predict(model, {"image": encoded}, signature="predict_image", version=version, timeout=timeout)

    def predict_magnetograms(
        self, model: str, data: npt.ArrayLike, *, version: Version = None, timeout: float | None = None
    ) -> Steps[Reply]:
        """See `Client.predict_magnetograms`."""
        field = np.asarray(data, dtype=np.float32)
        if field.ndim != 4 or field.shape[-1] != 1 or 0 in field.shape:
            raise DataError(f"`data` must have shape (N, H, W, 1), got {field.shape}")
        return self.predict(model, {"magnetogram": field}, version=version, timeout=timeout)

    def predict_regions(
        self,
        model: str,
        table: "pd.DataFrame",
        *,
        version: Version = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Steps[Reply]:
        """See `Client.predict_regions`."""
        remembered = self._metadata.get((model, version))
        try:
            return (yield from self._ask_regions(model, table, version, ignore, timeout))
        except (DataError, ServingError) as error:
            # A version published since may have other inputs: what was remembered does not decide by itself.
            if remembered is None or not (isinstance(error, DataError) or _refused_as_invalid(error)):
                raise
            self._metadata.pop((model, version), None)
            if (yield from self.metadata(model, version=version, timeout=timeout)).inputs == remembered.inputs:
                raise
            return (yield from self._ask_regions(model, table, version, ignore, timeout))

    def metadata(self, model: str, *, version: Version = None, timeout: float | None = None) -> Steps[Metadata]:
        """See `Client.metadata`."""
        known = self._metadata.get((model, version))
        if known is None:
            request = GetModelMetadataRequest(metadata_field=["signature_def"])
            _specify(request, model, version)
            known = self._metadata[model, version] = Metadata.read((yield from self._ask(request, timeout)))
        return known

    def status(self, model: str, *, timeout: float | None = None) -> Steps[list[VersionState]]:
        """See `Client.status`."""
        return self._status(model, timeout, explain=True)

    def served(self, names: Collection[str] = MODELS) -> Steps[dict[str, list[int]]]:
        """See `Client.served`."""
        found = {}
        for name in names:
            try:
                states = yield from self._status(name, min(1.0, self.timeout), explain=False)
            except ServingError:
                continue
            if versions := [state.version for state in states if state.state == "AVAILABLE"]:
                found[name] = versions
        return found

    def wait_until_available(self, model: str, deadline: float) -> Steps[int]:
        """See `Client.wait_until_available`."""
        end = time.monotonic() + deadline
        reason = "no answer"
        while (left := end - time.monotonic()) > 0:
            try:
                states = yield from self._status(model, min(self.timeout, left), explain=False)
                available = [state.version for state in states if state.state == "AVAILABLE"]
                if available:
                    return max(available)
                reason = "; ".join(f"version {s.version} is {s.state} {s.error}".strip() for s in states)
            except ServingError as error:
                reason = str(error)
            yield Pause(max(0.0, min(0.1, end - time.monotonic())))
        raise ServingError(f"`{model}` at {self.target} is not available after {deadline:g} s: {reason}")

    def _ask_regions(
        self, model: str, table: "pd.DataFrame", version: Version, ignore: Collection[str], timeout: float | None
    ) -> Steps[Reply]:
        metadata = yield from self.metadata(model, version=version, timeout=timeout)
        features = sorted(metadata.inputs.get("serving_default", {}))
        inputs = region_inputs(table, features, model=model, ignore=ignore)
        return (yield from self.predict(model, inputs, version=version, timeout=timeout))

    def _status(self, model: str, timeout: float | None, *, explain: bool) -> Steps[list[VersionState]]:
        request = GetModelStatusRequest()
        _specify(request, model, None)
        return VersionState.read((yield from self._ask(request, timeout, explain=explain)))

    def _ask(self, request: Any, timeout: float | None, *, explain: bool = True) -> Steps[Any]:
        seconds = self.timeout if timeout is None else timeout
        try:
            return (yield Call(request, seconds))
        except grpc.RpcError as error:
            message = yield from self._explain(error, request.model_spec, seconds, ask_more=explain)
            raise ServingError(message) from error

    def _explain(self, error: Any, spec: Any, seconds: float, *, ask_more: bool) -> Steps[str]:
        """One line for a failed call: where, what, the status code, what to do."""
        code, details = error.code(), " ".join(str(error.details()).split())[:300]
        match code:
            case grpc.StatusCode.UNAVAILABLE if any(word in details.lower() for word in ("ssl", "tls", "handshake")):
                return (
                    f"no secure connection to {self.target} to ask for {spec.name} (UNAVAILABLE: {details}); "
                    "check `ca`, `cert` and `key`, the certificates' dates, and that the server speaks TLS"
                )
            case grpc.StatusCode.UNAVAILABLE:
                # What a client hears that offers no TLS, or no certificate, where it is asked for.
                tls = " (if it speaks TLS: `ca`, and `cert` and `key`)" if "Socket closed" in details else ""
                return (
                    f"no server at {self.target} to ask for {spec.name} (UNAVAILABLE: {details}); "
                    f"start one with python -m kflare.serve, or give the address of one{tls}"
                )
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return (
                    f"no answer from {self.target} for {spec.name} within the deadline of {seconds:g} s "
                    "(DEADLINE_EXCEEDED); ask for less at a time or raise `timeout`"
                )
            case grpc.StatusCode.NOT_FOUND:
                wanted = spec.version.value if spec.HasField("version") else None
                which = f"`{spec.name}`" if wanted is None else f"version {wanted} of `{spec.name}`"
                served = (yield from self.served({*MODELS, spec.name})) if ask_more else {}
                names = ", ".join(f"{name} ({', '.join(map(str, served[name]))})" for name in sorted(served))
                return (
                    f"{which} is not served at {self.target} (NOT_FOUND: {details}); served there: {names or 'unknown'}"
                )
        return f"the server at {self.target} refused a request for {spec.name} ({code.name}: {details})"


def _read_image(image: bytes | Path) -> bytes:
    try:
        encoded = image.read_bytes() if isinstance(image, Path) else image
    except OSError as error:
        raise DataError(f"the image {error.filename} cannot be read: {error.strerror}") from error
    if not isinstance(encoded, bytes) or not encoded:
        raise DataError("`images` must be a non-empty list of JPEG or PNG files, as their bytes or paths")
    return encoded


def _refused_as_invalid(error: KflareError) -> bool:
    cause = error.__cause__
    return isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.INVALID_ARGUMENT


def _specify(request: Any, model: str, version: Version) -> None:
    request.model_spec.name = model
    if isinstance(version, str):
        request.model_spec.version_label = version
    elif version is not None:
        request.model_spec.version.value = version
