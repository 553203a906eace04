"""The versions of one model: loaded when their folders appear, unloaded when they vanish, without a gap in between.

The rules are TensorFlow Serving's (g3doc/serving_config.md; core/availability_preserving_policy.cc): a new version is
loaded before an old one is unloaded, and an unloaded one answers what it has begun. Three things are stricter here,
each so that a forecast is not lost:

* A folder that appears while the server runs is loaded once two polls in a row find it unchanged, so that a version
  is not loaded while it is copied; and one that kflare published only if it matches its `MANIFEST.sha256`.
* In place of a version that cannot be loaded the next older one is served, also right after a start.
* It is tried again when its files change, or after a minute, five times at most.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import grpc

from kflare.serving.messages.statuses import RequestError, status_of
from kflare.serving.server.allocator import give_back
from kflare.serving.server.config_files import ModelSettings, numbered_versions
from kflare.serving.server.servable import Servable

_LOG = logging.getLogger(__name__)
_LOAD_RETRIES = 5  # --max_num_load_retries and --load_retry_interval_micros of tensorflow_model_server
_RETRY_SECONDS = 60.0

Fingerprint = tuple[tuple[str, int, int], ...]
Loader = Callable[..., Servable]


class State(IntEnum):
    """Life of a version; the numbers are those of ModelVersionStatus.State in get_model_status.proto."""

    START = 10  # wanted, and waits to be loaded
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """A version's entry in GetModelStatus; `code` is OK unless it could not be loaded."""

    number: int
    state: State
    code: grpc.StatusCode
    message: str


@dataclass(eq=False)
class _Version:
    number: int
    fingerprint: Fingerprint | None
    state: State = State.LOADING
    servable: Servable | None = None
    in_flight: int = 0
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    failures: int = 0
    retry_at: float = 0.0

    def known_to_fail(self, look: Fingerprint | None) -> bool:
        if not self.failures or self.fingerprint != look:
            return False
        return self.failures > _LOAD_RETRIES or time.monotonic() < self.retry_at

    def end_if_idle(self) -> Servable | None:
        """The servable to close, if nobody uses it any more."""
        if self.state is not State.UNLOADING or self.in_flight:
            return None
        servable, self.state, self.servable = self.servable, State.END, None
        return servable


