"""Files from outside, looked at before anything in them is decoded: what they are, and how much they claim to hold."""

import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kflare.errors import DataError, KflareError

#: MDI is 1024², HMI 4096²: nothing that is a magnetogram is near these limits, but a damaged header may claim more.
MAX_WIDTH: Final = 8192
MAX_FILE_BYTES: Final = 1 << 29

#: Formats, and the first bytes by which each is recognised.
MAGIC: Final[Mapping[str, tuple[bytes, ...]]] = {
    "FITS": (b"SIMPLE  =",),
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JP2": (b"\x00\x00\x00\x0cjP  \r\n\x87\n",),
    "netCDF-4": (b"\x89HDF\r\n\x1a\n",),
    "netCDF-3": (b"CDF\x01", b"CDF\x02"),
    "gzip": (b"\x1f\x8b",),
    # Not read, but named where they are found.
    "JPEG 2000 codestream without the header of a JP2": (b"\xff\x4f\xff\x51",),
    "NumPy": (b"\x93NUMPY",),
    "zip": (b"PK\x03\x04",),
    "GIF": (b"GIF8",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
    "WebP or other RIFF": (b"RIFF",),
}
#: Formats of magnetograms.
IMAGES: Final = ("JPEG", "PNG", "FITS", "JP2")


def format_of(payload: bytes) -> str | None:
    """Format of a file by its first bytes, a key of `MAGIC`; None if it is none of these."""
    return next((name for name, magic in MAGIC.items() if payload.startswith(magic)), None)


def kind_of(
    payload: bytes, *, source: str, what: str = "a JPEG, PNG, FITS or JP2 file", kinds: Collection[str] = IMAGES
) -> str:
    """Format of a file by its first bytes, one of `kinds`; `what` it should be is said in the message.

    DataError if it is of another format, which the message names.
    """
    found = format_of(payload)
    if found is not None and found in kinds:
        return found
    start = payload[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--", b"<?xml")):
        raise DataError(f"`{source}` must be {what}; it is an HTML or XML page; download it again")
    seen = f"it is a {found} file" if found else f"it begins with {payload[:8]!r}"
    raise DataError(f"`{source}` must be {what}; {seen}; convert it or give another file")


def read_payload(
    path: Path, *, limit: int = MAX_FILE_BYTES, what: str = "a magnetogram in JPEG, PNG, FITS or JP2",
    kinds: Collection[str] = IMAGES
) -> bytes:  # fmt: skip
    """Content of a file, not empty, unpacked if it is a gzip archive (`.fits.gz`).

    `limit` is the largest size in bytes, before and after unpacking, `what` it should be is said in messages, and
    `kinds` are the formats that it may have, keys of `MAGIC`; empty for text, which has no first bytes to tell it by.
    DataError if the file is missing, no regular file, empty, larger, of another format, or a damaged archive.
    """
    try:
        if not path.is_file():
            rule = "is no regular file" if path.exists() else "does not exist"
            raise DataError(f"`{path}` {rule}; give {what}")
        size = path.stat().st_size
        if size > limit:
            raise DataError(f"`{path}` must be at most {limit >> 20} MiB to be {what}, has {size} bytes")
        with path.open("rb") as stream:
            payload = stream.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"`{path}` cannot be read: {error}") from error
    if not payload:
        raise DataError(f"`{path}` is empty; download or write it again")
    if len(payload) > limit:
        raise DataError(f"`{path}` grew beyond {limit >> 20} MiB while it was read; wait until it is complete")
    if format_of(payload) == "gzip":
        return _unpacked(payload, str(path), limit, what, kinds)
    if kinds:
        kind_of(payload, source=str(path), what=what, kinds=kinds)
    return payload


@contextmanager
def decoding(source: str, problem: str, *, advice: str = "download it again") -> Iterator[None]:
    """Within this context any exception that is no KflareError becomes DataError: `source` `problem`: reason; `advice`.

    Decoders raise OSError, SyntaxError, TypeError, struct.error and more, as the damage has it, and warn of every
    departure from a standard; what matters is checked by the caller.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except KflareError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise DataError(f"`{source}` {problem}: {reason}; {advice}") from error


def inflate(packed: bytes, limit: int) -> bytes | None:
    """Unpack gzip data to at most `limit` bytes; None if there are more. zlib.error if it is damaged or cut short."""
    stream = zlib.decompressobj(wbits=31)
    unpacked = stream.decompress(packed, limit + 1)
    if len(unpacked) > limit:
        return None
    if not stream.eof:
        raise zlib.error("the data end too early")
    return unpacked


def _unpacked(payload: bytes, source: str, limit: int, what: str, kinds: Collection[str]) -> bytes:
    try:
        # Half a gigabyte of zeros packs to half a megabyte: look at the first bytes before unpacking the rest.
        start = zlib.decompressobj(wbits=31).decompress(payload, 512)
        if format_of(start) == "gzip":
            raise DataError(f"`{source}` is a gzip archive in a gzip archive; unpack it")
        if start and kinds:
            kind_of(start, source=source, what=what, kinds=kinds)
        unpacked = inflate(payload, limit)
    except zlib.error as error:
        raise DataError(f"`{source}` is a damaged gzip archive: {error}; download it again") from error
    if unpacked is None:
        raise DataError(f"`{source}` must unpack to at most {limit >> 20} MiB to be {what}, it unpacks to more")
    if not unpacked:
        raise DataError(f"`{source}` is an archive of an empty file; download it again")
    return unpacked
