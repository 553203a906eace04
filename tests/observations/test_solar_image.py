"""AIA images: scale, place of boxes, and what is refused."""

from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits

from kflare.errors import DataError
from kflare.observations.solar_image import SolarImage, read_solar_image
from kflare.sun.disk import Disk

CARDS = {
    "T_OBS": "2014-01-01T00:00:08.34Z", "WAVELNTH": 131, "EXPTIME": 2.0, "QUALITY": 1 << 30, "CTYPE1": "HPLN-TAN",
    "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": 40.0,
    "CDELT2": 40.0, "CRPIX1": 32.5, "CRPIX2": 32.5, "CROTA2": 0.0, "RSUN_OBS": 960.0, "TELESCOP": "SDO/AIA",
}  # fmt: skip


def write(path, data=None, **changes):
    if data is None:
        data = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)
    hdu = fits.CompImageHDU(data, compression_type="RICE_1")
    hdu.header.update({key: value for key, value in {**CARDS, **changes}.items() if value is not None})
    hdu.writeto(path)
    return path


def test_counts_per_second_north_up(tmp_path):
    image = read_solar_image(write(tmp_path / "a.fits"), wavelength=131)
    # The last row of the file is the north, 2 s of exposure halve the counts.
    np.testing.assert_array_equal(image.data, np.arange(64 * 64).reshape(64, 64)[::-1] / 2)
    assert image.time == datetime(2014, 1, 1, 0, 0, 8, 340000, tzinfo=UTC)
    assert (image.disk.x, image.disk.y, image.disk.radius) == (31.5, 31.5, 24.0)
    assert image.quality_note == ""


@pytest.mark.parametrize(("unit", "divided"), [("DN", 2), ("DN / s", 1), ("ct/s", 1), ("DN/(pix s)", 1), ("ct", 2)])
def test_counts_per_second_are_not_divided_again(unit, divided, tmp_path):
    image = read_solar_image(write(tmp_path / "a.fits", BUNIT=unit), wavelength=131)
    np.testing.assert_array_equal(image.data, np.arange(64 * 64).reshape(64, 64)[::-1] / divided)
    bare = read_solar_image(write(tmp_path / "b.fits", BUNIT="DN/s", EXPTIME=None), wavelength=131)
    assert bare.data.max() == 64 * 64 - 1


def test_upside_down(tmp_path):
    image = read_solar_image(write(tmp_path / "a.fits", CROTA2=180.0), wavelength=131)
    np.testing.assert_array_equal(image.data, np.arange(64 * 64).reshape(64, 64)[:, ::-1] / 2)


@pytest.mark.parametrize("turn", [0.0, 90.0, 180.0])
def test_rows_of_boxes_alone(turn, tmp_path):
    path, seen = write(tmp_path / "a.fits", CROTA2=turn), Disk(127.5, 127.5, 96.0)
    whole = read_solar_image(path, wavelength=131)
    image = read_solar_image(path, wavelength=131, boxes=[(8, 40, 16, 60), (100, 200, 120, 208)], seen=seen)
    read = np.isin(np.arange(64), [10, 11, 12, 13, 14, 50, 51]) | (turn == 90)
    np.testing.assert_array_equal(image.data[read], whole.data[read])
    assert np.isnan(image.data[~read]).all()


def test_nothing_measured_in_the_rows_of_boxes_is_no_fault_of_the_image(tmp_path):
    data = np.full((64, 64), -32768, np.int32)
    data[0] = 7
    path = write(tmp_path / "a.fits", data, BLANK=-32768)
    assert np.isnan(read_solar_image(path, wavelength=131, boxes=[(0, 0, 9, 9)], seen=Disk(31.5, 31.5, 24)).data).all()


def test_blank_is_not_measured(tmp_path):
    data = np.full((64, 64), 7, np.int32)
    data[3, 4] = -32768
    image = read_solar_image(write(tmp_path / "a.fits", data, BLANK=-32768), wavelength=131)
    assert np.argwhere(np.isnan(image.data)).tolist() == [[60, 4]]


