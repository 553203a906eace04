"""What a client asks and how it reads the answers, without the calls themselves.

Each question is a generator: it yields a `Call` (or a `Pause`), is sent the reply or thrown the error, and returns what
was asked for. `Client` and `AsyncClient` only make the calls, each in its own way. A question that takes several calls
has one deadline for all of them.
"""

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from kflare.errors import DataError, ServingError
from kflare.models.registry import model_names
from kflare.serving.client.channel import check_timeout
from kflare.serving.client.failures import code_of, is_of_names, was_cut_off, what_failed
from kflare.serving.client.messages import METHODS, GetModelMetadataRequest, GetModelStatusRequest, PredictRequest
from kflare.serving.client.probabilities import check_probabilities
from kflare.serving.client.region_inputs import region_inputs
from kflare.serving.client.replies import Metadata, Reply, VersionState
from kflare.serving.tensor_values import fill_tensor, read_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Call", "Conversation", "Inputs", "Pause", "Steps", "Version"]

Inputs = Mapping[str, npt.NDArray[Any] | Sequence[bytes]]
Version = int | str | None
"""A version's number, its label such as "stable", or None for the newest."""

_OF_DISK = ("probability", "calibrated")
_OF_REGIONS = (*_OF_DISK, "imputed")


@dataclass(frozen=True)
class Call:
    """A request to send, and its deadline in seconds."""

    request: Any
    timeout: float


@dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


