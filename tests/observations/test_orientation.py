"""One source in the north-east, by every route: it must come out in the upper left, however the image was stored."""

import io
import struct
import warnings
from datetime import UTC, datetime

import astropy.units as u
import numpy as np
import pytest
import sunpy.map
from astropy.coordinates import SkyCoord
from astropy.io import fits
from PIL import Image
from sunpy.coordinates import HeliographicStonyhurst
from sunpy.coordinates.sun import L0

from kflare.errors import DataError
from kflare.observations.headers import Header
from kflare.observations.orientation import orientation_of
from kflare.observations.readers.fits import magnetogram_from_fits
from kflare.observations.readers.maps import magnetogram_from_map
from kflare.observations.readers.reader import Options
from kflare.observations.reading import read_magnetogram
from kflare.observations.world import header_of, map_of
from kflare.sun.disk import Disk

WIDTH, CENTRE, RADIUS, STEP = 128, 63.5, 54.0, 17.5
# 20 degrees east of the centre line and 35 degrees north, seen from B0 = 0: x = -sin 20 cos 35, y = sin 35 radii.
EAST, NORTH = -np.sin(np.radians(20)) * np.cos(np.radians(35)), np.sin(np.radians(35))
TIME = datetime(2013, 10, 22, 23, 59, 27, tzinfo=UTC)
LONGITUDE = float(L0(TIME.replace(tzinfo=None)).to_value("deg"))


def sun(angle=0.0, *, mirrored=False, zero=0.0, source=900.0):
    """The Sun in FITS order, as a camera sees it whose picture must be turned counterclockwise by `angle`.

    A round source of 3 pixels in the north-east, and a ring of weak field of both signs around the disk's edge.
    """
    y, x = np.mgrid[:WIDTH, :WIDTH] - CENTRE
    turn = np.radians(angle)
    # Solar west and north of each pixel: CROTA2 turns (x, y) counterclockwise.
    west, north = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    image = zero + 20.0 * np.sign(west) * np.cos(7 * north / RADIUS)
    near = np.hypot(west - EAST * RADIUS, north - NORTH * RADIUS)
    image = np.where(near < 6, zero + source * np.exp(-0.5 * (near / 3) ** 2), image)
    image[np.hypot(west, north) > RADIUS] = np.nan
    return (image[:, ::-1] if mirrored else image).astype(np.float32)


