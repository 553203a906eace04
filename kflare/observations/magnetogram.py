"""The full-disk line-of-sight magnetogram, and how a file of unknown kind becomes one.

Orientation, scale and missing values are settled here, once: row 0 is solar north, column 0 is solar east,
values are gauss, and NaN means "off the disk or not measured". Everything to the right of this room relies on it.
"""

import math
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError

__all__ = ["Disk", "Magnetogram", "magnetogram_time_from_name", "read_magnetogram", "require_full_disk"]

# MDI is 1024², HMI 4096²: nothing that is a magnetogram is near these limits, but a damaged header may claim more.
MAX_WIDTH = 8192
MAX_FILE_BYTES = 1 << 29

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_FITS = b"SIMPLE  ="
_NOT_READ = {
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 codestream",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"RIFF": "a WebP or other RIFF file",
}

# 20131023_000054, 20131023_0000, 20131023T000054, and with _TAI behind it for names made by JSOC.
_NAME_TIME = re.compile(r"(?<!\d)(\d{8})[_T](\d{4})(\d{2})?(?:\.\d+)?(?!\d)(_TAI)?")


@dataclass(frozen=True)
class Disk:
    """The solar disk in an image, in pixels.

    Parameters
    ----------
    x, y : float
        Centre, counted from the left (east) and the TOP (north) edge; 0 is the centre of the first pixel.
    radius : float
        Radius of the disk.
    """

    x: float
    y: float
    radius: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.x, self.y, self.radius)) or self.radius <= 0:
            raise DataError(f"`disk` must have a finite centre and a radius above 0 pixels, got {self}")


@dataclass(frozen=True, eq=False)
class Magnetogram:
    """A full-disk line-of-sight magnetogram.

    Parameters
    ----------
    data : numpy.ndarray, float32, shape (H, H)
        Line-of-sight magnetic field in gauss; row 0 = north, column 0 = east, NaN off the disk and where not measured.
    time : datetime.datetime
        When it was observed. Aware; any time zone is converted to UTC.
    disk : Disk
        Centre and radius of the solar disk in pixels of `data`.
    instrument : str
        "HMI", "MDI", "synthetic" or "unknown".
    source : str
        File or simulation that it came from, for messages.
    byte_range : float or None
        Field strength of byte 255 in gauss, where the values came from an 8-bit image; None for physical data.

    Raises
    ------
    DataError
        If `data` is no square float32 image, holds infinities, or `time` has no time zone.
    """

    data: npt.NDArray[np.float32]
    time: datetime
    disk: Disk
    instrument: str
    source: str
    byte_range: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, np.ndarray) or self.data.dtype != np.float32:
            seen = getattr(self.data, "dtype", type(self.data).__name__)
            raise DataError(f"`{self.source}`: `data` of a magnetogram must be a float32 array in gauss, got {seen}")
        if self.data.ndim != 2 or self.data.shape[0] != self.data.shape[1] or self.data.shape[0] == 0:
            raise DataError(f"`{self.source}`: a magnetogram must be a square image, got shape {self.data.shape}")
        if np.isinf(self.data).any():
            raise DataError(f"`{self.source}`: a magnetogram must hold finite values or NaN (off disk), got infinities")
        if not isinstance(self.time, datetime) or self.time.utcoffset() is None:
            raise DataError(f"`{self.source}`: `time` must carry a time zone (UTC), got {self.time!r}")
        if self.byte_range is not None:
            require_byte_range(self.byte_range)
        object.__setattr__(self, "time", self.time.astimezone(UTC))

    @property
    def on_disk(self) -> npt.NDArray[np.bool_]:
        """Pixels whose centre lies on the solar disk, bool, shape (H, H). Such a pixel may still be NaN."""
        return disk_mask(self.data.shape[0], self.disk)

    def resized(self, size: int) -> "Magnetogram":
        """Reduce to `size` × `size` pixels by the mean over square blocks.

        A block's mean is that of its finite pixels; a block of which more than half is NaN becomes NaN.

        Parameters
        ----------
        size : int
            New width and height in pixels; must divide the present width.

        Returns
        -------
        Magnetogram
            With the disk in the new pixels.

        Raises
        ------
        DataError
            If `size` does not divide the width.
        """
        width = self.data.shape[0]
        if size == width:
            return self
        if size < 1 or width % size:
            allowed = ", ".join(str(n) for n in range(min(width, 16), width + 1) if width % n == 0)
            raise DataError(
                f"`size` must divide the width of `{self.source}`, {width} pixels, so that every new pixel is the mean "
                f"of a whole block; got {size}, choose one of {allowed}"
            )
        block = width // size
        blocks = self.data.reshape(size, block, size, block)
        measured = np.isfinite(blocks)
        count = measured.sum(axis=(1, 3))
        total = np.where(measured, blocks, np.float32(0)).sum(axis=(1, 3), dtype=np.float64)
        mean = np.divide(total, count, out=np.full((size, size), np.nan), where=2 * count >= block * block)
        # A pixel's centre is at its index, so its left edge is at index - 1/2: hence the half-pixel shifts.
        disk = Disk(
            x=(self.disk.x + 0.5) / block - 0.5, y=(self.disk.y + 0.5) / block - 0.5, radius=self.disk.radius / block
        )
        return Magnetogram(mean.astype(np.float32), self.time, disk, self.instrument, self.source, self.byte_range)

    def to_bytes(self, byte_range: float = 100.0) -> npt.NDArray[np.uint8]:
        """Scale to bytes as the SOHO and SDO image archives do (SCIENCE.md D.4): v = (clip(B) + R) / (2 R) · 255.

        Parameters
        ----------
        byte_range : float
            Field strength R of byte 255 in gauss; stronger fields saturate.

        Returns
        -------
        numpy.ndarray, uint8, shape (H, H)
            Rounded to the nearest byte; 0 off the disk and where nothing was measured.
        """
        limit = require_byte_range(byte_range)
        scaled = np.rint((np.clip(self.data, -limit, limit) + np.float32(limit)) * np.float32(255 / (2 * limit)))
        shown = np.isfinite(scaled) & self.on_disk
        return np.where(shown, scaled, np.float32(0)).astype(np.uint8)


