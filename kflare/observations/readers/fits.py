"""Full-disk magnetograms in FITS: SDO/HMI and SOHO/MDI level 1.8, plain or tile-compressed.

HMI's of 45 s and 720 s, definitive or near real time (`hmi.M_45s`, `hmi.M_720s_nrt`), differ in nothing that matters
here but their QUALITY. What the header says of shape, size and quality is looked at before any pixel is decoded.
"""

import io
import math
import re
import warnings
import zlib
from datetime import datetime
from typing import Any

import numpy as np

from kflare.errors import DataError, KflareError
from kflare.io.payload import MAX_WIDTH, inflate
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import QualityPolicy, policy_named
from kflare.observations.readers.pixels import Frame, Pixels, require_square
from kflare.sun.disk import Disk

__all__ = ["magnetogram_from_fits"]

# JSOC compresses by RICE. HCOMPRESS and PLIO are left out on purpose: nobody stores magnetograms so, and their decoders
# have crashed on damaged files.
_COMPRESSIONS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS")

# Astropy believes a header that promises 10^11 axes or columns, and makes a list of them.
_COUNT = re.compile(rb"(Z?NAXIS|TFIELDS)\s*=[\s+]*(\d{1,4000})")
_END = re.compile(rb"END(?![A-Z0-9_-])")
_MAX_HEADER = 1 << 20
_MAX_PARTS = 64


def magnetogram_from_fits(
    payload: bytes,
    *,
    source: str,
    disk: Disk | None = None,
    time: datetime | None = None,
    size: int | None = None,
    policy: str | QualityPolicy = "default",
) -> Magnetogram:
    """Magnetogram of the bytes of a FITS file.

    The first two-dimensional image of the file is read, compressed or not. The disk is CRPIX and RSUN_OBS / CDELT1,
    else R_SUN (pixels). The time is T_OBS (middle of the observation, TAI), else DATE-OBS (UTC), else T_REC (TAI), else
    that in the file name. The orientation is CDij, PCij or CROTA2; see `kflare.observations.orientation`.

    Parameters
    ----------
    payload : bytes
        Content of the file.
    source : str
        Its path, for messages and the time in its name.
    disk : Disk, optional
        The solar disk in the result (row 0 = north, before `size`), instead of the header's.
    time : datetime.datetime, optional
        Observation time, aware, instead of the header's.
    size : int, optional
        Width and height of the result, at most the image's; much faster than reading all and reducing it then.
    policy : str or QualityPolicy
        Which images are rejected; see `kflare.observations.quality`.

    Returns
    -------
    Magnetogram
        float32 gauss, NaN off the disk and where the file marks missing values.

    Raises
    ------
    DataError
        If the file is damaged or truncated, no full disk, not in gauss, its time is unknown, or the policy rejects it.
    """
    chosen = policy_named(policy)
    try:
        with warnings.catch_warnings():
            # Astropy warns of every departure from the standard; what matters is checked here.
            warnings.simplefilter("ignore")
            return _read(payload, source, disk=disk, time=time, size=size, policy=chosen)
    except KflareError:
        raise
    # Astropy raises OSError, VerifyError, TypeError, ValueError, KeyError and more, as the damage has it.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"`{source}` is a damaged or truncated FITS file: {reason}; download it again") from error


