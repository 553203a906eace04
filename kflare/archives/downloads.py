"""Files from the archives: each appears under its own name only when it is whole, on the disk, and in one step.

Until then it is `NAME.part`, a fixed name, so that a later run finds what has come and asks for the rest; a note of
which version it is lies in `NAME.part.json`. It stays after a failure only where the server can send the rest. What is
already there is checked and not fetched again; what is there and damaged is removed and fetched again.
"""

import fcntl
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import requests

from kflare.archives.web import NoAnswerError, NotFoundError, TransientError, Web, bar_html, public_url, require_success
from kflare.errors import DataError
from kflare.io.atomic import move_into_place, temporary_file
from kflare.io.integrity import damage

_MAX_FILE = 1 << 31


@dataclass(frozen=True)
class FileRequest:
    """One file to be downloaded."""

    url: str
    path: Path
    kind: str  # one of `kflare.io.integrity.KINDS`
    label: str  # for the table: series, channel, product
    time: datetime | None = None  # of the observation, aware, UTC
    asked: datetime | None = None  # the time asked for, where an earlier image may stand in for it
    note: str = ""  # on the data, such as their quality, for the table
    #: Says what is wrong with the headers of the reply, None if nothing.
    check: Callable[[dict[str, str]], str | None] | None = field(default=None, compare=False)
    #: Writes the final file (second argument) from the downloaded one (first), such as with a completed header.
    finish: Callable[[Path, Path], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class FileResult:
    """What became of a file that was asked for; `label`, `asked`, `time` and `note` as in its request."""

    #: "got", "already there", "missing" (the archive has none, or gave no answer) or "rejected" (came, but unusable).
    status: str
    label: str
    asked: datetime | None = None
    time: datetime | None = None
    path: Path | None = None  # None unless it is there and whole
    reason: str = ""  # why it is missing or rejected
    note: str = ""
    size: int = 0  # bytes
    again: bool = False  # a later run may fare better: True for all failures but an archive's own "I have none"

    def as_json(self) -> dict[str, Any]:
        """Plain values, times as ISO 8601 with Z."""
        values = {name: value for name, value in vars(self).items() if name != "again"}
        times = {name: values[name] and f"{values[name]:%Y-%m-%dT%H:%M:%SZ}" for name in ("asked", "time")}
        return values | times | {"path": self.path and str(self.path)}


def failure(error: DataError | NoAnswerError, label: str, **more: Any) -> FileResult:
    """Result of a file that could not be fetched; `more` are its other fields."""
    status = "missing" if isinstance(error, NotFoundError | NoAnswerError) else "rejected"
    return FileResult(status, label, reason=str(error), again=not isinstance(error, NotFoundError), **more)


def download(request: FileRequest, web: Web) -> FileResult:
    """Download one file, unless it is there and whole already. What goes wrong is in the result, not raised.

    StoppedError after `web.stop()`; DataError or SettingError if the folder cannot be written to.
    """
    path = request.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists() and damage(path, request.kind) is None
        if not there:
            path.unlink(missing_ok=True)  # must not be taken for data, whatever becomes of the new one
            _fetch(request, web)
        status, size = "already there" if there else "got", path.stat().st_size
        return FileResult(status, request.label, request.asked, request.time, path, note=request.note, size=size)
    except (DataError, NoAnswerError) as error:
        return failure(error, request.label, asked=request.asked, time=request.time, note=request.note)
    except OSError as error:
        fault = f"`{path}` cannot be written: {error.strerror or error}"
        raise DataError(f"{fault}; free space or choose another folder") from error


def download_all(
    plan: Iterable[FileRequest | FileResult], web: Web, *, connections: int = 3,
    done: Callable[[], object] = lambda: None
) -> list[FileResult]:  # fmt: skip
    """Download what is requested, a few files at a time, while further requests are still being made.

    `plan` holds what is to be downloaded, and what is known to be out of reach; the results come in its order. So many
    `connections` are open at a time; `done` is called after each item, from any thread, such as to move a progress bar.
    DataError or SettingError if the folder cannot be written to.
    """

    def fetched(request: FileRequest) -> FileResult:
        result = download(request, web)
        done()
        return result

    results: list[FileResult | tuple[FileRequest, Future[FileResult]]] = []
    begun: dict[Path, Future[FileResult]] = {}
    waiting: deque[Future[FileResult]] = deque()
    with ThreadPoolExecutor(connections, thread_name_prefix="download") as pool:
        try:
            for item in plan:
                if isinstance(item, FileResult):
                    results.append(item)
                    done()
                    continue
                if item.path in begun:  # one file may serve for two of the times
                    done()
                else:
                    begun[item.path] = pool.submit(fetched, item)
                    waiting.append(begun[item.path])
                results.append((item, begun[item.path]))
                while len(waiting) > 8 * connections:
                    waiting.popleft().result()
            return [
                item if isinstance(item, FileResult) else replace(item[1].result(), asked=item[0].asked)
                for item in results
            ]
        except BaseException:
            web.stop()
            pool.shutdown(cancel_futures=True)
            raise


class RejectedError(DataError):
    """The reply is whole and is not what was asked for."""


def _fetch(request: FileRequest, web: Web) -> None:
    part = _Part(request.path)
    with part.locked() as out:
        try:
            once = partial(_go_on, request, web, part, out)
            web.with_retries(request.url, once, progress=lambda: part.most)
            part.publish(request, out)
        except BaseException:
            part.tidy(out)
            raise


def _go_on(request: FileRequest, web: Web, part: "_Part", out: BinaryIO, deadline: float) -> None:
    have, validator = part.resumable(request.url, out)
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have else None
    with web.open(request.url, deadline, headers) as response:
        if response.status_code == 416:
            part.forget(out)
            raise TransientError("the file changed on the server")
        require_success(response, request.url)
        wrong = request.check(dict(response.headers)) if request.check else None
        if wrong:
            raise RejectedError(wrong)
        start, whole = _content_range(response, have)
        if whole is not None and whole > _MAX_FILE:
            raise RejectedError(f"the server announces {whole} bytes, more than {_MAX_FILE >> 20} MiB")
        out.seek(start)
        out.truncate()
        part.remember(request.url, response)
        for chunk in web.chunks(response, deadline):
            if out.tell() == 0:
                bar_html(chunk)
            out.write(chunk)
            part.most = max(part.most, out.tell())
            if out.tell() > _MAX_FILE:
                raise RejectedError(f"more than {_MAX_FILE >> 20} MiB")
    out.flush()
    if whole is not None and out.tell() != whole:
        raise TransientError(f"truncated: {out.tell()} of {whole} bytes")
    wrong = damage(part.path, request.kind)
    if wrong is not None:
        part.forget(out)
        # A server that announces no size may have broken off; one that did sent what it has.
        raise TransientError(wrong) if whole is None else RejectedError(wrong)


class _Part:
    """The file while it is being downloaded, and the note of its version on the server."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")
        self.most = 0

    @contextmanager
    def locked(self) -> Iterator[BinaryIO]:
        with self.path.open("a+b") as out:
            try:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RejectedError("another process is downloading this file") from error
            yield out

    def resumable(self, url: str, out: BinaryIO) -> tuple[int, str]:
        """How many bytes are there of the same URL, and what identifies their version; (0, "") to begin anew."""
        out.seek(0, os.SEEK_END)
        try:
            noted = json.loads(self.note.read_text())
            validator = str(noted["validator"])
            return (out.tell(), validator) if noted["url"] == public_url(url) and validator else (0, "")
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def remember(self, url: str, response: requests.Response) -> None:
        """Note the version if the server can send the rest of it later, else forget it."""
        etag = response.headers.get("ETag", "")
        # A weak ETag does not promise equal bytes, and a range of other bytes would be spliced in.
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        if validator and response.headers.get("Accept-Ranges", "bytes").lower() != "none":
            self.note.write_text(json.dumps({"url": public_url(url), "validator": validator}))
        else:
            self.note.unlink(missing_ok=True)

    def forget(self, out: BinaryIO) -> None:
        out.seek(0)
        out.truncate()
        self.most = 0
        self.note.unlink(missing_ok=True)

    def tidy(self, out: BinaryIO) -> None:
        """After a failure: keep only what a later run can go on from."""
        out.flush()
        if not self.note.exists() or self.path.stat().st_size == 0:
            self.note.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def publish(self, request: FileRequest, out: BinaryIO) -> None:
        """Give the finished file its name, in one step and only once it is on the disk."""
        if request.finish is None:
            move_into_place(self.path, request.path)
        else:
            try:
                with temporary_file(request.path) as finished:
                    request.finish(self.path, finished)
            except BaseException:
                self.forget(out)
                raise
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _content_range(response: requests.Response, have: int) -> tuple[int, int | None]:
    """First byte of the reply in the file, and size of the whole file if the server says it."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != have:
            raise TransientError("the server sent another range of bytes than the one asked for")
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None
