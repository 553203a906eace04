"""Pixels and a FITS header become a magnetogram: what FITS and JP2 files and sunpy Maps have in common.

A 4096² image is worked on in bands of rows that stay in the processor's cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, Float32Array
from kflare.observations.headers import Header
from kflare.observations.magnetogram import ByteScale, Magnetogram
from kflare.observations.orientation import Orientation, orientation_of
from kflare.observations.producers import gauss_per_unit
from kflare.observations.quality import judge
from kflare.observations.readers.reader import Options
from kflare.observations.reduction import BAND, area_mean, resampled
from kflare.sun.disk import Disk, column_mask, disk_columns, disk_mask

# The part of the disk's radius within which missing pixels are counted, as JSOC does for its statistics: a ring that is
# cut off at the limb by rounding or resampling hides nothing.
_COUNTED = 0.98
# The strongest fields ever measured in sunspots are near 6 kG; more than this is damage.
_MAX_GAUSS = 1e5

_Band = tuple[int, Float32Array, BoolArray]


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image as a file stores it."""

    raw: npt.NDArray[Any]  # Numbers of any real type in FITS order, shape (H, H): row 0 is the bottom. NaN is missing.
    scale: float = 1.0
    zero: float = 0.0  # The field in gauss is raw · scale + zero (BSCALE and BZERO of FITS).
    blank: float | None = None  # what stands for "missing" besides NaN; some write it into floats, too
    byte_scale: ByteScale | None = None  # where the numbers are bytes


def require_square(shape: tuple[int, ...], limit: int, source: str) -> int:
    """Width of a square image of 2 to `limit` pixels; DataError for any other shape, as the file declares it."""
    if len(shape) != 2 or shape[0] != shape[1] or not 1 < shape[0] <= limit:
        raise DataError(
            f"`{source}` is not a full disk: its image must be square, up to {limit} pixels wide, got NAXIS2, NAXIS1 = "
            f"{', '.join(map(str, shape))}; give a full-disk magnetogram"
        )
    return int(shape[0])


class Frame:
    """What a header says of an image, settled before its pixels are decoded; :meth:`magnetogram` then takes them.

    `DataError` if it is no line-of-sight magnetogram of the full disk, its time is unknown, or the policy rejects it.
    """

    def __init__(self, header: Header, width: int, options: Options) -> None:
        header.require_magnetogram()
        self._source = header.source
        self._options = options
        self._width = width
        self._instrument, self._named = header.instrument()
        self._quality = header.quality()
        self._doubts: tuple[str, ...] = ()
        try:
            self._time, self._gauss, self.orientation = _all_of(
                lambda: options.time if options.time is not None else header.time(),
                lambda: gauss_per_unit(header),
                lambda: orientation_of(header, width, disk=options.disk),
            )
        except DataError:
            # Where QUALITY says that there is no image, it explains what is missing.
            self._time = datetime.now(UTC)
            if self._quality:
                self._judge(0.0)
            raise
        self._observer = header.observer(self._time)
        self._doubts = tuple(header.doubts.values())
        self._judge(0.0)

    def _judge(self, missing: float) -> str:
        return judge(
            self._source,
            policy=self._options.policy,
            time=self._time,
            instrument=self._instrument,
            quality=self._quality,
            missing=missing,
            named=self._named,
            doubts=self._doubts,
        )

    def magnetogram(self, pixels: Pixels) -> Magnetogram:
        """Scale, turn, mask, check and reduce the pixels; the field must have both signs, within ±100 kG."""
        turn, disk, width = self.orientation, self.orientation.disk, self._width
        if pixels.byte_scale is None:
            pixels = replace(pixels, scale=pixels.scale * self._gauss, zero=pixels.zero * self._gauss)
        seen = _Seen(self._source)
        bands = seen.watch(_bands(pixels, turn), disk, width)
        wanted = width if self._options.size is None else self._options.size
        data = np.empty((width, width), dtype=np.float32)
        for row, values, measured in bands:
            data[row : row + BAND] = np.where(measured, values, np.float32(np.nan))
        seen.require_field()
        if turn.interpolates:
            data = resampled(data, (disk.x, disk.y), angle=turn.roll)
            data[~disk_mask(width, disk)] = np.nan
        data = data if wanted == width else area_mean(data, wanted, source=self._source)
        return Magnetogram(
            data,
            self._time,
            disk if wanted == width else disk.resized(width, wanted),
            self._named if self._instrument == "unknown" and self._named else self._instrument,
            self._source,
            None if pixels.byte_scale is None else pixels.byte_scale.gauss,
            quality=self._quality,
            quality_note=self._judge(seen.missing),
            observer=self._observer,
            roll=0.0 if turn.interpolates else turn.roll,
            byte_scale=pixels.byte_scale,
        )


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


class _Seen:
    """What goes by in the bands: how much of the disk is measured, and between which values."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._disk = 0
        self._measured = 0
        self._low = self._high = 0.0

    def watch(self, bands: Iterator[_Band], disk: Disk, width: int) -> Iterator[_Band]:
        """Hand the bands on."""
        first, stop = disk_columns(width, replace(disk, radius=_COUNTED * disk.radius))
        self._disk = int((stop - first).sum())
        for band in bands:
            row, values, measured = band
            rows = slice(row, row + BAND)
            self._measured += int(np.count_nonzero(measured & column_mask(first[rows], stop[rows], width)))
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))
            yield band

    @property
    def missing(self) -> float:
        """Part of the disk, limb left out, that was not measured."""
        return 1 - self._measured / self._disk if self._disk else 1.0

    def require_field(self) -> None:
        """DataError unless there was a line-of-sight field."""
        if not self._measured:
            raise DataError(f"`{self._source}` holds no measured value on the disk; give another magnetogram")
        strongest = max(-self._low, self._high)
        if strongest > _MAX_GAUSS:
            raise DataError(
                f"`{self._source}` is damaged: a field must be within ±{_MAX_GAUSS:g} gauss, got {strongest:g}; "
                "download it again"
            )
        if not self._low < 0 < self._high:
            raise DataError(
                f"`{self._source}` is no magnetogram: a line-of-sight field has both signs on the disk, got values "
                f"from {self._low:g} to {self._high:g}; give a magnetogram, not field strength or intensity"
            )


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
