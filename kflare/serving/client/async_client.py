"""The client for asyncio: `Client` with every method to be awaited.

Example: `async with AsyncClient("127.0.0.1:8500") as client: reply = await client.predict_images("cnn-m", [path])`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio
import numpy.typing as npt

from kflare.errors import SettingError
from kflare.models.registry import model_names
from kflare.serving.client.channel import connection, open_channel
from kflare.serving.client.client import methods
from kflare.serving.client.protocol import Conversation, Inputs, Pause, Steps, Version
from kflare.serving.client.replies import Metadata, Reply, VersionState

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AsyncClient"]

_Result = TypeVar("_Result")


class AsyncClient:
    """A connection to one server, or to several, for the event loop in which it is made.

    For the parameters, and those of the methods, see :class:`Client`. A request whose task is cancelled is withdrawn
    from the server.
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
        self._channel = open_channel(connection(target, timeout=timeout, **options), grpc.aio)
        self._methods = methods(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; what is under way in other tasks fails at once with `ServingError`."""
        self._ask.closed = True
        await self._channel.close()

    async def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        signature: str = "serving_default",
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """See `Client.predict`."""
        return await self._run(
            self._ask.predict(model, inputs, signature=signature, version=version, outputs=outputs, timeout=timeout)
        )

    async def predict_bulk(
        self,
        model: str,
        batches: Iterable[Inputs] | AsyncIterable[Inputs],
        *,
        signature: str = "serving_default",
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
        in_flight: int = 4,
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
                steps = self._ask.predict(
                    model, inputs, signature=signature, version=version, outputs=outputs, timeout=timeout
                )
                under_way.append(asyncio.create_task(self._run(steps)))
            while under_way:
                yield await under_way[0]
                under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def predict_images(
        self, model: str, images: Sequence[bytes | Path], *, version: Version = None, timeout: float | None = None
    ) -> Reply:
        """See `Client.predict_images`."""
        return await self._run(self._ask.predict_images(model, images, version=version, timeout=timeout))

    async def predict_magnetograms(
        self, model: str, data: npt.ArrayLike, *, version: Version = None, timeout: float | None = None
    ) -> Reply:
        """See `Client.predict_magnetograms`."""
        return await self._run(self._ask.predict_magnetograms(model, data, version=version, timeout=timeout))

    async def predict_regions(
        self,
        model: str,
        table: "pd.DataFrame",
        *,
        version: Version = None,
        ignore: Collection[str] = (),
        timeout: float | None = None,
    ) -> Reply:
        """See `Client.predict_regions`."""
        steps = self._ask.predict_regions(model, table, version=version, ignore=ignore, timeout=timeout)
        return await self._run(steps)

    async def metadata(self, model: str, *, version: Version = None, timeout: float | None = None) -> Metadata:
        """See `Client.metadata`."""
        return await self._run(self._ask.metadata(model, version=version, timeout=timeout))

    async def status(self, model: str, *, timeout: float | None = None) -> list[VersionState]:
        """See `Client.status`."""
        return await self._run(self._ask.status(model, timeout=timeout))

    async def served(self, names: Collection[str] = model_names()) -> dict[str, list[int]]:
        """See `Client.served`."""
        return await self._run(self._ask.served(names))

    async def wait_until_available(self, model: str, deadline: float = 60.0) -> int:
        """See `Client.wait_until_available`."""
        return await self._run(self._ask.wait_until_available(model, deadline))

    async def _run(self, steps: Steps[_Result]) -> _Result:
        said: Any = None
        try:
            while True:
                step: Any = steps.throw(said) if isinstance(said, Exception) else steps.send(said)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    said = None
                    continue
                try:
                    said = await self._methods[type(step.request).__name__](step.request, timeout=step.timeout)
                except (grpc.RpcError, grpc.aio.UsageError) as error:
                    said = error
                except asyncio.CancelledError:
                    # So gRPC ends a call, too, whose channel is closed; that is no wish to cancel this task.
                    task = asyncio.current_task()
                    if not self._ask.closed or (task is not None and task.cancelling()):
                        raise
                    said = grpc.aio.UsageError("closed")
        except StopIteration as done:
            return done.value


async def _each(batches: Iterable[Inputs]) -> AsyncIterator[Inputs]:
    for inputs in batches:
        yield inputs
