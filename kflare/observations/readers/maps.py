"""Magnetograms as sunpy Maps and back: world coordinates that put them where they belong on any other solar image."""

import math
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from kflare.errors import DataError, KflareError
from kflare.io.payload import MAX_WIDTH
from kflare.observations.headers import Header, Observer
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import QualityPolicy, policy_named
from kflare.observations.readers.pixels import Pixels, magnetogram_from_pixels, require_square
from kflare.sun.disk import Disk

if TYPE_CHECKING:
    from sunpy.map import GenericMap

__all__ = ["header_of", "magnetogram_from_map", "map_of"]

# The radius that JSOC's RSUN_OBS and R_SUN stand for (RSUN_REF of HMI and MDI), metres.
_SOLAR_RADIUS = 696e6
_TELESCOPES = {"HMI": "SDO/HMI", "MDI": "SOHO"}


def header_of(magnetogram: Magnetogram) -> dict[str, str | float | int]:
    """FITS header with the world coordinates of `magnetogram.data[::-1]`; see :meth:`Magnetogram.header`."""
    seen_from = magnetogram.observer or _earth(magnetogram.time)
    radius = math.degrees(math.asin(_SOLAR_RADIUS / seen_from.distance)) * 3600
    disk, scale = magnetogram.disk, radius / magnetogram.disk.radius
    cos, sin = math.cos(math.radians(magnetogram.roll)), math.sin(math.radians(magnetogram.roll))
    time = magnetogram.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    header: dict[str, str | float | int] = {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        # FITS counts pixels from 1, and rows from the south.
        "CRPIX1": disk.x + 1,
        "CRPIX2": magnetogram.data.shape[0] - disk.y,
        "CDELT1": scale,
        "CDELT2": scale,
        "PC1_1": cos,
        "PC1_2": -sin,
        "PC2_1": sin,
        "PC2_2": cos,
        "DATE-OBS": time,
        "DATE-AVG": time,
        "TIMESYS": "UTC",
        "RSUN_REF": _SOLAR_RADIUS,
        "RSUN_OBS": radius,
        "DSUN_OBS": seen_from.distance,
        "CRLN_OBS": seen_from.lon,
        "CRLT_OBS": seen_from.lat,
        "INSTRUME": magnetogram.instrument,
        "TELESCOP": _TELESCOPES.get(magnetogram.instrument, magnetogram.instrument),
        "CONTENT": "MAGNETOGRAM",
        "BUNIT": "Gauss",
    }
    if magnetogram.quality is not None:
        # FITS integers have a sign, but no bound of 32 bits: the mask stays without one.
        header["QUALITY"] = magnetogram.quality
    return header


def map_of(magnetogram: Magnetogram) -> "GenericMap":
    """The magnetogram as a sunpy Map; see :meth:`Magnetogram.to_map`."""
    import sunpy.map

    return sunpy.map.Map(np.ascontiguousarray(magnetogram.data[::-1]), header_of(magnetogram))


def magnetogram_from_map(
    solar_map: "GenericMap",
    *,
    source: str = "sunpy Map",
    disk: Disk | None = None,
    time: datetime | None = None,
    size: int | None = None,
    policy: str | QualityPolicy = "default",
) -> Magnetogram:
    """Magnetogram of a sunpy Map of the full disk, in whatever orientation.

    Parameters
    ----------
    solar_map : sunpy.map.GenericMap
        In gauss, helioprojective. Its mask counts as missing.
    source : str
        Name for messages.
    disk : Disk, optional
        The solar disk in the result (row 0 = north, before `size`), instead of the Map's.
    time : datetime.datetime, optional
        Observation time, aware, instead of the Map's.
    size : int, optional
        Width and height of the result, at most the Map's.
    policy : str or QualityPolicy
        Which images are rejected; see `kflare.observations.quality`.

    Returns
    -------
    Magnetogram
        float32 gauss, NaN off the disk and where missing.

    Raises
    ------
    DataError
        If it is no full disk, not in gauss, or the policy rejects it.
    """
    chosen = policy_named(policy)
    meta = getattr(solar_map, "meta", None)
    if meta is None or not hasattr(solar_map, "data"):
        raise DataError(f"`{source}` must be a sunpy Map, got {type(solar_map).__name__}")
    try:
        with warnings.catch_warnings():
            # sunpy warns of metadata that are missing and assumes something; what matters is checked here.
            warnings.simplefilter("ignore")
            require_square(np.shape(solar_map.data), MAX_WIDTH, source)
            header = Header(_card(solar_map), source)
            data = np.asarray(solar_map.data)
            if solar_map.mask is not None:
                data = np.where(solar_map.mask, np.nan, data)
            return magnetogram_from_pixels(Pixels(data), header, policy=chosen, disk=disk, time=time, size=size)
    except KflareError:
        raise
    # sunpy and astropy raise ValueError, TypeError, KeyError, UnitsError and more on metadata that contradict.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"`{source}` has unusable metadata: {reason}; read the file itself instead") from error


def _card(solar_map: Any) -> Any:
    """Look-up in the Map's metadata, completed by what sunpy knows of the instrument."""
    meta = solar_map.meta

    def card(key: str) -> object:
        if key in meta:
            return meta[key]
        if key == "RSUN_OBS":
            return float(solar_map.rsun_obs.to_value("arcsec"))
        if key == "DATE-OBS":
            return str(solar_map.reference_date.utc.isot)
        raise KeyError(key)

    return card


def _earth(time: datetime) -> Observer:
    from sunpy.coordinates import sun

    clock = time.replace(tzinfo=None)
    return Observer(
        float(sun.L0(clock).to_value("deg")) % 360,
        float(sun.B0(clock).to_value("deg")),
        float(sun.earth_distance(clock).to_value("m")),
    )
