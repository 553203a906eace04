"""The requests of a client and the reading of their answers, without the calls themselves (a sans-I/O protocol).

Each method of `ClientProtocol` is a generator: it yields a `Step`, is sent the answer's bytes or thrown the error, and
returns the result. A method that takes several calls has one deadline for all of them.
"""

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from kflare.datasets.region_inputs import region_inputs
from kflare.errors import DataError, ServingError
from kflare.models.registry import OUTPUTS, model_names
from kflare.serving.client.channel import check_timeout
from kflare.serving.client.failures import code_of, describe_failure, is_unknown_model
from kflare.serving.client.replies import Metadata, Reply, VersionState, check_outputs
from kflare.serving.messages.api_messages import METHODS, GetModelMetadataRequest, GetModelStatusRequest, PredictRequest
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ClientProtocol", "PredictOptions", "SignatureInputs", "Step", "Steps", "Version"]

SignatureInputs = Mapping[str, npt.NDArray[Any] | Sequence[bytes]]
Version = int | str | None
"""A version's number, its label such as "stable", or None for the newest."""

_IMAGES_RULE = "`images` must be a non-empty list of JPEG or PNG files, as their bytes or paths"

_Result = TypeVar("_Result")


class Step(NamedTuple):
    """A request to send, and its deadline in seconds; no request = a pause of so many seconds."""

    request: Any
    seconds: float


Steps = Generator[Step, Any, _Result]


class PredictOptions(TypedDict, total=False):
    """The options of `ClientProtocol.predict`."""

    signature: str
    version: Version
    outputs: Sequence[str] | None
    timeout: float | None


