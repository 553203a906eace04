"""The client for asyncio: `Client` with every method to be awaited.

Example: `async with AsyncClient("127.0.0.1:8500") as client: reply = await client.predict_images("cnn-m", [path])`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import grpc
import grpc.aio

from kflare.errors import SettingError
from kflare.serving.client.client import ClientBase, document
from kflare.serving.client.protocol import ClientProtocol, PredictOptions, SignatureInputs, Steps
from kflare.serving.client.replies import Reply

__all__ = ["AsyncClient"]

_P = ParamSpec("_P")
_Result = TypeVar("_Result")


def _method(
    steps: Callable[Concatenate[ClientProtocol, _P], Steps[_Result]],
) -> Callable[Concatenate["AsyncClient", _P], Awaitable[_Result]]:
    async def call(self: "AsyncClient", /, *args: _P.args, **options: _P.kwargs) -> _Result:
        return await self._run(steps(self._protocol, *args, **options))

    document(call, steps)
    return call


class AsyncClient(ClientBase):
    """A connection to one server, or to several, for the event loop in which it is made.

    A request whose task is cancelled is cancelled on the server too.
    """

    _api = grpc.aio

    predict = _method(ClientProtocol.predict)
    predict_images = _method(ClientProtocol.predict_images)
    predict_magnetograms = _method(ClientProtocol.predict_magnetograms)
    predict_regions = _method(ClientProtocol.predict_regions)
    metadata = _method(ClientProtocol.metadata)
    status = _method(ClientProtocol.status)
    served = _method(ClientProtocol.served)
    wait_until_available = _method(ClientProtocol.wait_until_available)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; requests under way in other tasks fail at once with `ServingError`."""
        self._protocol.closed = True
        await self._channel.close()

    async def predict_bulk(
        self,
        model: str,
        batches: Iterable[SignatureInputs] | AsyncIterable[SignatureInputs],
        *,
        in_flight: int = 4,
        **options: Unpack[PredictOptions],
    ) -> AsyncIterator[Reply]:
        """See `Client.predict_bulk`; replies come by `async for`, and so may the batches."""
        if in_flight < 1:
            raise SettingError(f"`in_flight` must be 1 or more, got {in_flight}")
        under_way: deque[asyncio.Task[Reply]] = deque()
        try:
            async for inputs in batches if isinstance(batches, AsyncIterable) else _each(batches):
                if len(under_way) == in_flight:
                    yield await under_way[0]
                    under_way.popleft()
                under_way.append(asyncio.create_task(self._run(self._protocol.predict(model, inputs, **options))))
            while under_way:
                yield await under_way[0]
                under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _run(self, steps: Steps[_Result]) -> _Result:
        answer: Any = None
        try:
            while True:
                step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
                if step.request is None:
                    await asyncio.sleep(step.seconds)
                    answer = None
                    continue
                try:
                    answer = await self._send(step)
                except (grpc.RpcError, grpc.aio.UsageError) as error:
                    answer = error
                except asyncio.CancelledError:
                    # gRPC ends a call in this way, too, when its channel is closed; then nobody cancelled this task.
                    task = asyncio.current_task()
                    if not self._protocol.closed or (task is not None and task.cancelling()):
                        raise
                    answer = grpc.aio.UsageError("closed")
        except StopIteration as done:
            return done.value


async def _each(batches: Iterable[SignatureInputs]) -> AsyncIterator[SignatureInputs]:
    for inputs in batches:
        yield inputs