def disk_mask(width: int, disk: Disk) -> npt.NDArray[np.bool_]:
    """Pixels of a square image whose centre lies on `disk`, bool, shape (width, width)."""
    index = np.arange(width, dtype=np.float64)
    dx2 = (index - disk.x) ** 2
    dy2 = (index - disk.y) ** 2
    return np.asarray(dy2[:, np.newaxis] + dx2[np.newaxis, :] <= disk.radius**2)


def require_byte_range(byte_range: float) -> float:
    """Return the field strength of byte 255 in gauss, or raise DataError if it is not positive and finite."""
    if not (math.isfinite(byte_range) and byte_range > 0):
        raise DataError(f"`byte_range` must be the field strength of byte 255 in gauss, above 0; got {byte_range}")
    return float(byte_range)


def require_full_disk(disk: Disk, width: int, source: str) -> Disk:
    """Return `disk` if the whole Sun lies in a square image `width` pixels wide, else raise DataError.

    The whole Sun means: radius 0.3 to 0.5 of the width, centre within 0.1 of the middle, no edge cut by over a pixel.
    """
    middle = (width - 1) / 2
    edge = max(disk.radius - disk.x, disk.radius - disk.y, disk.x + disk.radius - width, disk.y + disk.radius - width)
    centred = abs(disk.x - middle) <= 0.1 * width and abs(disk.y - middle) <= 0.1 * width
    if not (0.3 * width <= disk.radius <= 0.5 * width + 1 and centred and edge <= 1.5):
        raise DataError(
            f"`{source}` is not a full disk: the whole Sun must be in the frame, centred, with a radius of 0.3 to 0.5 "
            f"of the width; got centre ({disk.x:.1f}, {disk.y:.1f}) and radius {disk.radius:.1f} in {width} pixels; "
            "give a full-disk magnetogram"
        )
    return disk


