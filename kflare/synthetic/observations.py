"""Observation sets of the synthetic Sun: FITS files as `kflare.fetch` leaves them, so that one reader serves both.

Like JSOC's, images of HMI hang upside down (CROTA2 = 180) and vector fields come as field strength, inclination,
azimuth and the bits that resolve its ambiguity, cut out around each region; AIA's have another scale and centre. The
headers say INSTRUME = synthetic and no place of the observer: the Sun is seen from afar with B0 = 0.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.io.arrays import Float32Array
from kflare.sun.constants import SOLAR_RADIUS_ARCSEC, SOLAR_RADIUS_M
from kflare.sun.times import name_of_time, tai_from_utc
from kflare.synthetic.corona import aia_intensity, xray_flux
from kflare.synthetic.regions import generator
from kflare.synthetic.surface import DISK_RADIUS, DiskGrid, SurfaceField

__all__ = ["Cutout", "write_aia", "write_los", "write_regions_of_the_day", "write_vector", "write_xrays"]

Cutout = tuple[int, int, int, int]
"""Columns x0 to x1 and rows y0 to y1, half open, row 0 = north."""

# AIA's pixels are 0.6 arcsec wide, HMI's 0.504.
_AIA_SCALE: Final = 0.504 / 0.6
_AIA_SHIFT: Final = (3.3, -5.2)  # pixels of 4096 by which AIA's disk lies off the middle, west and north
_EXPOSURE: Final = 2.9  # seconds
_FULL_WELL: Final = 16383.0  # DN
_QUICK_LOOK: Final = 1 << 30
_MISSING: Final = -(2**31)


def write_los(image: Float32Array, time: datetime, folder: Path) -> Path:
    """Write a line-of-sight magnetogram (gauss, row 0 = north, NaN off disk) as JSOC's of `hmi.M_720s_nrt`."""
    path = folder / f"hmi.M_720s_nrt.{name_of_time(time)}.magnetogram.fits"
    height = image.shape[0]
    cards = {**_hmi_cards(time, height), "CONTENT": "MAGNETOGRAM", "BUNIT": "Gauss"}
    return _write(path, image[::-1, ::-1][::-1], cards, scale=0.1)


