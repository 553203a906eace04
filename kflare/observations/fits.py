"""Full-disk magnetograms in FITS: SOHO/MDI level 1.8 (`mdi.fd_M_96m_lev182`) and the like of SDO/HMI.

FITS counts rows from the bottom, and an instrument may hang upside down (CROTA2 near 180 degrees): both are undone
here, without resampling. The disk is where the header says, in the pixels of the result.
"""

import io
import math
import re
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError, KflareError
from kflare.observations.magnetogram import (
    MAX_WIDTH,
    Disk,
    Magnetogram,
    disk_mask,
    magnetogram_time_from_name,
    require_full_disk,
    utc_from_tai,
)

__all__ = ["magnetogram_from_fits"]

# 2010.10.15_00:03:30.000_TAI (JSOC), 2010-10-15T00:00:26.000 (FITS, UTC), the same with Z.
_TIME = re.compile(r"(\d{4})[.\-/](\d\d)[.\-/](\d\d)[_T ](\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?(?:_?(TAI|UTC|UT|Z))?")
_GAUSS = {"gauss", "g", "mx/cm^2", "mx/cm2", "mx cm-2"}
# The strongest fields ever measured in sunspots are near 6 kG; more than this is damage.
_MAX_GAUSS = 1e5
_MAX_ROLL_DEG = 1.0


def magnetogram_from_fits(
    payload: bytes, *, source: str, disk: Disk | None = None, time: datetime | None = None
) -> Magnetogram:
    """Magnetogram of the bytes of a FITS file.

    The first two-dimensional image of the file is read, compressed or not. The disk is CRPIX and R_SUN (pixels), else
    RSUN_OBS / CDELT1. The time is T_OBS (middle of the observation, TAI), else DATE-OBS (UTC), else T_REC (TAI), else
    that in the file name.

    Parameters
    ----------
    payload : bytes
        Content of the file.
    source : str
        Its path, for messages and the time in its name.
    disk : Disk, optional
        The solar disk in the result (row 0 = north), instead of the header's.
    time : datetime.datetime, optional
        Observation time, aware, instead of the header's.

    Returns
    -------
    Magnetogram
        float32 gauss, NaN off the disk and where the file marks missing values.

    Raises
    ------
    DataError
        If the file is damaged or truncated, no full disk, rolled by other than 0 or 180 degrees (more than 1 degree
        off), not in gauss, or its time is unknown.
    """
    try:
        with warnings.catch_warnings():
            # Astropy warns of every departure from the standard; what matters is checked below.
            warnings.simplefilter("ignore")
            field, card = _first_image(payload, source)
            return _magnetogram(field, _Header(card, source), source, disk, time)
    except KflareError:
        raise
    # Astropy raises OSError, VerifyError, TypeError, ValueError, KeyError and more, as the damage has it.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"`{source}` is a damaged or truncated FITS file: {reason}; download it again") from error


def _first_image(payload: bytes, source: str) -> tuple[npt.NDArray[np.float32], Callable[[str], Any]]:
    from astropy.io import fits

    seen = []
    with fits.open(io.BytesIO(payload), memmap=False, lazy_load_hdus=True) as hdus:
        for hdu in hdus:
            shape: tuple[int, ...] = getattr(hdu, "shape", ())
            seen.append(str(shape))
            if not hdu.is_image or len(shape) != 2:
                continue
            # Shape and tiles come from the header: look at them before anything of that size is allocated.
            tile = getattr(hdu, "tile_shape", shape)
            if shape[0] != shape[1] or not 1 < shape[0] <= MAX_WIDTH or math.prod(tile) > MAX_WIDTH**2:
                raise DataError(
                    f"`{source}` is not a full disk: its image must be square, up to {MAX_WIDTH} pixels wide, "
                    f"got NAXIS2, NAXIS1 = {shape[0]}, {shape[1]}; give a full-disk magnetogram"
                )
            field = np.asarray(hdu.data, dtype=np.float64)
            if field.shape != shape:
                raise DataError(
                    f"`{source}` is truncated: image of shape {field.shape}, not {shape}; download it again"
                )
            # Far out of float32's range there is damage only; it is refused below, by value.
            return np.clip(field, -1e30, 1e30).astype(np.float32), hdu.header.__getitem__
    raise DataError(f"`{source}` must hold a two-dimensional image, its parts have the shapes {', '.join(seen)}")


