"""Magnetograms from FITS: orientation, disk, time, and damaged files."""

import gzip
import io
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.errors import DataError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import policy_named
from kflare.observations.readers.fits import magnetogram_from_fits
from kflare.observations.readers.reader import Options
from kflare.observations.reading import magnetogram_time, read_magnetogram
from kflare.sun.disk import Disk
from kflare.sun.geometry import Observer

WIDTH = 64
# FITS counts pixels from 1 and rows from the bottom: centre (33, 31) is x = 32, and y = 63 - 30 = 33 from the top.
CARDS = {
    "CRPIX1": 33.0,
    "CRPIX2": 31.0,
    "CDELT1": 35.0,
    "CDELT2": 35.0,
    "R_SUN": 28.0,
    "RSUN_OBS": 980.0,
    "CROTA2": 0.0,
    "BUNIT": "Gauss",
    "T_OBS": "2010.10.15_00:03:30.000_TAI",
    "DATE-OBS": "2010-10-15T00:00:26.000",
    "CAMERA": "MDI",
}


def field():
    """Quiet Sun; one positive patch in the north-west (bottom row first, as in FITS)."""
    values = np.random.default_rng(0).normal(0, 8, (WIDTH, WIDTH)).astype(np.float32)
    values[44, 47] = 900.0
    return values


def written(data=None, *, compression=None, drop=(), **changes):
    header = fits.Header()
    # Both cards of time are of one observation.
    drop = (*drop, "DATE-OBS") if "T_OBS" in changes else drop
    for key, value in (CARDS | changes).items():
        if key not in drop:
            header[key] = value
    data = field() if data is None else data
    hdus = [fits.PrimaryHDU(data, header)]
    if compression:
        header["BLANK"] = -(2**31)
        scaled = np.where(np.isnan(data), -(2**31), np.round(np.nan_to_num(data) * 100)).astype(np.int32)
        image = fits.CompImageHDU(scaled, header, compression_type=compression)
        image.header["BSCALE"] = 0.01
        hdus = [fits.PrimaryHDU(), image]
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream, output_verify="silentfix")
    return stream.getvalue()


def read(payload, *, policy="default", **options):
    return magnetogram_from_fits(payload, Options(**({"source": "mdi.fits"} | options), policy=policy_named(policy)))


def test_north_is_put_on_top_and_the_disk_follows():
    seen = read(written())
    assert seen.disk == Disk(32.0, 33.0, 28.0)
    # Row 44 from the bottom is row 63 - 44 = 19 from the top.
    assert np.argwhere(seen.data == 900).tolist() == [[19, 47]]
    assert seen.data.dtype == np.float32
    assert np.isnan(seen.data[~seen.on_disk]).all()
    assert np.isfinite(seen.data[seen.on_disk]).all()
    assert (seen.instrument, seen.byte_range) == ("MDI", None)


@pytest.mark.parametrize("roll", [180.0, -180.0, 179.8, 540.2])
def test_an_instrument_upside_down_is_turned(roll):
    # The half turn of the same Sun: what was at (row, column) is stored at (63 - row, 63 - column), the centre too.
    # CRPIX 33, 31 becomes 65 - 33 = 32 and 65 - 31 = 34.
    seen = read(written(field()[::-1, ::-1], CROTA2=roll, CRPIX1=32.0, CRPIX2=34.0))
    upright = read(written())
    assert seen.disk == upright.disk
    np.testing.assert_array_equal(seen.data, upright.data)


def test_sunpys_rotation_matrix_counts_where_crota2_is_absent():
    seen = read(
        written(field()[::-1, ::-1], drop=("CROTA2",), PC1_1=-1.0, PC2_2=-1.0, CRPIX1=32.0, CRPIX2=34.0),
    )
    np.testing.assert_array_equal(seen.data, read(written()).data)


