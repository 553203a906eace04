"""Ask a server of kflare's models (TensorFlow Serving, or the embedded one) over gRPC.

    with Client("127.0.0.1:8500") as client:
        reply = client.predict_regions("defn-c", table)
        p_disk = full_disk_probability(reply.outputs["probability"])

TensorFlow is not imported, not even by a request. `AsyncClient` is the same for asyncio.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import grpc

from kflare.errors import SettingError
from kflare.serving.client.channel import open_channel
from kflare.serving.client.protocol import ClientProtocol, Inputs, PredictOptions, Step, Steps
from kflare.serving.client.replies import Reply
from kflare.serving.messages.api_messages import METHODS

__all__ = ["Client", "ClientBase", "document"]

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_FAILURES = (grpc.RpcError, ValueError)  # ValueError: closed in the meantime


class ClientBase:
    """What `Client` and `AsyncClient` are made of.

    Parameters
    ----------
    target : str
        `host:port`; several of them with commas between; or a gRPC target such as `dns:///forecast.example:8500`.
        Requests go round robin to all addresses, past those that are down or not healthy (grpc.health.v1). Names in a
        list are looked up once, those of a `dns:` target again when a connection breaks. With TLS the certificates of
        a list must all be valid for the first host.
    timeout : float
        Deadline of each request in seconds, retries included; each method takes one of its own.
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
        A setting out of its range, or a PEM file that cannot be read.
    ServingError
        A name in a list of servers that is not known.
    """

    _api: Any = grpc

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
        self._protocol = ClientProtocol(target, timeout, retries=max_attempts > 1)
        tls = {"credentials": credentials, "ca": ca, "cert": cert, "key": key}
        self._channel = open_channel(target, api=self._api, timeout=timeout, max_attempts=max_attempts, **tls)
        self._methods = {
            name: self._channel.unary_unary(path, request_serializer=lambda request: request.SerializeToString())
            for name, (path, _) in RPC_METHODS.items()
        }

    def _send(self, step: Step, *, future: bool = False) -> Any:
        method = self._methods[type(step.request).__name__]
        return (method.future if future else method)(step.request, timeout=step.seconds)


def document(method: Callable[..., Any], steps: Callable[..., Any]) -> None:
    """Give a client's method the signature and docstring of the protocol's, and the type of its result."""
    wraps(steps)(method)
    declared = signature(steps)
    method.__dict__["__signature__"] = declared.replace(return_annotation=declared.return_annotation.__args__[-1])


def _method(
    steps: Callable[Concatenate[ClientProtocol, _P], Steps[_Result]],
) -> Callable[Concatenate["Client", _P], _Result]:
    def call(self: "Client", /, *args: _P.args, **options: _P.kwargs) -> _Result:
        return self._run(steps(self._protocol, *args, **options))

    document(call, steps)
    return call


class Client(ClientBase):
    """A connection to one server, or to several; safe to use from many threads."""

    predict = _method(ClientProtocol.predict)
    predict_images = _method(ClientProtocol.predict_images)
    predict_magnetograms = _method(ClientProtocol.predict_magnetograms)
    predict_regions = _method(ClientProtocol.predict_regions)
    metadata = _method(ClientProtocol.metadata)
    status = _method(ClientProtocol.status)
    served = _method(ClientProtocol.served)
    wait_until_available = _method(ClientProtocol.wait_until_available)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; requests under way in other threads fail at once with `ServingError`."""
        self._protocol.closed = True
        self._channel.close()

    def predict_bulk(
        self, model: str, batches: Iterable[SignatureInputs], *, in_flight: int = 4, **options: Unpack[PredictOptions]
    ) -> Iterator[Reply]:
        """Run a signature on many batches, sending the next ones while the server works on the first.

        Parameters
        ----------
        batches : iterable of mappings
            The inputs of each request, as for `predict`; read as the replies come, so it may be endless. An exception
            that it raises ends everything, like a failed request: the requests under way are cancelled.
        in_flight : int
            How many requests are under way at most: twice the number of the server's cores is enough to keep it busy.
        **options
            As for `predict`. Give a `version` where one version must answer all.

        Yields
        ------
        Reply
            One per batch, in their order; for the errors see `predict`.
        """
        if in_flight < 1:
            raise SettingError(f"`in_flight` must be 1 or more, got {in_flight}")
        under_way: deque[tuple[Steps[Reply], Any]] = deque()
        try:
            for inputs in batches:
                if len(under_way) == in_flight:
                    yield self._finish(*under_way.popleft())
                steps = self._protocol.predict(model, inputs, **options)
                under_way.append((steps, self._send(next(steps), future=True)))  # `predict` begins with its request
            while under_way:
                yield self._finish(*under_way.popleft())
        finally:
            for _, future in under_way:
                future.cancel()

    def _finish(self, steps: Steps[Reply], future: Any) -> Reply:
        try:
            answer = future.result()
        except _FAILURES as error:
            answer = error
        return self._run(steps, answer)

    def _run(self, steps: Steps[_Result], answer: Any = None) -> _Result:
        """Take the protocol's steps to their end; `answer` is the bytes or the error of the latest one."""
        try:
            while True:
                step = steps.throw(answer) if isinstance(answer, _FAILURES) else steps.send(answer)
                if step.request is None:
                    time.sleep(step.seconds)
                    answer = None
                    continue
                try:
                    answer = self._send(step)
                except _FAILURES as error:
                    answer = error
        except StopIteration as done:
            return done.value
