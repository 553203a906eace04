"""Keywords of a JSOC record, written into the FITS file that JSOC hands out without them.

JSOC's quick exports give the file as it lies in its archive: pixels and next to no header. The keywords come from the
query. Here they are put together, so that the file can be read years later with nothing beside it.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from kflare.errors import DataError
from kflare.io.guarded_fits import guarded_fits
from kflare.io.payload import read_payload

# What describes how the pixels are stored belongs to the file, whatever the database holds under the same name.
_STRUCTURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|THEAP|EXTNAME|EXTVER|EXTLEVEL|BSCALE|BZERO|BLANK|"
    r"CHECKSUM|DATASUM|END|COMMENT|HISTORY|CONTINUE|TFIELDS|T(?:FORM|TYPE|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL)\d+|"
    r"Z(?:IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|MASKCMP|QUANTIZ|DITHER0|BLANK|SCALE|ZERO|SIMPLE|TENSION|"
    r"EXTEND|PCOUNT|GCOUNT|HECKSUM|DATASUM|HECKSUM)"
)


def complete_header(source: Path, target: Path, cards: Mapping[str, object]) -> None:
    """Write `source` to `target` with `cards` in the header of its image. The pixels are copied, not decoded.

    Both are FITS files, compressed or not. DataError if `source` holds no image or cannot be read as FITS.
    """
    payload, problem = read_payload(source, what="a FITS file", kinds=("FITS",)), "cannot be given its keywords"
    with guarded_fits(payload, source.name, compressed_images=False, problem=problem) as file:
        # All of them, so that each header is looked at before anything is written.
        held = [(hdu, hdu.header.get("ZIMAGE"), hdu.header.get("XTENSION", "IMAGE")) for hdu in list(file)]
        shown = (one for one, packed, kind in held if packed or (kind == "IMAGE" and one.header.get("NAXIS", 0) != 0))
        if (image := next(shown, None)) is None:
            raise DataError(f"`{source.name}` holds no image; download it again")
        for name, value in cards.items():
            if not _STRUCTURE.fullmatch(name):
                image.header[name] = value
        file.hdus.writeto(target, output_verify="ignore", overwrite=True)
