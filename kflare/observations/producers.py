"""Who made a file, and what follows: where north is, which field a byte stands for, in which unit the values are.

The first row of `PRODUCERS` that recognises a header counts. Units are those of any `BUNIT`, converted or refused.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kflare.errors import DataError
from kflare.observations.headers import Header

#: Degrees of roll that are left in an image.
ROLL_TOLERANCE = 0.25

_WCS = ("CROTA2", "CROTA", "CROTA1", "PC1_1", "PC1_2", "PC2_1", "PC2_2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


@dataclass(frozen=True)
class Producer:
    """A maker of files."""

    name: str
    made: Callable[[Header], bool]
    #: Which cards tell where north is: "WCS" (CDi_j, PCi_j or CROTA2) or "P_ANGLE"; "up" = the pixels are turned
    #: already, whatever the cards say; "none" = WCS without a turn, any other is refused; else why files are refused.
    north: str = "WCS"
    byte_range: float = 250.0  # field strength of the strongest byte in gauss, of images of bytes
    byte_steps: int = 255  # from the weakest to the strongest byte

    def roll(self, header: Header) -> float | None:
        """What stands for FITS's CROTA2, degrees; None where CDi_j, PCi_j or CROTA2 itself tell.

        `DataError` where cards contradict each other, or files of this producer are refused.
        """
        source = header.source
        if self.north == "up":
            if header.plausible(-ROLL_TOLERANCE, ROLL_TOLERANCE, "HV_ROTATION") is None and "HV_ROTATION" in header:
                raise DataError(f"`{source}`: `HV_ROTATION` must be 0, as the pixels have north up; download it again")
            return 0.0
        angles = {key: header.number(key) for key in ("P_ANGLE", "SOLAR_P0") if key in header}
        if self.north == "P_ANGLE":
            rolls = [-(angle or 0.0) for angle in angles.values()]
            apart = abs(math.remainder(rolls[0] - rolls[-1], 360))
            if apart > ROLL_TOLERANCE or header.text("ORIENT") not in {"", "SESW"}:
                raise DataError(
                    f"`{source}`: `P_ANGLE` and `SOLAR_P0` must be equal and `ORIENT` SESW, got {angles} and "
                    f"{header.text('ORIENT')!r}; give the file of JSOC's mdi.fd_M_96m_lev182"
                )
            return rolls[0]
        turn = header.number("CROTA2", "CROTA", "CROTA1")
        for key, angle in angles.items():
            if turn is not None and angle is not None and abs(math.remainder(turn + angle, 360)) > ROLL_TOLERANCE:
                why = "it is not known whether the pixels are turned; give the file as the archive has it"
                raise DataError(
                    f"`{source}`: `CROTA2` must be `{key}` with the other sign, got {turn:g} and {angle:g}: {why}"
                )
        if self.north == "none" and abs(turn or 0.0) > ROLL_TOLERANCE:
            raise DataError(f"`{source}`: a map of {self.name} must have no roll, got {turn:g} degrees; turn it there")
        if self.north not in {"WCS", "none"}:
            raise DataError(f"`{source}` is of {self.name} and is refused: {self.north}")
        return None


def _is(instrument: str, container: str = "FITS") -> Callable[[Header], bool]:
    return lambda header: header.container == container and header.instrument()[0] == instrument


def _has(header: Header, keys: Iterable[str]) -> bool:
    return any(key in header for key in keys)


_MAKERS: Final = ("TELESCOP", "INSTRUME", "ORIGIN", "OBSERVAT")
_OF_SUNPY: Final = ("WCSAXES", "LONPOLE")
_GONG: Final = "its headers do not tell where north is; give a magnetogram of HMI or MDI"
_WORDLESS: Final = (
    "HMI hangs upside down, and SOHO flew so for half of the time after July 2003; give a file with `CROTA2` or "
    "`P_ANGLE`"
)
#: The first that recognises a header counts.
PRODUCERS: Final = (
    Producer("GONG", lambda of: "GONG" in " ".join(map(of.text, _MAKERS)) and not _has(of, _WCS), _GONG),
    # hv_mdi_mag_write_hvs2.pro of jp2gen turns the pixels by P_ANGLE and keeps the card; ±1000 G are bytes 1 to 255.
    Producer("Helioviewer, MDI", _is("MDI", "JP2"), "up", 1000.0, 254),
    Producer(
        "SolarSoft (map2fits)", lambda of: of.text("CTYPE1").lower().startswith("solar_x") or "CROTACN1" in of, "none"
    ),
    # Level 1.8: P_ANGLE is the position angle of north, counterclockwise, so that the image must be turned clockwise.
    Producer(
        "SOI, MDI level 1.8",
        lambda of: _is("MDI")(of) and not _has(of, _WCS) and _has(of, ("P_ANGLE", "SOLAR_P0")),
        "P_ANGLE",
    ),
    Producer(
        "HMI or MDI, without a word on its orientation",
        lambda of: of.instrument()[0] in {"HMI", "MDI"} and not _has(of, (*_WCS, *_OF_SUNPY)),
        _WORDLESS,
    ),
    # hvs_default_hmi.pro.
    Producer("Helioviewer, HMI", lambda of: of.container == "JP2"),
    Producer("JSOC, mdi.fd_M_96m_lev182", lambda of: _is("MDI")(of) and "CROTA2" in of),
    # Near real time differs in nothing that matters here but its QUALITY.
    Producer("JSOC, HMI", lambda of: _is("HMI")(of) and "CROTA2" in of),
    Producer("sunpy", lambda of: _has(of, ("PC1_1", *_OF_SUNPY))),
    Producer("another", lambda _: True),
)


def producer_of(header: Header) -> Producer:
    """The row of `PRODUCERS` that a header belongs to."""
    return next(producer for producer in PRODUCERS if producer.made(header))


_GAUSS: Final = {
    **dict.fromkeys(("", "gauss", "g", "gs", "mx/cm2", "mxcm-2", "maxwell/cm2"), 1.0),
    **dict.fromkeys(("kg", "kgauss"), 1e3),
    **dict.fromkeys(("t", "tesla"), 1e4),
    **dict.fromkeys(("mt", "mtesla"), 10.0),
}
_COUNTS: Final = re.compile(
    r"(?:dns?|cts?|counts?|adu)"
    r"(?:(?:/pix(?:el)?)?(/s(?:ec)?)?|/pix(?:el)?(s(?:ec)?)|(?:pix(?:el)?-1)?(s(?:ec)?-1)?)"
)


def gauss_per_unit(header: Header) -> float:
    """What one of `BUNIT` is in gauss; `DataError` if it is no unit of a magnetic field."""
    factor = _GAUSS.get(_unit(header))
    if factor is None:
        rule = f"`{header.source}`: `BUNIT` of a magnetogram must be Gauss (or Mx/cm^2, kG, mT, T)"
        raise DataError(f"{rule}, got {header.text('BUNIT')!r}; give a magnetogram")
    return factor


def counts_per_second(header: Header) -> bool:
    """Whether values are divided by the exposure already, by `BUNIT`; `DataError` if they are no counts at all."""
    match = _COUNTS.fullmatch(_unit(header) or "dn")
    if match is None:
        rule = f"`{header.source}`: `BUNIT` of an image must be counts (DN, ct) or counts per second (DN/s)"
        raise DataError(f"{rule}, got {header.text('BUNIT')!r}; give the image as JSOC has it")
    return any(match.groups())


def _unit(header: Header) -> str:
    return re.sub(r"[\s^*.()]", "", header.text("BUNIT").lower())
