"""Bitmaps of HARPs, made up, under the names and with the keywords of JSOC."""

from datetime import UTC, datetime

import numpy as np
from astropy.io import fits

from kflare.sun.geometry import earth_at
from kflare.sun.times import tai_from_utc

NOON = datetime(2014, 6, 6, 12, tzinfo=UTC)
AU = 1.496e11


def write_bitmap(folder, series, data, *, harp=9, time=NOON, noaas="12080", **cards):
    """A bitmap in FITS order, 34 inside and 1 outside; returns its name."""
    name = f"hmi.{series}.{harp}.{tai_from_utc(time):%Y%m%d_%H%M%S}_TAI.bitmap.fits"
    image = fits.PrimaryHDU(np.where(data, 34, 1).astype(np.int16))
    seen = {"CRLN_OBS": earth_at(time).lon, "CRLT_OBS": 0.0, "DSUN_OBS": AU}
    told = {"HARPNUM": harp, "NOAA_ARS": noaas, "T_OBS": f"{tai_from_utc(time):%Y.%m.%d_%H:%M:%S}_TAI"}
    image.header.update(told | seen | cards)
    image.writeto(folder / name)
    return name


def write_cea(folder, data, *, lon=0.0, lat=0.0, time=NOON, **more):
    """One of hmi.sharp_cea_720s, a tenth of a degree a pixel, around a place in Stonyhurst degrees."""
    height, width = data.shape
    place = {"CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CDELT1": 0.1, "CDELT2": 0.1}
    place |= {"CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2}
    place |= {"CRVAL1": lon + earth_at(time).lon, "CRVAL2": lat}
    return write_bitmap(folder, "sharp_cea_720s", data, time=time, **place, **more)
