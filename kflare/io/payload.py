"""Files from outside, looked at before anything in them is decoded: what they are, and how much they claim to hold."""

import zlib
from pathlib import Path

from kflare.errors import DataError

__all__ = ["MAX_FILE_BYTES", "MAX_WIDTH", "kind_of", "read_payload"]

# MDI is 1024², HMI 4096²: nothing that is a magnetogram is near these limits, but a damaged header may claim more.
MAX_WIDTH = 8192
MAX_FILE_BYTES = 1 << 29

_KINDS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"SIMPLE  =": "FITS",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JP2",
}
_NOT_READ = {
    b"\xff\x4f\xff\x51": "a JPEG 2000 codestream without the header of a JP2 file",
    b"PK\x03\x04": "a zip archive",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"RIFF": "a WebP or other RIFF file",
    b"\x1f\x8b": "a gzip archive in a gzip archive",
}
_GZIP = b"\x1f\x8b"


def kind_of(payload: bytes, *, source: str) -> str:
    """Kind of file by its first bytes: "JPEG", "PNG", "FITS" or "JP2".

    Raises
    ------
    DataError
        If it is of another kind, which the message names.
    """
    for magic, kind in _KINDS.items():
        if payload.startswith(magic):
            return kind
    start = payload[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--", b"<?xml")):
        raise DataError(
            f"`{source}` must be a JPEG, PNG, FITS or JP2 file; it is an HTML or XML page, as a server sends when it "
            "has no data; download it again"
        )
    other = next((name for magic, name in _NOT_READ.items() if payload.startswith(magic)), None)
    seen = f"it is {other}" if other else f"it begins with {payload[:8]!r}"
    raise DataError(f"`{source}` must be a JPEG, PNG, FITS or JP2 file; {seen}; convert it or give another file")


def read_payload(path: Path) -> bytes:
    """Content of a file, unpacked if it is a gzip archive (`.fits.gz`).

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    bytes
        At most 512 MiB, before and after unpacking.

    Raises
    ------
    DataError
        If it is missing, no regular file, empty, larger than that, or a damaged archive.
    """
    try:
        if not path.is_file():
            rule = "is no regular file" if path.exists() else "does not exist"
            raise DataError(f"`{path}` {rule}; give a magnetogram in JPEG, PNG, FITS or JP2")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"`{path}` must be at most {MAX_FILE_BYTES >> 20} MiB to be a magnetogram, has {size} bytes"
            )
        payload = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"`{path}` cannot be read: {error}") from error
    if not payload:
        raise DataError(f"`{path}` is empty; download or write it again")
    return _unpacked(payload, str(path)) if payload.startswith(_GZIP) else payload


def inflate(packed: bytes, limit: int) -> bytes | None:
    """Unpack gzip data to at most `limit` bytes; None if there are more. zlib.error if it is damaged or cut short."""
    stream = zlib.decompressobj(wbits=31)
    unpacked = stream.decompress(packed, limit + 1)
    if len(unpacked) > limit:
        return None
    if not stream.eof:
        raise zlib.error("the data end too early")
    return unpacked


def _unpacked(payload: bytes, source: str) -> bytes:
    try:
        # Half a gigabyte of zeros packs to half a megabyte: look at the first bytes before unpacking the rest.
        start = zlib.decompressobj(wbits=31).decompress(payload, 512)
        if start:
            kind_of(start, source=source)
        unpacked = inflate(payload, MAX_FILE_BYTES)
    except zlib.error as error:
        raise DataError(f"`{source}` is a damaged gzip archive: {error}; download it again") from error
    if unpacked is None:
        raise DataError(
            f"`{source}` must unpack to at most {MAX_FILE_BYTES >> 20} MiB to be a magnetogram, it unpacks to more"
        )
    return unpacked
