"""FITS headers of magnetograms, wherever they come from: a FITS file, the XML of a JP2 file, a sunpy Map.

Any card may be missing, unreadable or of the wrong type; what is needed and not there is a DataError that names it.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from kflare.errors import DataError
from kflare.observations.quality import parse_quality
from kflare.sun.geometry import Observer
from kflare.sun.times import parse_header_time, time_from_name

__all__ = ["Header"]

_GAUSS = {"gauss", "g", "mx/cm^2", "mx/cm2", "mx cm-2", "mx / cm2"}
# In CONTENT; a magnetogram is "MAGNETOGRAM" with HMI and "MDI Full Disk 96m Magnetogram" with MDI.
_OTHER_OBSERVABLES = ("continuum", "intensity", "dopplergram", "velocity", "linewidth", "line width", "linedepth",
                      "line depth", "filtergram", "inclination", "azimuth", "synoptic")  # fmt: skip
_INSTRUMENTS = ("HMI", "MDI", "synthetic")


class Header:
    """Typed look-up in a header: `card` returns the value of a card, or raises KeyError; `source` is for messages."""

    def __init__(self, card: Callable[[str], Any], source: str) -> None:
        self._card = card
        self.source = source

    def _value(self, key: str) -> object:
        from astropy.io.fits import VerifyError

        try:
            value = self._card(key)
        except KeyError:
            return None
        except (VerifyError, ValueError) as error:
            raise DataError(f"`{self.source}`: header card `{key}` is unreadable: {error}") from error
        return None if isinstance(value, bool) or type(value).__name__ == "Undefined" else value

    def number(self, *keys: str) -> float | None:
        """Finite number of the first card present, or None where all are absent or empty."""
        for key in keys:
            value = self._value(key)
            if value is None or value == "":
                continue
            try:
                number = float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if not math.isfinite(number):
                raise DataError(f"`{self.source}`: header card `{key}` must be a finite number, got {value!r}")
            return number
        return None

    def needed(self, *keys: str) -> float:
        """Finite number; DataError where the cards are absent."""
        number = self.number(*keys)
        if number is None:
            raise DataError(
                f"`{self.source}`: header card `{keys[0]}` is missing, so the disk is unknown; give `disk`, or a file "
                "with its keywords (JSOC's exports `as-is` have none, those in the protocol FITS do)"
            )
        return number

    def positive(self, key: str) -> float:
        """Number above 0; DataError where it is none."""
        number = self.needed(key)
        if not number > 0:
            raise DataError(f"`{self.source}`: header card `{key}` must be above 0, got {number:g}")
        return number

    def text(self, *keys: str) -> str:
        """Text of the first card that holds any, without blanks at its ends; "" where none does."""
        for key in keys:
            value = self._value(key)
            if isinstance(value, str) and value.strip():
                return value.strip()
        return ""

    def time(self) -> datetime:
        """Observation time, UTC: `T_OBS` (the middle, TAI), else `DATE-OBS` (UTC), else `T_REC`, else of the name."""
        scale = "TAI" if self.text("TIMESYS").upper() == "TAI" else "UTC"
        for key in ("T_OBS", "DATE-OBS", "DATE_OBS", "T_REC"):
            text = self.text(key)
            try:
                time = parse_header_time(text, scale=scale)
            except ValueError as error:
                message = f"`{self.source}`: header card `{key}` must be a time, got {text!r}: {error}"
                raise DataError(message) from error
            if time is not None:
                return time
        named = time_from_name(self.source)
        if named is None:
            raise DataError(
                f"`{self.source}` must hold its time in `T_OBS` or `DATE-OBS`, got {self.text('T_OBS')!r} and "
                f"{self.text('DATE-OBS')!r}; give `time`"
            )
        return named

    def quality(self) -> int | None:
        """QUALITY as a mask without sign; None where there is none."""
        return parse_quality(self._value("QUALITY"), source=self.source)

    def instrument(self) -> tuple[str, str]:
        """The instrument as kflare calls it ("HMI", "MDI", "synthetic", "unknown") and as the header does."""
        named = self.text("INSTRUME")
        seen = " ".join((named, self.text("CAMERA"), self.text("CONTENT"), self.text("TELESCOP"))).upper()
        known = next((name for name in _INSTRUMENTS if name.upper() in (named.upper() or seen)), None)
        if known is None and not named:
            named = self.text("TELESCOP")
        return known or "unknown", named

    def observer(self) -> Observer | None:
        """Where it was taken from; None where the header does not say."""
        lon, lat = self.number("CRLN_OBS", "OBS_L0"), self.number("CRLT_OBS", "OBS_B0")
        distance = self.number("DSUN_OBS")
        if lon is None or lat is None or distance is None:
            return None
        return Observer(lon % 360, lat, distance)

    def require_magnetogram(self) -> None:
        """Raise DataError unless the header is that of a line-of-sight magnetogram of the full disk in gauss."""
        content = self.text("CONTENT")
        if any(other in content.lower() for other in _OTHER_OBSERVABLES):
            raise DataError(
                f"`{self.source}` is no magnetogram: `CONTENT` is {content!r}; give a line-of-sight magnetogram"
            )
        unit = self.text("BUNIT")
        if unit and unit.lower() not in _GAUSS:
            raise DataError(
                f"`{self.source}`: `BUNIT` of a magnetogram must be Gauss, got {unit!r}; give a magnetogram"
            )
        for axis, names in (("CTYPE1", ("HPLN", "SOLAR", "SOLX")), ("CTYPE2", ("HPLT", "SOLAR", "SOLY"))):
            kind = self.text(axis).upper()
            if kind and not kind.startswith(names):
                raise DataError(
                    f"`{self.source}` is not a full disk: `{axis}` must be helioprojective (HPLN-TAN, HPLT-TAN), got "
                    f"{kind!r}, a map or a cut-out such as a SHARP; give a full-disk magnetogram"
                )
