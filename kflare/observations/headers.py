"""FITS headers of magnetograms, wherever they come from: a FITS file, the XML of a JP2 file, a sunpy Map.

Any card may be missing, unreadable or of the wrong type; what is needed and not there is a DataError that names it.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from kflare.errors import DataError
from kflare.observations.quality import parse_quality
from kflare.sun.constants import AU_M
from kflare.sun.geometry import Observer, earth_at
from kflare.sun.times import parse_header_time, time_from_name

_CARDS_OF_TIME = ("T_OBS", "DATE-OBS", "DATE_OBS", "T_REC", "DATE-AVG", "DATE-BEG")
# In CONTENT; a magnetogram is "MAGNETOGRAM" with HMI and "MDI Full Disk 96m Magnetogram" with MDI.
_OTHER_OBSERVABLES = ("continuum", "intensity", "dopplergram", "velocity", "linewidth", "line width", "linedepth",
                      "line depth", "filtergram", "inclination", "azimuth", "synoptic")  # fmt: skip
_GIVE_TIME = "correct the header, or in Python give `read_magnetogram` its `time`"
_INSTRUMENTS = ("HMI", "MDI", "synthetic")


class Header:
    """Typed look-up in a header: `card` returns the value of a card, or raises KeyError; `source` is for messages.

    `container` is the format that the header was found in, "FITS" or "JP2"; `doubts` tells of cards that were left out.
    """

    def __init__(self, card: Callable[[str], Any], source: str, *, container: str = "FITS") -> None:
        self._card = card
        self.source = source
        self.container = container
        self.doubts: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return self._value(key) not in (None, "")

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

    def plausible(self, low: float, high: float, *keys: str) -> float | None:
        """Number of the first card that holds one within bounds; what lies outside is as if it were not there."""
        for key in keys:
            try:
                number = self.number(key)
            except DataError as error:
                self.doubts[key] = str(error).removeprefix(f"`{self.source}`: header card ")
                continue
            if number is not None and low <= number <= high:
                return number
            if number is not None:
                self.doubts[key] = f"`{key}` {number:g} is left out, {low:g} to {high:g} is possible"
        return None

    def needed(self, *keys: str) -> float:
        """Finite number; DataError where the cards are absent."""
        number = self.number(*keys)
        if number is None:
            raise self.without(keys[0])
        return number

    def without(self, *keys: str) -> DataError:
        """What to raise where cards are absent."""
        cards = f"header card `{keys[0]}` is" if len(keys) == 1 else f"header cards `{'`, `'.join(keys)}` are"
        doubts = f" ({'; '.join(self.doubts.values())})" if self.doubts else ""
        return DataError(
            f"`{self.source}`: {cards} missing, so the disk is unknown{doubts}; take a file with its "
            "keywords (JSOC's exports `as-is` have none, those in the protocol FITS do); in Python `disk` tells it"
        )

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
        """Observation time, UTC: `T_OBS` (the middle, TAI), else `DATE-OBS` (UTC), else `T_REC`, else of the name.

        A date alone is completed by `TIME-OBS`. DataError if two cards are more than a day apart.
        """
        system, clock = self.text("TIMESYS").upper(), self.text("TIME-OBS", "TIME_OBS")
        seen: dict[str, datetime] = {}
        for key in _CARDS_OF_TIME:
            raw = self.text(key)
            # JSOC's own form is TAI, also where a program has cut that off.
            scale = "TAI" if system == "TAI" or (key in {"T_OBS", "T_REC"} and raw[4:5] == ".") else "UTC"
            try:
                time = parse_header_time(raw, scale=scale) or parse_header_time(f"{raw} {clock}", scale=scale)
            except (ValueError, DataError) as error:
                raise DataError(f"`{self.source}`: header card `{key}` must be a time, got {raw!r}: {error}") from error
            if time is not None:
                seen[key] = time
        if seen:
            if max(seen.values()) - min(seen.values()) > timedelta(days=1):
                told = " and ".join(f"`{key}` {time:%FT%TZ}" for key, time in seen.items())
                raise DataError(f"`{self.source}`: {told} must be of one observation: which is right? {_GIVE_TIME}")
            return next(iter(seen.values()))
        named = time_from_name(self.source)
        if named is None:
            cards = ", ".join(f"`{key}` {self.text(key)!r}" for key in (*_CARDS_OF_TIME[:3], "TIME-OBS"))
            raise DataError(f"`{self.source}` must hold its time in `T_OBS` or `DATE-OBS`, got {cards}; {_GIVE_TIME}")
        return named

    def blank(self) -> float | None:
        """What stands for "missing" in integers: BLANK, else the least one, which is no field, whatever its scale."""
        bits = self.number("BITPIX") if "BLANK" not in self and not self.number("BZERO") else None
        return -(2.0 ** (bits - 1)) if bits in {16, 32, 64} else self.number("BLANK")

    def quality(self) -> int | None:
        """QUALITY as a mask without sign; None where there is none."""
        return parse_quality(self._value("QUALITY"), source=self.source)

    def instrument(self) -> tuple[str, str]:
        """The instrument as kflare calls it ("HMI", "MDI", "synthetic", "unknown") and as the header does."""
        named = self.text("INSTRUME")
        seen = " ".join((named, *map(self.text, ("CAMERA", "CONTENT", "TELESCOP", "ORIGIN")))).upper()
        known = next((name for name in _INSTRUMENTS if name.upper() in (named.upper() or seen)), None)
        if known is None and not named:
            named = self.text("TELESCOP")
        return known or "unknown", named

    def observer(self, time: datetime) -> Observer | None:
        """Where it was taken from; None where the header does not say, or says something impossible."""
        lon, lat = self.plausible(-720, 720, "CRLN_OBS", "OBS_L0"), self.plausible(-90, 90, "CRLT_OBS", "OBS_B0")
        if lon is None or lat is None:
            # Stonyhurst longitudes count from the Earth.
            east = self.plausible(-360, 360, "HGLN_OBS")
            lon, lat = None if east is None else earth_at(time).lon + east, self.plausible(-90, 90, "HGLT_OBS")
        distance = self.plausible(1e10, 1e12, "DSUN_OBS")
        if distance is None and (units := self.plausible(0.05, 7, "OBS_DIST")) is not None:
            distance = units * AU_M
        return None if lon is None or lat is None or distance is None else Observer(lon % 360, lat, distance)

    def require_magnetogram(self) -> None:
        """Raise DataError unless the header is that of a line-of-sight magnetogram of the full disk."""
        content = self.text("CONTENT")
        if any(other in content.lower() for other in _OTHER_OBSERVABLES):
            fault = f"`{self.source}` is no magnetogram: `CONTENT` is {content!r}"
            raise DataError(f"{fault}; give a line-of-sight magnetogram")
        for axis, names in (("CTYPE1", ("HPLN", "SOLAR", "SOLX")), ("CTYPE2", ("HPLT", "SOLAR", "SOLY"))):
            kind = self.text(axis).upper()
            if kind and not kind.startswith(names):
                raise DataError(
                    f"`{self.source}` is not a full disk: `{axis}` must be helioprojective (HPLN-TAN, HPLT-TAN), got "
                    f"{kind!r}, a map or a cut-out such as a SHARP; give a full-disk magnetogram"
                )
