"""Limits on what clients may ask of a server: bytes of a message, requests at a time, open connections."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from kflare.serving.messages.statuses import RequestError
from kflare.serving.server.metrics import Metrics

__all__ = ["Admission", "Limits"]


@dataclass(frozen=True)
class Limits:
    """The limits; a request beyond them is refused with RESOURCE_EXHAUSTED."""

    # gRPC refuses a larger message when its length is announced, before it is in memory; TensorFlow Serving: 2 GiB.
    message_bytes: int = 256 * 2**20
    requests: int = 128  # most under way (running, or waiting to be batched) at one time
    handshake_seconds: float = 20.0  # a connection that has not finished its handshake by then is closed
    idle_seconds: float = 900.0  # a connection without a request is then closed; clients reconnect by themselves


class Admission:
    """Lets a limited number of requests in at one time; safe to use from many threads."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request for the length of the block; `RequestError` RESOURCE_EXHAUSTED beyond the limit."""
        with self._lock:
            if self._inside >= self._most:
                message = f"{self._most} requests are under way, the most that this server takes at a time; try later"
                raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            self._step(1)
        try:
            yield
        finally:
            with self._lock:
                self._step(-1)

    def _step(self, change: int) -> None:
        self._inside += change
        self._metrics.set(":kflare:serving:requests_in_flight", self._inside)
