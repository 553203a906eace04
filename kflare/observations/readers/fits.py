"""Full-disk magnetograms in FITS: SDO/HMI and SOHO/MDI level 1.8, plain or tile-compressed.

HMI's of 45 s and 720 s, definitive or near real time (`hmi.M_45s`, `hmi.M_720s_nrt`), differ in nothing that matters
here but their QUALITY. What the header says of shape, size and quality is looked at before any pixel is decoded.
"""

from datetime import datetime

from kflare.io.guarded_fits import guarded_fits
from kflare.io.payload import MAX_WIDTH
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.readers.pixels import Frame, Pixels, require_square
from kflare.observations.readers.reader import Options, Reader


def magnetogram_from_fits(payload: bytes, options: Options) -> Magnetogram:
    """Magnetogram of the first two-dimensional image of the bytes of a FITS file, compressed or not.

    The disk is CRPIX and RSUN_OBS / CDELT1, else R_SUN (pixels). The time is T_OBS (middle of the observation, TAI),
    else DATE-OBS (UTC), else T_REC (TAI), else that in the file name. The orientation is CDij, PCij or CROTA2.
    """
    source = options.source
    # Integers are scaled here, band by band: astropy would first make a float64 image of twice the size.
    with guarded_fits(payload, source) as file:
        image = file.image()
        header = Header(image.header.__getitem__, source)
        # First, since "a cut-out such as a SHARP" says more than "not square".
        header.require_magnetogram()
        frame = Frame(header, require_square(image.shape, MAX_WIDTH, source), options)
        raw = file.pixels(image)
        scale, zero = header.number("BSCALE"), header.number("BZERO") or 0.0
        return frame.magnetogram(Pixels(raw, 1.0 if scale is None else scale, zero, header.blank()))


def _time(payload: bytes, source: str) -> datetime:
    with guarded_fits(payload, source) as file:
        return Header(file.image().header.__getitem__, source).time()


READER = Reader("FITS", (".fits", ".fits.gz", ".fit", ".fts"), magnetogram_from_fits, _time)
