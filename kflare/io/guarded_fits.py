"""FITS files from outside, opened so that none takes more memory or time than what it holds is worth.

Astropy believes what a header declares: it makes a list of 10^11 columns, and unpacks a tile whole, however large it
gets. Here each header is looked at before astropy sees it, and each image before it is decoded; and whatever astropy
raises on damage becomes one DataError that names the file.
"""

import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import AnyArray, BoolArray
from kflare.io.payload import MAX_WIDTH, decoding, format_of, inflate, kind_of, read_payload

# JSOC compresses by RICE. HCOMPRESS and PLIO are left out on purpose: nobody stores images of the Sun so, and their
# decoders have crashed on damaged files.
_COMPRESSIONS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS")

# What the FITS standard 4.0 (section 10.4.1) allows: astropy hands other numbers to a decoder that does not check them.
_RICE = {"BYTEPIX": (1, 2, 4), "BLOCKSIZE": (16, 32)}

# How JSOC stores an image: each row is a tile, and none is stored in another way.
_JSOC = {"ZCMPTYPE": ("RICE_1",), "ZBITPIX": (8, 16, 32), "TFIELDS": (1,), "TTYPE1": ("COMPRESSED_DATA",)}

_BLOCK = 2880
# A header of a MiB has 13,000 cards; astropy makes an object of each, 10,000 a second for a compressed image.
_MAX_HEADER = 1 << 20
_MAX_HEADERS = 2 << 20
_MAX_PARTS = 64
_COUNTS = ("NAXIS", "ZNAXIS", "TFIELDS")
_MAX_COUNT = 999
# Astropy decodes one after the other in Python; an image of 8192 pixels has a tile for each of its rows.
_MAX_TILES = 1 << 16
_BITS = (8, 16, 32, 64, -32, -64)
_END = re.compile(rb"END(?![A-Z0-9_-])")
_SIZE_CARD = re.compile(rb"(?i)\s*(BITPIX|Z?NAXIS|NAXIS\d+|PCOUNT|GCOUNT|TFIELDS|GROUPS)\s*=\s*(\S*?)\s*(?:/|$)")