class ModelVersions:
    """One model's versions. Any thread may use them; one thread at a time may poll.

    `settings` may be replaced between polls; `load` makes a `Servable` of path, `name` and `number`. `queued` are the
    versions that the policy wants of those found.
    """

    def __init__(self, settings: ModelSettings, *, load: Loader = Servable) -> None:
        self.settings = settings
        self.queued: list[int] = []
        self._make = load
        self._versions: dict[int, _Version] = {}
        self._last_look: dict[int, Fingerprint | None] = {}
        self._complaint = ""
        self._lock = threading.RLock()  # held for moments, never while a version is loaded

    @contextmanager
    def use(self, number: int | None) -> Iterator[Servable]:
        """Hold a version, or the newest that answers, loaded until the block ends; `RequestError` NOT_FOUND."""
        with self._lock:
            available = self.available()
            if not available or (number is not None and number not in available):
                raise not_served(self.settings.name, number)
            version = self._versions[available[-1] if number is None else number]
            version.in_flight += 1
        try:
            assert version.servable is not None
            yield version.servable
        finally:
            with self._lock:
                version.in_flight -= 1
                idle = version.end_if_idle()
            if idle is not None:
                idle.close()

    def available(self) -> list[int]:
        """Numbers of the versions that answer, oldest first."""
        with self._lock:
            return sorted(number for number, one in self._versions.items() if one.state is State.AVAILABLE)

    def statuses(self) -> list[VersionStatus]:
        """All versions that were ever known, newest first."""
        with self._lock:
            known = {v.number: VersionStatus(v.number, v.state, v.code, v.message) for v in self._versions.values()}
        for number in self.queued:
            if number not in known or (known[number].state is State.END and not known[number].message):
                known[number] = VersionStatus(number, State.START, grpc.StatusCode.OK, "")
        return [known[number] for number in sorted(known, reverse=True)]

    def unavailable(self) -> str:
        """Why no version answers: its newest failed load, in the words of ServerCore::WaitUntilModelsAvailable."""
        for status in self.statuses():
            if status.message:
                which = f"{{name: {self.settings.name} version: {status.number}}}"
                return f"{which} due to error: {status.code.name}: {status.message}"
        return f"{{name: {self.settings.name}}} has no version in {self.settings.base_path}"

    def poll(self, *, trust: bool, warm: bool = True) -> None:
        """Look at the folder once, load (`warm` or not) and unload; with `trust` what is new needs no second look."""
        try:
            found = numbered_versions(self.settings.base_path)
        except OSError as error:
            # As in TensorFlow Serving a base path out of reach changes nothing: a disk may come back.
            if str(error) != self._complaint:
                self._complaint = str(error)
                level = logging.WARNING if self.available() else logging.INFO
                _LOG.log(level, "cannot look for versions of %s: %s", self.settings.name, error)
            return
        self._complaint = ""
        before, available = self._last_look, self.available()
        self.queued = sorted(filter(self.settings.allows, found), reverse=True)[: self.settings.newest]
        look = self._last_look = {n: _fingerprint(path) for n, path in found.items() if n not in available}
        settled = {n for n, print_ in look.items() if print_ is not None and (trust or before.get(n) == print_)}
        while missing := [number for number in self._aspired(found, settled) if number not in self.available()]:
            self._load(missing[0], found[missing[0]], warm)
        aspired = self._aspired(found, settled)
        # Versions that should be served but cannot be yet keep the old ones in place.
        if aspired or not any(self.settings.allows(number) for number in found):
            self.unload([number for number in self.available() if number not in aspired])

    def warm_up(self, stopped: Callable[[], bool]) -> None:
        """Warm up what answers until `stopped`; a version that fails answers no more."""
        for version in [self._versions[number] for number in self.available()]:
            with self._attempt(version):
                assert version.servable is not None
                version.servable.warm_up(stopped)

    def unload(self, numbers: Sequence[int]) -> None:
        """Take versions out of service; each is freed when its last answer is given."""
        idle = []
        with self._lock:
            for number in numbers:
                self._versions[number].state = State.UNLOADING
                idle.append(self._versions[number].end_if_idle())
        for servable in filter(None, idle):
            servable.close()
        for number in numbers:
            _LOG.info("%s version %d is no longer served", self.settings.name, number)
        if numbers:
            gc.collect()  # a graph is a web of cycles; its memory would else stay until some later collection
            give_back()

    def _aspired(self, found: dict[int, Path], settled: set[int]) -> list[int]:
        """What to serve, newest first: what the policy wants, less what is half-copied or known to fail."""
        available = self.available()
        usable = []
        for number in sorted(filter(self.settings.allows, found), reverse=True):
            known = self._versions.get(number)
            fails = known is not None and known.known_to_fail(self._last_look.get(number))
            if number in available or (number in settled and not fails):
                usable.append(number)
        return usable[: self.settings.newest]

    def _load(self, number: int, path: Path, warm: bool) -> None:
        version, before = _Version(number, self._last_look[number]), self._versions.get(number)
        if before is not None and before.fingerprint == version.fingerprint:
            version.failures = before.failures
        with self._lock:
            self._versions[number] = version
        with self._attempt(version):
            version.servable = self._make(path, name=self.settings.name, number=number)
            if warm:
                version.servable.warm_up()
            version.state = State.AVAILABLE
            _LOG.info("%s version %d is served", self.settings.name, number)

    @contextmanager
    def _attempt(self, version: _Version) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one version, the others are to be served
            with self._lock:
                version.state, (version.code, version.message) = State.UNLOADING, status_of(error)
                version.failures += 1
                version.retry_at = time.monotonic() + _RETRY_SECONDS
                idle = version.end_if_idle()
            if idle is not None:
                idle.close()
            what, why = (self.settings.name, version.number, version.code.name), " ".join(version.message.split())
            _LOG.warning("%s version %d cannot be loaded (%s): %s", *what, why)


def not_served(name: str, number: int | None) -> RequestError:
    """NOT_FOUND in the words of core/basic_manager.cc (GetUntypedServableHandle) and core/manager.h."""
    request = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}")


def _fingerprint(path: Path) -> Fingerprint | None:
    """Names, sizes and times of all files of a version; None while they cannot all be read."""
    try:
        files = [(file, file.stat()) for file in sorted(path.rglob("*")) if file.is_file()]
    except OSError:
        return None
    return tuple((str(file.relative_to(path)), stat.st_size, stat.st_mtime_ns) for file, stat in files)
