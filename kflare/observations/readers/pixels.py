"""Pixels and a FITS header become a magnetogram: what FITS and JP2 files and sunpy Maps have in common.

A 4096² image is worked on in bands of rows that stay in the processor's cache.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import AnyArray, BoolArray, Float32Array
from kflare.observations.headers import Header
from kflare.observations.magnetogram import ByteScale, Magnetogram, off_earth
from kflare.observations.orientation import Orientation, orientation_of
from kflare.observations.producers import gauss_per_unit
from kflare.observations.quality import judge
from kflare.observations.readers.reader import Options
from kflare.observations.reduction import BAND, resampled
from kflare.sun.disk import column_mask, disk_columns, disk_mask

# The part of the disk's radius within which missing pixels are counted, as JSOC does for its statistics: a ring that is
# cut off at the limb by rounding or resampling hides nothing.
_COUNTED = 0.98
# The strongest fields ever measured in sunspots are near 6 kG; more than this is damage.
_MAX_GAUSS = 1e5

_LOG = logging.getLogger(__name__)

_Band = tuple[int, Float32Array, BoolArray]


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image as a file stores it."""

    raw: AnyArray  # Numbers of any real type in FITS order, shape (H, H): row 0 is the bottom. NaN is missing.
    scale: float = 1.0
    zero: float = 0.0  # The field in gauss is raw · scale + zero (BSCALE and BZERO of FITS).
    blank: float | None = None  # what stands for "missing" besides NaN; some write it into floats, too
    byte_scale: ByteScale | None = None  # where the numbers are bytes


def require_square(shape: tuple[int, ...], limit: int, source: str) -> int:
    """Width of a square image of 2 to `limit` pixels; DataError for any other shape, as the file declares it."""
    if len(shape) != 2 or shape[0] != shape[1] or not 1 < shape[0] <= limit:
        rule = f"`{source}` is not a full disk: its image must be square, up to {limit} pixels wide"
        raise DataError(f"{rule}, got NAXIS2, NAXIS1 = {', '.join(map(str, shape))}; give a full-disk magnetogram")
    return int(shape[0])


class Frame:
    """What a header says of an image, settled before its pixels are decoded; :meth:`magnetogram` then takes them.

    `DataError` if it is no line-of-sight magnetogram of the full disk, its time is unknown, or the policy rejects it.
    """

    def __init__(self, header: Header, width: int, options: Options) -> None:
        header.require_magnetogram()
        self._source, self._width = header.source, width
        self._size = width if options.size is None else options.size
        instrument, named = header.instrument()
        quality = header.quality()
        known: dict[str, Any] = {"policy": options.policy, "instrument": instrument, "quality": quality, "named": named}
        try:
            time, self._gauss, self.orientation = _all_of(
                lambda: options.time if options.time is not None else header.time(),
                lambda: gauss_per_unit(header),
                lambda: orientation_of(header, width, disk=options.disk),
            )
        except DataError:
            # Where QUALITY says that there is no image, it explains what is missing.
            if quality:
                judge(header.source, time=datetime.now(UTC), **known)
            raise
        shown = named if instrument == "unknown" and named else instrument
        about = {"time": time, "instrument": shown, "quality": quality, "observer": header.observer(time)}
        if off := off_earth(about["observer"], time, shown):
            header.doubts["L0"] = (
                f"the header puts the observer {off:.4g} degrees of longitude from the Earth (L0, `CRLN_OBS`), where "
                f"no {shown if named else 'instrument without a name'} is: the Earth's place is taken"
            )
            _LOG.warning("`%s`: %s", header.source, header.doubts["L0"])
        self._about: dict[str, Any] = about
        self._judge = partial(judge, header.source, time=time, doubts=tuple(header.doubts.values()), **known)
        self._judge()

    def magnetogram(self, pixels: Pixels) -> Magnetogram:
        """Scale, turn, mask, check and reduce the pixels; the field must have both signs, within ±100 kG."""
        turn, disk, width = self.orientation, self.orientation.disk, self._width
        if pixels.byte_scale is None:
            pixels = replace(pixels, scale=pixels.scale * self._gauss, zero=pixels.zero * self._gauss)
        first, stop = disk_columns(width, replace(disk, radius=_COUNTED * disk.radius))
        data = np.empty((width, width), dtype=np.float32)
        counted, low, high = 0, 0.0, 0.0
        for row, values, measured in _bands(pixels, turn):
            rows = slice(row, row + BAND)
            data[rows] = np.where(measured, values, np.float32(np.nan))
            counted += int(np.count_nonzero(measured & column_mask(first[rows], stop[rows], width)))
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        if not counted:
            raise DataError(f"`{self._source}` holds no measured value on the disk; give another magnetogram")
        _require_field(low, high, self._source)
        if turn.interpolates:
            data = resampled(data, (disk.x, disk.y), angle=turn.roll)
            data[~disk_mask(width, disk)] = np.nan
        note, scale = self._judge(missing=1 - counted / int((stop - first).sum())), pixels.byte_scale
        scales: dict[str, Any] = {"byte_scale": scale, "byte_range": None if scale is None else scale.gauss}
        about = {**self._about, "source": self._source, "roll": 0.0 if turn.interpolates else turn.roll}
        return Magnetogram(data, disk=disk, quality_note=note, **scales, **about).resized(self._size)


def _all_of(*questions: Callable[[], Any]) -> list[Any]:
    """The answers; one DataError of all that is wrong."""
    answers, wrong = [], []
    for question in questions:
        try:
            answers.append(question())
        except DataError as error:
            wrong.append(error)
    if len(wrong) > 1:
        raise DataError("; ".join(map(str, wrong))) from wrong[0]
    if wrong:
        raise wrong[0]
    return answers


def _require_field(low: float, high: float, source: str) -> None:
    """DataError unless values between these are those of a line-of-sight field, in gauss."""
    strongest = max(-low, high)
    if strongest > _MAX_GAUSS:
        fault = f"`{source}` is damaged: a field must be within ±{_MAX_GAUSS:g} gauss, got {strongest:g}"
        raise DataError(f"{fault}; download it again")
    if not low < 0 < high:
        seen = f"got values from {low:g} to {high:g}; give a magnetogram, not field strength or intensity"
        raise DataError(f"`{source}` is no magnetogram: a line-of-sight field has both signs on the disk, {seen}")


def _bands(pixels: Pixels, turn: Orientation) -> Iterator[_Band]:
    """Bands of rows from the north: the first row, gauss (0 where not measured), whether measured and on the disk.

    Where `turn` leaves a roll to interpolate, the disk is that before it: the roll turns about the disk's centre.
    """
    view = turn.upright(pixels.raw)
    width = view.shape[0]
    first, stop = disk_columns(width, turn.disk)
    scale, zero = np.float32(pixels.scale), np.float32(pixels.zero)
    for row in range(0, width, BAND):
        rows = slice(row, row + BAND)
        raw = view[rows]
        measured = column_mask(first[rows], stop[rows], width)
        if raw.dtype.kind == "f":
            # Far out of float32's range there is damage only; it is refused later, by value.
            values = np.clip(raw, -1e30, 1e30).astype(np.float32)
            measured &= ~np.isnan(values)
        else:
            values = raw.astype(np.float32)
        if pixels.blank is not None:
            measured &= raw != pixels.blank
        with np.errstate(over="ignore", invalid="ignore"):
            if scale != 1:
                values *= scale
            if zero != 0:
                values += zero
        yield row, np.where(measured, values, np.float32(0)), measured
