"""Limits on what clients may ask of a server: how much at a time, and how much work one request may make.

Work is counted in bytes once decoded, which a request's shapes and the headers of its images tell beforehand: a
message of 69 bytes may stand for a tensor of gigabytes, a file of a kilobyte for a picture of millions of pixels.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from kflare.errors import SettingError
from kflare.serving.messages.message_fields import require_few_fields
from kflare.serving.messages.statuses import RequestError, status_of
from kflare.serving.server.metrics import Metrics

_MIB = 2**20
_SLOW_SECONDS = 3.0  # a message that takes longer to arrive makes way where others wait


@dataclass(frozen=True)
class Limits:
    """The limits; a request beyond them is refused with RESOURCE_EXHAUSTED.

    The defaults hold the four released models, and whatever is sent to them, in 2 GB.
    """

    # One request, as sent and once decoded; 64 MiB are a magnetogram of 4096 x 4096 pixels. gRPC refuses a larger
    # message when its length is announced, before it is in memory; TensorFlow Serving: 2 GiB.
    message_bytes: int = 80 * _MIB
    rows: int = 2**17  # of one request
    work_bytes: int = 128 * _MIB  # all requests under way, once decoded
    run_bytes: int = 8 * _MIB  # what runs at one time; a larger request runs in pieces, a larger row alone
    requests: int = 128  # most under way (running, or waiting to be batched) at one time
    receiving: int = 2  # messages that are being received at one time; the others are not yet in memory
    handshake_seconds: float = 20.0  # a connection that has not finished its handshake by then is closed
    idle_seconds: float = 900.0  # a connection without a request is then closed; clients reconnect by themselves

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise SettingError(f"`{one.name}` must be more than 0, got {getattr(self, one.name)}")
        if self.work_bytes < self.message_bytes:
            rule = f"`work_bytes` must be at least `message_bytes`, {self.message_bytes}"
            raise SettingError(f"{rule}, got {self.work_bytes}")


def _exhausted(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


class Admission:
    """Lets a limited number of requests, and of bytes, in at one time; safe to use from many threads."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self._metrics = metrics
        self._lock = threading.Lock()
        self._inside = 0
        self._bytes = 0

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._inside

    @contextmanager
    def enter(self, *, weight: int = 1) -> Iterator["OneRequest"]:
        """Count a request, a byte as `weight`, for the block's length; RESOURCE_EXHAUSTED beyond the limit."""
        request = OneRequest(self, weight)
        self.change(1, 0)
        try:
            yield request
        finally:
            self.change(-1, -request.held)

    def change(self, requests: int, size: int) -> None:
        """Count so many requests and bytes more, or fewer."""
        limits = self.limits
        with self._lock:
            if requests > 0 and self._inside >= limits.requests:
                message = f"{limits.requests} requests are under way, the most that this server takes at a time"
                raise _exhausted(f"{message}; try later")
            if size > 0 and self._bytes + size > limits.work_bytes:
                message = f"{_mib(self._bytes)} are under way, and {_mib(size)} more are beyond the"
                raise _exhausted(f"{message} {_mib(limits.work_bytes)} that this server takes at a time; try later")
            self._inside += requests
            self._bytes += size
            self._metrics.set(":kflare:serving:requests_in_flight", self._inside)
            self._metrics.set(":kflare:serving:bytes_in_flight", self._bytes)


@dataclass
class OneRequest:
    """What one request has been allowed so far."""

    admission: Admission
    weight: int
    held: int = 0

    def hold(self, size: int, *, rows: int = 0, row_bytes: int = 0) -> None:
        """Hold decoded bytes, `row_bytes` a row at least, until the request ends; else RESOURCE_EXHAUSTED."""
        limits, size = self.admission.limits, max(size * self.weight, rows * row_bytes)
        if rows > limits.rows:
            raise _exhausted(f"{rows} rows are more than the {limits.rows} of a request: send fewer at a time")
        if size > limits.message_bytes:
            message = f"the request stands for {_mib(size)} once decoded, more than the {_mib(limits.message_bytes)}"
            raise _exhausted(f"{message} that this server takes: send fewer rows or pixels at a time")
        if size > self.held:
            self.admission.change(0, size - self.held)
            self.held = size


