"""Whether a file is what its name says, and all of it: by its first bytes and by the size that it declares itself.

Nothing is decoded here, so a file of any size is checked in milliseconds. A server that is in trouble sends a page of
HTML with status 200, and a broken connection leaves the beginning of a file: neither may get its final name.
"""

import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from kflare.io.catalogue_file import is_json
from kflare.io.guarded_fits import fits_parts
from kflare.io.payload import format_of

_HTML = re.compile(rb"(?is)\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title)\b")
_TITLE = re.compile(rb"<title[^>]*>\s*(.*?)\s*</title>", re.IGNORECASE | re.DOTALL)
# Some encoders pad behind the end of the image; more than this is something else.
_TRAILER = 512


def html_title(beginning: bytes) -> str | None:
    """Title of a page of HTML ("" if it has none), None if these bytes begin something else."""
    if not _HTML.match(beginning):
        return None
    title = _TITLE.search(beginning)
    return " ".join(title[1].decode("latin1").split())[:80] if title else ""


def damage(path: Path, kind: str) -> str | None:
    """What is wrong with a file of a kind (one of `KINDS`), such as "truncated: 11520 of 17280 bytes"; None if whole.

    Neither reads the pixels nor finds a flipped bit among them.
    """
    size = path.stat().st_size
    if size == 0:
        return "empty"
    with path.open("rb") as file:
        beginning = file.read(2048)
        if (title := html_title(beginning)) is not None:
            return f"a page of HTML{f' ({title})' if title else ''}, no {kind}"
        formats = _FORMATS.get(kind)
        if (formats and format_of(beginning) not in formats) or (kind == "JSON" and not is_json(beginning)):
            return f"no {kind}: it begins with {beginning[:12]!r}"
        file.seek(0)
        return _INCOMPLETE[kind](file, size)


def _incomplete_fits(file: BinaryIO, size: int) -> str | None:
    try:
        parts = list(fits_parts(file, size))
    except ValueError as error:
        return str(error)
    if parts[-1].stop > size:
        return f"truncated: {size} of {parts[-1].stop} bytes"
    # What a compressed image begins with is a FITS file by itself.
    return None if any(part.size for part in parts) else f"without data: {size} bytes of headers alone"


def _incomplete_jpeg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - _TRAILER))
    return None if b"\xff\xd9" in file.read() else "truncated: a JPEG must end with its end-of-image marker"


def jp2_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Type of each box at the top of a JP2 file, and where its content begins and ends; ValueError if one does not."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        length, name = struct.unpack(">I4s", head[:8])
        begin = place + 8
        if length == 1 and len(head) == 16:
            length, begin = struct.unpack(">Q", head[8:])[0], place + 16
        end = size if length == 0 else place + length  # the last box may leave its length open
        if end < begin:
            raise ValueError(f"damaged: a box of {length} bytes at byte {place}")
        if end > size:
            raise ValueError(f"truncated: {size} of at least {end} bytes")
        yield name, begin, end
        place = end


def _incomplete_jp2(file: BinaryIO, size: int) -> str | None:
    image, end = False, 0
    try:
        for name, begin, end in jp2_boxes(file, size):
            if name == b"jp2c":
                image = True
                file.seek(max(begin, end - _TRAILER))
                if b"\xff\xd9" not in file.read(end - file.tell()):
                    return "truncated: the image must end with its end-of-codestream marker"
    except ValueError as error:
        return str(error)
    if end != size:
        return f"truncated: {size} bytes end within a box"
    return None if image else f"truncated: {size} bytes without an image"


def _incomplete_netcdf(file: BinaryIO, size: int) -> str | None:
    head = file.read(64)
    if len(head) < 64:
        return f"truncated: {size} bytes"
    # netCDF-4 is HDF5: its superblock holds the end-of-file address, at a place that depends on its version.
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(head[8]) if head.startswith(b"\x89HDF") else None
    end = struct.unpack_from("<Q", head, place)[0] if place is not None else size
    return f"truncated: {size} of {end} bytes" if end > size else None


def _incomplete_json(file: BinaryIO, size: int) -> str | None:
    try:
        json.loads(file.read())
    except (ValueError, RecursionError) as error:
        return f"truncated or damaged JSON of {size} bytes: {error}"
    return None


_INCOMPLETE: dict[str, Callable[[BinaryIO, int], str | None]]
_INCOMPLETE = {"FITS": _incomplete_fits, "JPEG": _incomplete_jpeg, "JP2": _incomplete_jp2}
_INCOMPLETE |= {"netCDF": _incomplete_netcdf, "JSON": _incomplete_json}
_INCOMPLETE["text"] = lambda file, _: "no text: it holds zero bytes" if b"\x00" in file.read(1 << 16) else None
_FORMATS = {"FITS": ("FITS",), "JPEG": ("JPEG",), "JP2": ("JP2",), "netCDF": ("netCDF-3", "netCDF-4")}
#: Kinds of file that can be judged.
KINDS = tuple(_INCOMPLETE)
