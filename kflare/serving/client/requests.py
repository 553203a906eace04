"""The requests of a client and the reading of their answers, as coroutines; the calls are left to subclasses.

A method that takes several calls has one deadline for all of them.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from kflare.datasets.region_inputs import region_inputs
from kflare.errors import DataError, ServingError
from kflare.io.arrays import AnyArray, ArrayLike
from kflare.models.registry import BYTE_RANGE, DISK, OUTPUTS, model_names
from kflare.serving.client.channel import check_timeout, code_of, describe_failure, is_unknown_model, open_channel
from kflare.serving.messages.declared_messages import (
    RPC_METHODS,
    GetModelMetadataRequest,
    GetModelStatusRequest,
    PredictRequest,
)
from kflare.serving.messages.replies import Metadata, Reply, VersionState, check_outputs
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor

if TYPE_CHECKING:
    import pandas as pd

SignatureInputs = Mapping[str, AnyArray | Sequence[bytes]]
Version = int | str | None
"""A version's number, its label such as "stable", or None for the newest."""

_IMAGES_RULE = "`images` must be a non-empty list of JPEG or PNG files, as their bytes or paths"


class PredictOptions(TypedDict, total=False):
    """The options of `ClientRequests.predict`."""

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


class ClientRequests:
    """The requests to one target, over a channel of gRPC; remembers the signatures of its models.

    The target is `host:port`; several of them with commas between; or a gRPC target such as
    `dns:///forecast.example:8500`. Requests go round robin to all addresses, past those that are down or not healthy
    (grpc.health.v1). Names in a list are looked up once, those of a `dns:` target again when a connection breaks. With
    TLS the certificates of a list must all be valid for the first host.

    `timeout` is the deadline of each request in seconds, retries included; each method takes one of its own. For TLS
    `ca`, `cert` and `key` are PEM files, the authority to trust, and for mutual TLS the client's certificate and key;
    `credentials` (grpc.ChannelCredentials) are for other means. A request is sent `max_attempts` times at most, 1 to 5;
    only UNAVAILABLE and CANCELLED (a server that stops) are tried again, after pauses that grow and, with 5, fill three
    quarters of `timeout`.

    SettingError: a setting out of its range, or a PEM file that cannot be read. ServingError: a name in a list of
    servers that is not known.
    """

    _api: Any
    _send: Callable[[Any, float], Awaitable[bytes]]  # a request, and the seconds that it may take
    _sleep: Callable[[float], Awaitable[None]]

    def __init__(
        self, target: str = "127.0.0.1:8500", *, timeout: float = 10.0, credentials: Any = None,
        ca: Path | None = None, cert: Path | None = None, key: Path | None = None, max_attempts: int = 5
    ) -> None:  # fmt: skip
        self.target, self.timeout, self.closed = target, timeout, False
        self._retries = max_attempts > 1
        self._metadata: dict[tuple[str, Version], Metadata] = {}
        tls = {"credentials": credentials, "ca": ca, "cert": cert, "key": key}
        self.channel = open_channel(target, api=self._api, timeout=timeout, max_attempts=max_attempts, **tls)
        self._methods = {
            name: self.channel.unary_unary(path, request_serializer=lambda request: request.SerializeToString())
            for name, (path, _) in RPC_METHODS.items()
        }

    def _method(self, request: Any) -> Any:
        return self._methods[type(request).__name__]

    async def predict(
        self, model: str, inputs: SignatureInputs, *, signature: str = "serving_default", version: Version = None,
        outputs: Sequence[str] | None = None, timeout: float | None = None
    ) -> Reply:  # fmt: skip
        """Run a signature.

        The `inputs` are arrays by name, of the signature's types and shapes, or sequences of bytes for strings. Asked
        is the version of a number or label, by default the newest one, for some of its `outputs`, by default all,
        within `timeout` seconds, by default the client's deadline.

        DataError: an input of a type that cannot be sent, without rows, or of no disk that can be. ServingError: no
        server, not served, refused, too late, or an output outside [0, 1] that must be a probability.
        """
        sizes = {len(value) for value in inputs.values() if getattr(value, "ndim", 1)}
        if 0 in sizes:  # some such requests TensorFlow Serving never answers
            raise DataError(f"the inputs of {model} hold no rows: there is nothing to ask")
        request = PredictRequest(output_filter=outputs or ())
        _specify(request, model, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            try:
                if signature == DISK:
                    _require_disk(name, value)
                fill_tensor(request.inputs[name], value)
            except (TypeError, ValueError) as error:
                raise DataError(f"input `{name}` of {model} cannot be sent: {error}") from error
        response = await self._ask(request, self._deadline(timeout))
        answered = int(response.model_spec.version.value)
        who = f"the reply of {model} version {answered} at {self.target}"
        if version is not None and not isinstance(version, str) and answered != version:
            raise ServingError(f"{who} is not used: version {version} was asked")
        try:
            arrays = {name: read_tensor(proto) for name, proto in response.outputs.items()}
        except ValueError as error:
            raise ServingError(f"{who} cannot be read: {error}") from error
        rows = sizes.pop() if len(sizes) == 1 else None
        reply = Reply(model, answered, check_outputs(arrays, model=model, version=answered, rows=rows))
        return self._complete(reply, outputs or ())

    async def predict_images(
        self, model: str, images: Sequence[bytes | Path], *, version: Version = None, timeout: float | None = None
    ) -> Reply:
        """Ask a full-disk model about JPEG or PNG files, given as their bytes or paths (N,).

        An image of 512² pixels is about 0.2 MB as a file, 1 MB as numbers: send files where you have them. Bytes 0 to
        255 are taken for -100 to +100 G, whatever they are: of another scale (see `byte_range`), give
        `predict_magnetograms` what `read_magnetogram` makes of the file.
        """
        if isinstance(images, bytes | str | Path) or not images:
            raise DataError(_IMAGES_RULE)
        encoded = {"image": [_read_image(image) for image in images]}
        reply = await self.predict(model, encoded, signature="predict_image", version=version, timeout=timeout)
        return self._complete(reply, OUTPUTS["image"])

    async def predict_magnetograms(
        self, model: str, data: ArrayLike, *, version: Version = None, timeout: float | None = None
    ) -> Reply:
        """Ask a full-disk model about magnetograms: (N, H, W, 1), gauss, north up, NaN off disk."""
        field = np.asarray(data, dtype=np.float32)
        if field.ndim != 4 or field.shape[-1] != 1 or 0 in field.shape:
            raise DataError(f"`data` must have shape (N, H, W, 1), got {field.shape}")
        reply = await self.predict(model, {"magnetogram": field}, version=version, timeout=timeout)
        return self._complete(reply, OUTPUTS["image"])

    async def predict_regions(
        self, model: str, table: "pd.DataFrame", *, version: Version = None, ignore: Collection[str] = (),
        timeout: float | None = None
    ) -> Reply:  # fmt: skip
        """Ask a region model about the rows of a region table; one answer per row, in the table's order.

        The table has one row per region and time: the key columns (`time`, `region`, ...) and, by name and in their own
        units, the features that the model's metadata names as its inputs, empty cells being not measured. Columns to
        `ignore` are neither, such as outcomes. For the rest see `predict`; DataError too where a feature column is
        missing, unknown, not numeric or infinite.
        """
        deadline = self._deadline(timeout)
        remembered = self._metadata.get((model, version))
        while True:
            metadata = await self.metadata(model, version=version, timeout=deadline)
            try:
                features = sorted(metadata.inputs.get("serving_default", {}))
                inputs = region_inputs(table, features, model=model, ignore=ignore)
                reply = await self.predict(model, inputs, version=version, timeout=deadline)
                return self._complete(reply, OUTPUTS["region"])
            except (DataError, ServingError) as error:
                # A version published since may have other inputs: ask for them again before the error is believed.
                doubtful = isinstance(error, DataError) or code_of(error) is grpc.StatusCode.INVALID_ARGUMENT
                if remembered is None or not doubtful or table.empty:
                    raise
                self._metadata.pop((model, version), None)
                if (await self.metadata(model, version=version, timeout=deadline)).inputs == remembered.inputs:
                    raise
                remembered = None

    async def metadata(self, model: str, *, version: Version = None, timeout: float | None = None) -> Metadata:
        """Signatures of a model, asked once per model and version and then remembered."""
        deadline, known = self._deadline(timeout), self._metadata.get((model, version))
        if known is None:
            request = GetModelMetadataRequest(metadata_field=["signature_def"])
            _specify(request, model, version)
            response = await self._ask(request, deadline)
            known = self._metadata[model, version] = Metadata.read(response)
        return known

    async def byte_range(self, model: str, *, version: Version = None, timeout: float | None = None) -> float | None:
        """Gauss of byte 255 of the 8-bit images that a full-disk model learnt from; None where it does not tell."""
        deadline = self._deadline(timeout)
        if BYTE_RANGE not in (await self.metadata(model, version=version, timeout=deadline)).inputs:
            return None
        asked = {BYTE_RANGE: np.array([np.nan], np.float32)}
        reply = await self.predict(model, asked, signature=BYTE_RANGE, version=version, timeout=deadline)
        return float(self._complete(reply, [BYTE_RANGE]).outputs[BYTE_RANGE][0])

    async def status(self, model: str, *, timeout: float | None = None) -> list[VersionState]:
        """State of each version of a model that the server knows, newest first."""
        return await self._status(model, self._deadline(timeout), explain=True)

    async def served(
        self, names: Collection[str] = model_names(), *, timeout: float | None = None
    ) -> dict[str, list[int]]:
        """Those of the named models that answer, and their versions, newest first (the API cannot list names)."""
        found, deadline = {}, self._deadline(timeout)
        for name in names:
            try:
                states = await self._status(name, deadline, explain=False)
            except ServingError as error:
                if code_of(error) is not grpc.StatusCode.NOT_FOUND:
                    raise
                continue
            if versions := [state.version for state in states if state.state == "AVAILABLE"]:
                found[name] = versions
        return found

    async def wait_until_available(self, model: str, deadline: float = 60.0) -> int:
        """Wait until a version of the model answers, `deadline` seconds at most; returns the newest such version."""
        end = time.monotonic() + deadline
        reason = "no answer"
        while (left := end - time.monotonic()) > 0:
            try:
                states = await self._status(model, _Deadline(min(self.timeout, left)), explain=False)
                if available := [state.version for state in states if state.state == "AVAILABLE"]:
                    return max(available)
                reason = "; ".join(f"version {s.version} is {s.state} {s.error}".strip() for s in states)
            except ServingError as error:
                if self.closed:
                    raise
                reason = str(error)
            await self._sleep(max(0.0, min(0.1, end - time.monotonic())))
        raise ServingError(f"`{model}` at {self.target} is not available after {deadline:g} s: {reason}")

    def _deadline(self, timeout: float | None) -> _Deadline:
        return timeout if isinstance(timeout, _Deadline) else _Deadline(self.timeout if timeout is None else timeout)

    def _complete(self, reply: Reply, names: Sequence[str]) -> Reply:
        if absent := [name for name in names if name not in reply.outputs]:
            who, has = f"{reply.model} version {reply.version}", ", ".join(sorted(reply.outputs)) or "nothing"
            what = f"the reply of {who} at {self.target} has no `{'`, `'.join(absent)}`, only {has}"
            raise ServingError(f"{what}: serve a model that kflare.fit published, or ask for what it has")
        return reply

    async def _status(self, model: str, deadline: _Deadline, *, explain: bool) -> list[VersionState]:
        request = GetModelStatusRequest()
        _specify(request, model, None)
        return VersionState.read(await self._ask(request, deadline, explain=explain))

    async def _ask(self, request: Any, deadline: _Deadline, *, explain: bool = True) -> Any:
        failed: Exception | None = None
        for again in (self._retries, False):
            if self.closed:
                break
            try:
                answer = await self._send(request, deadline.left())
                return RPC_METHODS[type(request).__name__][1].FromString(answer)
            except DecodeError as error:
                message = f"the answer of {self.target} for {request.model_spec.name} cannot be read: {error}"
                raise ServingError(message) from error
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
            message += f"; served there: {(await self._served_names(request.model_spec.name, deadline))}"
        raise ServingError(message) from failed

    async def _served_names(self, model: str, deadline: _Deadline) -> str:
        try:
            served = await self.served({*model_names(), model}, timeout=min(1.0, deadline.left()))
        except ServingError:
            return "unknown"
        return ", ".join(f"{name} ({', '.join(map(str, served[name]))})" for name in sorted(served)) or "none"


def _require_disk(name: str, given: AnyArray | Sequence[bytes]) -> None:
    """Hold an input of the full disk to a probability, `combined`, or a count of flares; NaN is not known."""
    values = np.asarray(given, np.float64).ravel()
    most, rule = (1.0, "lie in [0, 1]") if name == "combined" else (1e9, "be a count of flares, 0 or more")
    if len(at := np.flatnonzero((values < 0) | (values > most))):  # NaN compares false
        seen = f"got {values[at[0]]:g} at index {at[0]}"
        raise DataError(f"input `{name}` of signature `{DISK}` must {rule}, or NaN (not known), {seen}")


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
