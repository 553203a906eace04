"""Magnetograms of Helioviewer: JPEG 2000 in a JP2 file, with the FITS header of the original in an XML box.

Pillow decodes the pixels. The boxes around them are parsed here, for the header, and to see what the codestream claims
to hold before anything of that size is allocated.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import ByteArray
from kflare.io.integrity import jp2_boxes
from kflare.io.payload import MAX_WIDTH, decoding
from kflare.observations.byte_scale import choose_byte_scale
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.producers import producer_of
from kflare.observations.readers.pixels import Frame, Pixels, require_square
from kflare.observations.readers.reader import Options, Reader
from kflare.sun.disk import disk_mask

_ZERO_FIELD = 128
# jp2gen clips MDI's fields at ±1000 G and stretches the bytes from the weakest to the strongest on the disk: the scale
# is known where zero field is in the middle and fields were clipped, so that several pixels, not one, are strongest.
_STRETCHED = 254
_NEAR_ZERO, _NEAR_END, _CLIPPED = 3, 2, 3
_COUNTED = 0.95  # of the radius; farther out JPEG 2000 blurs the limb
_MAX_XML = 1 << 20
_DAMAGED = "is a damaged or truncated JP2 file"

# Markers of a codestream, and limits on what makes a decoder allocate far more than the image.
_SOC, _SIZ, _COD, _COC, _SOT, _SOD, _EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_MAX_TILES = 4096
_MAX_LAYERS = 256
_MAX_PRECINCTS = 1 << 18


def magnetogram_from_jp2(payload: bytes, options: Options) -> Magnetogram:
    """Magnetogram of the bytes of a JP2 file of Helioviewer.

    Byte v stands for B = (v − 128) / 255 · 2 R gauss: zero field is byte 128. R is `HV_IMG_DMAX` of the XML box, else
    250 for HMI and 1000 for MDI (with 254 steps); what is asked for counts only where bytes were stretched otherwise.
    Disk, time, orientation and QUALITY are those of the FITS header in that box.
    """
    source = options.source
    with decoding(source, _DAMAGED):
        header = jp2_header(payload, source)
        maker = producer_of(header)
        width = require_square(_declared_shape(payload, source), MAX_WIDTH, source)
        frame = Frame(header, width, options)
        image, disk = _decode(payload, width, source), frame.orientation.disk
        told, known = header.plausible(1, 1e5, "HV_IMG_DMAX") or maker.byte_range, True
        if maker.byte_steps == _STRETCHED:
            inside = disk_mask(width, replace(disk, radius=_COUNTED * disk.radius))
            known = _require_scale(image[inside], source, told=options.byte_range is not None)
        about = {"header": told if known else None, "option": options.byte_range}
        scale = choose_byte_scale(image, disk, source=source, instrument=header.instrument()[0], **about)
        step = 2 * scale.gauss / maker.byte_steps
        # The picture has the top row first, FITS the bottom row.
        return frame.magnetogram(Pixels(image[::-1], scale=step, zero=-_ZERO_FIELD * step, byte_scale=scale))


def _require_scale(seen: ByteArray, source: str, *, told: bool) -> bool:
    """Whether bytes of the disk were stretched from -1000 to 1000 G; DataError if not, nor by as much as was `told`."""
    middle = float(np.median(seen))
    clipped = max(np.count_nonzero(seen <= 1 + _NEAR_END), np.count_nonzero(seen >= 255 - _NEAR_END))
    if abs(middle - _ZERO_FIELD) > _NEAR_ZERO or (clipped < _CLIPPED and not told):
        raise DataError(
            f"`{source}`: zero field must be byte {_ZERO_FIELD}, got a median of {middle:g}, and {_CLIPPED} pixels as "
            f"strong as the strongest, got {clipped}: its bytes were stretched from its own weakest to its own "
            "strongest field, so gauss are unknown; give the FITS file"
        )
    return bool(clipped >= _CLIPPED)


def _time(payload: bytes, source: str) -> datetime:
    with decoding(source, _DAMAGED):
        return jp2_header(payload, source).time()


def jp2_header(payload: bytes, source: str) -> Header:
    """The FITS header in the XML box; see `xml_header`."""
    return Header(xml_header(payload, source=source).__getitem__, source, container="JP2")


def xml_header(payload: bytes, *, source: str) -> dict[str, str]:
    """FITS header in the XML box of a JP2 file: keyword in capitals to text, of the elements `fits` and `helioviewer`.

    `DataError` if there is no such box, it is no XML, larger than 1 MiB, or declares a document type.
    """
    boxes = [bytes(content) for kind, content in _boxes(payload, source) if kind == b"xml "]
    if not boxes:
        fault = f"`{source}` must hold the FITS header in an XML box, as files of Helioviewer do; it has none"
        raise DataError(f"{fault}; give the FITS file")
    if len(boxes[0]) > _MAX_XML:
        raise DataError(f"`{source}` is damaged: its XML box must be at most {_MAX_XML} bytes, has {len(boxes[0])}")
    try:
        # Some writers end the box with a NUL.
        root = ET.XML(boxes[0].rstrip(b"\0"), ET.XMLParser(target=_Plain()))  # noqa: S314 (without a document type)
    except ET.ParseError as error:
        raise DataError(f"`{source}` is damaged: its XML box cannot be parsed: {error}; download it again") from error
    except DataError as error:
        raise DataError(f"`{source}` is refused: {error}") from error
    # Of two cards of one name the first counts.
    parts = [part for part in root if part.tag.lower() in {"fits", "helioviewer"}]
    return {card.tag.upper(): (card.text or "").strip() for part in reversed(parts) for card in reversed(part)}


class _Plain(ET.TreeBuilder):
    """Refuses a document type, before the entities in it are read."""

    def doctype(self, *_: str | None) -> None:
        raise DataError("the XML of a FITS header has no document type and no entities")


def _boxes(payload: bytes, source: str) -> Iterator[tuple[bytes, memoryview]]:
    """Type and content of the boxes at the top of a JP2 file."""
    try:
        for kind, begin, end in jp2_boxes(io.BytesIO(payload), len(payload)):
            yield kind, memoryview(payload)[begin:end]
    except ValueError as error:
        raise DataError(f"`{source}` {_DAMAGED}: {error}; download it again") from error


def _declared_shape(payload: bytes, source: str) -> tuple[int, int]:
    """Height and width that the codestream declares, after a check of everything that it declares."""
    for kind, content in _boxes(payload, source):
        if kind == b"jp2c":
            return _check_codestream(content, source)
    raise DataError(f"`{source}` is damaged: it holds no JPEG 2000 codestream; download it again")


def _check_codestream(stream: memoryview, source: str) -> tuple[int, int]:
    """Walk the headers of a codestream: ISO/IEC 15444-1, annex A."""

    def demand(holds: bool, rule: str, seen: object) -> None:
        if not holds:
            raise DataError(f"`{source}` is damaged or hostile: {rule}, got {seen}; download it again")

    demand(struct.unpack_from(">H", stream, 0)[0] == _SOC, "a codestream begins with SOC", bytes(stream[:2]).hex())
    place, width, height, tiles, next_part = 2, 0, 0, 0, 0
    seen: set[int] = set()
    while True:
        (marker,) = struct.unpack_from(">H", stream, place)
        if marker == _EOC:
            break
        if marker == _SOD:
            # A decoder fills what is missing with black, without a word.
            demand(place < next_part <= len(stream) - 2, "a tile part lies in the file", f"an end at {next_part}")
            place = next_part
            continue
        (length,) = struct.unpack_from(">H", stream, place + 2)
        demand(length >= 2 and marker >= 0xFF00, "a marker segment has a length", f"{marker:#x} of {length}")
        if marker == _SIZ:
            fields = struct.unpack_from(">HIIIIIIIIHBBB", stream, place + 4)
            _, right, low, left, top, tile_w, tile_h, tile_x, tile_y, *kind = fields
            width, height = right - left, low - top
            # Components, bits less one, and the steps between samples.
            demand(kind == [1, 7, 1, 1], "a magnetogram must be one component of 8 bits", tuple(kind))
            demand(0 < width <= MAX_WIDTH and 0 < height <= MAX_WIDTH, f"at most {MAX_WIDTH}²", (width, height))
            demand(tile_w > 0 and tile_h > 0, "tiles have a size", (tile_w, tile_h))
            demand(tile_x <= left and tile_y <= top, "tiles begin before the image", (tile_x, tile_y))
            tiles = -(-(right - tile_x) // tile_w) * -(-(low - tile_y) // tile_h)
            demand(tiles <= _MAX_TILES, f"at most {_MAX_TILES} tiles", tiles)
        elif marker in {_COD, _COC}:
            demand(width > 0, "SIZ comes first", f"{marker:#x}")
            _check_coding(bytes(stream[place + 4 : place + 2 + length]), marker, (height, width), demand)
        elif marker == _SOT:
            tile, span = struct.unpack_from(">HI", stream, place + 4)
            seen.add(tile)
            # 0 stands for "up to EOC".
            next_part = place + span if span else len(stream) - 2
            demand(span == 0 or span >= 14, "a tile part has a length", span)
        place += 2 + length
    demand(width > 0, "a codestream declares a size", "none")
    demand(seen == set(range(tiles)), f"all {tiles} tiles are in the file", len(seen))
    return height, width


def _check_coding(body: bytes, marker: int, shape: tuple[int, int], demand: Any) -> None:
    """Check a COD or COC segment: few layers, and few enough precincts."""
    precincts_given = bool(body[0 if marker == _COD else 1] & 1)
    if marker == _COD:
        (layers,) = struct.unpack_from(">H", body, 2)
        demand(0 < layers <= _MAX_LAYERS, f"1 to {_MAX_LAYERS} layers", layers)
    levels, sizes = (body[5], body[10:]) if marker == _COD else (body[2], body[7:])
    demand(levels <= 32, "at most 32 levels", levels)
    if not precincts_given:
        return
    demand(len(sizes) > levels, "a precinct size for each level", len(sizes))
    count = 0
    for level in range(levels + 1):
        height, width = (-(-side >> (levels - level)) for side in shape)
        across, down = sizes[level] & 15, sizes[level] >> 4
        count += ((-(-width // (1 << across))) + 1) * ((-(-height // (1 << down))) + 1)
    demand(count <= _MAX_PRECINCTS, f"at most {_MAX_PRECINCTS} precincts", count)


def _decode(payload: bytes, width: int, source: str) -> ByteArray:
    from PIL import Image

    with Image.open(io.BytesIO(payload), formats=("JPEG2000",)) as image:
        if image.mode != "L" or image.size != (width, width):
            rule = f"`{source}` must be an 8-bit grey image of {width}² pixels as its codestream says"
            raise DataError(f"{rule}, got mode {image.mode} and {image.size[0]} × {image.size[1]}")
        return np.array(image, dtype=np.uint8)


READER = Reader("JP2", (".jp2",), magnetogram_from_jp2, _time)
