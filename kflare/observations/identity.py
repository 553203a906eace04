"""What was seen in a file, and when: by the name that JSOC gives it, else by its header; no pixel is read.

The names of JSOC, which `kflare.fetch` keeps, tell all at once. Under any other name (of JSOC's exports of AIA, of VSO,
sunpy or Helioviewer) a file is opened and its header read, which takes a millisecond or two.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from kflare.errors import DataError
from kflare.io.guarded_fits import image_header
from kflare.io.payload import decoding, read_payload
from kflare.observations.headers import Header
from kflare.observations.readers.jp2 import jp2_header
from kflare.sun.times import time_from_name

#: Native vector field of JSOC, in the order that `regions.vector_files` takes them.
VECTOR_SEGMENTS: Final = ("field", "inclination", "azimuth", "disambig")

# hmi.M_720s_nrt.20131023_000000_TAI.magnetogram.fits, hmi.bharp_720s_nrt.377.20131023_000000_TAI.field.fits
_HMI = re.compile(r"(?i)hmi\.(?P<series>\w+?)(?:\.(?P<harp>\d+))?\.\d{8}_\d{6}_TAI\.(?P<segment>\w+)\.fits(?:\.gz)?")
# aia.lev1_nrt2.20131023T000008Z.131.image_lev1.fits
_AIA = re.compile(r"(?i)aia\.(?P<series>\w+)\.\d{8}T\d{6}Z\.(?P<channel>\d+)\.image(?:_lev1)?\.fits(?:\.gz)?")
_IMAGE = re.compile(r".*\.(?:jp2|(?:fits?|fts)(?:\.(?:gz|fz|bz2|z))?)", re.IGNORECASE)
_SEGMENT = re.compile(r"[._](\w+)\.fits?(?:\.gz)?", re.IGNORECASE)


class Identity(NamedTuple):
    """What a file is of."""

    kind: str  # "magnetogram", one of `VECTOR_SEGMENTS`, or the wavelength of AIA in Å
    time: datetime  # UTC
    harp: int = 0  # of a vector field; 0 = full disk


def identify(path: Path) -> Identity | None:
    """What a file is of; None if it is no image in FITS or JP2, or of a known kind that no set needs.

    `DataError` if its name does not tell and its header is damaged, or is of another instrument or observable.
    """
    name, time = path.name, time_from_name(path)
    if time and (aia := _AIA.fullmatch(name)):
        return Identity(aia["channel"], time)
    if time and (hmi := _HMI.fullmatch(name)):
        segment, series = hmi["segment"].lower(), hmi["series"].lower()
        vector = segment in VECTOR_SEGMENTS and (series.startswith("b_") or hmi["harp"])
        known = vector or (segment == "magnetogram" and series.startswith("m_"))
        return Identity(segment, time, int(hmi["harp"] or 0)) if known else None
    if not _IMAGE.fullmatch(name):
        return None
    if time and "magnetogram" in name.lower():
        return Identity("magnetogram", time)
    with decoding(str(path), "has an unreadable header"):
        return _by_header(path, str(path))


def _by_header(path: Path, source: str) -> Identity:
    if path.name.lower().endswith(".jp2"):
        header = jp2_header(read_payload(path, what="a magnetogram in JP2", kinds=("JP2",)), source)
    else:
        header = Header(image_header(path).__getitem__, source)
    instrument = header.instrument()[0]
    named = " ".join(map(header.text, ("INSTRUME", "TELESCOP"))).upper()
    if ("AIA" in named or (instrument == "synthetic" and "EXPTIME" in header)) and header.container == "FITS":
        return Identity(f"{header.number('WAVELNTH') or 0:g}", header.time())
    segment = _SEGMENT.search(path.name)
    if segment and segment[1].lower() in VECTOR_SEGMENTS and instrument in {"HMI", "synthetic"}:
        return Identity(segment[1].lower(), header.time(), int(header.number("HARPNUM") or 0))
    header.require_magnetogram()
    if instrument == "unknown" or "HARPNUM" in header:
        what = f"`INSTRUME` {header.text('INSTRUME')!r}, `CONTENT` {header.text('CONTENT')!r}"
        raise DataError(f"`{source}` is neither a full-disk magnetogram of HMI or MDI nor an image of AIA: {what}")
    return Identity("magnetogram", header.time())