def test_a_roll_that_is_left_in_the_image_is_known():
    assert read(written(CROTA2=179.8)).roll == pytest.approx(-0.2)
    assert read(written(CROTA2=0.2)).roll == pytest.approx(0.2)
    assert read(written(CROTA2=0.3)).roll == 0.0


def test_radius_from_arcseconds_and_centre_from_crval():
    # 980 arcsec at 35 arcsec per pixel are 28 pixels; CRPIX 31 at CRVAL -70 arcsec is 2 pixels west of it at 33.
    seen = read(written(drop=("R_SUN",), CRPIX1=31.0, CRVAL1=-70.0))
    assert seen.disk == Disk(32.0, 33.0, 28.0)


def test_time_is_that_of_the_middle_converted_from_tai():
    # TAI - UTC was 34 s in 2010: 00:03:30 TAI.
    assert read(written()).time == datetime(2010, 10, 15, 0, 2, 56, tzinfo=UTC)
    assert read(written(drop=("T_OBS",))).time == datetime(2010, 10, 15, 0, 0, 26, tzinfo=UTC)
    # No seconds, no scale: UTC.
    assert read(written(T_OBS="2003-10-28T11:12")).time == datetime(2003, 10, 28, 11, 12, tzinfo=UTC)
    named = read(written(drop=("T_OBS", "DATE-OBS")), source="mdi.20101015_000000_TAI.fits")
    assert named.time == datetime(2010, 10, 14, 23, 59, 26, tzinfo=UTC)
    given_time = datetime(2000, 1, 1, tzinfo=UTC)
    assert read(written(T_OBS="nonsense"), time=given_time).time == given_time
    with pytest.raises(DataError, match="T_OBS"):
        read(written(drop=("T_OBS", "DATE-OBS")))
    with pytest.raises(DataError, match="T_OBS"):
        read(written(T_OBS="2010.13.15_00:03:30_TAI"))


def test_given_disk_wins_over_an_unusable_header():
    disk = Disk(31.0, 32.0, 27.0)
    assert read(written(drop=("CRPIX1", "R_SUN", "RSUN_OBS")), disk=disk).disk == disk


@pytest.mark.parametrize("compression", ["RICE_1", "GZIP_1"])
def test_compressed_images_with_missing_values(compression):
    data = field()
    data[30, 32] = np.nan
    seen = read(written(data, compression=compression))
    assert np.argwhere(np.isnan(seen.data) & seen.on_disk).tolist() == [[33, 32]]
    np.testing.assert_allclose(seen.data, read(written(data)).data, rtol=0, atol=0.006)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"drop": ("CRPIX1",)}, "`CRPIX1` is missing"),
        ({"drop": ("R_SUN", "RSUN_OBS")}, "`RSUN_OBS` is missing"),
        ({"drop": ("RSUN_OBS",), "R_SUN": "nan"}, "`R_SUN` must be a finite number, got 'nan'"),
        ({"RSUN_OBS": 350.0}, "not a full disk: the radius"),
        ({"drop": ("RSUN_OBS",), "R_SUN": -28.0}, "radius of the disk"),
        ({"CDELT1": 0.0}, "`CDELT1` and `CDELT2` must not be 0"),
        ({"CDELT1": 30.0}, "square"),
        ({"CRPIX1": 1.0}, "not a full disk: the telescope pointed off"),
        ({"CONTENT": "CONTINUUM INTENSITY"}, "no magnetogram: `CONTENT` is 'CONTINUUM INTENSITY'"),
        ({"CONTENT": "DOPPLERGRAM"}, "no magnetogram: `CONTENT` is 'DOPPLERGRAM'"),
        ({"CTYPE1": "CRLN-CEA"}, "not a full disk: `CTYPE1`.*'CRLN-CEA'.*SHARP"),
        ({"CAMERA": 3, "INSTRUME": "AIA_3"}, "rejected.*`INSTRUME` must be HMI or MDI, got 'AIA_3'"),
        ({"T_OBS": "2199-01-01T00:00:00Z"}, "rejected.*lies in the future"),
        ({"QUALITY": -(2**31)}, "rejected.*0x80000000: NODATA"),
        ({"QUALITY": 2.5}, "`QUALITY` must be an integer"),
        ({"data": np.abs(field()) + 1}, "both signs"),
        ({"BUNIT": "m/s"}, "BUNIT.*'m/s'"),
        ({"data": np.zeros((64, 48), np.float32)}, "not a full disk.*64, 48"),
        ({"data": np.zeros((2, 64, 64), np.float32)}, "two-dimensional"),
        ({"data": np.full((64, 64), np.nan, np.float32)}, "no measured value"),
        ({"data": np.full((64, 64), 1e38)}, "damaged.*gauss"),
    ],
)
def test_unusable_headers_and_images_name_the_fault(options, match):
    with pytest.raises(DataError, match=match) as caught:
        read(written(**options))
    assert "`mdi.fits`" in str(caught.value)