class FitsPart(NamedTuple):
    """Where a part of a FITS file lies, by what its header declares."""

    start: int  # of its header
    data: int  # of its data
    size: int  # bytes of its data, without the padding behind them

    @property
    def stop(self) -> int:
        """Where the next part begins."""
        return self.data + -(-self.size // _BLOCK) * _BLOCK


def fits_parts(file: BinaryIO, size: int) -> Iterator[FitsPart]:
    """The parts of a FITS file of `size` bytes, each by its header alone; ValueError as soon as one is damaged.

    The last part may reach beyond the file. Each header is read when its part is asked for.
    """
    start = headers = 0
    while start < size:
        file.seek(start)
        if start and not file.read(8).strip(b"\x00 "):
            return  # padding
        file.seek(start)
        part = FitsPart(start, *_declared(file, start))
        headers += part.data - start
        if headers > _MAX_HEADERS:
            raise ValueError(f"its headers must have at most {_MAX_HEADERS >> 20} MiB")
        yield part
        start = part.stop


def _declared(file: BinaryIO, start: int) -> tuple[int, int]:
    """Where the data of the header that begins here lie, and their bytes: FITS standard 4.0, eq. 1, 2 and 4."""
    cards: dict[str, int] = {}
    for stop in range(_BLOCK, _MAX_HEADER + 1, _BLOCK):
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise ValueError(f"the FITS header at byte {start} is damaged or cut off")
        for place in range(0, len(block), 80):
            card = block[place : place + 80]
            if sized := _SIZE_CARD.match(card):
                name = sized[1].decode().upper()
                # No image of the Sun is a random group, whose size follows another rule.
                if name == "GROUPS" and sized[2] != b"T":
                    continue
                value = int(sized[2]) if re.fullmatch(rb"[+-]?\d{1,4000}", sized[2]) else None
                if value is not None and name in _COUNTS and not 0 <= value <= _MAX_COUNT:
                    raise ValueError(f"`{name}` must be at most {_MAX_COUNT}, got {value}")
                if value is None or cards.setdefault(name, value) != value:
                    raise ValueError(f"`{name}` must be an integer, given once, got {sized[2][:20].decode('latin1')!r}")
            elif _END.match(card):
                return start + stop, _data_size(cards)
    raise ValueError(f"no header END within {_MAX_HEADER >> 20} MiB")


def _data_size(cards: dict[str, int]) -> int:
    sizes = {f"NAXIS{axis}": 0 for axis in range(1, cards.get("NAXIS", 0) + 1)}
    for name in (*sizes, "PCOUNT", "GCOUNT"):
        if not 0 <= cards.get(name, -1 if name in sizes else 0) < 1 << 60:
            raise ValueError(f"`{name}` must be the number of what is there, got {cards.get(name, 'none')}")
    bits = cards.get("BITPIX")
    if bits not in _BITS or "NAXIS" not in cards:
        raise ValueError(f"`BITPIX` must be one of {', '.join(map(str, _BITS))}, with `NAXIS` behind it, got {bits}")
    pixels = math.prod(cards[name] for name in sizes) if sizes else 0
    return abs(bits) // 8 * cards.get("GCOUNT", 1) * (cards.get("PCOUNT", 0) + pixels)


def image_header(path: Path) -> Any:
    """Header of the first two-dimensional image of a FITS file, compressed or not, of which no pixel is read.

    DataError if the file cannot be read, is damaged, or holds no image.
    """
    from astropy.io import fits

    with decoding(str(path), "is a damaged or truncated FITS file"), path.open("rb") as plain:
        packed = format_of(plain.read(16)) == "gzip"
        file = io.BytesIO(read_payload(path, what="a FITS file", kinds=("FITS",))) if packed else plain
        file.seek(0)
        kind_of(file.read(80), source=str(path), what="a FITS file", kinds=("FITS",))
        for part in islice(fits_parts(file, file.seek(0, io.SEEK_END)), _MAX_PARTS):
            file.seek(part.start)
            header = fits.Header.fromstring(file.read(part.data - part.start))
            if header.get("ZNAXIS" if header.get("ZIMAGE") else "NAXIS") == 2:
                return header
    raise DataError(f"`{path}` must hold a two-dimensional image; give another file")


@contextmanager
def guarded_fits(
    payload: bytes, source: str, *, scaled: bool = False, compressed_images: bool = True,
    problem: str = "is a damaged or truncated FITS file", advice: str = "download it again"
) -> Iterator["FitsFile"]:  # fmt: skip
    """Open a FITS file, for use within the context; `source` is its path, for messages.

    Pixels come as they are stored, or with `scaled` as BSCALE, BZERO and BLANK have them. A tile-compressed image is an
    image, or without `compressed_images` the table that holds it. Any exception within the context that is no
    KflareError becomes a DataError of the `problem` and the `advice`.
    """
    from astropy.io import fits

    with decoding(source, problem, advice=advice):
        # Each header is looked at before astropy sees any: it reads the second one as soon as it opens a file.
        parts = list(islice(fits_parts(io.BytesIO(payload), len(payload)), _MAX_PARTS + 1))
        if len(parts) > _MAX_PARTS:
            raise DataError(f"`{source}` is damaged: it has over {_MAX_PARTS} parts; download it again")
        payload = payload[: parts[-1].stop]  # without padding, which astropy would take for a header
        options = {"do_not_scale_image_data": not scaled, "disable_image_compression": not compressed_images}
        with fits.open(io.BytesIO(payload), memmap=False, lazy_load_hdus=True, **options) as hdus:
            yield FitsFile(hdus, parts, payload, source, scaled)


@dataclass(frozen=True, eq=False)
class FitsFile:
    """The parts of an open FITS file; see :func:`guarded_fits`."""

    hdus: Any
    _parts: Sequence[FitsPart]
    _payload: bytes
    _source: str
    _scaled: bool

    def __iter__(self) -> Iterator[Any]:
        """The parts in their order: each an astropy HDU, of which only the header has been read."""
        for part, hdu in zip(self._parts, self.hdus, strict=False):
            if part[:2] != (hdu.fileinfo()["hdrLoc"], hdu.fileinfo()["datLoc"]):
                raise ValueError(f"the header at byte {part.start} contradicts itself")
            yield hdu

    def image(self) -> Any:
        """The first part that is a two-dimensional image, not decoded; DataError if there is none."""
        shapes = []
        for hdu in self:
            shape: tuple[int, ...] = getattr(hdu, "shape", ())
            if hdu.is_image and len(shape) == 2:
                return hdu
            shapes.append(str(shape))
        raise DataError(f"`{self._source}` must hold a two-dimensional image, its parts are of {', '.join(shapes)}")

    def pixels(self, hdu: Any, rows: BoolArray | None = None) -> AnyArray:
        """Decode a part that is a two-dimensional image of up to `MAX_WIDTH` pixels in each direction.

        All of it, or these `rows`: of an image that is stored as JSOC's are, no others are decoded.

        DataError if it is larger, truncated, or compressed so that it would unpack to more than its own size.
        """
        from astropy.io import fits

        shape: tuple[int, ...] = getattr(hdu, "shape", ())
        if len(shape) != 2 or not 0 < max(shape) <= MAX_WIDTH:
            raise DataError(f"`{self._source}`: an image must be of at most {MAX_WIDTH} pixels a side, got {shape}")
        place = hdu.fileinfo()
        if place["datLoc"] + place["datSpan"] >= len(self._payload) + _BLOCK:
            raise ValueError(f"its header promises an image of {hdu.size} bytes")
        if isinstance(hdu, fits.CompImageHDU):
            header = self._require_safe_tiles(hdu)
            table = header["NAXIS1"] == 8 and re.match("1?PB", str(header.get("TFORM1"))) and not self._scaled
            if table and hdu.tile_shape == (1, shape[1]) and all(header.get(key) in own for key, own in _JSOC.items()):
                with suppress(ImportError):  # where another version of astropy keeps its decoder
                    return self._rice_rows(header, place["datLoc"], slice(None) if rows is None else rows)
        data = np.asarray(hdu.data)
        if data.shape != shape:
            raise DataError(f"`{self._source}` is truncated: its image is {data.shape}, not {shape}; download it again")
        return data if rows is None else data[rows]

    def _rice_rows(self, header: Any, start: int, rows: BoolArray | slice) -> AnyArray:
        """Decode rows without astropy's walk from tile to tile, which takes longer than to decode them."""
        from astropy.io.fits.hdu.compressed._codecs import decompress_rice_1_c as decode

        given = {str(header[card]).strip().upper(): header[f"ZVAL{card[5:]}"] for card in header["ZNAME*"]}
        block, size, bits = given.get("BLOCKSIZE", 32), given.get("BYTEPIX", 4), header["ZBITPIX"]
        width, height = header["ZNAXIS1"], header["ZNAXIS2"]
        heap, stop = start + header.get("THEAP", 8 * height), start + 8 * height + header["PCOUNT"]
        places = np.frombuffer(self._payload, ">i4", 2 * height, start).reshape(height, 2)[rows].astype(np.int64)
        places[:, 1] += heap
        if heap < start or (places <= (size, heap - 1)).any() or (places.sum(axis=1) > stop).any():
            raise ValueError("a row of its image is not where its table says")
        out = np.empty((len(places), width), "u1" if bits == 8 else f"i{bits // 8}")
        stored = "u1" if size == 1 else f"i{size}"
        for row, (length, first) in zip(out, places.tolist(), strict=True):
            row[:] = np.frombuffer(decode(self._payload[first : first + length], block, size, width), stored)
        return out

    def _require_safe_tiles(self, hdu: Any) -> Any:
        """The header of the table that holds a compressed image.

        Refused are compressions without need or bounds, and tiles that would unpack to more than the image needs.
        """
        from astropy.io import fits

        source = self._source
        if hdu.compression_type not in _COMPRESSIONS:
            fault = f"`{source}`: compression must be one of {', '.join(_COMPRESSIONS)}, got {hdu.compression_type!r}"
            raise DataError(f"{fault}; uncompress it")
        if math.prod(hdu.tile_shape) > MAX_WIDTH**2:
            raise DataError(f"`{source}` is damaged: its tiles of {hdu.tile_shape} pixels are larger than any image")
        tiles = math.prod(-(-side // tile) for side, tile in zip(hdu.shape, hdu.tile_shape, strict=True))
        if tiles > _MAX_TILES:
            raise DataError(f"`{source}` must have at most {_MAX_TILES} tiles, has {tiles}; uncompress it")
        place = hdu.fileinfo()
        raw = self._payload[place["hdrLoc"] : place["datLoc"]]
        header = fits.Header.fromstring(raw)
        for card in header["ZNAME*"]:
            name, value = str(header[card]).strip().upper(), header.get(f"ZVAL{card[5:]}")
            if value not in (allowed := _RICE.get(name, (value,))):
                fault = f"`{source}` is damaged: its `{name}` must be one of {allowed}, got {value!r}"
                raise DataError(f"{fault}; download it again")
        packed = ["GZIP_COMPRESSED_DATA"] if b"GZIP_COMPRESSED_DATA" in raw.upper() else []
        if hdu.compression_type.startswith("GZIP"):
            packed.append("COMPRESSED_DATA")
        if not packed:
            return header
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
        return header
