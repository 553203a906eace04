"""Magnetograms in world coordinates, which put them in their place on any other image of the Sun."""

import math
from typing import TYPE_CHECKING

import numpy as np

from kflare.observations.magnetogram import Magnetogram
from kflare.sun.constants import SOLAR_RADIUS_M

if TYPE_CHECKING:
    from sunpy.map import GenericMap

_TELESCOPES = {"HMI": "SDO/HMI", "MDI": "SOHO"}


def header_of(magnetogram: Magnetogram) -> dict[str, str | float | int]:
    """FITS header with the world coordinates of `magnetogram.data[::-1]`: FITS counts rows from the south.

    Helioprojective (HPLN-TAN, HPLT-TAN), in arcseconds, from `Magnetogram.seen_from`, so that an attribution map of the
    same shape can be laid over any other solar image; as `sunpy.map.Map` and `astropy.io.fits.Header` take it.
    """
    seen_from, disk = magnetogram.seen_from, magnetogram.disk
    scale = math.degrees(magnetogram.geometry.scale) * 3600
    cos, sin = math.cos(math.radians(magnetogram.roll)), math.sin(math.radians(magnetogram.roll))
    time = magnetogram.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    header: dict[str, str | float | int] = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN",
        **dict.fromkeys(("CUNIT1", "CUNIT2"), "arcsec"), **dict.fromkeys(("CRVAL1", "CRVAL2"), 0.0),
        # FITS counts pixels from 1, and rows from the south.
        "CRPIX1": disk.x + 1, "CRPIX2": magnetogram.data.shape[0] - disk.y,
        **dict.fromkeys(("CDELT1", "CDELT2"), scale), "PC1_1": cos, "PC1_2": -sin, "PC2_1": sin, "PC2_2": cos,
        **dict.fromkeys(("DATE-OBS", "DATE-AVG"), time), "TIMESYS": "UTC",
        "RSUN_REF": SOLAR_RADIUS_M, "RSUN_OBS": scale * disk.radius, "DSUN_OBS": seen_from.distance,
        "CRLN_OBS": seen_from.lon, "CRLT_OBS": seen_from.lat, "INSTRUME": magnetogram.instrument,
        "TELESCOP": _TELESCOPES.get(magnetogram.instrument, magnetogram.instrument),
        "CONTENT": "MAGNETOGRAM", "BUNIT": "Gauss",
    }  # fmt: skip
    if magnetogram.quality is not None:
        # FITS integers have a sign, but no bound of 32 bits: the mask stays without one.
        header["QUALITY"] = magnetogram.quality
    return header


def map_of(magnetogram: Magnetogram) -> "GenericMap":
    """The magnetogram as a `sunpy.map.Map`: gauss, row 0 = south, with the coordinates of `header_of`."""
    import sunpy.map

    return sunpy.map.Map(np.ascontiguousarray(magnetogram.data[::-1]), header_of(magnetogram))
