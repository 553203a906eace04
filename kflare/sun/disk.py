"""The solar disk in a square image: where it lies, and which pixels are on it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError
from kflare.io.arrays import BoolArray

FULL_DISK = "full disk"
"""What tables name as the region of a row that is of the whole disk."""


@dataclass(frozen=True)
class Disk:
    """The solar disk in an image, in pixels."""

    x: float  # of the centre, from the left (east); 0 is the centre of the first pixel
    y: float  # likewise from the TOP (north)
    radius: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.x, self.y, self.radius)) or self.radius <= 0:
            raise DataError(f"`disk` must have a finite centre and a radius above 0 pixels, got {self}")

    def resized(self, width: int, size: int) -> "Disk":
        """The same disk in an image of `size` instead of `width` pixels.

        A pixel's centre is at its index, so its left edge is at index - 1/2: hence the half-pixel shifts.
        """
        factor = size / width
        return Disk((self.x + 0.5) * factor - 0.5, (self.y + 0.5) * factor - 0.5, self.radius * factor)

    def place_of(self, x: float, y: float, other: "Disk") -> tuple[float, float]:
        """Where a point of an image whose disk is `other` lies in the image of this disk."""
        scale = self.radius / other.radius
        return self.x + (x - other.x) * scale, self.y + (y - other.y) * scale


def network_disk(size: int) -> Disk:
    """The Sun in an image model's input, `size` pixels wide: in the middle, as large as in the SDO archive's images."""
    return Disk((size - 1) / 2, (size - 1) / 2, 225 / 512 * size)


def disk_columns(width: int, disk: Disk) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Where each row of a square image meets the disk, which may reach over the edges.

    The pixels first <= column < stop of a row have their centre on the disk; first = stop: none. int32 (width,) each.
    """
    index = np.arange(width, dtype=np.float64)
    left = math.floor(disk.x) + 1  # columns 0 .. left - 1 have their centre at or to the left of the disk's
    left = min(max(left, 0), width)
    chord2 = disk.radius**2 - (index - disk.y) ** 2
    # Squared distances grow outwards on either side, so that counting those within the chord is a sorted search.
    inwards = np.searchsorted((index[:left][::-1] - disk.x) ** 2, chord2, side="right")
    outwards = np.searchsorted((index[left:] - disk.x) ** 2, chord2, side="right")
    return (left - inwards).astype(np.int32), (left + outwards).astype(np.int32)


def disk_mask(width: int, disk: Disk) -> BoolArray:
    """Pixels of a square image whose centre lies on `disk`, bool, shape (width, width)."""
    first, stop = disk_columns(width, disk)
    return column_mask(first, stop, width)


def column_mask(first: npt.NDArray[np.int32], stop: npt.NDArray[np.int32], width: int) -> BoolArray:
    """Pixels first <= column < stop of each row, bool, shape (len(first), width)."""
    index = np.arange(width, dtype=np.int32)
    return np.asarray((index >= first[:, np.newaxis]) & (index < stop[:, np.newaxis]))


def require_full_disk(disk: Disk, width: int, source: str) -> Disk:
    """Return `disk` if the whole Sun lies in a square image `width` pixels wide, else raise DataError.

    The whole Sun means: radius 0.25 to 0.5 of the width, centre within 0.1 of the middle, no edge cut by over a pixel.
    """
    middle = (width - 1) / 2
    edge = max(disk.radius - disk.x, disk.radius - disk.y, disk.x + disk.radius - width, disk.y + disk.radius - width)
    centred = abs(disk.x - middle) <= 0.1 * width and abs(disk.y - middle) <= 0.1 * width
    seen = f"got centre ({disk.x:.1f}, {disk.y:.1f}) and radius {disk.radius:.1f} in {width} pixels"
    if not 0.25 * width <= disk.radius <= 0.5 * width + 1:
        fault = f"`{source}` is not a full disk: the radius of the Sun must be 0.25 to 0.5 of the width; {seen}"
        raise DataError(f"{fault}; give a full-disk magnetogram")
    if not centred or edge > 1.5:
        fault = f"`{source}` is not a full disk: the telescope pointed off, the whole Sun must be in the frame"
        raise DataError(f"{fault}, within a tenth of the width of its middle; {seen}; take another record")
    return disk