class _Deadline:
    """Seconds that a question may take, from now on."""

    def __init__(self, seconds: float) -> None:
        check_timeout(seconds)
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Never 0, which would be no deadline at all to gRPC."""
        return max(self._end - time.monotonic(), 0.001)


_Result = TypeVar("_Result")
Steps = Generator[Call | Pause, Any, _Result]


class Conversation:
    """The questions to one target, and the signatures that it told before."""

    def __init__(self, target: str, timeout: float, *, patient: bool) -> None:
        self._patient = patient
        self.target, self.timeout, self.closed = target, timeout, False
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
        until = self._deadline(timeout)
        return (yield from self._predict(model, inputs, signature, version, until, outputs=outputs or ()))

    def predict_images(
        self, model: str, images: Sequence[bytes | Path], *, version: Version = None, timeout: float | None = None
    ) -> Steps[Reply]:
        """See `Client.predict_images`."""
        if isinstance(images, bytes | str | Path) or not images:
            raise DataError("`images` must be a non-empty list of JPEG or PNG files, as their bytes or paths")
        encoded = {"image": [_read_image(image) for image in images]}
        until = self._deadline(timeout)
        return self._predict(model, encoded, "predict_image", version, until, needed=_OF_DISK)

    def predict_magnetograms(
        self, model: str, data: npt.ArrayLike, *, version: Version = None, timeout: float | None = None
    ) -> Steps[Reply]:
        """See `Client.predict_magnetograms`."""
        field = np.asarray(data, dtype=np.float32)
        if field.ndim != 4 or field.shape[-1] != 1 or 0 in field.shape:
            raise DataError(f"`data` must have shape (N, H, W, 1), got {field.shape}")
        inputs, until = {"magnetogram": field}, self._deadline(timeout)
        return self._predict(model, inputs, "serving_default", version, until, needed=_OF_DISK)

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
        until = self._deadline(timeout)
        remembered = self._metadata.get((model, version))
        try:
            return (yield from self._ask_regions(model, table, version, ignore, until))
        except (DataError, ServingError) as error:
            # A version published since may have other inputs: what was remembered does not decide by itself.
            if remembered is None or not (
                isinstance(error, DataError) or code_of(error) is grpc.StatusCode.INVALID_ARGUMENT
            ):
                raise
            self._metadata.pop((model, version), None)
            if (yield from self._signatures(model, version, until)).inputs == remembered.inputs:
                raise
            return (yield from self._ask_regions(model, table, version, ignore, until))

    def metadata(self, model: str, *, version: Version = None, timeout: float | None = None) -> Steps[Metadata]:
        """See `Client.metadata`."""
        return self._signatures(model, version, self._deadline(timeout))

    def status(self, model: str, *, timeout: float | None = None) -> Steps[list[VersionState]]:
        """See `Client.status`."""
        return self._status(model, self._deadline(timeout), explain=True)

    def served(self, names: Collection[str] = model_names()) -> Steps[dict[str, list[int]]]:
        """See `Client.served`."""
        return self._served(names, self._deadline(None))

    def wait_until_available(self, model: str, deadline: float) -> Steps[int]:
        """See `Client.wait_until_available`."""
        end = time.monotonic() + deadline
        reason = "no answer"
        while (left := end - time.monotonic()) > 0:
            try:
                states = yield from self._status(model, _Deadline(min(self.timeout, left)), explain=False)
                available = [state.version for state in states if state.state == "AVAILABLE"]
                if available:
                    return max(available)
                reason = "; ".join(f"version {s.version} is {s.state} {s.error}".strip() for s in states)
            except ServingError as error:
                if self.closed:
                    raise
                reason = str(error)
            yield Pause(max(0.0, min(0.1, end - time.monotonic())))
        raise ServingError(f"`{model}` at {self.target} is not available after {deadline:g} s: {reason}")

    def _deadline(self, timeout: float | None) -> _Deadline:
        return _Deadline(self.timeout if timeout is None else timeout)

    def _predict(
        self,
        model: str,
        inputs: Inputs,
        signature: str,
        version: Version,
        until: _Deadline,
        *,
        outputs: Sequence[str] = (),
        needed: Sequence[str] = (),
    ) -> Steps[Reply]:
        """`outputs` are asked for, and must come as must those `needed`."""
        request = PredictRequest(output_filter=outputs)
        _specify(request, model, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            try:
                fill_tensor(request.inputs[name], value)
            except (TypeError, ValueError) as error:
                raise DataError(f"input `{name}` of {model} cannot be sent: {error}") from error
        response = yield from self._ask(request, until)
        answered = int(response.model_spec.version.value)
        who = f"the reply of {model} version {answered} at {self.target}"
        if version is not None and not isinstance(version, str) and answered != version:
            raise ServingError(f"{who} is not used: version {version} was asked")
        if absent := [name for name in (*outputs, *needed) if name not in response.outputs]:
            raise ServingError(
                f"{who} has no `{'`, `'.join(absent)}`, only {', '.join(sorted(response.outputs)) or 'nothing'}: "
                "serve a model that kflare.fit published, or ask for what it has"
            )
        try:
            arrays = {name: read_tensor(proto) for name, proto in response.outputs.items()}
        except ValueError as error:
            raise ServingError(f"{who} cannot be read: {error}") from error
        sizes = {len(value) for value in inputs.values() if getattr(value, "ndim", 1)}
        rows = sizes.pop() if len(sizes) == 1 else None
        return Reply(model, answered, check_probabilities(arrays, model=model, version=answered, rows=rows))

    def _ask_regions(
        self, model: str, table: "pd.DataFrame", version: Version, ignore: Collection[str], until: _Deadline
    ) -> Steps[Reply]:
        metadata = yield from self._signatures(model, version, until)
        features = sorted(metadata.inputs.get("serving_default", {}))
        inputs = region_inputs(table, features, model=model, ignore=ignore)
        return (yield from self._predict(model, inputs, "serving_default", version, until, needed=_OF_REGIONS))

    def _signatures(self, model: str, version: Version, until: _Deadline) -> Steps[Metadata]:
        known = self._metadata.get((model, version))
        if known is None:
            request = GetModelMetadataRequest(metadata_field=["signature_def"])
            _specify(request, model, version)
            known = self._metadata[model, version] = Metadata.read((yield from self._ask(request, until)))
        return known

    def _served(self, names: Collection[str], until: _Deadline) -> Steps[dict[str, list[int]]]:
        found = {}
        for name in names:
            try:
                states = yield from self._status(name, until, explain=False)
            except ServingError as error:
                if code_of(error) is not grpc.StatusCode.NOT_FOUND:
                    raise
                continue
            if versions := [state.version for state in states if state.state == "AVAILABLE"]:
                found[name] = versions
        return found

    def _status(self, model: str, until: _Deadline, *, explain: bool) -> Steps[list[VersionState]]:
        request = GetModelStatusRequest()
        _specify(request, model, None)
        return VersionState.read((yield from self._ask(request, until, explain=explain)))

    def _ask(self, request: Any, until: _Deadline, *, explain: bool = True) -> Steps[Any]:
        failed: Exception | None = None
        for once_more in (self._patient, False):
            if self.closed:
                break
            try:
                answer = yield Call(request, until.left())
            except Exception as error:
                failed = failed or error
                if not self.closed and not isinstance(error, grpc.RpcError):
                    raise
                if not (once_more and isinstance(error, grpc.RpcError) and was_cut_off(error)):
                    break
            else:
                return self._read(answer, request)
        if self.closed:
            raise ServingError(f"the client of {self.target} is closed: make another one") from failed
        message = what_failed(failed, request.model_spec, target=self.target, seconds=until.seconds)
        if explain and is_of_names(failed, request.model_spec):
            message += f"; served there: {(yield from self._served_names(request.model_spec.name, until))}"
        raise ServingError(message) from failed

    def _read(self, answer: bytes, request: Any) -> Any:
        try:
            return METHODS[type(request).__name__][1].FromString(answer)
        except DecodeError as error:
            message = f"the answer of {self.target} for {request.model_spec.name} cannot be read: {error}"
            raise ServingError(message) from error

    def _served_names(self, model: str, until: _Deadline) -> Steps[str]:
        try:
            served = yield from self._served({*model_names(), model}, _Deadline(min(1.0, until.left())))
        except ServingError:
            return "unknown"
        return ", ".join(f"{name} ({', '.join(map(str, served[name]))})" for name in sorted(served)) or "none"


def _read_image(image: bytes | Path) -> bytes:
    try:
        encoded = image.read_bytes() if isinstance(image, Path) else image
    except OSError as error:
        raise DataError(f"the image {error.filename} cannot be read: {error.strerror}") from error
    if not isinstance(encoded, bytes) or not encoded:
        raise DataError("`images` must be a non-empty list of JPEG or PNG files, as their bytes or paths")
    return encoded


def _specify(request: Any, model: str, version: Version) -> None:
    request.model_spec.name = model
    if isinstance(version, str):
        request.model_spec.version_label = version
    elif version is not None:
        request.model_spec.version.value = version
