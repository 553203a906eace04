"""What a reader of magnetograms is: one kind of file, recognised by its first bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import POLICIES, QualityPolicy
from kflare.sun.disk import Disk


@dataclass(frozen=True)
class Options:
    """How a magnetogram is to be read; `None` stands for what the file says or the format's default."""

    source: str  # path of the file, for messages and the time in its name
    policy: QualityPolicy = POLICIES["default"]
    byte_range: float | None = None  # field strength of byte 255 in gauss, for images of bytes whose header has none
    model_range: float | None = None  # the same of what the model learnt from: see `byte_scale.choose_byte_scale`
    disk: Disk | None = None  # the solar disk in the result (row 0 = north, before `size`)
    time: datetime | None = None  # aware
    size: int | None = None  # width and height of the result, at most the image's


@dataclass(frozen=True)
class Reader:
    """How one kind of file becomes a magnetogram."""

    format: str  # a key of `kflare.io.payload.MAGIC`, by which its files are recognised
    suffixes: tuple[str, ...]  # by which its files are found in a folder; small letters
    read: Callable[[bytes, Options], Magnetogram]
    """Magnetogram of a file's content, in float32 gauss, NaN off the disk and where missing. Raises DataError, which
    names the file, if it is damaged, no full disk, its time is unknown, or the policy rejects it."""
    time: Callable[[bytes, str], datetime]
    """Observation time of a file's content and path, UTC: that which `read` would give it, without decoding pixels."""
