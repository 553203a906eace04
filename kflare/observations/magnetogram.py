"""The full-disk line-of-sight magnetogram.

Orientation, scale and missing values are settled here, once: row 0 is solar north, column 0 is solar east,
values are gauss, and NaN means "off the disk or not measured". Everything to the right of this room relies on it.
"""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import BoolArray, ByteArray, Float32Array
from kflare.observations.reduction import area_mean
from kflare.sun.disk import Disk, disk_mask
from kflare.sun.geometry import DiskGeometry, Observer, earth_at, seen_from_afar

#: Fields of MDI are this many times those of HMI (Liu et al. 2012, Solar Physics 279, 295: 1.40; Liu et al. 2025, Solar
#: Physics 300: 1/0.701 = 1.43). A mean over the disk: the ratio varies with field strength and towards the limb.
MDI_TO_HMI = 1.40

# SDO circles the Earth, and SOHO a point on its line to the Sun, 0.3 degrees off at most, as all do but these.
_FAR_FROM_EARTH = ("STEREO", "SECCHI", "SOLO", "SOLAR ORBITER", "PHI", "EUI", "PARKER", "WISPR")
_OFF_EARTH = 2.0  # degrees of longitude


@dataclass(frozen=True)
class ByteScale:
    """Which field byte 255 of an image stands for, and who says so: see `byte_scale.choose_byte_scale`."""

    gauss: float
    why: str
    source: str  # the file
    noise: float = math.nan  # of its quiet Sun by that scale, gauss; NaN where it cannot be measured
    doubt: str = ""  # why it may be another


@dataclass(frozen=True, eq=False)
class Magnetogram:
    """A full-disk line-of-sight magnetogram in float32 gauss, (H, H): row 0 = north, column 0 = east.

    `data` are NaN off the disk and where not measured; `time` is aware, and is converted to UTC. Other data, or a
    `quality` beyond 32 bits, raise `DataError`.
    """

    data: Float32Array  # line-of-sight field in gauss
    time: datetime  # when it was observed
    disk: Disk  # centre and radius of the solar disk in pixels of `data`
    instrument: str  # "HMI", "MDI", "synthetic" or "unknown"; as in the header for another one that was read on request
    source: str  # file or simulation that it came from, for messages
    byte_range: float | None = None  # field of byte 255 in gauss, of an 8-bit image; None for physical data
    quality: int | None = None  # QUALITY of the header as a mask of 32 bits without sign; None where there is none
    quality_note: str = ""  # "", "degraded: ..." or, if such were asked for, "rejected: ...": see `quality.judge`
    observer: Observer | None = None  # where it was taken from, if that is known; see `seen_from`
    roll: float = 0.0  # degrees by which north lies clockwise of up: at most a quarter, not worth interpolating
    byte_scale: ByteScale | None = None  # who says what `byte_range` is, of a file that was read

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
        if self.quality is not None and not 0 <= self.quality < 1 << 32:
            raise DataError(f"`{self.source}`: `quality` must be 32 bits without sign, got {self.quality}")
        object.__setattr__(self, "time", self.time.astimezone(UTC))

    @property
    def on_disk(self) -> BoolArray:
        """Pixels whose centre lies on the solar disk, bool, shape (H, H). Such a pixel may still be NaN."""
        return disk_mask(self.data.shape[0], self.disk)

    @cached_property
    def seen_from(self) -> Observer:
        """Its observer, else the Earth; the synthetic Sun is seen from afar in the plane of its equator.

        Others than STEREO and Solar Orbiter see the Sun as the Earth does: a header that puts them more than two
        degrees of longitude away is wrong, which the reader tells, and the Earth's place is taken.
        """
        if self.observer is not None and not off_earth(self.observer, self.time, self.instrument):
            return self.observer
        return seen_from_afar(self.time) if self.instrument == "synthetic" else earth_at(self.time)

    @property
    def geometry(self) -> DiskGeometry:
        """Where its pixels lie on the Sun."""
        return DiskGeometry.seen_from(self.seen_from, self.time, self.disk, self.data.shape, roll=self.roll)

    def resized(self, size: int) -> "Magnetogram":
        """Reduce to `size` × `size` pixels by the mean over areas, which are blocks where `size` divides the width.

        A pixel's mean is that of what was measured in its area; where more than half was not, it becomes NaN.
        `DataError` unless `size` lies in 1 to the present width.
        """
        width = self.data.shape[0]
        if size == width:
            return self
        return replace(self, data=area_mean(self.data, size, source=self.source), disk=self.disk.resized(width, size))

    def on_hmi_scale(self, factor: float = MDI_TO_HMI) -> "Magnetogram":
        """Bring fields of MDI to the scale of HMI: data and byte range divided by `factor`; HMI stays as it is.

        Never done unless asked for: the published dense CNN was trained and tested without it (docs/science.md).
        Another instrument raises `DataError`.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise SettingError(f"`factor` must be the ratio of MDI to HMI, above 0; got {factor}")
        if self.instrument == "HMI":
            return self
        if self.instrument != "MDI":
            rule = f"`{self.source}`: only fields of MDI can be brought to the scale of HMI"
            raise DataError(f"{rule}, got instrument {self.instrument!r}; leave `hmi_scale` off")
        byte_range = None if self.byte_range is None else self.byte_range / factor
        return replace(self, data=self.data / np.float32(factor), byte_range=byte_range)

    def to_bytes(self, byte_range: float = 100.0) -> ByteArray:
        """Scale to bytes as the SOHO and SDO image archives do (docs/science.md): v = (clip(B) + R) / (2 R) · 255.

        R is `byte_range` in gauss; stronger fields saturate. Rounded to the nearest byte, uint8 (H, H); 0 off the disk
        and where nothing was measured.
        """
        limit = require_byte_range(byte_range)
        scaled = np.rint((np.clip(self.data, -limit, limit) + np.float32(limit)) * np.float32(255 / (2 * limit)))
        return np.where(np.isfinite(scaled) & self.on_disk, scaled, np.float32(0)).astype(np.uint8)


def off_earth(observer: Observer | None, time: datetime, named: str) -> float:
    """Degrees of longitude by which an observer stands too far from the Earth for the instrument or spacecraft, else 0.

    Far from it are STEREO, Solar Orbiter and Parker Solar Probe alone.
    """
    if observer is None or any(one in named.upper() for one in _FAR_FROM_EARTH):
        return 0.0
    off = math.remainder(observer.lon - earth_at(time).lon, 360)
    return off if abs(off) > _OFF_EARTH else 0.0


def require_byte_range(byte_range: float) -> float:
    """Return the field strength of byte 255 in gauss, or raise DataError if it is not positive and finite."""
    if not (math.isfinite(byte_range) and byte_range > 0):
        raise DataError(f"`byte_range` (--byte-range) must be the gauss of byte 255, above 0; got {byte_range}")
    return float(byte_range)
