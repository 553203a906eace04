"""What a reader of magnetograms is: one kind of file, recognised by its first bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import POLICIES, QualityPolicy
from kflare.sun.disk import Disk

__all__ = ["Options", "Reader"]


@dataclass(frozen=True)
class Options:
    """How a magnetogram is to be read.

    Parameters
    ----------
    source : str
        Path of the file, for messages and the time in its name.
    policy : QualityPolicy
        Which images are rejected.
    byte_range : float or None
        Field strength of byte 255 in gauss, for images of bytes; None for what the file says, or the format's default.
    disk : Disk or None
        The solar disk in the result (row 0 = north, before `size`), instead of the file's.
    time : datetime.datetime or None
        Observation time, aware, instead of the file's.
    size : int or None
        Width and height of the result, at most the image's; None for the image's own.
    """

    source: str
    policy: QualityPolicy = POLICIES["default"]
    byte_range: float | None = None
    disk: Disk | None = None
    time: datetime | None = None
    size: int | None = None


@dataclass(frozen=True)
class Reader:
    """How one kind of file becomes a magnetogram.

    Parameters
    ----------
    format : str
        A key of `kflare.io.payload.MAGIC`, by which its files are recognised.
    suffixes : tuple of str
        By which its files are found in a folder; small letters.
    read : callable
        Magnetogram of a file's content, in float32 gauss, NaN off the disk and where missing. Raises DataError, which
        names the file, if it is damaged, no full disk, its time is unknown, or the policy rejects it.
    time : callable
        Observation time of a file's content and path, UTC: that which `read` would give it, without decoding pixels.
    """

    format: str
    suffixes: tuple[str, ...]
    read: Callable[[bytes, Options], Magnetogram]
    time: Callable[[bytes, str], datetime]