def test_truncated_files_are_refused():
    for payload in (written(), written(compression="RICE_1")):
        for part in (0.05, 0.4, 0.6):
            with pytest.raises(DataError):
                read(payload[: int(part * len(payload))])


def test_a_card_that_astropy_refuses_to_read_is_named():
    # SHARP headers hold bare text where a number belongs; astropy raises VerifyError on reading such a card.
    damaged = written(drop=("RSUN_OBS",)).replace(
        b"R_SUN   =                 28.0", b"R_SUN   = nan nan nan         ", 1
    )
    with pytest.raises(DataError, match="`R_SUN` is unreadable"):
        read(damaged)


# Headers of JSOC's exports differ by series in these cards.
SERIES = {
    "hmi.M_720s": {"CADENCE": 720.0, "INSTRUME": "HMI_SIDE1", "CAMERA": 1, "QLOOK": 0, "QUALITY": 0},
    "hmi.M_720s_nrt": {"CADENCE": 720.0, "INSTRUME": "HMI_COMBINED", "CAMERA": 3, "QLOOK": 1, "QUALITY": 0x11C00},
    "hmi.M_45s": {"CADENCE": 45.0, "INSTRUME": "HMI_FRONT2", "CAMERA": 2, "QLOOK": 0, "QUALITY": 0},
    "hmi.M_45s_nrt": {"CADENCE": 45.0, "INSTRUME": "HMI_FRONT2", "CAMERA": 2, "QLOOK": 1, "QUALITY": 0x400},
}


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("compression", [None, "RICE_1"])
def test_series_of_hmi(series, compression):
    header = SERIES[series] | {
        "TELESCOP": "SDO/HMI",
        "CONTENT": "MAGNETOGRAM",
        "CROTA2": 180.0829,
        "T_OBS": "2013.10.23_00:00:01.50_TAI",
        "CRLN_OBS": 31.9,
        "CRLT_OBS": 5.12,
        "DSUN_OBS": 148849000000.0,
    }
    seen = read(written(field()[::-1, ::-1], compression=compression, **header))
    # TAI - UTC was 35 s in 2013.
    assert seen.time == datetime(2013, 10, 22, 23, 59, 26, 500000, tzinfo=UTC)
    assert (seen.instrument, seen.quality) == ("HMI", header["QUALITY"])
    assert bool(seen.quality_note) == (series == "hmi.M_720s_nrt")
    assert seen.roll == pytest.approx(0.0829)
    assert seen.observer == Observer(31.9, 5.12, 148849000000.0)
    assert np.argwhere(seen.data == 900).tolist() == [[19, 47]]


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "blank"),
    [
        (np.int16, 0.5, 3.0, -32768),
        (np.int16, 1.0, 1000.0, None),
        (np.uint8, 7.84, -1000.0, None),
        (np.int32, 0.1, 0.0, -(2**31)),
        (np.int64, 0.25, -7.0, None),
        (np.float32, 2.0, 0.0, None),
        (np.float64, 1.0, 10.0, None),
    ],
)
def test_scaling_agrees_with_astropy(dtype, scale, zero, blank):
    values = np.round((field() - zero) / scale)
    if dtype == np.uint8:
        values = values.clip(1, 255)
    raw = values.astype(dtype)
    if blank is not None:
        raw[30, 32] = blank
    header = fits.Header(CARDS)
    stream = io.BytesIO()
    hdu = fits.PrimaryHDU(raw, header)
    hdu.header["BSCALE"], hdu.header["BZERO"] = scale, zero
    if blank is not None:
        hdu.header["BLANK"] = blank
    hdu.writeto(stream)
    with fits.open(io.BytesIO(stream.getvalue())) as theirs:
        expected = np.array(theirs[0].data, dtype=np.float64)[::-1]
    seen = read(stream.getvalue())
    assert np.isnan(seen.data[33, 32]) == (blank is not None)
    np.testing.assert_allclose(seen.data[seen.on_disk], expected[seen.on_disk], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_the_least_integer_is_no_field_without_blank_either(dtype):
    raw = np.round(field() * 10).astype(dtype)
    raw[30, 32] = np.iinfo(dtype).min
    hdu = fits.PrimaryHDU(raw, fits.Header(CARDS))
    hdu.header["BSCALE"] = 0.1
    stream = io.BytesIO()
    hdu.writeto(stream)
    seen = read(stream.getvalue())
    assert np.isnan(seen.data[33, 32])
    assert np.nanmin(seen.data) > -100


def test_quantised_floats_are_read():
    # As sunpy writes a compressed Map: RICE of floats, with what does not fit in a gzip column.
    for quantize in (16.0, 0.0):
        image = fits.CompImageHDU(field(), fits.Header(CARDS), compression_type="RICE_1" if quantize else "GZIP_2",
                                  quantize_level=quantize)  # fmt: skip
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream)
        seen = read(stream.getvalue())
        assert np.nanmax(seen.data) == pytest.approx(900, abs=1)