def write_vector(
    field: SurfaceField, grid: DiskGrid, time: datetime, folder: Path, *, cutouts: Mapping[int, Cutout] | None
) -> list[Path]:
    """Write field, inclination, azimuth and disambig, as JSOC's of `hmi.bharp_720s_nrt`, or of `hmi.B_720s`.

    `cutouts` is the area by HARP number; None writes the full disk.
    """
    right, up, toward = field.seen(grid)
    strength = np.sqrt(right**2 + up**2 + toward**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        inclination = np.degrees(np.arccos(np.where(strength > 0, toward / strength, 0)))
    # Counterclockwise from the camera's "up"; the camera hangs upside down, so its axes point south and east.
    azimuth = np.degrees(np.arctan2(right, -up)) % 360
    flat = {
        "field": (strength, 0.01, "Gauss"),
        "inclination": (inclination, 0.01, "deg"),
        "azimuth": (azimuth % 180, 0.01, "deg"),
        # One bit for each of JSOC's three methods for weak fields: here they agree.
        "disambig": (np.where(azimuth >= 180, 7, 0), 1.0, ""),
    }
    written = []
    whole = {0: (0, 0, grid.size, grid.size)} if cutouts is None else cutouts
    for segment, (values, scale, unit) in flat.items():
        image = np.full((grid.size, grid.size), np.nan, dtype=np.float32)
        image.ravel()[grid.index] = values
        for harpnum, (x0, y0, x1, y1) in whole.items():
            cards = {**_hmi_cards(time, grid.size), "CONTENT": segment.upper(), "BUNIT": unit}
            series = "hmi.B_720s"
            if cutouts is not None:
                series = f"hmi.bharp_720s_nrt.{harpnum}"
                on_disk = grid.number[y0:y1, x0:x1]
                lon, lat = (degrees[on_disk[on_disk >= 0]] for degrees in (grid.lon, grid.lat))
                # The lower left corner of a HARP on the full disk, counted from 1; the camera hangs upside down, so it
                # is the north-west of the Sun.
                cards |= {
                    "HARPNUM": harpnum, "IMCRPIX1": cards["CRPIX1"], "IMCRPIX2": cards["CRPIX2"],
                    "CRPIX1": float(grid.size - x1 + 1), "CRPIX2": float(y0 + 1), "CRSIZE1": x1 - x0,
                    "CRSIZE2": y1 - y0, "LON_MIN": float(lon.min()), "LON_MAX": float(lon.max()),
                    "LAT_MIN": float(lat.min()), "LAT_MAX": float(lat.max()),
                }  # fmt: skip
            path = folder / f"{series}.{name_of_time(time)}.{segment}.fits"
            written.append(_write(path, image[y0:y1, x0:x1][::-1, ::-1][::-1], cards, scale=scale))
    return written


def write_aia(
    grid: DiskGrid,
    radial: Float32Array,
    flares: pd.DataFrame,
    time: datetime,
    folder: Path,
    *,
    wavelength: int,
    seed: int,
) -> Path:
    """Write an image at 1600 or 131 Å as JSOC's of `aia.lev1_nrt2`; `radial` as in `aia_intensity`."""
    from scipy import ndimage

    image = aia_intensity(grid, radial, flares, pd.Timestamp(time), wavelength=wavelength)
    size = grid.size
    east, north = (shift * size / 4096 for shift in _AIA_SHIFT)
    centre = np.array([grid.centre - north, grid.centre + east])
    seen = ndimage.affine_transform(
        image, np.full(2, 1 / _AIA_SCALE), grid.centre - centre / _AIA_SCALE, order=1, mode="nearest"
    )
    random = generator(seed, f"aia {wavelength}", size, round(time.timestamp() * 1e6))
    counts = seen * np.float32(_EXPOSURE)
    counts += np.sqrt(np.clip(counts, 0, None)) * random.standard_normal(counts.shape, dtype=np.float32)
    counts = np.rint(np.clip(counts, 0, _FULL_WELL))
    step = SOLAR_RADIUS_ARCSEC / (DISK_RADIUS * size * _AIA_SCALE)
    stamp = f"{time:%Y-%m-%dT%H:%M:%S}.00"
    cards = {
        "T_OBS": f"{stamp}Z", "DATE-OBS": stamp, "T_REC": f"{stamp[:-3]}Z", "TELESCOP": "synthetic",
        "INSTRUME": "synthetic", "WAVELNTH": wavelength, "WAVEUNIT": "angstrom", "EXPTIME": _EXPOSURE,
        "QUALITY": _QUICK_LOOK, "LVL_NUM": 1.0, "BUNIT": "DN", "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": step, "CDELT2": step,
        "CRPIX1": float(centre[1] + 1), "CRPIX2": float(size - centre[0]), "CROTA2": 0.0,
        "RSUN_OBS": SOLAR_RADIUS_ARCSEC,
    }  # fmt: skip
    path = folder / f"aia.lev1_nrt2.{time:%Y%m%dT%H%M%SZ}.{wavelength}.image_lev1.fits"
    return _write(path, counts[::-1], cards, scale=1.0)


def write_xrays(flares: pd.DataFrame, times: pd.DatetimeIndex, path: Path) -> None:
    """Write the flux of each minute as SWPC's `xrays-7-day.json`."""
    flux = xray_flux(flares, times)
    records = [
        {"time_tag": f"{time:%Y-%m-%dT%H:%M:%SZ}", "satellite": 16, "flux": float(value), "energy": "0.1-0.8nm"}
        for time, value in zip(times, flux, strict=True)
    ]
    path.write_text(json.dumps(records), encoding="utf-8")


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


def _hmi_cards(time: datetime, size: int) -> dict[str, Any]:
    step = SOLAR_RADIUS_ARCSEC / (DISK_RADIUS * size)
    clock = f"{tai_from_utc(time):%Y.%m.%d_%H:%M:%S}_TAI"
    return {
        "T_REC": clock, "T_OBS": clock, "TELESCOP": "synthetic", "INSTRUME": "synthetic", "WAVELNTH": 6173.0,
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 0.0,
        "CRVAL2": 0.0, "CDELT1": step, "CDELT2": step, "CRPIX1": (size + 1) / 2, "CRPIX2": (size + 1) / 2,
        "CROTA2": 180.0, "RSUN_OBS": SOLAR_RADIUS_ARCSEC, "RSUN_REF": SOLAR_RADIUS_M,
    }  # fmt: skip


def _write(path: Path, image: npt.NDArray[Any], cards: Mapping[str, Any], *, scale: float) -> Path:
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
