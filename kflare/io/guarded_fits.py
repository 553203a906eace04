"""FITS files from outside, opened so that none takes more memory or time than what it holds is worth.

Astropy believes what a header declares: it makes a list of 10^11 columns, and unpacks a tile whole, however large it
gets. Here each header is looked at before astropy sees it, and each image before it is decoded; and whatever astropy
raises on damage becomes one DataError that names the file.
"""

import io
import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError
from kflare.io.payload import MAX_WIDTH, decoding, inflate

__all__ = ["FitsFile", "guarded_fits"]

# JSOC compresses by RICE. HCOMPRESS and PLIO are left out on purpose: nobody stores images of the Sun so, and their
# decoders have crashed on damaged files.
_COMPRESSIONS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS")

_COUNT = re.compile(rb"(Z?NAXIS|TFIELDS)\s*=[\s+]*(\d{1,4000})")
_MAX_COUNT = 999
_END = re.compile(rb"END(?![A-Z0-9_-])")
_MAX_HEADER = 1 << 20
_MAX_PARTS = 64


@contextmanager
def guarded_fits(
    payload: bytes,
    source: str,
    *,
    scaled: bool = False,
    compressed_images: bool = True,
    problem: str = "is a damaged or truncated FITS file",
    advice: str = "download it again",
) -> Iterator["FitsFile"]:
    """Open a FITS file, for use within the context; `source` is its path, for messages.

    Pixels come as they are stored, or with `scaled` as BSCALE, BZERO and BLANK have them. A tile-compressed image is an
    image, or without `compressed_images` the table that holds it. Any exception within the context that is no
    KflareError becomes a DataError of the `problem` and the `advice`.
    """
    from astropy.io import fits

    with decoding(source, problem, advice=advice):
        _require_short_header(payload, 0, source)
        with fits.open(
            io.BytesIO(payload),
            memmap=False,
            lazy_load_hdus=True,
            do_not_scale_image_data=not scaled,
            disable_image_compression=not compressed_images,
        ) as hdus:
            yield FitsFile(hdus, payload, source)


class FitsFile:
    """The parts of an open FITS file; see :func:`guarded_fits`."""

    def __init__(self, hdus: Any, payload: bytes, source: str) -> None:
        self.hdus = hdus
        self._payload = payload
        self._source = source

    def __iter__(self) -> Iterator[Any]:
        """The parts in their order, at most 64: each an astropy HDU, of which only the header has been read."""
        for number, hdu in enumerate(self.hdus):
            if number == _MAX_PARTS:
                raise DataError(f"`{self._source}` is damaged: it has over {_MAX_PARTS} parts; download it again")
            yield hdu
            place = hdu.fileinfo()
            _require_short_header(self._payload, place["datLoc"] + place["datSpan"], self._source)

    def image(self) -> Any:
        """The first part that is a two-dimensional image, not decoded; DataError if there is none."""
        shapes = []
        for hdu in self:
            shape: tuple[int, ...] = getattr(hdu, "shape", ())
            if hdu.is_image and len(shape) == 2:
                return hdu
            shapes.append(str(shape))
        raise DataError(f"`{self._source}` must hold a two-dimensional image, its parts are of {', '.join(shapes)}")

    def pixels(self, hdu: Any) -> npt.NDArray[Any]:
        """Decode a part that is a two-dimensional image of up to `MAX_WIDTH` pixels in each direction.

        DataError if it is larger, truncated, or compressed so that it would unpack to more than its own size.
        """
        from astropy.io import fits

        shape: tuple[int, ...] = getattr(hdu, "shape", ())
        if len(shape) != 2 or not 0 < max(shape) <= MAX_WIDTH:
            raise DataError(f"`{self._source}`: an image must be of at most {MAX_WIDTH} pixels a side, got {shape}")
        if isinstance(hdu, fits.CompImageHDU):
            self._require_safe_tiles(hdu)
        elif hdu.size > len(self._payload):
            raise DataError(
                f"`{self._source}` is a damaged or truncated FITS file: its header promises an image of {hdu.size} "
                "bytes; download it again"
            )
        data = np.asarray(hdu.data)
        if data.shape != shape:
            raise DataError(f"`{self._source}` is truncated: its image is {data.shape}, not {shape}; download it again")
        return data

    def _require_safe_tiles(self, hdu: Any) -> None:
        """Refuse compressions without need or bounds, and tiles that would unpack to more than the image needs."""
        from astropy.io import fits

        source = self._source
        if hdu.compression_type not in _COMPRESSIONS:
            raise DataError(
                f"`{source}`: compression must be one of {', '.join(_COMPRESSIONS)}, got {hdu.compression_type!r}; "
                "uncompress it"
            )
        if math.prod(hdu.tile_shape) > MAX_WIDTH**2:
            raise DataError(f"`{source}` is damaged: its tiles of {hdu.tile_shape} pixels are larger than any image")
        place = hdu.fileinfo()
        names = self._payload[place["hdrLoc"] : place["datLoc"]].upper()
        packed = ["GZIP_COMPRESSED_DATA"] if b"GZIP_COMPRESSED_DATA" in names else []
        if hdu.compression_type.startswith("GZIP"):
            packed.append("COMPRESSED_DATA")
        if not packed:
            return
        with fits.open(io.BytesIO(self._payload), memmap=False, disable_image_compression=True) as hdus:
            table = next(part for part in hdus if part.fileinfo()["hdrLoc"] == place["hdrLoc"]).data
            # 8 bytes are the widest pixel that FITS knows.
            limit = 8 * math.prod(hdu.tile_shape)
            for name in packed:
                for tile in table[name]:
                    try:
                        unpacked = inflate(bytes(tile), limit) if len(tile) else b""
                    except zlib.error as error:
                        raise DataError(f"`{source}` is damaged: a gzip tile: {error}; download it again") from error
                    if unpacked is None:
                        raise DataError(f"`{source}` is damaged: a gzip tile unpacks to more than its {limit} bytes")


def _require_short_header(payload: bytes, start: int, source: str) -> None:
    """Refuse the header that begins at `start` if astropy would make millions of objects of it."""
    head = payload[start : start + _MAX_HEADER]
    end = next((found.start() for found in _END.finditer(head) if found.start() % 80 == 0), None)
    if end is None and len(head) == _MAX_HEADER:
        raise DataError(f"`{source}` is damaged: no header END within {_MAX_HEADER >> 20} MiB; download it again")
    for count in _COUNT.finditer(head[:end].upper()):
        if int(count[2]) > _MAX_COUNT:
            seen = f"`{count[1].decode()}` must be at most {_MAX_COUNT}, got {int(count[2])}"
            raise DataError(f"`{source}` is damaged: {seen}; download it again")