def test_another_size_is_read_at_once():
    for payload in (written(), written(compression="RICE_1")):
        np.testing.assert_allclose(read(payload, size=32).data, read(payload).resized(32).data, rtol=1e-5, atol=1e-4)
        assert read(payload, size=48).data.shape == (48, 48)
    with pytest.raises(DataError, match="`size` must be 1 to 64"):
        read(written(), size=65)


def test_a_missing_part_is_noted_or_rejected():
    data = field()
    # A block of 6 × 6 near the centre: 36 of π · (0.98 · 28)² = 2366 pixels, 1.5 %. Of 4 × 4: 0.7 %.
    data[30:34, 30:34] = np.nan
    assert read(written(data)).quality_note == "degraded: 0.68 % of the disk is missing"
    data[28:34, 28:34] = np.nan
    with pytest.raises(DataError, match=r"1\.5 % of the disk is missing"):
        read(written(data))
    seen = read(written(data), policy="any")
    assert seen.quality_note.startswith("rejected: 1.5 %")
    # The limb may be cut: nothing is noted for a ring of half a pixel.
    y, x = np.mgrid[:WIDTH, :WIDTH]
    cut = field()
    cut[np.hypot(x - 32, y - 30) > 27.5] = np.nan
    assert read(written(cut)).quality_note == ""


def test_rejected_images_are_read_on_request():
    eclipse = written(QUALITY=0x100, INSTRUME="HMI_FRONT2")
    with pytest.raises(DataError, match=r"rejected by the quality policy `default`.*ECLIPSE"):
        read(eclipse)
    seen = read(eclipse, policy="any")
    assert (seen.quality, seen.quality_note) == (0x100, "rejected: `QUALITY` 0x00000100: ECLIPSE (eclipse)")
    other = read(written(drop=("CAMERA",), INSTRUME="GONG"), policy="any")
    assert other.instrument == "GONG"


def card(key, value):
    return f"{key:<8}= {value:>20}".ljust(80).encode()