@pytest.mark.parametrize("unit", ["DN", "DN/s"])
@pytest.mark.parametrize(
    ("kind", "fill"),
    [
        (np.float32, 1e38), (np.float32, -1e38), (np.float32, np.inf), (np.float32, np.nan), (np.float32, -32768.0),
        (np.float32, -9999.0), (np.float64, 1e300), (np.int16, -32768), (np.int32, -(2**31)), (np.int32, 2**31 - 1),
        (np.int32, 99_999),
    ],
)  # fmt: skip
def test_what_cannot_be_counts_is_not_measured(tmp_path, kind, fill, unit):
    data = np.full((64, 64), 7, kind)
    data[3, 4:20] = fill
    fits.PrimaryHDU(data, fits.Header({**CARDS, "BUNIT": unit})).writeto(tmp_path / "a.fits")
    image = read_solar_image(tmp_path / "a.fits", wavelength=131)
    assert np.argwhere(np.isnan(image.data)).tolist() == [[60, column] for column in range(4, 20)]
    assert np.nanmax(image.data) == np.nanmin(image.data) == (7 if unit == "DN/s" else 3.5)
    data[:] = fill
    fits.PrimaryHDU(data, fits.Header({**CARDS, "BUNIT": unit})).writeto(tmp_path / "b.fits")
    with pytest.raises(DataError, match=r"b\.fits` holds no measured value from -500 to 65534 DN"):
        read_solar_image(tmp_path / "b.fits", wavelength=131)


def test_a_flare_is_counts(tmp_path):
    # AIA shortens its exposures: a saturated pixel of 5 ms is three million DN/s.
    data = np.full((64, 64), 16_383, np.int16)
    fits.PrimaryHDU(data, fits.Header({**CARDS, "EXPTIME": 0.005})).writeto(tmp_path / "a.fits")
    assert read_solar_image(tmp_path / "a.fits", wavelength=131).data.min() == pytest.approx(16_383 / 0.005)
    rate = (data / 0.005).astype(np.float32)
    for name, exposure in (("b.fits", {"EXPTIME": 0.005}), ("c.fits", {"EXPTIME": None})):
        header = {key: value for key, value in {**CARDS, "BUNIT": "DN/s", **exposure}.items() if value is not None}
        fits.PrimaryHDU(rate, fits.Header(header)).writeto(tmp_path / name)
        assert read_solar_image(tmp_path / name, wavelength=131).data.min() == pytest.approx(16_383 / 0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WAVELNTH": 1600}, "`WAVELNTH` must be 131 Å, got 1600"),
        ({"EXPTIME": 0.0}, "`EXPTIME` must be a time above 0 s, got 0"),
        ({"EXPTIME": None}, "`EXPTIME` must be a time above 0 s, got None"),
        ({"EXPTIME": 1e-5}, "`EXPTIME` must be a time above 0 s, got 1e-05, from 0.001 to 100 s"),
        ({"EXPTIME": 1e5}, "`EXPTIME` must be a time above 0 s, got 100000.0, from 0.001 to 100 s"),
        ({"BUNIT": "W/m2"}, "`BUNIT` of an image must be counts .* got 'W/m2'"),
        ({"QUALITY": 1 << 13}, "eclipse"),
        ({"CRPIX1": None}, "`CRPIX1` is missing"),
        ({"CDELT1": 20.0, "CDELT2": 20.0}, "is not a full disk"),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_solar_image(write(tmp_path / "a.fits", **changes), wavelength=131)


def test_damage(tmp_path):
    whole = write(tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or truncated"):
        read_solar_image(tmp_path / "b.fits", wavelength=131)
    (tmp_path / "c.fits").write_bytes(b"\xff\xd8\xff JPEG")
    with pytest.raises(DataError, match="must be an image of AIA or HMI in FITS"):
        read_solar_image(tmp_path / "c.fits", wavelength=131)


def test_a_box_is_at_the_same_place_of_the_disk():
    image = SolarImage(np.zeros((100, 100), np.float32), datetime.now(UTC), Disk(50.0, 48.0, 20.0), 131, "test")
    # Half the radius: pixels are half as many, counted from the centre of the disk at (99.5, 99.5) there.
    # Edges 89.5 to 109.5 lie 10 to the left and right of it, so 5 to the left and right of 50: pixels 46 to 55.
    assert image.box((90, 90, 110, 110), Disk(99.5, 99.5, 40.0)) == (46, 44, 56, 54)
    # Beyond the edge of the image there is nothing.
    assert image.box((-60, 90, 0, 110), Disk(99.5, 99.5, 40.0))[::2] == (0, 0)