class _Header:
    """Typed look-up in a FITS header in which any card may be unreadable."""

    def __init__(self, card: Callable[[str], Any], source: str) -> None:
        self._card = card
        self._source = source

    def _value(self, key: str) -> object:
        from astropy.io.fits import VerifyError

        try:
            return self._card(key)
        except KeyError:
            return None
        except (VerifyError, ValueError) as error:
            raise DataError(f"`{self._source}`: header card `{key}` is unreadable: {error}") from error

    def number(self, key: str) -> float | None:
        """Finite number, or None where the card is absent or empty."""
        value = self._value(key)
        if value is None or isinstance(value, bool) or type(value).__name__ == "Undefined":
            return None
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"`{self._source}`: header card `{key}` must be a finite number, got {value!r}")
        return number

    def needed(self, key: str) -> float:
        """Finite number; DataError where the card is absent."""
        number = self.number(key)
        if number is None:
            raise DataError(f"`{self._source}`: header card `{key}` is missing, so the disk is unknown; give `disk`")
        return number

    def text(self, key: str) -> str:
        """Text without blanks at its ends, "" where the card is absent or no text."""
        value = self._value(key)
        return value.strip() if isinstance(value, str) else ""


def _magnetogram(
    field: npt.NDArray[np.float32], header: _Header, source: str, disk: Disk | None, time: datetime | None
) -> Magnetogram:
    unit = header.text("BUNIT")
    if unit and unit.lower() not in _GAUSS:
        raise DataError(f"`{source}`: `BUNIT` of a magnetogram must be Gauss, got {unit!r}; give a magnetogram")
    upside_down = _upside_down(header, source)
    width = field.shape[0]
    # Row 0 of FITS is the bottom: flip rows to put north on top. A half turn undoes that and swaps east and west.
    data = field[:, ::-1] if upside_down else field[::-1]
    found = disk if disk is not None else _disk(header, width, upside_down=upside_down, source=source)
    require_full_disk(found, width, source)
    data = np.where(disk_mask(width, found), data, np.float32(np.nan))
    measured = np.isfinite(data)
    if not measured.any():
        raise DataError(f"`{source}` holds no measured value on the disk; give another magnetogram")
    strongest = float(np.abs(data, where=measured, out=np.zeros_like(data)).max())
    if strongest > _MAX_GAUSS:
        raise DataError(
            f"`{source}` is damaged: a field must be within ±{_MAX_GAUSS:g} gauss, got {strongest:g}; download it again"
        )
    seen_at = time if time is not None else _time(header, source)
    return Magnetogram(data, seen_at, found, _instrument(header), source)


def _upside_down(header: _Header, source: str) -> bool:
    roll = header.number("CROTA2")
    if roll is None:
        # Written by sunpy and others instead of CROTA2.
        cos, sin = header.number("PC1_1"), header.number("PC2_1")
        roll = math.degrees(math.atan2(sin or 0.0, 1.0 if cos is None else cos))
    turned = abs((roll + 180) % 360 - 180)
    if turned <= _MAX_ROLL_DEG:
        return False
    if turned >= 180 - _MAX_ROLL_DEG:
        return True
    raise DataError(
        f"`{source}`: `CROTA2` must be within {_MAX_ROLL_DEG:g} degree of 0 or 180, got {roll:g}; "
        "rotate the image north up first"
    )


def _disk(header: _Header, width: int, *, upside_down: bool, source: str) -> Disk:
    scale = header.number("CDELT1")
    if scale is not None and not scale > 0:
        raise DataError(f"`{source}`: `CDELT1` must be above 0 arcsec per pixel, got {scale:g}")
    radius = header.number("R_SUN")
    if radius is None:
        radius = header.needed("RSUN_OBS") / (scale if scale is not None else header.needed("CDELT1"))
    centre = []
    for axis in ("1", "2"):
        offset = header.number("CRVAL" + axis) or 0.0
        # CRPIX counts from 1 and is where the coordinate is CRVAL; the disk's centre is where it is 0.
        centre.append(header.needed("CRPIX" + axis) - 1 - (offset / header.needed("CDELT" + axis) if offset else 0.0))
    x, y = centre
    if not radius > 0:
        raise DataError(f"`{source}`: the radius of the disk must be above 0 pixels, got {radius:g}")
    return Disk(width - 1 - x, y, radius) if upside_down else Disk(x, width - 1 - y, radius)


def _time(header: _Header, source: str) -> datetime:
    for key in ("T_OBS", "DATE-OBS", "DATE_OBS", "T_REC"):
        text = header.text(key)
        match = _TIME.fullmatch(text)
        if match is None:
            continue
        year, month, day, hour, minute, second, scale = match.groups()
        try:
            time = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
        except ValueError as error:
            raise DataError(f"`{source}`: header card `{key}` must be a time, got {text!r}: {error}") from error
        time += timedelta(seconds=float(second or 0))
        return utc_from_tai(time) if scale == "TAI" else time
    named = magnetogram_time_from_name(source)
    if named is None:
        raise DataError(
            f"`{source}` must hold its time in `T_OBS` or `DATE-OBS`, got {header.text('T_OBS')!r} and "
            f"{header.text('DATE-OBS')!r}; give `time`"
        )
    return named


def _instrument(header: _Header) -> str:
    named = " ".join(header.text(key) for key in ("INSTRUME", "CAMERA", "CONTENT", "TELESCOP")).upper()
    return next((known for known in ("HMI", "MDI") if known in named), "unknown")
