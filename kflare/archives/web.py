"""HTTP with a time-out on every call, and another attempt wherever that may help.

Archives refuse, fall silent, answer 500, send a page of HTML with status 200, or break off in the middle. :class:`Web`
retries with growing random pauses, says what happened where that does not help, and leaves a silent server alone.
"""

import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from kflare import __version__
from kflare.errors import DataError, KflareError, ServingError, SettingError
from kflare.io.integrity import html_title

T = TypeVar("T")
_CHUNK = 1 << 16
_MAX_REPLY = 1 << 27
# Statuses of servers that are overloaded or being restarted; any other 4xx is an answer.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class NotFoundError(DataError):
    """The archive answered that it does not have what was asked for. Asking again will not help."""


class NoAnswerError(ServingError):
    """No usable answer after all attempts: refused, no reply, an error of the server's own, or HTML instead of data."""


class StoppedError(KflareError):
    """The user interrupted; what has arrived so far is kept for the next run."""


class TransientError(Exception):
    """One attempt failed, another may succeed. Raised within :meth:`Web.with_retries`, never out of it."""

    def __init__(self, reason: str, *, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class RetryPolicy:
    """Time-outs, attempts and pauses. All times in seconds."""

    connect: float = 10.0  # longest wait for a connection
    read: float = 60.0  # longest wait for the next byte on it
    total: float = 1800.0  # longest time of an answer or file with all its attempts, however steadily bytes trickle in
    attempts: int = 4  # times in a row that a call may fail; one that brought more of a file than was there is none
    first_wait: float = 1.0  # pause before the second attempt; it doubles with each further one, times 0.5 to 1.5 ...
    longest_wait: float = 60.0  # ... at random, up to this
    poll: float = 5.0  # pause between questions whether a requested export is ready
    failed_calls: int = 3  # after so many in a row without a usable answer a server is down and not asked again


class Web:
    """An HTTP client for the archives. Safe to share between threads.

    Names and passwords may stand in a URL or in `~/.netrc`; proxies come from the usual environment variables.
    """

    def __init__(self, retry: RetryPolicy | None = None) -> None:
        self.retry = retry or RetryPolicy()
        self._session = requests.Session()
        # Sizes and byte ranges count what is sent, so nothing may be compressed on the way.
        self._session.headers.update({"User-Agent": f"kflare/{__version__}", "Accept-Encoding": "identity"})
        self._stop = threading.Event()
        self._random = random.SystemRandom()
        self._failed: defaultdict[str, tuple[int, str]] = defaultdict(lambda: (0, ""))

    def __enter__(self) -> "Web":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def stop(self) -> None:
        """Make all downloads under way end at their next byte; what has arrived stays for a later run."""
        self._stop.set()

    def json(self, url: str) -> Any:
        """Read an answer in JSON; HTML or anything else in its place counts as no answer.

        NotFoundError if the server says that there is no such thing (404, 410), NoAnswerError without a usable answer.
        """

        def once(deadline: float) -> Any:
            body = self._read(url, deadline)
            try:
                return json.loads(body.decode("utf-8", "replace"))
            except (ValueError, RecursionError) as error:
                raise TransientError(f"the reply is no JSON but begins with {body[:40]!r}") from error

        return self.with_retries(url, once)

    def text(self, url: str) -> str:
        """Read an answer as text, a page of HTML included, such as the listing of a directory."""
        body = self.with_retries(url, lambda deadline: self._read(url, deadline, html=True))
        return body.decode("utf-8", "replace")

    def with_retries(self, url: str, once: Callable[[float], T], *, progress: Callable[[], int] = lambda: 0) -> T:
        """Call `once(deadline)` until it returns, fails for good, or the attempts or the time are used up.

        `once` is one attempt at asking the server of `url`: it raises `TransientError` where another may help and ends
        by `deadline` (of `monotonic`). `progress` gives the bytes that are there; an attempt after which there are more
        than ever does not count as a failure. NoAnswerError at the end, or at once if the server gave no answer too
        often before; SettingError if the URL is none.
        """
        retry = self.retry
        try:
            server = urlsplit(url).netloc
        except ValueError as error:
            raise SettingError(f"`{url}` is no address of a server: {error}") from error
        failed, reason = self._failed[server]
        if failed >= retry.failed_calls:
            raise NoAnswerError(f"not asked again after {failed} times without an answer: {reason}")
        deadline = monotonic() + retry.total
        failures = calls = best = 0
        while True:
            calls += 1
            try:
                result = once(deadline)
            except TransientError as trouble:
                more = progress()
                failures = 1 if more > best else failures + 1
                best = max(best, more)
                pause = min(retry.longest_wait, retry.first_wait * 2 ** (failures - 1)) * self._random.uniform(0.5, 1.5)
                pause = max(pause, min(trouble.wait, retry.longest_wait))
                if failures >= retry.attempts or monotonic() + pause >= deadline:
                    self._failed[server] = (self._failed[server][0] + 1, str(trouble))
                    times = "once" if calls == 1 else f"{calls} times"
                    raise NoAnswerError(f"{trouble} (asked `{public_url(url)}` {times})") from trouble
            else:
                self._failed[server] = (0, "")
                return result
            if self._stop.wait(pause):
                raise StoppedError("interrupted")

    def _read(self, url: str, deadline: float, *, html: bool = False) -> bytes:
        with self.open(url, deadline) as response:
            require_success(response, url)
            body = bytearray()
            for chunk in self.chunks(response, deadline):
                body += chunk
                if len(body) > _MAX_REPLY:
                    raise NoAnswerError(f"`{public_url(url)}` sent more than {_MAX_REPLY >> 20} MiB for an answer")
            reply = bytes(body)
            if not html:
                bar_html(reply)
            return reply

    @contextmanager
    def open(self, url: str, deadline: float, headers: dict[str, str] | None = None) -> Iterator[requests.Response]:
        """Ask once, and hand over the response as soon as its headers are there. TransientError where that may pass."""
        retry = self.retry
        read = max(0.01, min(retry.read, deadline - monotonic()))
        if self._stop.is_set():
            raise StoppedError("interrupted")
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=(retry.connect, read))
        except requests.ConnectTimeout as error:
            raise TransientError(f"no connection within {retry.connect:g} s") from error
        except requests.Timeout as error:
            raise TransientError(f"no reply within {read:.3g} s") from error
        except requests.ConnectionError as error:
            raise TransientError(_cause(error)) from error
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise NoAnswerError(f"`{public_url(url)}` cannot be asked: {_cause(error)}") from error
        with response:
            yield response

    def chunks(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        """The body as it comes in. TransientError if it breaks off or is not there by the deadline."""
        while True:
            if self._stop.is_set():
                raise StoppedError("interrupted")
            if monotonic() > deadline:
                raise TransientError(f"not finished within {self.retry.total:g} s")
            try:
                # What one read of the socket brings: a server that trickles cannot stretch this beyond its time-out.
                chunk = response.raw.read1(_CHUNK, decode_content=False)
            except ReadTimeoutError as error:
                raise TransientError(f"no further byte within {self.retry.read:g} s") from error
            except (HTTPError, OSError) as error:
                raise TransientError(f"the connection broke off: {_cause(error)}") from error
            if not chunk:
                return
            yield chunk


def public_url(url: str) -> str:
    """The URL without name and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def require_success(response: requests.Response, url: str) -> None:
    """Return if there is data in the response; else NotFoundError, TransientError or NoAnswerError, by its status."""
    status = response.status_code
    if status in {404, 410}:
        raise NotFoundError(f"the archive holds no `{public_url(url)}` (status {status})")
    if status in _PASSING:
        wait = response.headers.get("Retry-After", "")
        raise TransientError(f"status {status} {response.reason}", wait=float(wait) if wait.isdigit() else 0.0)
    if status not in {200, 206}:
        raise NoAnswerError(f"`{public_url(url)}` is refused with status {status} {response.reason}")


def bar_html(reply: bytes) -> None:
    """Raise TransientError if a page of HTML came instead of data."""
    if (title := html_title(reply[:2048])) is not None:
        raise TransientError(f"a page of HTML{f' ({title})' if title else ''} with status 200 instead of data")


def _cause(error: BaseException) -> str:
    """The innermost reason of an error in words, such as "Connection refused"."""
    seen: BaseException | None = error
    words = type(error).__name__
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            words = seen.strerror
        elif type(seen).__name__ == "NameResolutionError":
            words = "the name of the server is not known"
        elif isinstance(seen, HTTPError) and not seen.__cause__ and not seen.__context__:
            words = str(seen) or words
        inner = next((e for e in (*seen.args, getattr(seen, "reason", None)) if isinstance(e, BaseException)), None)
        seen = inner or seen.__cause__ or seen.__context__
    return words