def header_only(**values):
    cards = b"".join(card(key, value) for key, value in ({"SIMPLE": "T"} | values).items())
    return (cards + b"END".ljust(80)).ljust(2880, b" ")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        # 160000² float32 are 100 GB; 8192² float64 are allowed by their shape, but not in a file of one block.
        ({"BITPIX": -32, "NAXIS": 2, "NAXIS1": 160000, "NAXIS2": 160000}, "up to 8192 pixels wide.*160000"),
        ({"BITPIX": -64, "NAXIS": 2, "NAXIS1": 8192, "NAXIS2": 8192}, "promises an image of 536870912 bytes"),
        ({"BITPIX": 8, "NAXIS": 3, "NAXIS1": 99999, "NAXIS2": 99999, "NAXIS3": 99999}, "two-dimensional|damaged"),
        ({"BITPIX": 8, "NAXIS": 999}, "damaged|two-dimensional"),
        # Astropy would count them all.
        ({"BITPIX": 8, "NAXIS": 49999999999}, "`NAXIS` must be at most 999, got 49999999999"),
        ({"BITPIX": 8, "NAXIS": 0, "naxis": 49999999999}, "`NAXIS` must be at most 999"),
        ({"BITPIX": 8, "NAXIS": 2, "NAXIS1": -5, "NAXIS2": -5}, "damaged|not a full disk"),
    ],
)
def test_promises_of_a_header_are_not_believed(values, match):
    with pytest.raises(DataError, match=match):
        read(header_only(**values), time=datetime(2010, 10, 15, tzinfo=UTC), disk=Disk(4095.5, 4095.5, 3600.0))


def test_later_parts_are_looked_at_as_well():
    table = header_only(BITPIX=8, NAXIS=2, NAXIS1=0, NAXIS2=0, PCOUNT=0, GCOUNT=1, TFIELDS=99999999999)
    table = table.replace(card("SIMPLE", "T"), card("XTENSION", "'BINTABLE'"))
    primary = header_only(BITPIX=8, NAXIS=0)
    with pytest.raises(DataError, match="`TFIELDS` must be at most 999"):
        read(primary + table)
    endless = b"COMMENT ".ljust(80, b"x") * 20000
    with pytest.raises(DataError, match="END within 1 MiB"):
        read(primary + endless)
    with pytest.raises(DataError, match="over 64 parts"):
        read(primary + header_only(BITPIX=8, NAXIS=0).replace(card("SIMPLE", "T"), card("XTENSION", "'IMAGE'")) * 80)


def test_a_gzip_tile_that_unpacks_to_more_than_its_pixels_is_refused():
    payload = written(compression="GZIP_1")
    # One tile is a row of 64 pixels; put a megabyte of zeros into the place of the first ones.
    bomb = gzip.compress(bytes(1 << 20), 9)
    with fits.open(io.BytesIO(payload), disable_image_compression=True) as hdus:
        table = hdus[1]
        tiles = [np.frombuffer(bomb, np.uint8), *(np.array(tile) for tile in table.data["COMPRESSED_DATA"][1:])]
        column = fits.Column("COMPRESSED_DATA", "1PB()", array=np.array(tiles, dtype=object))
        changed = fits.BinTableHDU.from_columns([column])
        changed.header.extend(table.header, unique=True, strip=True)
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), changed]).writeto(stream)
    with pytest.raises(DataError, match="a gzip tile unpacks to more than its 512 bytes"):
        read(stream.getvalue())


def test_compressions_without_need_are_refused():
    with pytest.raises(DataError, match="got 'HCOMPRESS_1'"):
        read(written(compression="HCOMPRESS_1"))


def test_packed_files(tmp_path):
    path = tmp_path / "mdi.fits.gz"
    path.write_bytes(gzip.compress(written()))
    np.testing.assert_array_equal(read_magnetogram(path).data, read(written()).data)


def test_a_page_of_a_server_is_no_magnetogram(tmp_path):
    path = tmp_path / "hmi.m_720s.fits"
    path.write_bytes(b"<!DOCTYPE html><html><body>403 Forbidden</body></html>")
    with pytest.raises(DataError, match="HTML"):
        read_magnetogram(path)