def cards(angle=0.0, **changes):
    centre = CENTRE + 1
    values = {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRPIX1": centre,
        "CRPIX2": centre,
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "CDELT1": STEP,
        "CDELT2": STEP,
        "CROTA2": angle,
        "RSUN_OBS": RADIUS * STEP,
        "RSUN_REF": 6.96e8,
        # asin(6.96e8 / DSUN_OBS) = RSUN_OBS = 945 arcsec.
        "DSUN_OBS": 6.96e8 / np.sin(np.radians(RADIUS * STEP / 3600)),
        "CRLN_OBS": LONGITUDE,
        "CRLT_OBS": 0.0,
        "BUNIT": "Gauss",
        "INSTRUME": "HMI_SIDE1",
        "TELESCOP": "SDO/HMI",
        "CONTENT": "MAGNETOGRAM",
        "QUALITY": 0x400,
        "T_OBS": "2013.10.23_00:00:02_TAI",
        "DATE-OBS": "2013-10-22T23:53:27.00",
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def fits_file(image, header, compression=None):
    if compression is None:
        hdus = [fits.PrimaryHDU(image, fits.Header(header))]
    else:
        blank = -(2**31)
        raw = np.where(np.isnan(image), blank, np.rint(np.nan_to_num(image) * 10)).astype(np.int32)
        compressed = fits.CompImageHDU(raw, fits.Header(header | {"BLANK": blank}), compression_type=compression)
        compressed.header["BSCALE"] = 0.1
        hdus = [fits.PrimaryHDU(), compressed]
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def jp2_file(image, header):
    """As Helioviewer writes it: top row first, byte 128 is zero field, the header in an XML box before the pixels."""
    picture = np.nan_to_num(np.rint(image / 500 * 255 + 128), nan=0).clip(0, 255).astype(np.uint8)[::-1]
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG2000")
    payload = stream.getvalue()
    xml = "".join(f"<{key}>{value}</{key}>" for key, value in header.items())
    box = f'<?xml version="1.0" encoding="UTF-8"?><meta><fits>{xml}</fits></meta>'.encode()
    place = payload.index(b"jp2c") - 4
    return payload[:place] + struct.pack(">I4s", 8 + len(box), b"xml ") + box + payload[place:]


def grey_file(image, kind):
    picture = np.nan_to_num(np.rint((image + 250) / 500 * 255), nan=0).clip(0, 255).astype(np.uint8)[::-1]
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return stream.getvalue()


def require_source_in_the_north_east(seen, atol):
    width = seen.data.shape[0]
    strong = np.nan_to_num(seen.data) > 0.4 * np.nanmax(seen.data)
    row, column = (float(axis.mean()) for axis in np.nonzero(strong))
    place = [(column - seen.disk.x) / seen.disk.radius, (seen.disk.y - row) / seen.disk.radius]
    np.testing.assert_allclose(place, [EAST, NORTH], rtol=0, atol=atol)
    assert row < width / 2
    assert column < width / 2
    # And on the sky, by sunpy's own transformations: N35E20.
    solar_map = map_of(seen)
    wanted = SkyCoord(-20 * u.deg, 35 * u.deg, frame=HeliographicStonyhurst(obstime=solar_map.reference_date))
    x, y = (float(value.value) for value in solar_map.world_to_pixel(wanted))
    # The Map's rows count from the south.
    np.testing.assert_allclose([x, width - 1 - y], [column, row], rtol=0, atol=1.5 * width / WIDTH)


ANGLES = [0.0, 180.0, -179.9, 179.0, 37.0, -12.5, 90.0, 270.1, 133.0]


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("compression", [None, "RICE_1"])
def test_fits(angle, compression):
    seen = magnetogram_from_fits(fits_file(sun(angle), cards(angle), compression), Options("hmi.fits"))
    require_source_in_the_north_east(seen, 0.02)
    # Interpolation never makes a field stronger, and costs a peak of this width little.
    assert 0.9 * 900 < np.nanmax(seen.data) <= 900
    assert np.isfinite(seen.data).sum() == pytest.approx(np.pi * RADIUS**2, rel=0.02)
    assert np.isnan(seen.data[~seen.on_disk]).all()
    assert (seen.time, seen.instrument, seen.quality) == (TIME, "HMI", 0x400)


@pytest.mark.parametrize("angle", [0.0, 180.0, 25.0])
@pytest.mark.parametrize("size", [64, 50])
def test_fits_at_another_size(angle, size):
    payload = fits_file(sun(angle), cards(angle), "RICE_1")
    seen = magnetogram_from_fits(payload, Options("hmi.fits", size=size))
    require_source_in_the_north_east(seen, 0.03)
    whole = magnetogram_from_fits(payload, Options("hmi.fits")).resized(size)
    assert seen.disk == whole.disk
    np.testing.assert_allclose(seen.data, whole.data, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 180.0, 37.0])
