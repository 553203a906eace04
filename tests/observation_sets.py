"""Sets of observations of the synthetic Sun, as `kflare.fetch` leaves them, so that one reader serves both.

    write_observations(SyntheticSun(start, 3, seed=2), folder, size=256)

Like JSOC's, images of HMI hang upside down (CROTA2 = 180) and vector fields come as field strength, inclination,
azimuth and the bits that resolve its ambiguity, cut out around each region; AIA's have another scale and centre. The
headers say INSTRUME = synthetic and no place of the observer: the Sun is seen from afar with B0 = 0.

The horizontal field of each flux patch is that of a magnetic charge below the surface, deep enough to give the patch
its width, so a region of several patches is sheared where they press together; then it is turned by an angle that grows
with the region's complexity and has the sign of its hemisphere (negative in the north), which makes vertical currents
and helicity. Plage and network shine at 1600 Å where the field is strong, spots are dark; the corona at 131 Å is the
field, blurred. Flares brighten both at their place and the X-rays of the whole disk: they rise to the peak and have
fallen to half of it at their end, as GOES defines it. Levels are of the right order of magnitude, no more.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.io.arrays import Float32Array, Float64Array
from kflare.sun.constants import SOLAR_RADIUS_ARCSEC
from kflare.sun.times import name_of_time
from kflare.synthetic.files import hmi_cards, write_image, write_los, write_regions_of_the_day
from kflare.synthetic.regions import Patches, generator, times_to_days
from kflare.synthetic.sun import SyntheticSun
from kflare.synthetic.surface import DISK_RADIUS, DiskGrid, disk_grid, paint

Cutout = tuple[int, int, int, int]
"""Columns x0 to x1 and rows y0 to y1, half open, row 0 = north."""

_SMALLEST_FLUX: Final = 5e20  # Mx: a region below it has no cutout
# AIA's pixels are 0.6 arcsec wide, HMI's 0.504.
_AIA_SCALE: Final = 0.504 / 0.6
_AIA_SHIFT: Final = (3.3, -5.2)  # pixels of 4096 by which AIA's disk lies off the middle, west and north
_EXPOSURE: Final = 2.9  # seconds
_FULL_WELL: Final = 16383.0  # DN
_QUICK_LOOK: Final = 1 << 30
_BACKGROUND = 2e-7  # W m^-2
_QUIET = {1600: 45.0, 131: 4.0}  # DN/s
_C1 = {1600: 600.0, 131: 300.0}  # DN/s at the peak of a flare of C1.0, above the rest
_GROWTH = {1600: 0.4, 131: 0.8}  # power of the X-ray flux with which the brightness grows
_FLARE_WIDTH = {1600: 0.35, 131: 0.7}  # degrees
_TWIST = np.deg2rad(8.0), np.deg2rad(30.0)  # of a simple bipole, and what full complexity adds


def write_observations(
    sun: SyntheticSun,
    folder: Path,
    times: pd.DatetimeIndex,
    *,
    size: int,
    full_disk_vector: bool = False,
) -> None:
    """Write sets of observations as `kflare.fetch` leaves them, for `kflare.features`.

    The folder, made if absent, gets for each time FITS files of the line-of-sight and the vector field (of the whole
    disk, or cut out around the regions) and of 1600 and 131 Å, all of full disks of `size` pixels; for all days of the
    Sun `goes_xrays_*.json` (a day earlier on), `flares.csv` and `srs.csv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = disk_grid(size)
    for stamp in times:
        time = stamp.to_pydatetime()
        field, cutouts = surface(sun, grid, time)
        _, _, toward = field.seen(grid)
        write_los(sun._measured(grid, toward, round(time.timestamp() * 1e6)), time, folder)
        write_vector(field, grid, time, folder, cutouts=None if full_disk_vector else cutouts)
        for wavelength in (1600, 131):
            write_aia(grid, field.radial, sun.flares.table, time, folder, wavelength=wavelength, seed=sun.seed)
    minutes = pd.date_range(sun.start - timedelta(days=1), sun.end, freq="min", unit="us")
    write_xrays(sun.flares.table, minutes, folder / f"goes_xrays_{sun.end:%Y%m%dT%H%MZ}.json")
    # A list that begins with a young Sun would tell of no whole week before: small flares of the days before it do.
    days = pd.date_range(sun.start - timedelta(days=9), sun.start - timedelta(days=1), unit="us")
    small = pd.DataFrame({"start": days, "peak": days, "goes_class": "B1.0"})
    whole = replace(sun.flares, table=pd.concat([small, sun.flares.table], ignore_index=True), told=())
    whole.write_csv(folder / "flares.csv")
    days = pd.date_range(sun.start, sun.end, freq="D", unit="us")
    write_regions_of_the_day(sun.region_table(days), folder / "srs.csv")


@dataclass(frozen=True, eq=False)
class SurfaceField:
    """Magnetic field at the surface, gauss, float32, shape (P,) each: towards west, north, and outward."""

    west: Float32Array
    north: Float32Array
    radial: Float32Array

    def seen(self, grid: DiskGrid) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Components to the right, up, and towards the observer, for the orthographic view with B0 = 0, P = 0."""
        lon, lat = np.deg2rad(grid.lon).astype(np.float32), np.deg2rad(grid.lat).astype(np.float32)
        sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
        right = self.radial * cos_lat * sin_lon + self.west * cos_lon - self.north * sin_lat * sin_lon
        up = self.radial * sin_lat + self.north * cos_lat
        toward = self.radial * cos_lat * cos_lon - self.west * sin_lon - self.north * sin_lat * cos_lon
        return right, up, toward


def horizontal_field(
    grid: DiskGrid, patches: Patches, lon: Float64Array, lat: Float64Array, complexity: Float64Array
) -> tuple[Float32Array, Float32Array]:
    """Horizontal field of all regions towards west and north, gauss, float32, shape (P,) each; 0 outside of them."""
    west, north = np.zeros((2, len(grid.index)), dtype=np.float32)
    sigma, peak, reach = patches.seen(np.rad2deg(1 / grid.radius))
    turn = -np.sign(lat) * (_TWIST[0] + _TWIST[1] * complexity)
    for i in np.flatnonzero(np.abs(lon) < 90 + reach / np.cos(np.deg2rad(lat))):
        window, dx, dy = grid.near(lon[i], lat[i], reach[i])
        across, along = np.zeros((2, len(window)), dtype=np.float32)
        for k in range(peak.shape[1]):
            # A Gaussian of width s and a charge at the depth s have the same field at their centre.
            x, y, depth = dx - patches.x[i, k], dy - patches.y[i, k], sigma[i, k]
            strength = (peak[i, k] * depth**2 * (x**2 + y**2 + depth**2) ** -1.5).astype(np.float32)
            across += strength * x
            along += strength * y
        # Fades to nothing at the edge of the region, where the radial field does.
        fade = np.clip(2 - 2 * np.hypot(dx, dy) / reach[i], 0, 1)
        cos, sin = np.cos(turn[i]) * fade, np.sin(turn[i]) * fade
        west[window] += (cos * across - sin * along).astype(np.float32)
        north[window] += (sin * across + cos * along).astype(np.float32)
    return west, north


def surface(sun: SyntheticSun, grid: DiskGrid, time: datetime) -> tuple[SurfaceField, dict[int, Cutout]]:
    """The field at the surface without noise, and the area of each region by HARP number."""
    day = float(sun._covered(pd.DatetimeIndex([time]))[0])
    alive = sun._born.flux_at(day) > 0
    regions, harpnums = sun._born.take(alive), sun.regions["harpnum"].to_numpy()[alive]
    radial, clumps = sun._network.sample(grid, day)
    patches, lon = regions.patches_at(day), regions.longitude(day)
    radial += paint(grid, patches, lon, regions.lat, clumps)
    west, north = horizontal_field(grid, patches, lon, regions.lat, regions.complexity)
    large = regions.flux_at(day) > _SMALLEST_FLUX
    inside = np.flatnonzero(large & (np.abs(lon) < 90 - patches.extent))
    cutouts = {int(harpnums[i]): grid.box(lon[i], regions.lat[i], patches.extent[i]) for i in inside}
    return SurfaceField(west, north, radial), cutouts


def flare_flux(flares: pd.DataFrame, times: pd.DatetimeIndex) -> Float64Array:
    """X-ray flux of each flare (`start`, `peak`, `end`, `flux`) at each time, W m^-2, shape (flares, times)."""
    now = times_to_days(times)
    start, peak, end = (
        times_to_days(pd.DatetimeIndex(flares[name]))[:, np.newaxis] for name in ("start", "peak", "end")
    )
    since = now - peak
    rising = np.exp(-((since / ((peak - start) / 2)) ** 2))
    falling = 0.5 ** (np.clip(since, 0, None) / (end - peak))
    return flares["flux"].to_numpy(np.float64)[:, np.newaxis] * np.where(since < 0, rising, falling)


def xray_flux(flares: pd.DataFrame, times: pd.DatetimeIndex) -> Float64Array:
    """Flux of the whole disk in 0.1-0.8 nm at N times, W m^-2: the background and every flare within a day."""
    flux = np.full(len(times), _BACKGROUND)
    for _, flare in flares.iterrows():
        near = np.flatnonzero(
            (times > flare["start"] - pd.Timedelta(hours=1)) & (times < flare["end"] + pd.Timedelta(days=1))
        )
        flux[near] += flare_flux(flare.to_frame().T, times[near])[0]
    return flux


def aia_intensity(
    grid: DiskGrid, radial: Float32Array, flares: pd.DataFrame, time: pd.Timestamp, *, wavelength: int
) -> Float32Array:
    """Image at 1600 or 131 Å on the pixels of a magnetogram, DN/s without noise, float32, shape (size, size).

    `radial` is the radial field on the disk in gauss, float32, shape (P,).
    """
    from scipy import ndimage

    strength = np.abs(radial)
    image = np.zeros((grid.size, grid.size), dtype=np.float32)
    if wavelength == 1600:
        bright = 1 + 0.9 * np.sqrt(np.minimum(strength, 800) / 100)
        bright *= np.where(strength > 1200, np.float32(0.35), np.float32(1))
        image.ravel()[grid.index] = _QUIET[wavelength] * (0.45 + 0.55 * grid.mu) * bright
    else:
        image.ravel()[grid.index] = strength
        image = ndimage.gaussian_filter(image, np.deg2rad(1.0) * grid.radius, truncate=3)
        # The corona reaches beyond the limb and is brightest there, where the line of sight is longest.
        image = 0.25 * image + np.float32(0.3 * _QUIET[wavelength])
        image.ravel()[grid.index] += (_QUIET[wavelength] * (1 + 0.5 * (1 - grid.mu))).astype(np.float32)
    for lon, lat, flux in _flaring(flares, time):
        peak = _C1[wavelength] * (flux / 1e-6) ** _GROWTH[wavelength]
        _brighten(image, grid, lon, lat, peak=peak, width=_FLARE_WIDTH[wavelength])
    return image


def _flaring(flares: pd.DataFrame, time: pd.Timestamp) -> list[tuple[float, float, float]]:
    """Place and present flux of the flares that can be seen."""
    day = pd.Timedelta(days=1)
    near = flares[(flares["start"] < time + day / 24) & (flares["end"] > time - day / 2)]
    if near.empty:
        return []
    places = zip(near["lon"], near["lat"], flare_flux(near, pd.DatetimeIndex([time]))[:, 0], strict=True)
    return [(float(lon), float(lat), float(now)) for lon, lat, now in places if now > 1e-8]


def _brighten(image: Float32Array, grid: DiskGrid, lon: float, lat: float, *, peak: float, width: float) -> None:
    x, y = grid.pixel(lon, lat)
    sigma = max(0.5, np.deg2rad(width) * grid.radius)
    half = int(4 * sigma) + 1
    rows = np.arange(max(0, int(y) - half), min(grid.size, int(y) + half + 1))
    columns = np.arange(max(0, int(x) - half), min(grid.size, int(x) + half + 1))
    shape = np.exp(-((rows - y) ** 2) / (2 * sigma**2))[:, np.newaxis] * np.exp(-((columns - x) ** 2) / (2 * sigma**2))
    image[rows[:, np.newaxis], columns] += (peak * shape).astype(np.float32)


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
            cards = {**hmi_cards(time, grid.size), "CONTENT": segment.upper(), "BUNIT": unit}
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
            written.append(write_image(path, image[y0:y1, x0:x1][::-1, ::-1][::-1], cards, scale=scale))
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
    return write_image(path, counts[::-1], cards, scale=1.0)


def write_xrays(flares: pd.DataFrame, times: pd.DatetimeIndex, path: Path) -> None:
    """Write the flux of each minute as SWPC's `xrays-7-day.json`."""
    flux = xray_flux(flares, times)
    records = [
        {"time_tag": f"{time:%Y-%m-%dT%H:%M:%SZ}", "satellite": 16, "flux": float(value), "energy": "0.1-0.8nm"}
        for time, value in zip(times, flux, strict=True)
    ]
    path.write_text(json.dumps(records), encoding="utf-8")