def test_mdi_on_the_scale_of_hmi(tmp_path):
    path = tmp_path / "mdi.fits"
    path.write_bytes(written())
    np.testing.assert_allclose(read_magnetogram(path, hmi_scale=True).data, read(written()).data / 1.4, rtol=1e-6)


SEEDS = [written(), written(compression="RICE_1"), written(compression="GZIP_1")]


@settings(max_examples=150)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.one_of(st.binary(min_size=1, max_size=4), st.text("0123456789 '=-.TFE", min_size=1, max_size=9)),
        ),
        min_size=1,
        max_size=8,
    ),
    header_only=st.booleans(),
    keep=st.floats(0.1, 1),
)
def test_damaged_files_give_a_magnetogram_or_a_data_error(seed, changes, header_only, keep):
    payload = bytearray(seed)
    for place, new in changes:
        start = int(place * (min(len(payload), 8640) if header_only else len(payload)))
        written_over = new.encode() if isinstance(new, str) else new
        payload[start : start + len(written_over)] = written_over
    try:
        seen = read(bytes(payload[: int(keep * len(payload))]) if keep < 0.5 else bytes(payload))
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(seen, Magnetogram)


def test_mdi_files_agree_with_their_own_headers(real_data):
    # DATAVALS, DATAMIN and DATAMAX of the header of 1999-12-11: 776175 pixels on the disk, -2409.3 to 2735.3 G.
    seen = read_magnetogram(real_data / "mdi" / "mdi.fd_M_96m_lev182.19991211_000000_TAI.data.fits")
    assert np.isfinite(seen.data).sum() == seen.on_disk.sum() == 776175
    assert (np.nanmin(seen.data), np.nanmax(seen.data)) == pytest.approx((-2409.3, 2735.3), abs=0.06)
    # T_OBS 1999.12.10_23:59:30_TAI, TAI - UTC was 32 s.
    assert seen.time == datetime(1999, 12, 10, 23, 58, 58, tzinfo=UTC)
    # X0 = 511.387, Y0 = 511.765 from the bottom: 1023 - 511.765 from the top.
    assert (seen.disk.x, seen.disk.y) == pytest.approx((511.387, 511.235), abs=1e-3)
    assert seen.instrument == "MDI"


def test_mdi_orientation_is_that_of_the_active_regions(real_data):
    # NOAA 11113 stood at N17E63 on 2010-10-15 (SRS 00:30): upper left. B0 = 5.9 degrees moves it down by
    # cos 17 cos 63 sin 5.9 = 0.04 radii: x = -sin 63 cos 17 = -0.85, y = sin 17 cos 5.9 - 0.04 = 0.25 radii.
    seen = read_magnetogram(real_data / "mdi" / "mdi.fd_M_96m_lev182.20101015_000000_TAI.data.fits")
    x = round(seen.disk.x - 0.85 * seen.disk.radius)
    y = round(seen.disk.y - 0.25 * seen.disk.radius)

    def strength(column, row):
        return np.abs(seen.data[row - 25 : row + 25, column - 25 : column + 25]).mean()

    east, west = strength(x, y), strength(round(2 * seen.disk.x) - x, y)
    south = strength(x, round(2 * seen.disk.y) - y)
    assert east > 1.5 * max(west, south)


def test_a_cut_out_is_no_full_disk(real_data):
    (path,) = (real_data / "sharp_cea_377").glob("*.magnetogram.fits")
    with pytest.raises(DataError, match=r"not a full disk.*CRLN-CEA.*SHARP"):
        read_magnetogram(path)


def test_the_time_of_a_file_needs_no_pixels(tmp_path):
    path = tmp_path / "20101015_mdi.fits"
    path.write_bytes(written(compression="RICE_1"))
    assert magnetogram_time(path) == read_magnetogram(path).time
