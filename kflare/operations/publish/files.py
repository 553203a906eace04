"""Files and folders that a reader sees whole or not at all."""

import os
from pathlib import Path

from kflare.attribution.attribution_file import write_whole

__all__ = ["sync_folder", "write_file"]


def write_file(path: Path, content: str | bytes) -> Path:
    """Put a file into its place in one step, on the disk before it has its name; text as UTF-8.

    Raises
    ------
    SettingError
        The folder cannot be written to, or the disk is full; a file of that name is as it was.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_whole(path, lambda file: file.write(data))
    sync_folder(path.parent)
    return path


def sync_folder(folder: Path) -> None:
    """Put the names in a folder onto the disk, after renaming."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
