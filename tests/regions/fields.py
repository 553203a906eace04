"""Magnetic fields with known answers, and the maps and files that an instrument would make of them."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy import fft

from kflare.observations.magnetogram import Magnetogram
from kflare.regions.cea import Patch
from kflare.sun.constants import SOLAR_RADIUS_CM
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry, Observer

TIME = datetime(2013, 5, 1, 12, tzinfo=UTC)
AU = 1.495978707e11
STEP_M = math.radians(0.03) * SOLAR_RADIUS_CM / 100


def patch_of(bx, by, bz, *, los=None, used=None, step_m=STEP_M):
    """A patch seen from straight above."""
    shape = bz.shape
    inside = np.ones(shape, bool)
    inside[[0, -1]] = inside[:, [0, -1]] = False
    maps = [np.asarray(part, np.float32) for part in (bx, by, bz)]
    arcsec = math.degrees(math.atan(step_m / AU)) * 3600
    return Patch(
        maps[2].copy() if los is None else los,
        np.ones(shape, np.float32),
        inside,
        step_m,
        arcsec,
        *maps,
        inside if used is None else used,
    )


def dipole(shape, *, depth=12.0, apart=(30.0, 8.0), field=2000.0):
    """Potential field of two magnetic charges at `depth` pixels below a plane, `apart` pixels west and north.

    B = q r / |r|³ for each: curl-free everywhere, divergence-free above the plane.
    """
    rows, columns = shape
    x = np.arange(columns) - (columns - 1) / 2
    y = ((rows - 1) / 2 - np.arange(rows))[:, np.newaxis]
    total = np.zeros((3, *shape))
    for sign in (1, -1):
        dx, dy = x - sign * apart[0] / 2, y - sign * apart[1] / 2
        r3 = (dx**2 + dy**2 + depth**2) ** 1.5
        total += sign * field * depth**2 * np.stack(np.broadcast_arrays(dx / r3, dy / r3, depth / r3))
    return total


def potential_field(bz, *, pad=2):
    """Horizontal field at the boundary of the half-space whose current-free field has the vertical component `bz`.

    By Fourier transform: B_h = -i k / |k| · Bz (Alissandrakis 1981, Astronomy & Astrophysics 100, 197, for alpha = 0),
    in a periodic box `pad` times as large as the map; NaN counts as 0. Towards west and north, in the unit of `bz`.
    """
    filled = np.nan_to_num(np.asarray(bz, np.float64))
    height, width = filled.shape
    rows, columns = fft.next_fast_len(pad * height), fft.next_fast_len(pad * width, real=True)
    spectrum = fft.rfft2(filled, (rows, columns))
    north = -np.fft.fftfreq(rows)[:, np.newaxis]
    west = np.fft.rfftfreq(columns)
    length = np.hypot(west, north)
    length[0, 0] = 1
    spectrum *= -1j / length
    bx = fft.irfft2(spectrum * west, (rows, columns))[:height, :width]
    by = fft.irfft2(spectrum * north, (rows, columns))[:height, :width]
    return bx.astype(np.float32), by.astype(np.float32)


def linear_force_free(shape, *, alpha, modes=12, shortest=24, seed=1, field=800.0):
    """Field with curl B = alpha B at the bottom of a half-space, a sum of plane modes; alpha per pixel.

    For a mode exp(i (kx x + ky y) - l z) with l² = k² - alpha², div B = 0 and the z component of the curl give
    kx Bx + ky By = -i l Bz and kx By - ky Bx = -i alpha Bz, hence
    Bx = -i (l kx - alpha ky) Bz / k², By = -i (l ky + alpha kx) Bz / k².
    """
    rng = np.random.default_rng(seed)
    rows, columns = shape
    x, y = np.arange(columns), -np.arange(rows)[:, np.newaxis]
    total = np.zeros((3, *shape))
    for _ in range(modes):
        k, angle = rng.uniform(2 * abs(alpha), 2 * math.pi / shortest), rng.uniform(0, 2 * math.pi)
        kx, ky, l = k * math.cos(angle), k * math.sin(angle), math.sqrt(k**2 - alpha**2)
        bz = np.exp(1j * (kx * x + ky * y + rng.uniform(0, 2 * math.pi))) * field / math.sqrt(modes)
        bx, by = -1j * (l * kx - alpha * ky) * bz / k**2, -1j * (l * ky + alpha * kx) * bz / k**2
        total += np.stack([bx.real, by.real, bz.real])
    return total


def view(width, *, b0=0.0, l0=0.0, roll=0.0):
    return DiskGeometry(Disk(width / 2 - 0.7, width / 2 + 0.4, 0.47 * width), (width, width), b0=b0, l0=l0, roll=roll)


def magnetogram_of(los, geometry, *, time=TIME):
    """Line-of-sight magnetogram seen from the place of the Earth, but from the latitude of `geometry`."""
    from sunpy.coordinates import sun

    l0 = float(sun.L0(time.replace(tzinfo=None)).to_value("deg"))
    return Magnetogram(
        los.astype(np.float32),
        time,
        geometry.disk,
        "HMI",
        "test",
        observer=Observer(l0 % 360, geometry.b0, geometry.distance),
        roll=geometry.roll,
    )


def camera_field(geometry, surface: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a camera sees (right, up, towards the observer) of a field `surface(lon, lat)` -> west, north, up."""
    height, width = geometry.shape
    lon, lat = geometry.lonlat(np.arange(width), np.arange(height)[:, np.newaxis])
    bx, by, bz = surface(lon, lat)
    phi, theta, b0, roll = (np.radians(angle) for angle in (lon - geometry.l0, lat, geometry.b0, geometry.roll))
    # Unit vectors west, north and up in axes towards the west limb, the pole and the central meridian.
    sin, cos = np.sin, np.cos
    west = bx * cos(phi) + (bz * cos(theta) - by * sin(theta)) * sin(phi)
    polar = by * cos(theta) + bz * sin(theta)
    front = -bx * sin(phi) + (bz * cos(theta) - by * sin(theta)) * cos(phi)
    north, los = polar * cos(b0) - front * sin(b0), front * cos(b0) + polar * sin(b0)
    return cos(roll) * west + sin(roll) * north, -sin(roll) * west + cos(roll) * north, los