class _Deadline(float):
    """A number of seconds, counted from now on; may be given on as the `timeout` of another method."""

    def __init__(self, seconds: float) -> None:
        check_timeout(seconds)
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Never 0, which would be no deadline at all to gRPC."""
        return max(self._end - time.monotonic(), 0.001)


class ClientProtocol:
    """The requests to one target; remembers the signatures of its models. `retries` repeats what was cut off."""

    def __init__(self, target: str, timeout: float, *, retries: bool) -> None:
        self._retries = retries
        self.target, self.timeout, self.closed = target, timeout, False
        self._metadata: dict[tuple[str, Version], Metadata] = {}

    def predict(
        self,
        model: str,
        inputs: SignatureInputs,
        *,
        signature: str = "serving_default",
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Steps[Reply]:
        """Run a signature.

        Parameters
        ----------
        inputs : mapping
            Arrays by input name, of the signature's types and shapes; sequences of bytes for string inputs.
        version : int or str, optional
            Number or label of the version to ask; the newest one by default.
        outputs : sequence of str, optional
            The outputs to send back; all by default.
        timeout : float, optional
            Deadline in seconds; the client's by default.

        Raises
        ------
        DataError
            An input of a type that cannot be sent.
        ServingError
            No server, not served, refused, too late, or an output outside [0, 1] that must be a probability.
        """
        request = PredictRequest(output_filter=outputs or ())
        _specify(request, model, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            try:
                fill_tensor(request.inputs[name], value)
            except (TypeError, ValueError) as error:
                raise DataError(f"input `{name}` of {model} cannot be sent: {error}") from error
        response = yield from self._ask(request, self._deadline(timeout))
        answered = int(response.model_spec.version.value)
        who = f"the reply of {model} version {answered} at {self.target}"
        if version is not None and not isinstance(version, str) and answered != version:
            raise ServingError(f"{who} is not used: version {version} was asked")
        try:
            arrays = {name: read_tensor(proto) for name, proto in response.outputs.items()}
        except ValueError as error:
            raise ServingError(f"{who} cannot be read: {error}") from error
        sizes = {len(value) for value in inputs.values() if getattr(value, "ndim", 1)}
        rows = sizes.pop() if len(sizes) == 1 else None
        reply = Reply(model, answered, check_outputs(arrays, model=model, version=answered, rows=rows))
        return self._complete(reply, outputs or ())

    def predict_images(
        self, model: str, images: Sequence[bytes | Path], *, version: Version = None, timeout: float | None = None
    ) -> Steps[Reply]:
        """Ask a full-disk model about JPEG or PNG files, given as their bytes or paths (N,).

        An image of 512² pixels is about 0.2 MB as a file, 1 MB as numbers: send files where you have them.
        """
        if isinstance(images, bytes | str | Path) or not images:
            raise DataError(_IMAGES_RULE)
        encoded = {"image": [_read_image(image) for image in images]}
        reply = yield from self.predict(model, encoded, signature="predict_image", version=version, timeout=timeout)
        return self._complete(reply, OUTPUTS["image"])

    def predict_magnetograms(
        self, model: str, data: npt.ArrayLike, *, version: Version = None, timeout: float | None = None
    ) -> Steps[Reply]:
        """Ask a full-disk model about magnetograms: (N, H, W, 1), gauss, north up, NaN off disk."""
        field = np.asarray(data, dtype=np.float32)
        if field.ndim != 4 or field.shape[-1] != 1 or 0 in field.shape:
            raise DataError(f"`data` must have shape (N, H, W, 1), got {field.shape}")
        reply = yield from self.predict(model, {"magnetogram": field}, version=version, timeout=timeout)
        return self._complete(reply, OUTPUTS["image"])

    def predict_regions(
        self,
        model: str,
        table: "pd.DataFrame",
        *,
        version: Version = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Steps[Reply]:
        """Ask a region model about the rows of a region table; one answer per row, in the table's order.

        Parameters
        ----------
        table : DataFrame
            One row per region and time: the key columns (`time`, `region`, ...) and, by name and in their own units,
            the features that the model's metadata names as its inputs; empty cells = not measured.
        ignore : collection of str
            Columns that are neither keys nor features, such as outcomes.
        version, timeout
            See `predict`.

        Raises
        ------
        DataError
            A feature column is missing, unknown, not numeric or infinite, or there are no rows.
        ServingError
            See `predict`.
        """
        deadline = self._deadline(timeout)
        remembered = self._metadata.get((model, version))
        while True:
            metadata = yield from self.metadata(model, version=version, timeout=deadline)
            try:
                features = sorted(metadata.inputs.get("serving_default", {}))
                inputs = region_inputs(table, features, model=model, ignore=ignore)
                reply = yield from self.predict(model, inputs, version=version, timeout=deadline)
                return self._complete(reply, OUTPUTS["region"])
            except (DataError, ServingError) as error:
                # A version published since may have other inputs: ask for them again before the error is believed.
                doubtful = isinstance(error, DataError) or code_of(error) is grpc.StatusCode.INVALID_ARGUMENT
                if remembered is None or not doubtful:
                    raise
                self._metadata.pop((model, version), None)
                if (yield from self.metadata(model, version=version, timeout=deadline)).inputs == remembered.inputs:
                    raise
                remembered = None

    def metadata(self, model: str, *, version: Version = None, timeout: float | None = None) -> Steps[Metadata]:
        """Signatures of a model, asked once per model and version and then remembered."""
        deadline, known = self._deadline(timeout), self._metadata.get((model, version))
        if known is None:
            request = GetModelMetadataRequest(metadata_field=["signature_def"])
            _specify(request, model, version)
            response = yield from self._ask(request, deadline)
            known = self._metadata[model, version] = Metadata.read(response)
        return known

    def status(self, model: str, *, timeout: float | None = None) -> Steps[list[VersionState]]:
        """State of each version of a model that the server knows, newest first."""
        return self._status(model, self._deadline(timeout), explain=True)

    def served(
        self, names: Collection[str] = model_names(), *, timeout: float | None = None
    ) -> Steps[dict[str, list[int]]]:
        """Those of the named models that answer, and their versions, newest first (the API cannot list names)."""
        found, deadline = {}, self._deadline(timeout)
        for name in names:
            try:
                states = yield from self._status(name, deadline, explain=False)
            except ServingError as error:
                if code_of(error) is not grpc.StatusCode.NOT_FOUND:
                    raise
                continue
            if versions := [state.version for state in states if state.state == "AVAILABLE"]:
                found[name] = versions
        return found

    def wait_until_available(self, model: str, deadline: float = 60.0) -> Steps[int]:
        """Wait until a version of the model answers, `deadline` seconds at most; returns the newest such version."""
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
            yield Step(None, max(0.0, min(0.1, end - time.monotonic())))
        raise ServingError(f"`{model}` at {self.target} is not available after {deadline:g} s: {reason}")

    def _deadline(self, timeout: float | None) -> _Deadline:
        if isinstance(timeout, _Deadline):
            return timeout
        return _Deadline(self.timeout if timeout is None else timeout)

    def _complete(self, reply: Reply, names: Sequence[str]) -> Reply:
        if absent := [name for name in names if name not in reply.outputs]:
            who, has = f"{reply.model} version {reply.version}", ", ".join(sorted(reply.outputs)) or "nothing"
            what = f"the reply of {who} at {self.target} has no `{'`, `'.join(absent)}`, only {has}"
            raise ServingError(f"{what}: serve a model that kflare.fit published, or ask for what it has")
        return reply

    def _status(self, model: str, deadline: _Deadline, *, explain: bool) -> Steps[list[VersionState]]:
        request = GetModelStatusRequest()
        _specify(request, model, None)
        return VersionState.read((yield from self._ask(request, deadline, explain=explain)))

    def _ask(self, request: Any, deadline: _Deadline, *, explain: bool = True) -> Steps[Any]:
        failed: Exception | None = None
        for again in (self._retries, False):
            if self.closed:
                break
            try:
                return self._read((yield Step(request, deadline.left())), request)
            except grpc.RpcError as error:
                failed = failed or error
                # The server went away while it answered: gRPC's own retries do not cover that.
                cut_off = error.code() is grpc.StatusCode.UNAVAILABLE and "Stream removed" in str(error.details())
                if not (again and cut_off):
                    break
            except (ValueError, grpc.aio.UsageError) as error:  # what gRPC says once the channel is closed
                if not self.closed:
                    raise
                failed = failed or error
        if self.closed:
            raise ServingError(f"the client of {self.target} is closed: make another one") from failed
        message = describe_failure(failed, request.model_spec, target=self.target, seconds=deadline)
        if explain and is_unknown_model(failed, request.model_spec):
            message += f"; served there: {(yield from self._served_names(request.model_spec.name, deadline))}"
        raise ServingError(message) from failed

    def _read(self, answer: bytes, request: Any) -> Any:
        try:
            return RPC_METHODS[type(request).__name__][1].FromString(answer)
        except DecodeError as error:
            message = f"the answer of {self.target} for {request.model_spec.name} cannot be read: {error}"
            raise ServingError(message) from error

    def _served_names(self, model: str, deadline: _Deadline) -> Steps[str]:
        try:
            served = yield from self.served({*model_names(), model}, timeout=min(1.0, deadline.left()))
        except ServingError:
            return "unknown"
        return ", ".join(f"{name} ({', '.join(map(str, served[name]))})" for name in sorted(served)) or "none"


def _read_image(image: bytes | Path) -> bytes:
    try:
        encoded = image.read_bytes() if isinstance(image, Path) else image
    except OSError as error:
        raise DataError(f"the image {error.filename} cannot be read: {error.strerror}") from error
    if not isinstance(encoded, bytes) or not encoded:
        raise DataError(_IMAGES_RULE)
    return encoded


def _specify(request: Any, model: str, version: Version) -> None:
    request.model_spec.name = model
    if isinstance(version, str):
        request.model_spec.version_label = version
    elif version is not None:
        request.model_spec.version.value = version