class RunGate:
    """Lets runs begin in their order while they are together within the limit, or alone."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._turn = threading.Condition()
        self._waiting: deque[object] = deque()
        self._running = 0

    @contextmanager
    def run(self, size: int, deadline: float | None) -> Iterator[None]:
        """Wait for the turn of a run of so many bytes; `RequestError` DEADLINE_EXCEEDED at the `deadline`."""
        me = object()

        def may_run() -> bool:
            return self._waiting[0] is me and (not self._running or self._running + size <= self.most)

        with self._turn:
            self._waiting.append(me)
            try:
                left = None if deadline is None else deadline - time.monotonic()
                if not self._turn.wait_for(may_run, left):
                    message = "the deadline passed before the turn came"
                    raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message)
                self._running += size
            finally:
                self._waiting.remove(me)
                self._turn.notify_all()
        try:
            yield
        finally:
            with self._turn:
                self._running -= size
                self._turn.notify_all()


@dataclass(eq=False)
class ReceivingGate(grpc.ServerInterceptor):
    """Takes a few messages at a time into memory: gRPC receives one only when it is asked for.

    One that is slow to arrive is cancelled where others wait, and the latest to come is the next in turn, so that many
    clients that stop half-way do not hold up the others.
    """

    most: int
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _waiting: list[Any] = field(default_factory=list)
    _receiving: dict[Any, float] = field(default_factory=dict)

    def intercept_service(self, continuation: Callable[..., Any], details: grpc.HandlerCallDetails) -> Any:
        """Let a handler of one message take it as the first of a stream, which is the same on the wire."""
        handler = continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        work = handler.unary_stream if handler.response_streaming else handler.unary_unary
        parse: Any = handler.request_deserializer

        def method(messages: Iterator[Any], context: grpc.ServicerContext, *rest: Any) -> Any:
            with self._received(context):
                data = next(messages, None)
                if data is None:
                    return context.abort(grpc.StatusCode.CANCELLED, "the message did not arrive in time: others waited")
                try:
                    require_few_fields(data, parse.__self__.DESCRIPTOR)
                    message = parse(data)
                except (RequestError, DecodeError) as error:
                    return context.abort(*status_of(error))
            return work(message, context, *rest)

        method.__dict__.update(vars(work))  # the health service's `Watch` says that it does not block
        streams, one = grpc.stream_stream_rpc_method_handler, grpc.stream_unary_rpc_method_handler
        make = streams if handler.response_streaming else one
        return make(method, None, handler.response_serializer)

    @contextmanager
    def _received(self, context: grpc.ServicerContext) -> Iterator[None]:
        with self._turn:
            self._waiting.append(context)
            while len(self._receiving) >= self.most or self._waiting[-1] is not context:
                self._turn.wait(self._make_way())
            self._waiting.pop()
            self._receiving[context] = time.monotonic()
        try:
            yield
        finally:
            with self._turn:
                del self._receiving[context]
                self._turn.notify_all()

    def _make_way(self) -> float | None:
        """Cancel the message that arrives too slowly; returns the seconds until the next one is to make way."""
        if not self._receiving:
            return None
        oldest = min(self._receiving, key=self._receiving.__getitem__)
        if (left := self._receiving[oldest] + _SLOW_SECONDS - time.monotonic()) > 0:
            return left
        oldest.cancel()
        self._receiving[oldest] = time.monotonic()  # it goes as soon as gRPC has told it
        return _SLOW_SECONDS


def _mib(size: int) -> str:
    return f"{size / _MIB:.3g} MiB"