def write_vector(folder: Path, parts, geometry, *, time=TIME, cut=None, name="hmi.B_720s", upside_down=True):
    """Files of field, inclination, azimuth (0 to 180), disambig and conf_disambig, as HMI hangs: upside down.

    `cut` is a box (x0, y0, x1, y1) of the upright image that a HARP covers. CRPIX is then its corner on the disk, or,
    in a file of that name, a SHARP's: the centre of the disk counted from that corner.
    """
    right, up, los = parts
    if upside_down:
        right, up, los = -right[::-1, ::-1], -up[::-1, ::-1], los[::-1, ::-1]
    # FITS counts rows from the bottom.
    right, up, los = right[::-1], up[::-1], los[::-1]
    strength = np.sqrt(right**2 + up**2 + los**2)
    angle = np.degrees(np.arctan2(-right, up)) % 360
    images = {
        "field": strength,
        "inclination": np.degrees(np.arccos(los / np.where(strength > 0, strength, 1))),
        "azimuth": angle % 180,
        "disambig": np.where(np.nan_to_num(angle) >= 180, 7, 0).astype(np.uint8),
        "conf_disambig": np.where(np.nan_to_num(strength) > 0, 90, 50).astype(np.uint8),
    }
    width, disk = right.shape[1], geometry.disk
    x, y = disk.x, width - 1 - disk.y
    if upside_down:
        x, y = width - 1 - x, width - 1 - y
    radius = math.degrees(math.asin(SOLAR_RADIUS_CM / 100 / geometry.distance)) * 3600
    cards = {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CDELT1": radius / disk.radius,
        "CDELT2": radius / disk.radius,
        # Solar north lies `roll` clockwise of up: what is up must be turned counterclockwise by it.
        "CROTA2": geometry.roll + 180 * upside_down,
        "RSUN_OBS": radius,
        "T_OBS": f"{time:%Y-%m-%dT%H:%M:%S}Z",
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "CRPIX1": x + 1,
        "CRPIX2": y + 1,
        "INSTRUME": "HMI_SIDE1",
    }
    window = slice(None), slice(None)
    if cut is not None:
        x0, y0, x1, y1 = cut
        spans = geometry.box_lonlat(cut)
        cards |= dict(zip(("LON_MIN", "LON_MAX", "LAT_MIN", "LAT_MAX"), map(float, spans), strict=True))
        if upside_down:
            x0, y0, x1, y1 = width - x1, width - y1, width - x0, width - y0
        window = slice(width - y1, width - y0), slice(x0, x1)
        corner = x0 + 1.0, width - y1 + 1.0
        if "sharp" in name:
            corner = x + 1 - corner[0] + 1, y + 1 - corner[1] + 1
        cards |= {"IMCRPIX1": x + 1, "IMCRPIX2": y + 1, "CRPIX1": corner[0], "CRPIX2": corner[1]}
    paths = {}
    folder.mkdir(exist_ok=True, parents=True)
    for segment, image in images.items():
        stored = image[window]
        hdu = fits.PrimaryHDU(stored if stored.dtype == np.uint8 else stored.astype(np.float32))
        hdu.header.update(cards)
        paths[segment] = folder / f"{name}.{segment}.fits"
        hdu.writeto(paths[segment], overwrite=True)
    return paths


def mirrored(patch: Patch, *, axis: str) -> Patch:
    """The patch drawn in a mirror: east and west ("x") or north and south ("y") exchanged, vectors too."""
    flip = (slice(None), slice(None, None, -1)) if axis == "x" else (slice(None, None, -1), slice(None))
    maps = {name: None if getattr(patch, name) is None else getattr(patch, name)[flip] for name in
            ("los", "mu", "inside", "bx", "by", "bz", "used")}  # fmt: skip
    across = "bx" if axis == "x" else "by"
    if maps[across] is not None:
        maps[across] = -maps[across]
    return replace(patch, **maps)


def reversed_polarity(patch: Patch) -> Patch:
    """The patch with all fields of opposite sign."""
    maps = {name: None if getattr(patch, name) is None else -getattr(patch, name) for name in ("los", "bx", "by", "bz")}
    return replace(patch, **maps)
