"""How an image must be turned to have north up and west right, and where the disk is then.

A FITS header maps pixels to the sky by a matrix: CDij, or PCij · CDELTi, or a turn by CROTA2 and CDELTi; which of the
cards count, or another one, is a matter of who made the file: `kflare.observations.producers`. From it follow
a number of quarter turns and a mirroring, which are exact, and a rest of at most 45 degrees. A rest of up to a quarter
of a degree is left in the image and kept in `Magnetogram.roll` and in the WCS: HMI hangs upside down with CROTA2 within
0.1 degree of 180, and a quarter of a degree moves the limb of a 512² image by one pixel. A greater one is interpolated.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, Float64Array
from kflare.observations.headers import Header
from kflare.observations.producers import ROLL_TOLERANCE, producer_of
from kflare.sun.constants import SOLAR_RADIUS_M
from kflare.sun.disk import Disk, require_full_disk

_MOST_TURNED = 720  # degrees: two turns; an angle far beyond is damage
_Pixel = TypeVar("_Pixel", bound=np.generic)

_ARCSEC = {"": 1.0, "arcsec": 1.0, "arcsecond": 1.0, "deg": 3600.0, "degree": 3600.0, "arcmin": 60.0,
           "rad": math.degrees(3600.0)}  # fmt: skip


@dataclass(frozen=True)
class Orientation:
    """How to turn an image in FITS order (row 0 = bottom), and what is seen then."""

    mirrored: bool  # whether east and west are exchanged first
    quarter_turns: int  # counterclockwise, 0 to 3
    roll: float  # counterclockwise turn that is left to do, degrees, within ±45
    disk: Disk  # after all turns

    @property
    def interpolates(self) -> bool:
        """Whether `roll` is too great to be left in the image."""
        return abs(self.roll) > ROLL_TOLERANCE

    def upright(self, image: npt.NDArray[_Pixel]) -> npt.NDArray[_Pixel]:
        """View of an image in FITS order with row 0 = north and column 0 = east, apart from `roll`."""
        top_down = image[::-1, ::-1] if self.mirrored else image[::-1]
        return np.rot90(top_down, self.quarter_turns)

    def stored_rows(self, upright: BoolArray) -> BoolArray:
        """In FITS order, the rows that hold these ones of :meth:`upright`: all of them where rows become columns."""
        if self.quarter_turns % 2:
            return np.ones_like(upright)
        return upright if self.quarter_turns else upright[::-1]


def orientation_of(header: Header, width: int, *, disk: Disk | None = None) -> Orientation:
    """Read the orientation and the disk of an image in FITS order, `width` pixels wide and high, from its header.

    `disk` is the disk in the result, where it is known better than the header says. `DataError` if cards are missing or
    contradict each other, pixels are not square, or it is no full disk.
    """
    matrix = _matrix(header)
    mirrored = bool(np.linalg.det(matrix) < 0)
    if mirrored:
        matrix = matrix @ np.diag([-1.0, 1.0])
    # The pixel to the right lies `angle` degrees north of west: a turn by as much, counterclockwise, puts it right.
    angle = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    turns = round(angle / 90)
    found = disk if disk is not None else _disk(header, width, matrix, mirrored=mirrored, turns=turns % 4)
    return Orientation(mirrored, turns % 4, angle - 90 * turns, require_full_disk(found, width, header.source))


def _matrix(header: Header) -> Float64Array:
    """Arcseconds west (row 0) and north (row 1) of a step of a pixel to the right (column 0) and up (column 1)."""
    source = header.source
    given = producer_of(header).roll(header)
    unit = _unit(header)
    if unit not in _ARCSEC:
        fault = f"`{source}`: `CUNIT1` must be arcsec or deg, got {unit!r}"
        raise DataError(f"{fault}; give a magnetogram of the full disk")
    names = [f"{i}_{j}" for i in (1, 2) for j in (1, 2)]
    cd = [None if given is not None else header.number("CD" + name) for name in names]
    # Without a scale the orientation is still known, and the radius may be given in pixels.
    step = [1.0 if (value := header.number(key)) is None else value for key in ("CDELT1", "CDELT2")]
    if any(value is not None for value in cd):
        matrix = np.array([value or 0.0 for value in cd]).reshape(2, 2)
    else:
        pc = [None if given is not None else header.number("PC" + name) for name in names]
        if any(value is not None for value in pc):
            turn = np.array([default if v is None else v for v, default in zip(pc, (1, 0, 0, 1), strict=True)])
            matrix = np.diag(step) @ turn.reshape(2, 2)
        else:
            degrees = header.number("CROTA2", "CROTA", "CROTA1") or 0.0 if given is None else given
            if abs(degrees) > _MOST_TURNED:
                raise DataError(f"`{source}`: the roll must be within ±{_MOST_TURNED} degrees, got {degrees:g}")
            roll = math.radians(degrees)
            cos, sin = math.cos(roll), math.sin(roll)
            # The FITS standard's CROTA2 turns the axes, whose steps may differ: PC12 = -sin·CDELT2/CDELT1.
            matrix = np.array([[cos * step[0], -sin * step[1]], [sin * step[0], cos * step[1]]])
    columns = np.hypot(*matrix)
    if not (columns > 0).all() or not np.isfinite(matrix).all():
        raise DataError(f"`{source}`: `CDELT1` and `CDELT2` must not be 0 arcsec per pixel, got {matrix.tolist()}")
    skew = abs(float(np.dot(matrix[:, 0], matrix[:, 1]))) / float(np.prod(columns))
    if skew > 0.01 or abs(columns[0] / columns[1] - 1) > 0.01:
        seen = f"a matrix of {np.round(matrix, 6).tolist()} {unit} per pixel"
        raise DataError(f"`{source}`: pixels must be square to 1 %, got {seen}; resample the image first")
    sign = math.copysign(1.0, step[1])
    turned = math.degrees(math.atan2(-sign * matrix[0, 1], sign * matrix[1, 1]))
    told = header.number("CROTA2") if given is None else None
    if told is not None and abs(math.remainder(told - turned, 360)) > ROLL_TOLERANCE:
        fault = f"`{source}`: `CROTA2` must be the turn by `PCi_j` or `CDi_j`, {turned:.4g} degrees, got {told:g}"
        raise DataError(f"{fault}: it is not known whether the pixels are turned; give the file as the archive has it")
    return matrix * _ARCSEC[unit]


def _disk(header: Header, width: int, matrix: Float64Array, *, mirrored: bool, turns: int) -> Disk:
    scaled = header.number("CDELT1", "CD1_1") is not None
    # The angle first: who resizes an image corrects CDELT1 but often leaves R_SUN, a number of pixels, as it was.
    angle = _angle(header) if scaled else None
    radius = angle / float(np.sqrt(np.prod(np.hypot(*matrix)))) if angle is not None else header.number("R_SUN")
    unit = _ARCSEC[_unit(header)]
    value = np.array([header.number("CRVAL1") or 0.0, header.number("CRVAL2") or 0.0]) * unit
    missing = [key for key in ("CRPIX1", "CRPIX2") if header.number(key) is None]
    missing += ["RSUN_OBS"] if radius is None else []
    missing += ["CDELT1"] if not scaled and (radius is None or value.any()) else []
    if missing or radius is None:
        raise header.without(*missing)
    # CRPIX counts from 1 and is where the coordinate is CRVAL; the disk's centre is where it is 0.
    step = np.linalg.solve(matrix, value)
    if mirrored:
        step[0] = -step[0]
    x, y = np.array([header.needed("CRPIX1"), header.needed("CRPIX2")]) - 1 - step
    x, y = (width - 1 - x if mirrored else x), width - 1 - y
    for _ in range(turns):
        x, y = y, width - 1 - x  # what was on the right is on top
    if not (radius > 0 and np.isfinite([x, y, radius]).all()):
        seen = f"got {radius:g} and ({x:g}, {y:g})"
        raise DataError(f"`{header.source}`: the radius of the disk must be above 0 pixels, its centre finite, {seen}")
    return Disk(float(x), float(y), float(radius))


def _angle(header: Header) -> float | None:
    """The radius of the Sun in arcseconds."""
    # SolarSoft's is RSUN; that of others may be in metres or pixels.
    angle = header.plausible(100, 4000, "RSUN_OBS", "SOLAR_R", "RADIUS", "OBS_R0", "RSUN")
    distance = header.plausible(1e10, 1e12, "DSUN_OBS") if angle is None else None
    if distance is None:
        return angle
    size = header.plausible(6.9e8, 7e8, "RSUN_REF") or SOLAR_RADIUS_M
    return math.degrees(math.asin(size / distance)) * 3600


def _unit(header: Header) -> str:
    return header.text("CUNIT1").lower().removesuffix("s")
