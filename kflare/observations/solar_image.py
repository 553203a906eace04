"""Full-disk images of the Sun's light, such as AIA's at 1600 and 131 Å: north up, counts per second of exposure.

AIA shortens its exposures in bright flares, so that counts of two images cannot be compared and counts per second can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import Float32Array
from kflare.io.guarded_fits import guarded_fits
from kflare.io.payload import MAX_WIDTH, read_payload
from kflare.observations.headers import Header
from kflare.observations.orientation import orientation_of
from kflare.observations.producers import counts_per_second
from kflare.observations.quality import judge, judge_aia, policy_named
from kflare.observations.readers.pixels import require_square
from kflare.observations.reduction import resampled
from kflare.observations.usability import measured_counts
from kflare.sun.disk import Disk
from kflare.sun.geometry import Box

CONTINUUM: Final = 6173
"""Wavelength of HMI in Å."""
# Exposures in seconds: AIA's are 2 to 3, and some ms in a strong flare.
_SHORTEST, _LONGEST = 0.001, 100.0
# For what was counted where the unit is DN/s and the exposure is not told: short enough for the brightest flare.
_UNTOLD = 0.01


@dataclass(frozen=True, eq=False)
class SolarImage:
    """An image of the full disk."""

    data: Float32Array  # DN per second, shape (H, H); row 0 = north, column 0 = east, NaN where not measured
    time: datetime  # UTC
    disk: Disk  # centre and radius of the solar disk in pixels of `data`
    wavelength: int  # in Å
    source: str  # file that it came from, for messages
    quality_note: str = ""  # what QUALITY has to say of it: "" or "degraded: ..."

    def box(self, box: Box, disk: Disk) -> Box:
        """The same part of the disk in this image: half-open pixels x0, y0, x1, y1 of an image whose disk is `disk`."""
        return _placed(box, disk, self.disk, len(self.data))


def _placed(box: Box, disk: Disk, own: Disk, width: int) -> Box:
    """The pixels of an image of the disk `own`, `width` squared, that a box of an image of another `disk` covers."""
    # Edges of pixels lie half a pixel from their centres.
    left, top = own.place_of(box[0] - 0.5, box[1] - 0.5, disk)
    right, bottom = own.place_of(box[2] - 0.5, box[3] - 0.5, disk)
    first = max(0, round(left + 0.5)), max(0, round(top + 0.5))
    return *first, min(width, round(right + 0.5)), min(width, round(bottom + 0.5))


def read_solar_image(
    path: str | Path, *, wavelength: int, boxes: Sequence[Box] | None = None, seen: Disk | None = None
) -> SolarImage:
    """Read a full-disk image of AIA in FITS, plain or tile-compressed, in DN per second.

    It needs its keywords: EXPTIME unless BUNIT is counts per second, WAVELNTH, T_OBS, QUALITY, those of the disk.
    `wavelength`, in Å, is that which it must have; `CONTINUUM` for HMI's white light, in the unit of its series.
    With `boxes` of pixels of an image whose disk is `seen` only the rows of these are read, and others are NaN.

    DataError if the file is missing, damaged, no full disk, of another wavelength, without its exposure or time, or its
    QUALITY says that it is not to be used.
    """
    path = Path(path)
    source = str(path)
    payload = read_payload(path, what="an image of AIA or HMI in FITS", kinds=("FITS",))
    with guarded_fits(payload, source) as file:
        image = file.image()
        header = Header(image.header.__getitem__, source)
        width = require_square(image.shape, MAX_WIDTH, source)
        note, exposure, divided = _checked(header, wavelength)
        turn, time = orientation_of(header, width), header.time()
        rows = None
        if boxes is not None and seen is not None and not turn.interpolates:
            rows = np.zeros(width, np.bool_)
            for box in boxes:
                _, top, _, bottom = _placed(box, seen, turn.disk, width)
                rows[top:bottom] = True
            rows = turn.stored_rows(rows)
        raw = file.pixels(image, rows)
        scale, zero = header.number("BSCALE") or 1.0, header.number("BZERO") or 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            data = raw.astype(np.float32)
            data *= np.float32(scale / divided)  # in place: a copy of 64 MB costs more than what is computed
            data += np.float32(zero / divided)
        if (blank := header.number("BLANK")) is not None:
            data[raw == blank] = np.nan
    data = measured_counts(data, source, seconds=exposure, hmi=wavelength == CONTINUUM, some=rows is None)
    if rows is not None:
        read, data = data, np.full((width, width), np.nan, np.float32)
        data[rows] = read
    data = turn.upright(data)
    if turn.interpolates:
        data = resampled(data, (turn.disk.x, turn.disk.y), angle=turn.roll)
    return SolarImage(data, time.astimezone(UTC), turn.disk, wavelength, source, note)


def _checked(header: Header, wavelength: int) -> tuple[str, float, float]:
    """What QUALITY says, the exposure in seconds, and by what to divide; 1 for HMI's continuum, of its own unit."""
    seen = header.number("WAVELNTH")
    if seen != wavelength:
        raise DataError(f"`{header.source}`: `WAVELNTH` must be {wavelength} Å, got {seen}")
    if wavelength == CONTINUUM:
        quality, policy, now = header.quality(), policy_named("default"), datetime.now(UTC)
        return judge(header.source, policy=policy, time=now, instrument="HMI", quality=quality), 1.0, 1.0
    note = judge_aia(header.source, quality=header.quality())
    if counts_per_second(header):
        return note, header.plausible(_SHORTEST, _LONGEST, "EXPTIME") or _UNTOLD, 1.0
    exposure = header.number("EXPTIME")
    if exposure is None or not _SHORTEST <= exposure <= _LONGEST:
        got = f"{exposure}, from {_SHORTEST:g} to {_LONGEST:g} s are possible"
        raise DataError(f"`{header.source}`: `EXPTIME` must be a time above 0 s, got {got}; give another image")
    return note, exposure, exposure