def test_jp2(tmp_path, angle):
    path = tmp_path / "2013_10_22__23_59_27_000__SDO_HMI_HMI_magnetogram.jp2"
    path.write_bytes(jp2_file(sun(angle, source=240.0), cards(angle)))
    seen = read_magnetogram(path)
    require_source_in_the_north_east(seen, 0.02)
    assert (seen.byte_range, seen.quality, seen.time) == (250.0, 0x400, TIME)
    assert np.nanmax(seen.data) == pytest.approx(240, abs=20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_quick_look(tmp_path, kind):
    # Quick-look images are north up already, and say nothing of their orientation.
    path = tmp_path / "hmi.M_20131022_235927.img"
    path.write_bytes(grey_file(sun(source=240.0), kind))
    seen = read_magnetogram(path, byte_range=250.0)
    x, y = seen.disk.x, seen.disk.y
    assert (x, y, seen.disk.radius) == pytest.approx((CENTRE, CENTRE, RADIUS), abs=0.5)
    strong = np.nan_to_num(seen.data) > 100
    row, column = (float(axis.mean()) for axis in np.nonzero(strong))
    assert ((column - x) / RADIUS, (y - row) / RADIUS) == pytest.approx((EAST, NORTH), abs=0.03)


@pytest.mark.parametrize("angle", [0.0, 180.0, 37.0])
def test_sunpy_map(angle):
    seen = magnetogram_from_map(sunpy.map.Map(sun(angle), cards(angle)))
    require_source_in_the_north_east(seen, 0.02)
    assert (seen.time, seen.quality) == (TIME, 0x400)


def test_sunpy_map_after_sunpy_turned_it():
    # sunpy interpolates with splines, which would spread every NaN; so off the disk is 0 here.
    turned = sunpy.map.Map(np.nan_to_num(sun(180.0)), cards(180.0)).rotate(40 * u.deg)
    require_source_in_the_north_east(magnetogram_from_map(turned), 0.02)


@pytest.mark.parametrize("angle", [0.0, 180.0, 37.0, 90.0])
def test_mirrored_images(angle):
    # CDELT1 < 0: columns grow to the east. The picture is that of sun() with its columns reversed.
    payload = fits_file(sun(angle, mirrored=True), cards(None, **matrix_cards(angle, mirrored=True)))
    require_source_in_the_north_east(magnetogram_from_fits(payload, Options("hmi.fits")), 0.02)


def matrix_cards(angle, *, mirrored=False, kind="CD"):
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    sign = -1 if mirrored else 1
    values = {"1_1": sign * cos, "1_2": -sin, "2_1": sign * sin, "2_2": cos}
    step = STEP if kind == "CD" else 1.0
    scale = {"CDELT1": None, "CDELT2": None} if kind == "CD" else {}
    return scale | {kind + name: float(value * step) for name, value in values.items()}


@pytest.mark.parametrize("kind", ["CD", "PC"])
def test_matrices_mean_what_crota2_means(kind):
    seen = magnetogram_from_fits(
        fits_file(sun(37.0), cards(None, **matrix_cards(37.0, kind=kind))), Options("hmi.fits")
    )
    same = magnetogram_from_fits(fits_file(sun(37.0), cards(37.0)), Options("hmi.fits"))
    assert seen.disk == same.disk
    np.testing.assert_allclose(seen.data, same.data, rtol=0, atol=1e-3)


def orientation(width=WIDTH, **changes):
    return orientation_of(Header(cards(**changes).__getitem__, "hmi.fits"), width)


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, -90.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_disk_goes_with_the_turn(angle, mirrored):
    # Mark the pixel at the disk's centre and see where it lands: column 60, row 70 from the bottom (0-based).
    image = np.zeros((WIDTH, WIDTH), np.float32)
    image[70, 60] = 1.0
    seen = orientation(CROTA2=None, CRPIX1=61.0, CRPIX2=71.0, **matrix_cards(angle, mirrored=mirrored))
    row, column = np.argwhere(seen.upright(image) == 1.0)[0]
    assert (seen.disk.x, seen.disk.y) == pytest.approx((column, row))
    assert seen.disk.radius == pytest.approx(RADIUS)


def test_a_shifted_reference_pixel_is_followed_through_a_turn():
    # The pixel at CRPIX lies 7 pixels west and 3 north of the centre: CRVAL = (122.5, 52.5) arcsec. With the picture
    # upside down west is left and north down, so the centre is 7 pixels to the right of CRPIX and 3 up: (65.5, 63.5).
    seen = orientation(CROTA2=180.0, CRPIX1=58.5, CRPIX2=60.5, CRVAL1=7 * STEP, CRVAL2=3 * STEP)
    # Turned it is at (129 - 65.5, 129 - 63.5) from the lower left, counted from 1: x = 62.5 from 0, y = 127 - 64.5.
    assert (seen.disk.x, seen.disk.y) == pytest.approx((62.5, 62.5))


def test_degrees_are_understood():
    seen = orientation(CUNIT1="deg", CDELT1=STEP / 3600, CDELT2=STEP / 3600)
    assert seen.disk.radius == pytest.approx(RADIUS)


def test_who_resizes_an_image_leaves_r_sun_behind():
    # CDELT1 doubled, R_SUN not: the angle wins.
    width = WIDTH // 2
    seen = orientation(width=width, CDELT1=2 * STEP, CDELT2=2 * STEP, CRPIX1=32.5, CRPIX2=32.5, R_SUN=RADIUS)
    assert seen.disk.radius == pytest.approx(RADIUS / 2)
    assert orientation(RSUN_OBS=None, R_SUN=RADIUS).disk.radius == RADIUS


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"CUNIT1": "km"}, "`CUNIT1` must be arcsec or deg, got 'km'"),
        ({"CDELT2": 2 * STEP}, "pixels must be square"),
        ({"CROTA2": None, "PC1_1": 1.0, "PC1_2": 0.5}, "pixels must be square"),
        ({"CDELT1": 0.0}, "must not be 0"),
        ({"CRPIX2": None}, "`CRPIX2` is missing.*as-is"),
    ],
)
def test_contradictions_are_named(changes, match):
    with pytest.raises(DataError, match=match):
        orientation(**changes)


