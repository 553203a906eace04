"""Files and folders that appear whole or not at all, also to a reader or after a kill or loss of power at any moment.

Each is built under a temporary name (`.part-...`) in the folder where it is to be, put onto the disk, and renamed.
"""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from kflare.errors import SettingError

_PREFIX: Final = ".part-"


def write_whole(path: Path | str, content: str | bytes | Callable[[BinaryIO], object]) -> Path:
    """Write a file, or replace it: text as UTF-8, bytes, or what a function writes into an open file.

    SettingError if it cannot be written, such as to a full disk; a file of that name is then as it was.
    """
    path = Path(path)
    with writing(path), temporary_file(path) as part, part.open("wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under, for what takes long or needs a path; at the end it becomes `path`.

    Its suffix is that of `path`. After an error it is removed, and a file `path` is as it was. SettingError if it
    cannot be made or renamed; errors of the block stay what they are.
    """
    with writing(path):
        # A name of its own: two processes may be writing the same file.
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        part.chmod(0o644)
        yield part
        with writing(path):
            move_into_place(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_folder(folder: Path, build: Callable[[Path], object]) -> Path:
    """Make a folder with the content that a function writes into it; OSError if that fails or `folder` is not empty."""
    with temporary_folder(folder.parent) as part:
        build(part)
        move_into_place(part, folder)
    return folder


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder in `parent`, for `move_into_place`; what is still there at the end is removed."""
    part = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        part.chmod(0o755)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def move_into_place(part: Path, target: Path) -> None:
    """Put a file, or a folder with all that is in it, onto the disk and give it its name there; else OSError.

    A file takes the place of another one, a folder only that of an empty one.
    """
    for path in [*part.rglob("*"), part]:
        if path.is_dir() and not path.is_symlink():
            sync_folder(path)
        elif path.is_file():
            _sync(path)
    part.replace(target)
    sync_folder(target.parent)


def replace_link(link: Path, target: Path | str) -> None:
    """Let a symbolic link lead to `target` from now on, in one step; else OSError."""
    with temporary_folder(link.parent) as part:
        (part / link.name).symlink_to(target)
        move_into_place(part / link.name, link)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder onto the disk, after renaming, where the file system can do that; else OSError."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network file systems
            raise


def make_folder(folder: Path) -> None:
    """Make a folder, and find out now rather than after an hour whether it can be written to; else `SettingError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SettingError(f"cannot write to `{folder}`: {error.strerror or error}; choose another folder") from error


@contextmanager
def held_folders(*folders: Path, within: Path | None = None) -> Iterator[None]:
    """Make folders, keep them for this process alone, and remove what killed ones left half written there.

    The first one holds the lock, which ends with the process, however that ends. SettingError if one of them cannot be
    written to, or another process holds them; it names `within`, by default the folder where they are.
    """
    for folder in folders:
        make_folder(folder)
    with (folders[0] / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fault = f"another run is at work in `{within or folders[0].parent}`"
            raise SettingError(f"{fault}: wait, or choose another folder") from error
        for folder in folders:
            remove_abandoned(folder)
        yield


def remove_abandoned(folder: Path, *, seconds: float = 0.0) -> None:
    """Remove what killed processes left half written in a folder, unless it is younger: that may be another's work."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime < seconds:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Any OSError of the block becomes a `SettingError` that names the file to be written and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(f"cannot write `{path}`: {reason}; make room, or choose another folder") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