def magnetogram_time_from_name(path: str | Path) -> datetime | None:
    """Observation time written in a file name.

    Understands YYYYMMDD_HHMM and YYYYMMDD_HHMMSS anywhere in the name (`hmi.M_20131023_000054.jpg`,
    `20010311_0000_mdimag_512.jpg`). A time followed by `_TAI` (`mdi.fd_M_96m_lev182.20101015_000000_TAI.fits`) is
    converted to UTC, any other is UTC.

    Parameters
    ----------
    path : str or pathlib.Path
        File; it need not exist.

    Returns
    -------
    datetime.datetime or None
        Aware, UTC. None if the name holds no such time.
    """
    for match in _NAME_TIME.finditer(Path(path).name):
        day, clock, seconds, tai = match.groups()
        try:
            time = datetime.strptime(f"{day}{clock}{seconds or '00'}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            return utc_from_tai(time) if tai else time
        except (ValueError, DataError):
            continue  # digits that are no time, such as a serial number
    return None


def utc_from_tai(tai: datetime) -> datetime:
    """UTC of a time of the TAI scale (JSOC's T_OBS and T_REC), aware, to the microsecond.

    The clock reading in `tai` counts; its time zone is ignored. Before 1960 there is no UTC: DataError.
    """
    if not 1960 < tai.year < 2100:
        raise DataError(f"a TAI time must lie between 1961 and 2099 to have a UTC, got {tai:%Y-%m-%dT%H:%M:%S}")
    from astropy.time import Time

    with warnings.catch_warnings():
        # "dubious year": leap seconds are announced for half a year only.
        warnings.simplefilter("ignore")
        utc: datetime = Time(tai.replace(tzinfo=None), scale="tai").utc.to_datetime(leap_second_strict="silent")
    return utc.replace(tzinfo=UTC)


def read_magnetogram(
    path: str | Path, *, byte_range: float = 100.0, disk: Disk | None = None, time: datetime | None = None
) -> Magnetogram:
    """Read a full-disk magnetogram: JPEG or PNG of an image archive, or FITS of MDI or HMI.

    The kind of file is told by its first bytes, not by its suffix.

    Parameters
    ----------
    path : str or pathlib.Path
        JPEG or PNG: 8-bit grey, square, north up, west right, off the disk black. FITS: see `kflare.observations.fits`.
    byte_range : float
        For images: field strength R of byte 255 in gauss; byte v is B = v / 255 · 2 R − R.
    disk : Disk, optional
        The solar disk, where it is known better than the image shows or the header says.
    time : datetime.datetime, optional
        Observation time, aware, where name or header do not tell or are wrong.

    Returns
    -------
    Magnetogram
        In gauss, NaN off the disk.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, of another kind, no full disk, or its time is unknown.
    """
    path = Path(path)
    payload = _payload(path)
    if payload.startswith((_JPEG, _PNG)):
        from kflare.observations.images import magnetogram_from_image

        return magnetogram_from_image(payload, source=str(path), byte_range=byte_range, disk=disk, time=time)
    if payload.startswith(_FITS):
        from kflare.observations.fits import magnetogram_from_fits

        return magnetogram_from_fits(payload, source=str(path), disk=disk, time=time)
    kind = next((name for magic, name in _NOT_READ.items() if payload.startswith(magic)), None)
    seen = f"it is {kind}" if kind else f"it begins with {payload[:8]!r}"
    raise DataError(f"`{path}` must be a JPEG, PNG or FITS file; {seen}; convert it or give another file")


def _payload(path: Path) -> bytes:
    try:
        if not path.is_file():
            rule = "is no regular file" if path.exists() else "does not exist"
            raise DataError(f"`{path}` {rule}; give a magnetogram in JPEG, PNG or FITS")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"`{path}` must be at most {MAX_FILE_BYTES >> 20} MiB to be a magnetogram, has {size} bytes"
            )
        payload = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"`{path}` cannot be read: {error}") from error
    if not payload:
        raise DataError(f"`{path}` is empty; download or write it again")
    return payload
