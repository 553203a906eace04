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
from pathlib import Path
from typing import Any, BinaryIO

import requests

from kflare.archives.web import NoAnswerError, NotHeldError, Passing, Web, html_instead, require_success, shown_url
from kflare.errors import DataError
from kflare.io.atomic import move_into_place, temporary_file
from kflare.io.integrity import damage, html_title

__all__ = ["Outcome", "Wanted", "download", "fetch_all"]

_MAX_FILE = 1 << 31


@dataclass(frozen=True)
class Wanted:
    """One file to be downloaded.

    Parameters
    ----------
    url : str
        Where from.
    path : pathlib.Path
        Where to.
    kind : str
        What it must be, one of `kflare.io.integrity.KINDS`.
    label : str
        What it is, for the table: series, channel, product.
    time : datetime.datetime, optional
        Time of the observation, aware, UTC.
    asked : datetime.datetime, optional
        Time that was asked for, where another may serve for it.
    note : str
        What is remarkable about it, for the table.
    check : callable, optional
        Says what is wrong with the headers of the reply, None if nothing.
    finish : callable, optional
        Writes the final file (second argument) from the downloaded one (first), such as with a completed header.
    """

    url: str
    path: Path
    kind: str
    label: str
    time: datetime | None = None
    asked: datetime | None = None
    note: str = ""
    check: Callable[[dict[str, str]], str | None] | None = field(default=None, compare=False)
    finish: Callable[[Path, Path], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Outcome:
    """What became of something that was wanted.

    Parameters
    ----------
    status : str
        "got", "already there", "missing" (the archive has none, or gave no answer) or "rejected" (came, but unusable).
    label : str
        What it is.
    asked, time : datetime.datetime or None
        Time asked for and time of the observation that serves for it, aware, UTC.
    path : pathlib.Path or None
        The file; None unless it is there and whole.
    reason : str
        Why it is missing or rejected; "" otherwise.
    note : str
        What is remarkable about the data, such as their quality; "" otherwise.
    size : int
        Bytes of the file.
    again : bool
        Whether a later run may fare better: True for everything but an archive's own "I have none".
    """

    status: str
    label: str
    asked: datetime | None = None
    time: datetime | None = None
    path: Path | None = None
    reason: str = ""
    note: str = ""
    size: int = 0
    again: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values, times as ISO 8601 with Z."""
        return {
            "status": self.status,
            "label": self.label,
            "asked": _iso(self.asked),
            "time": _iso(self.time),
            "path": None if self.path is None else str(self.path),
            "reason": self.reason,
            "note": self.note,
            "size": self.size,
        }


def download(wanted: Wanted, web: Web) -> Outcome:
    """Bring one file, unless it is there and whole already. What goes wrong is in the outcome, not raised.

    Raises
    ------
    StoppedError
        After `web.stop()`.
    DataError
        If the folder cannot be written to.
    """
    path = wanted.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if damage(path, wanted.kind) is None:
                return _outcome(wanted, "already there", path=path, size=path.stat().st_size)
            path.unlink()  # nobody shall mistake it for data, whatever becomes of the new one
        _bring(wanted, web)
        return _outcome(wanted, "got", path=path, size=path.stat().st_size)
    except NotHeldError as error:
        return _outcome(wanted, "missing", reason=str(error))
    except NoAnswerError as error:
        return _outcome(wanted, "missing", reason=str(error), again=True)
    except DataError as error:
        return _outcome(wanted, "rejected", reason=str(error), again=True)
    except OSError as error:
        raise DataError(
            f"`{path}` cannot be written: {error.strerror or error}; free space or choose another folder"
        ) from error


def fetch_all(
    plan: Iterable[Wanted | Outcome], web: Web, *, connections: int = 3, done: Callable[[], object] = lambda: None
) -> list[Outcome]:
    """Download everything of a plan, a few files at a time, while the plan is still being made.

    Parameters
    ----------
    plan : iterable of Wanted or Outcome
        What is to be downloaded, and what is known to be out of reach.
    web : Web
        How it is downloaded.
    connections : int
        Files at a time.
    done : callable
        Called after each item, from any thread, such as to move a progress bar.

    Returns
    -------
    list of Outcome
        In the order of the plan.

    Raises
    ------
    DataError
        If the folder cannot be written to.
    """

    def bring(wanted: Wanted) -> Outcome:
        outcome = download(wanted, web)
        done()
        return outcome

    results: list[Outcome | tuple[Wanted, Future[Outcome]]] = []
    begun: dict[Path, Future[Outcome]] = {}
    waiting: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(connections, thread_name_prefix="download") as pool:
        try:
            for item in plan:
                if isinstance(item, Outcome):
                    results.append(item)
                    done()
                    continue
                if item.path in begun:  # one file may serve for two of the times
                    done()
                else:
                    begun[item.path] = pool.submit(bring, item)
                    waiting.append(begun[item.path])
                results.append((item, begun[item.path]))
                while len(waiting) > 8 * connections:
                    waiting.popleft().result()
            return [
                item if isinstance(item, Outcome) else replace(item[1].result(), asked=item[0].asked)
                for item in results
            ]
        except BaseException:
            web.stop()
            pool.shutdown(cancel_futures=True)
            raise


class RejectedError(DataError):
    """The reply is whole and is not what was asked for."""


def _outcome(wanted: Wanted, status: str, **told: Any) -> Outcome:
    return Outcome(status, wanted.label, asked=wanted.asked, time=wanted.time, note=wanted.note, **told)


def _bring(wanted: Wanted, web: Web) -> None:
    part = _Part(wanted.path)
    with part.locked() as out:
        try:
            web.persistently(
                wanted.url, lambda deadline: _go_on(wanted, web, part, out, deadline), progress=lambda: part.most
            )
            part.publish(wanted, out)
        except BaseException:
            part.tidy(out)
            raise


def _go_on(wanted: Wanted, web: Web, part: "_Part", out: BinaryIO, deadline: float) -> None:
    have, validator = part.resumable(wanted.url, out)
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have else None
    with web.open(wanted.url, deadline, headers) as response:
        if response.status_code == 416:
            part.forget(out)
            raise Passing("the file changed on the server")
        require_success(response, wanted.url)
        wrong = wanted.check(dict(response.headers)) if wanted.check else None
        if wrong:
            raise RejectedError(wrong)
        start, whole = _content_range(response, have)
        if whole is not None and whole > _MAX_FILE:
            raise RejectedError(f"the server announces {whole} bytes, more than {_MAX_FILE >> 20} MiB")
        out.seek(start)
        out.truncate()
        part.remember(wanted.url, response)
        for chunk in web.chunks(response, deadline):
            if out.tell() == 0 and (title := html_title(chunk[:2048])) is not None:
                raise Passing(html_instead(title))
            out.write(chunk)
            part.most = max(part.most, out.tell())
            if out.tell() > _MAX_FILE:
                raise RejectedError(f"more than {_MAX_FILE >> 20} MiB")
    out.flush()
    if whole is not None and out.tell() != whole:
        raise Passing(f"truncated: {out.tell()} of {whole} bytes")
    wrong = damage(part.path, wanted.kind)
    if wrong is not None:
        part.forget(out)
        # A server that announces no size may have broken off; one that did sent what it has.
        raise Passing(wrong) if whole is None else RejectedError(wrong)


class _Part:
    """The file while it is being downloaded, and the note from which version on the server it came."""

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
            return (out.tell(), validator) if noted["url"] == shown_url(url) and validator else (0, "")
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def remember(self, url: str, response: requests.Response) -> None:
        """Note the version if the server can send the rest of it later, else forget it."""
        etag = response.headers.get("ETag", "")
        # A weak ETag does not promise equal bytes, and a range of other bytes would be spliced in.
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        if validator and response.headers.get("Accept-Ranges", "bytes").lower() != "none":
            self.note.write_text(json.dumps({"url": shown_url(url), "validator": validator}))
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

    def publish(self, wanted: Wanted, out: BinaryIO) -> None:
        """Give the finished file its name, in one step and only once it is on the disk."""
        if wanted.finish is None:
            move_into_place(self.path, wanted.path)
        else:
            try:
                with temporary_file(wanted.path) as finished:
                    wanted.finish(self.path, finished)
            except BaseException:
                self.forget(out)
                raise
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _content_range(response: requests.Response, have: int) -> tuple[int, int | None]:
    """First byte of the reply in the file, and size of the whole file if the server tells."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if match is None or int(match[1]) != have:
            raise Passing("the server sent another range of bytes than the one asked for")
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")
