"""Ask a server of kflare's models (TensorFlow Serving, or the embedded one) over gRPC.

    with Client("127.0.0.1:8500") as client:
        reply = client.predict_regions("defn-c", table)
        p_disk = full_disk_probability(reply.outputs["probability"])

TensorFlow is not imported, not even by a request. `AsyncClient` is the same for asyncio.
"""

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import numpy.typing as npt

from kflare.errors import SettingError
from kflare.models.registry import model_names
from kflare.serving.client.channel import connection, open_channel
from kflare.serving.client.messages import METHODS
from kflare.serving.client.probabilities import full_disk_probability
from kflare.serving.client.protocol import Conversation, Inputs, Pause, Steps, Version
from kflare.serving.client.replies import Metadata, Reply, TensorInfo, VersionState

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Client", "Metadata", "Reply", "TensorInfo", "VersionState", "full_disk_probability"]

_Result = TypeVar("_Result")
_FAILURES = (grpc.RpcError, ValueError)  # ValueError: closed in the meantime


class Client:
    """A connection to one server, or to several; safe to use from many threads.

    Parameters
    ----------
    target : str
        `host:port`; several of them with commas between; or a gRPC target such as `dns:///forecast.example:8500`.
        Requests go round robin to all addresses, past those that are down or not healthy (grpc.health.v1). Names in a
        list are looked up once, those of a `dns:` target again when a connection breaks. With TLS the certificates of
        a list must all be valid for the first host.
    timeout : float
        Deadline of each request in seconds, retries included; calls may have one of their own.
    credentials : grpc.ChannelCredentials, optional
        For TLS by other means than `ca`, `cert`, `key`.
    ca, cert, key : path, optional
        PEM files: the authority to trust, and for mutual TLS the client's certificate and key.
    max_attempts : int
        How often a request is sent at most, 1 to 5; only UNAVAILABLE and CANCELLED (a server that stops) are tried
        again, after pauses that grow and, with 5, fill three quarters of `timeout`.

    Raises
    ------
    SettingError
        A setting that cannot be, or a PEM file that cannot be read.
    ServingError
        A name in a list of servers that is not known.
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
        self.target = target
        self.timeout = timeout
        self._ask = Conversation(target, timeout, patient=max_attempts > 1)
        options = {"credentials": credentials, "ca": ca, "cert": cert, "key": key, "max_attempts": max_attempts}
        self._channel = open_channel(connection(target, timeout=timeout, **options))
        self._methods = methods(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what is under way in other threads fails at once with `ServingError`."""
        self._ask.closed = True
        self._channel.close()

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        signature: str = "serving_default",
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
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
        version : int or str, optional
            The version that shall answer, or its label; the newest one by default.
        outputs : sequence of str, optional
            The outputs to send back; all by default.
        timeout : float, optional
            Deadline in seconds; the client's by default.

        Raises
        ------
        DataError
            An input of a type that cannot be sent.
        ServingError
            No server, not served, refused, too late, or a probability that is none.
        """
        return self._run(
            self._ask.predict(model, inputs, signature=signature, version=version, outputs=outputs, timeout=timeout)
        )

    def predict_bulk(
        self,
        model: str,
        batches: Iterable[Inputs],
        *,
        signature: str = "serving_default",
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
        in_flight: int = 4,
    ) -> Iterator[Reply]:
        """Run a signature on many batches, the next ones on their way while the server works on the first.

        Parameters
        ----------
        batches : iterable of mappings
            The inputs of each request, as for `predict`; taken up as the replies come, so it may be endless. What it
            raises ends the whole, like a failed request: those under way are withdrawn.
        in_flight : int
            How many requests are under way at most: twice the number of the server's cores is enough to keep it busy.

        Yields
        ------
        Reply
            One per batch, in their order; for the other parameters and errors see `predict`. Ask for a `version` where
            all must be answered by one.
        """
        if in_flight < 1:
            raise SettingError(f"`in_flight` must be 1 or more, got {in_flight}")
        under_way: deque[tuple[Steps[Reply], Any]] = deque()
        try:
            for inputs in batches:
                if len(under_way) == in_flight:
                    yield self._finish(*under_way.popleft())
                steps = self._ask.predict(
                    model, inputs, signature=signature, version=version, outputs=outputs, timeout=timeout
                )
                call: Any = next(steps)  # `predict` begins with its request
                method = self._methods[type(call.request).__name__]
                under_way.append((steps, method.future(call.request, timeout=call.timeout)))
            while under_way:
                yield self._finish(*under_way.popleft())
        finally:
            for _, future in under_way:
                future.cancel()

    def predict_images(
        self, model: str, images: Sequence[bytes | Path], *, version: Version = None, timeout: float | None = None
    ) -> Reply:
        """Ask a full-disk model about JPEG or PNG files, given as their bytes or paths (N,).

        An image of 512² pixels is about 0.2 MB as a file, 1 MB as numbers: send files where you have them.
        """
        return self._run(self._ask.predict_images(model, images, version=version, timeout=timeout))

    def predict_magnetograms(
        self, model: str, data: npt.ArrayLike, *, version: Version = None, timeout: float | None = None
    ) -> Reply:
        """Ask a full-disk model about magnetograms: (N, H, W, 1), gauss, north up, NaN off disk."""
        return self._run(self._ask.predict_magnetograms(model, data, version=version, timeout=timeout))

    def predict_regions(
        self,
        model: str,
        table: "pd.DataFrame",
        *,
        version: Version = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Reply:
        """Ask a region model about the rows of a region table; one answer per row, in the table's order.

        Parameters
        ----------
        model : str
            Name of the model.
        table : DataFrame
            See :func:`region_inputs`, which also tells which tables are refused before anything is sent. The features
            are those that the server's model names as its inputs.
        version : int or str, optional
            The version that shall answer, or its label; the newest one by default.
        ignore : collection of str
            Columns that are neither keys nor features, to pass over.
        timeout : float, optional
            Deadline in seconds; the client's by default.

        Raises
        ------
        DataError
            A feature column is missing, unknown, not numeric or infinite.
        ServingError
            See `predict`.
        """
        return self._run(self._ask.predict_regions(model, table, version=version, ignore=ignore, timeout=timeout))

    def metadata(self, model: str, *, version: Version = None, timeout: float | None = None) -> Metadata:
        """Signatures of a model, asked once per model and version and then remembered."""
        return self._run(self._ask.metadata(model, version=version, timeout=timeout))

    def status(self, model: str, *, timeout: float | None = None) -> list[VersionState]:
        """State of each version of a model that the server knows, newest first."""
        return self._run(self._ask.status(model, timeout=timeout))

    def served(self, names: Collection[str] = model_names()) -> dict[str, list[int]]:
        """Those of the named models that answer, and their versions, newest first (the API cannot list names).

        Raises
        ------
        ServingError
            No server.
        """
        return self._run(self._ask.served(names))

    def wait_until_available(self, model: str, deadline: float = 60.0) -> int:
        """Wait until a version of the model answers, `deadline` seconds at most; returns the newest such version."""
        return self._run(self._ask.wait_until_available(model, deadline))

    def _run(self, steps: Steps[_Result]) -> _Result:
        return self._go_on(steps, None)

    def _finish(self, steps: Steps[Reply], future: Any) -> Reply:
        try:
            reply = future.result()
        except _FAILURES as error:
            return self._go_on(steps, error)
        return self._go_on(steps, reply)

    def _go_on(self, steps: Steps[_Result], said: Any) -> _Result:
        """Make the calls that a question wants; `said` is what its latest call brought."""
        try:
            while True:
                step: Any = steps.throw(said) if isinstance(said, _FAILURES) else steps.send(said)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    said = None
                    continue
                try:
                    said = self._methods[type(step.request).__name__](step.request, timeout=step.timeout)
                except _FAILURES as error:
                    said = error
        except StopIteration as done:
            return done.value


def methods(channel: Any) -> dict[str, Any]:
    """The calls of a channel of `grpc` or `grpc.aio`, by the name of their request; they bring bytes."""
    return {
        name: channel.unary_unary(path, request_serializer=lambda request: request.SerializeToString())
        for name, (path, _) in METHODS.items()
    }
