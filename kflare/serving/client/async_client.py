"""The client for asyncio: `Client` with every method to be awaited.

Example: `async with AsyncClient("127.0.0.1:8500") as client: reply = await client.predict_images("cnn-m", [path])`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Self, Unpack

import grpc.aio

from kflare.errors import SettingError
from kflare.serving.client.requests import ClientRequests, PredictOptions, SignatureInputs
from kflare.serving.messages.replies import Reply

__all__ = ["AsyncClient"]


class AsyncClient(ClientRequests):
    """A connection to one server, or to several, for the event loop in which it is made.

    A request whose task is cancelled is cancelled on the server too. Its settings are those of `ClientRequests`.
    """

    _api = grpc.aio

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; requests under way in other tasks fail at once with `ServingError`."""
        self.closed = True
        await self.channel.close()

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

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _each(batches: Iterable[SignatureInputs]) -> AsyncIterator[SignatureInputs]:
    for inputs in batches:
        yield inputs