def test_the_rest_of_a_turn_is_kept_in_the_world_coordinates():
    # CROTA2 = 179.8 is flipped; the 0.2 degrees that are left move a source 0.8 radii out by 0.15 pixels only, but
    # sunpy finds it exactly because the header keeps them.
    seen = magnetogram_from_fits(fits_file(sun(179.8), cards(179.8)), Options("hmi.fits"))
    assert seen.roll == pytest.approx(-0.2)
    header = header_of(seen)
    assert np.degrees(np.arctan2(header["PC2_1"], header["PC1_1"])) == pytest.approx(-0.2)


def test_sunpy_agrees_on_files_of_mdi(real_data):
    # sunpy reads the same file by itself: the strongest pixel must have the same coordinates in both Maps.
    for path in sorted((real_data / "mdi").glob("*.fits")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sunpy on the header's redundant cards
            theirs = sunpy.map.Map(path)
            there = theirs.pixel_to_world(*place_of_strongest(theirs.data))
        ours = map_of(read_magnetogram(path))
        here = ours.pixel_to_world(*place_of_strongest(ours.data))
        assert abs((here.Tx - there.Tx).to_value("arcsec")) < 0.02
        assert abs((here.Ty - there.Ty).to_value("arcsec")) < 0.02


def place_of_strongest(data):
    row, column = np.unravel_index(np.nanargmax(data), data.shape)
    return column * u.pix, row * u.pix


@pytest.mark.parametrize(("noaa", "lat", "lon"), [(11875, 7, -4), (11877, -13, -23)])
def test_regions_of_2013_10_23_are_where_noaa_puts_them(real_data, noaa, lat, lon):
    # SRS of 2013-10-23 00:30 UT: 11875 at N07E04, 11877 at S13E23. The field there is strong, and it is not at the
    # places mirrored in latitude or in longitude.
    seen = read_magnetogram(real_data / "hmi_daily" / "hmi.M_20131023_000054.jpg")
    solar_map = map_of(seen)

    def strength(latitude, longitude):
        place = SkyCoord(
            longitude * u.deg, latitude * u.deg, frame=HeliographicStonyhurst(obstime=solar_map.reference_date)
        )
        x, y = (round(float(value.value)) for value in solar_map.world_to_pixel(place))
        return float(np.nanmean(np.abs(solar_map.data[y - 14 : y + 15, x - 14 : x + 15])))

    assert strength(lat, lon) > 25, noaa
    assert strength(lat, lon) > 2 * strength(-lat, lon)
    if abs(lon) > 10:
        assert strength(lat, lon) > 1.5 * strength(lat, -lon)


def test_given_disk_is_in_the_turned_image():
    disk = Disk(62.0, 65.0, 53.0)
    for angle in (180.0, 37.0):
        assert magnetogram_from_fits(fits_file(sun(angle), cards(angle)), Options("hmi.fits", disk=disk)).disk == disk
