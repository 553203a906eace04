"""Ask a server of kflare's models (TensorFlow Serving, or the embedded one) over gRPC.

    with Client("127.0.0.1:8500") as client:
        reply = client.predict_regions("defn-c", table)
        p_disk = full_disk_probability(reply.outputs["probability"])

TensorFlow is not imported, not even by a request. `AsyncClient` is the same for asyncio, every method to be awaited:
`async with AsyncClient("127.0.0.1:8500") as client: reply = await client.predict_images("cnn-m", [path])`.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar, Unpack

import grpc
import grpc.aio

from kflare.errors import SettingError
from kflare.serving.client.requests import ClientRequests, PredictOptions, SignatureInputs
from kflare.serving.messages.replies import Reply

_P = ParamSpec("_P")
_Result = TypeVar("_Result")


class _Call(NamedTuple):
    """What a coroutine waits for here: it is given the call to make, by which its errors arise where it waits."""

    method: Any
    request: Any
    seconds: float

    def __await__(self) -> Generator[Self, Callable[[], bytes], bytes]:
        return (yield self)()


class _Requests(ClientRequests):
    """The requests, as coroutines that stop at each call."""

    _api = grpc

    async def _send(self, request: Any, seconds: float) -> bytes:
        return await _Call(self._method(request), request, seconds)

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _method(
    steps: Callable[Concatenate[ClientRequests, _P], Coroutine[_Call, Any, _Result]],
) -> Callable[Concatenate["Client", _P], _Result]:
    @wraps(steps)
    def call(self: "Client", /, *args: _P.args, **options: _P.kwargs) -> _Result:
        return _run(steps(self._requests, *args, **options))

    return call


def _run(steps: Coroutine[_Call, Any, _Result], answer: Callable[[], bytes] | None = None) -> _Result:
    try:
        while True:
            call = steps.send(answer)
            answer = partial(call.method, call.request, timeout=call.seconds)
    except StopIteration as done:
        return done.value


class Client:
    """A connection to one server, or to several; safe to use from many threads. Settings: see `ClientRequests`."""

    def __init__(
        self, target: str = "127.0.0.1:8500", *, timeout: float = 10.0, credentials: Any = None,
        ca: Path | None = None, cert: Path | None = None, key: Path | None = None, max_attempts: int = 5
    ) -> None:  # fmt: skip
        tls = {"credentials": credentials, "ca": ca, "cert": cert, "key": key}
        self._requests = _Requests(target, timeout=timeout, max_attempts=max_attempts, **tls)
        self.target, self.timeout = target, timeout

    predict = _method(ClientRequests.predict)
    predict_images = _method(ClientRequests.predict_images)
    predict_magnetograms = _method(ClientRequests.predict_magnetograms)
    predict_regions = _method(ClientRequests.predict_regions)
    metadata = _method(ClientRequests.metadata)
    byte_range = _method(ClientRequests.byte_range)
    status = _method(ClientRequests.status)
    served = _method(ClientRequests.served)
    wait_until_available = _method(ClientRequests.wait_until_available)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; requests under way in other threads fail at once with `ServingError`."""
        self._requests.closed = True
        self._requests.channel.close()

    def predict_bulk(
        self, model: str, batches: Iterable[SignatureInputs], *, in_flight: int = 4, **options: Unpack[PredictOptions]
    ) -> Iterator[Reply]:
        """Run a signature on many batches, sending the next ones while the server works on the first.

        `batches` are the inputs of each request, as for `predict`; they are read as the replies come, so they may be
        endless. An exception that they raise ends everything, like a failed request: the requests under way are
        cancelled. At most `in_flight` requests are under way: twice the number of the server's cores is enough to keep
        it busy. The other options are those of `predict`; give a `version` where one version must answer all. Replies
        come one per batch, in their order.
        """
        if in_flight < 1:
            raise SettingError(f"`in_flight` must be 1 or more, got {in_flight}")
        under_way: deque[tuple[Coroutine[_Call, Any, Reply], Any]] = deque()
        try:
            for inputs in batches:
                if len(under_way) == in_flight:
                    steps, future = under_way.popleft()
                    yield _run(steps, future.result)
                steps = self._requests.predict(model, inputs, **options)
                call = steps.send(None)  # `predict` begins with its request
                under_way.append((steps, call.method.future(call.request, timeout=call.seconds)))
            while under_way:
                steps, future = under_way.popleft()
                yield _run(steps, future.result)
        finally:
            for steps, future in under_way:
                future.cancel()
                steps.close()


class AsyncClient(ClientRequests):
    """A connection to one server, or to several, for the event loop in which it is made.

    A request whose task is cancelled is cancelled on the server too. Its settings are those of `ClientRequests`.
    """

    _api = grpc.aio
    _sleep = staticmethod(asyncio.sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; requests under way in other tasks fail at once with `ServingError`."""
        self.closed = True
        await self.channel.close()

    async def predict_bulk(
        self, model: str, batches: Iterable[SignatureInputs] | AsyncIterable[SignatureInputs], *, in_flight: int = 4,
        **options: Unpack[PredictOptions]
    ) -> AsyncIterator[Reply]:  # fmt: skip
        """See `Client.predict_bulk`; replies come by `async for`, and so may the batches."""
        if in_flight < 1:
            raise SettingError(f"`in_flight` must be 1 or more, got {in_flight}")
        under_way: deque[asyncio.Task[Reply]] = deque()
        try:
            async for inputs in batches if isinstance(batches, AsyncIterable) else _each(batches):
                if len(under_way) == in_flight:
                    yield await under_way[0]
                    under_way.popleft()
                under_way.append(asyncio.create_task(self.predict(model, inputs, **options)))
            while under_way:
                yield await under_way[0]
                under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _send(self, request: Any, seconds: float) -> bytes:
        try:
            return await self._method(request)(request, timeout=seconds)
        except asyncio.CancelledError:
            # gRPC ends a call in this way, too, when its channel is closed; then nobody cancelled this task.
            task = asyncio.current_task()
            if not self.closed or (task is not None and task.cancelling()):
                raise
            raise grpc.aio.UsageError("closed") from None


async def _each(batches: Iterable[SignatureInputs]) -> AsyncIterator[SignatureInputs]:
    for inputs in batches:
        yield inputs
