"""Observations of the synthetic Sun as JSOC and NOAA give out real ones, in files that one reader takes with these.

Like JSOC's, images of HMI hang upside down (CROTA2 = 180). The headers say INSTRUME = synthetic and no place of the
observer: the Sun is seen from afar with B0 = 0.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.flares.labels import reaches
from kflare.io.arrays import AnyArray, Float32Array
from kflare.sun.constants import SOLAR_RADIUS_ARCSEC, SOLAR_RADIUS_M
from kflare.sun.times import name_of_time, tai_from_utc, within
from kflare.synthetic.surface import DISK_RADIUS

_MISSING: Final = -(2**31)


def write_los(image: Float32Array, time: datetime, folder: Path) -> Path:
    """Write a line-of-sight magnetogram (gauss, row 0 = north, NaN off disk) as JSOC's of `hmi.M_720s_nrt`."""
    path = folder / f"hmi.M_720s_nrt.{name_of_time(time)}.magnetogram.fits"
    cards = {**hmi_cards(time, image.shape[0]), "CONTENT": "MAGNETOGRAM", "BUNIT": "Gauss"}
    return write_image(path, image[::-1, ::-1][::-1], cards, scale=0.1)


def write_regions_of_the_day(table: pd.DataFrame, path: Path) -> None:
    """Write NOAA's numbers and positions (`noaa`, `lon`, `lat`, `AREA` µHem, `time`) as a CSV of SRS reports."""
    located = [
        f"{'N' if lat >= 0 else 'S'}{abs(round(lat)):02d}{'W' if lon >= 0 else 'E'}{abs(round(lon)):02d}"
        for lon, lat in zip(table["lon"], table["lat"], strict=True)
    ]
    # The table's area is that of the field; sunspots cover about a tenth of it.
    rows = {
        "ar_noaanum": table["noaa"], "LOCATION": located, "AREA": (table["AREA"] / 10).round().astype(int),
        "MAGTYPE": "BETA", "date": (table["time"] + pd.Timedelta(minutes=30)).dt.strftime("%Y-%m-%d %H:%M"),
    }  # fmt: skip
    pd.DataFrame(rows).to_csv(path)


def swpc_probabilities(flares: pd.DataFrame, now: datetime) -> list[dict[str, Any]]:
    """`solar_probabilities.json` at a time, by a made-up forecaster: the last three days go on (`FlareList.table`)."""
    issued = (now - timedelta(hours=22)).replace(hour=22, minute=0, second=0, microsecond=0)
    known = flares[within(flares["end"], issued - timedelta(days=3), issued)]
    row: dict[str, Any] = {"date": f"{issued:%Y-%m-%dT00:00:00}"}
    for name in "CMX":
        chance = -math.expm1(-(reaches(known["flux"], name).sum() + 0.1) / 3)
        row |= {f"{name.lower()}_class_{day}_day": min(max(5 * round(20 * chance), 1), 95) for day in (1, 2, 3)}
    return [row]


def hmi_cards(time: datetime, size: int) -> dict[str, Any]:
    """The header of an image of the full disk that HMI took, `size` pixels wide."""
    step = SOLAR_RADIUS_ARCSEC / (DISK_RADIUS * size)
    clock = f"{tai_from_utc(time):%Y.%m.%d_%H:%M:%S}_TAI"
    return {
        "T_REC": clock, "T_OBS": clock, "TELESCOP": "synthetic", "INSTRUME": "synthetic", "WAVELNTH": 6173.0,
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 0.0,
        "CRVAL2": 0.0, "CDELT1": step, "CDELT2": step, "CRPIX1": (size + 1) / 2, "CRPIX2": (size + 1) / 2,
        "CROTA2": 180.0, "RSUN_OBS": SOLAR_RADIUS_ARCSEC, "RSUN_REF": SOLAR_RADIUS_M,
    }  # fmt: skip


def write_image(path: Path, image: AnyArray, cards: Mapping[str, Any], *, scale: float) -> Path:
    """RICE-compressed integers of `scale`, as JSOC stores images; `image` in FITS order, NaN becomes BLANK."""
    from astropy.io import fits

    measured = np.isfinite(image)
    numbers = np.full(image.shape, _MISSING, dtype=np.int32)
    numbers[measured] = np.rint(image[measured] / scale)
    hdu = fits.CompImageHDU(numbers, compression_type="RICE_1")
    hdu.header["BLANK"] = _MISSING
    if scale != 1:
        hdu.header["BSCALE"], hdu.header["BZERO"] = scale, 0.0
    hdu.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path
