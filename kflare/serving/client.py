"""Ask a server of kflare's models (TensorFlow Serving, or the embedded one) over gRPC.

    with Client("127.0.0.1:8500") as client:
        reply = client.predict_regions("defn-c", table)
        p_disk = full_disk_probability(reply.outputs["probability"])

Importing this module is cheap; TensorFlow, whose message types the API is made of, is imported at the first request.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import numpy as np
import numpy.typing as npt

from kflare.errors import DataError, KflareError, ServingError, SettingError
from kflare.serving.channel import open_channel
from kflare.serving.probabilities import check_probabilities, full_disk_probability
from kflare.serving.region_inputs import region_inputs
from kflare.serving.replies import Metadata, Reply, TensorInfo, VersionState
from kflare.serving.tensors import decode_tensor, encode_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MODELS", "Client", "Metadata", "Reply", "TensorInfo", "VersionState", "full_disk_probability"]

MODELS = ("cnn-c", "cnn-m", "defn-c", "defn-m")
"""The names of kflare's models: full disk and region, each for ≥C1.0 and ≥M1.0 within 24 h."""


class Client:
    """A connection to one server, or to several behind one name.

    Parameters
    ----------
    target : str
        `host:port`, or a gRPC target such as `dns:///forecast.example:8500`; requests go round robin to all addresses
        that the name resolves to.
    timeout : float
        Deadline of each call in seconds, retries included.
    credentials : grpc.ChannelCredentials, optional
        For TLS by other means than `ca`, `cert`, `key`.
    ca, cert, key : path, optional
        PEM files: the authority to trust, and for mutual TLS the client's certificate and key.
    max_attempts : int
        How often a request is sent at most, 1 to 5; only UNAVAILABLE is tried again, after a growing pause.

    Raises
    ------
    SettingError
        A setting that cannot be, or a PEM file that cannot be read.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:8500",
        *,
        timeout: float = 10.0,
        credentials: Any = None,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        max_attempts: int = 5,
    ) -> None:
        if not timeout > 0:
            raise SettingError(f"`timeout` must be a positive number of seconds, got {timeout}")
        self.target = target
        self.timeout = timeout
        self._metadata: dict[tuple[str, int | None], Metadata] = {}
        self._channel = open_channel(
            target, credentials=credentials, ca=ca, cert=cert, key=key, max_attempts=max_attempts
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def predict(
        self,
        model: str,
        inputs: Mapping[str, npt.NDArray[Any] | Sequence[bytes]],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> Reply:
        """Run a signature.

        Parameters
        ----------
        model : str
            Name of the model.
        inputs : mapping
            Arrays by input name, of the signature's types and shapes; sequences of bytes for string inputs.
        signature : str
            Name of the signature.
        version : int, optional
            The version that shall answer; the newest one by default.
        outputs : sequence of str, optional
            The outputs to send back; all by default.

        Raises
        ------
        ServingError
            No server, not served, refused, too late, or a probability that is none.
        """
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        request = PredictRequest(output_filter=outputs or ())
        _specify(request, model, version)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(encode_tensor(value))
        response = self._call(self._prediction.Predict, request)
        answered = int(response.model_spec.version.value)
        try:
            arrays = {name: decode_tensor(proto) for name, proto in response.outputs.items()}
        except ValueError as error:
            message = f"the reply of {model} version {answered} at {self.target} cannot be read: {error}"
            raise ServingError(message) from error
        sizes = {len(value) for value in inputs.values() if getattr(value, "ndim", 1)}
        rows = sizes.pop() if len(sizes) == 1 else None
        return Reply(model, answered, check_probabilities(arrays, model=model, version=answered, rows=rows))

    def predict_images(self, model: str, images: Sequence[bytes], *, version: int | None = None) -> Reply:
        """Ask a full-disk model about JPEG or PNG files, given as their bytes (N,)."""
        if isinstance(images, bytes) or not images or not all(isinstance(image, bytes) and image for image in images):
            raise DataError("`images` must be a non-empty list of the bytes of JPEG or PNG files")
        return self.predict(model, {"image": list(images)}, signature="predict_image", version=version)

    def predict_magnetograms(self, model: str, data: npt.ArrayLike, *, version: int | None = None) -> Reply:
        """Ask a full-disk model about magnetograms: (N, H, W, 1), gauss, north up, NaN off disk."""
        field = np.asarray(data, dtype=np.float32)
        if field.ndim != 4 or field.shape[-1] != 1 or 0 in field.shape:
            raise DataError(f"`data` must have shape (N, H, W, 1), got {field.shape}")
        return self.predict(model, {"magnetogram": field}, version=version)

    def predict_regions(
        self, model: str, table: "pd.DataFrame", *, version: int | None = None, ignore: Collection[str] = ()
    ) -> Reply:
        """Ask a region model about the rows of a region table; one answer per row, in the table's order.

        Parameters
        ----------
        model : str
            Name of the model.
        table : DataFrame
            See `kflare.serving.region_inputs.region_inputs`, which also tells which tables are refused before anything
            is sent. The features are those that the server's model names as its inputs.
        version : int, optional
            The version that shall answer; the newest one by default.
        ignore : collection of str
            Columns that are neither keys nor features, to pass over.

        Raises
        ------
        DataError
            A feature column is missing, unknown, not numeric or infinite.
        ServingError
            See `predict`.
        """
        remembered = self._metadata.get((model, version))
        try:
            return self._ask_regions(model, table, version, ignore)
        except (DataError, ServingError) as error:
            # A version published since may have other inputs: what was remembered does not decide by itself.
            if remembered is None or not (isinstance(error, DataError) or _refused_as_invalid(error)):
                raise
            del self._metadata[model, version]
            if self.metadata(model, version=version).inputs == remembered.inputs:
                raise
            return self._ask_regions(model, table, version, ignore)

    def metadata(self, model: str, *, version: int | None = None) -> Metadata:
        """Signatures of a model, asked once per model and version and then remembered."""
        from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest

        if (model, version) not in self._metadata:
            request = GetModelMetadataRequest(metadata_field=["signature_def"])
            _specify(request, model, version)
            response = self._call(self._prediction.GetModelMetadata, request)
            self._metadata[model, version] = Metadata.read(response)
        return self._metadata[model, version]

    def status(self, model: str) -> list[VersionState]:
        """State of each version of a model that the server knows, newest first."""
        return self._status(model, self.timeout, explain=True)

    def served(self, names: Collection[str] = MODELS) -> dict[str, list[int]]:
        """Those of the named models that answer, and their versions, newest first (the API cannot list names)."""
        found = {}
        for name in names:
            try:
                states = self._status(name, min(1.0, self.timeout), explain=False)
            except ServingError:
                continue
            if versions := [state.version for state in states if state.state == "AVAILABLE"]:
                found[name] = versions
        return found

    def wait_until_available(self, model: str, deadline: float = 60.0) -> int:
        """Wait until a version of the model answers, `deadline` seconds at most; returns the newest such version."""
        end = time.monotonic() + deadline
        reason = "no answer"
        while (left := end - time.monotonic()) > 0:
            try:
                states = self._status(model, min(self.timeout, left), explain=False)
                available = [state.version for state in states if state.state == "AVAILABLE"]
                if available:
                    return max(available)
                reason = "; ".join(f"version {s.version} is {s.state} {s.error}".strip() for s in states)
            except ServingError as error:
                reason = str(error)
            time.sleep(max(0.0, min(0.1, end - time.monotonic())))
        raise ServingError(f"`{model}` at {self.target} is not available after {deadline:g} s: {reason}")

    def _ask_regions(self, model: str, table: "pd.DataFrame", version: int | None, ignore: Collection[str]) -> Reply:
        features = sorted(self.metadata(model, version=version).inputs.get("serving_default", {}))
        inputs = region_inputs(table, features, model=model, ignore=ignore)
        return self.predict(model, inputs, version=version)

    @cached_property
    def _prediction(self) -> Any:
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        return PredictionServiceStub(self._channel)

    def _status(self, model: str, timeout: float, *, explain: bool) -> list[VersionState]:
        from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
        from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

        request = GetModelStatusRequest()
        _specify(request, model, None)
        response = self._call(ModelServiceStub(self._channel).GetModelStatus, request, timeout, explain=explain)
        return VersionState.read(response)

    def _call(
        self, method: Callable[..., Any], request: Any, timeout: float | None = None, *, explain: bool = True
    ) -> Any:
        try:
            return method(request, timeout=timeout or self.timeout)
        except grpc.RpcError as error:
            spec = request.model_spec
            version = int(spec.version.value) if spec.HasField("version") else None
            raise ServingError(self._explain(error, spec.name, version, ask_more=explain)) from error

    def _explain(self, error: Any, model: str, version: int | None, *, ask_more: bool) -> str:
        """One line for a failed call: where, what, the status code, what to do."""
        code, details = error.code(), " ".join(str(error.details()).split())[:300]
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                return (
                    f"no server at {self.target} to ask for {model} (UNAVAILABLE: {details}); "
                    "start one with python -m kflare.serve, or give the address of one"
                )
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return (
                    f"no answer from {self.target} for {model} within the deadline of {self.timeout:g} s "
                    "(DEADLINE_EXCEEDED); ask for less at a time or raise `timeout`"
                )
            case grpc.StatusCode.NOT_FOUND:
                which = f"`{model}`" if version is None else f"version {version} of `{model}`"
                served = self.served({*MODELS, model}) if ask_more else {}
                names = ", ".join(f"{name} ({', '.join(map(str, served[name]))})" for name in sorted(served))
                return (
                    f"{which} is not served at {self.target} (NOT_FOUND: {details}); served there: {names or 'unknown'}"
                )
        return f"the server at {self.target} refused a request for {model} ({code.name}: {details})"


def _refused_as_invalid(error: KflareError) -> bool:
    cause = error.__cause__
    return isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.INVALID_ARGUMENT


def _specify(request: Any, model: str, version: int | None) -> None:
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