def _read(
    payload: bytes,
    source: str,
    *,
    disk: Disk | None,
    time: datetime | None,
    size: int | None,
    policy: QualityPolicy,
) -> Magnetogram:
    from astropy.io import fits

    seen = []
    _require_short_header(payload, 0, source)
    # Integers are scaled by us, band by band: astropy would first make a float64 image of twice the size.
    with fits.open(io.BytesIO(payload), memmap=False, lazy_load_hdus=True, do_not_scale_image_data=True) as hdus:
        for number, hdu in enumerate(hdus):
            shape: tuple[int, ...] = getattr(hdu, "shape", ())
            seen.append(str(shape))
            if not hdu.is_image or len(shape) != 2:
                place = hdu.fileinfo()
                _require_short_header(payload, place["datLoc"] + place["datSpan"], source)
                if number == _MAX_PARTS:
                    raise DataError(f"`{source}` is no magnetogram: it has over {_MAX_PARTS} parts before an image")
                continue
            header = Header(hdu.header.__getitem__, source)
            # First, since "a cut-out such as a SHARP" says more than "not square".
            header.require_magnetogram()
            width = require_square(shape, MAX_WIDTH, source)
            if isinstance(hdu, fits.CompImageHDU):
                _require_safe_tiles(hdu, payload, number, source)
            elif hdu.size > len(payload):
                raise DataError(
                    f"`{source}` is truncated: its header promises an image of {hdu.size} bytes, the file has "
                    f"{len(payload)}; download it again"
                )
            frame = Frame(header, width, policy=policy, disk=disk, time=time)
            return frame.magnetogram(_pixels(hdu, shape, header), size=size)
    raise DataError(f"`{source}` must hold a two-dimensional image, its parts have the shapes {', '.join(seen)}")


def _require_short_header(payload: bytes, start: int, source: str) -> None:
    """Refuse the header that begins at `start` if astropy would make millions of objects of it."""
    head = payload[start : start + _MAX_HEADER]
    end = next((found.start() for found in _END.finditer(head) if found.start() % 80 == 0), None)
    if end is None and len(head) == _MAX_HEADER:
        raise DataError(
            f"`{source}` is damaged: a header must have END within {_MAX_HEADER >> 20} MiB; download it again"
        )
    for count in _COUNT.finditer(head[:end].upper()):
        if int(count[2]) > 999:
            name = count[1].decode()
            raise DataError(
                f"`{source}` is damaged: `{name}` must be at most 999, got {int(count[2])}; download it again"
            )


def _pixels(hdu: Any, shape: tuple[int, ...], header: Header) -> Pixels:
    raw = np.asarray(hdu.data)
    if raw.shape != shape:
        raise DataError(f"`{header.source}` is truncated: image of shape {raw.shape}, not {shape}; download it again")
    scale, zero = header.number("BSCALE"), header.number("BZERO")
    blank = header.number("BLANK") if raw.dtype.kind in "iu" else None
    return Pixels(
        raw,
        scale=1.0 if scale is None else scale,
        zero=zero or 0.0,
        blank=None if blank is None else int(blank),
    )


def _require_safe_tiles(hdu: Any, payload: bytes, number: int, source: str) -> None:
    """Refuse compressions without need or bounds, and tiles that would unpack to more than the image needs."""
    if hdu.compression_type not in _COMPRESSIONS:
        raise DataError(
            f"`{source}`: a compressed image must be one of {', '.join(_COMPRESSIONS)}, got {hdu.compression_type!r}; "
            "uncompress it first"
        )
    if math.prod(hdu.tile_shape) > MAX_WIDTH**2:
        raise DataError(f"`{source}` is damaged: its tiles of {hdu.tile_shape} pixels are larger than any image")
    place = hdu.fileinfo()
    names = payload[place["hdrLoc"] : place["datLoc"]].upper()
    packed = ["GZIP_COMPRESSED_DATA"] if b"GZIP_COMPRESSED_DATA" in names else []
    if hdu.compression_type.startswith("GZIP"):
        packed.append("COMPRESSED_DATA")
    if not packed:
        return
    from astropy.io import fits

    with fits.open(io.BytesIO(payload), memmap=False, disable_image_compression=True) as hdus:
        table = hdus[number].data
        # Astropy unpacks a gzip tile whole, however large it gets. 8 bytes are the widest pixel that FITS knows.
        limit = 8 * math.prod(hdu.tile_shape)
        for name in packed:
            for tile in table[name]:
                try:
                    unpacked = inflate(bytes(tile), limit) if len(tile) else b""
                except zlib.error as error:
                    raise DataError(f"`{source}` is damaged: a gzip tile: {error}; download it again") from error
                if unpacked is None:
                    raise DataError(f"`{source}` is damaged: a gzip tile unpacks to more than its {limit} bytes")
