"""Every reader of FITS opens it through one guard: no declared size is believed, and every error names the file.

The inputs declare much and hold little: none could hurt a reader that believed them by more than a moment.
"""

import gzip
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import kflare
from kflare.archives.record_headers import complete_header
from kflare.attribution.attribution_file import read_attribution
from kflare.attribution.region_tables import read_sharp_box
from kflare.errors import DataError
from kflare.io.guarded_fits import guarded_fits
from kflare.observations.reading import magnetogram_time, read_magnetogram
from kflare.observations.solar_image import read_solar_image
from kflare.regions.vector_files import read_segment
from kflare.sharp.keywords import read_sharp_header

CARDS = {
    "T_OBS": "2014-01-01T00:00:08.34Z", "WAVELNTH": 131, "EXPTIME": 2.0, "QUALITY": 0, "CUNIT1": "arcsec",
    "CUNIT2": "arcsec", "CDELT1": 40.0, "CDELT2": 40.0, "CRPIX1": 32.5, "CRPIX2": 32.5, "RSUN_OBS": 960.0,
}  # fmt: skip


HEADERS = [magnetogram_time, read_sharp_header, read_sharp_box, lambda path: complete_header(path, path, {})]
PIXELS = [read_magnetogram, lambda path: read_solar_image(path, wavelength=131), read_segment, read_attribution]


def card(key, value):
    return f"{key:<8}= {value:>20}".ljust(80).encode()


def header_only(first, **values):
    return (first + b"".join(card(*pair) for pair in values.items()) + b"END".ljust(80)).ljust(2880, b" ")


PRIMARY, TABLE, IMAGE = card("SIMPLE", "T"), card("XTENSION", "'BINTABLE'"), card("XTENSION", "'IMAGE'")
EMPTY = header_only(PRIMARY, BITPIX=8, NAXIS=0)
MANY = {
    "axes": (header_only(PRIMARY, BITPIX=8, NAXIS=49999999999), "`NAXIS` must be at most 999"),
    "columns": (
        EMPTY + header_only(TABLE, BITPIX=8, NAXIS=2, NAXIS1=0, NAXIS2=0, PCOUNT=0, GCOUNT=1, TFIELDS=99999999999),
        "`TFIELDS` must be at most 999",
    ),
    "cards": (EMPTY + b"COMMENT ".ljust(80, b"x") * 20000, "END within 1 MiB"),
    "headers": (
        EMPTY + (IMAGE + card("BITPIX", 8) + card("NAXIS", 0) + b" ".ljust(80) * 9000 + b"END".ljust(80 * 33)) * 4,
        "headers must have at most 2 MiB",
    ),
    "parts": (EMPTY + header_only(IMAGE, BITPIX=8, NAXIS=0) * 80, "over 64 parts"),
}


def with_tile(tile, shape=(64, 64)):
    """A GZIP-compressed image whose first tile, a row, is `tile`."""
    image = fits.CompImageHDU(np.ones(shape, np.int16), fits.Header(CARDS), compression_type="GZIP_1")
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream)
    with fits.open(io.BytesIO(stream.getvalue()), disable_image_compression=True) as hdus:
        table = hdus[1]
        tiles = [np.frombuffer(tile, np.uint8), *(np.array(tile) for tile in table.data["COMPRESSED_DATA"][1:])]
        column = fits.Column("COMPRESSED_DATA", "1PB()", array=np.array(tiles, dtype=object))
        changed = fits.BinTableHDU.from_columns([column])
        changed.header.extend(table.header, unique=True, strip=True)
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), changed]).writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("read", HEADERS + PIXELS)
@pytest.mark.parametrize("many", MANY)
def test_no_reader_believes_how_much_a_header_declares(read, many, tmp_path):
    payload, message = MANY[many]
    path = tmp_path / "hmi.sharp.bitmap.fits"
    path.write_bytes(payload)
    with pytest.raises(DataError, match=rf"hmi\.sharp\.bitmap\.fits.*{message}"):
        read(path)


@pytest.mark.parametrize("read", PIXELS[:3])
@pytest.mark.parametrize("shape", ["BITPIX=-64 8192", "gzip"])
def test_no_reader_decodes_more_than_a_file_holds(read, shape, tmp_path):
    path = tmp_path / "hmi.sharp.bitmap.fits"
    if shape == "gzip":
        path.write_bytes(with_tile(gzip.compress(bytes(1 << 20), 9)))
    else:
        text = {key: f"'{value}'" if isinstance(value, str) else value for key, value in CARDS.items()}
        middle = {"CRPIX1": 4096.5, "CRPIX2": 4096.5, "CDELT1": 0.3, "CDELT2": 0.3}
        axes = {"BITPIX": -64, "NAXIS": 2, "NAXIS1": 8192, "NAXIS2": 8192}
        path.write_bytes(header_only(PRIMARY, **axes, **(text | middle)))
    promise = "a gzip tile unpacks to more than its 512 bytes" if shape == "gzip" else "promises an image of 536870912"
    with pytest.raises(DataError, match=rf"hmi\.sharp\.bitmap\.fits.*{promise}"):
        read(path)


TWO_AXES = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": 4, "NAXIS2": 4}


@pytest.mark.parametrize("read", HEADERS + PIXELS)
@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({**TWO_AXES, "NAXIS1": -5}, "`NAXIS1` must be the number of what is there, got -5"),
        ({**TWO_AXES, "NAXIS2": 1 << 61}, "`NAXIS2` must be the number"),
        ({**TWO_AXES, "PCOUNT": -2896, "GCOUNT": 1}, "`PCOUNT` must be the number of what is there, got -2896"),
        ({**TWO_AXES, "PCOUNT": 0, "GCOUNT": -1}, "`GCOUNT` must be the number"),
        ({"BITPIX": 7, "NAXIS": 0}, "`BITPIX` must be one of 8, 16, 32, 64, -32, -64.*got 7"),
        ({"BITPIX": 8, "NAXIS": 2, "NAXIS1": 4}, "`NAXIS2` must be the number of what is there, got none"),
        ({**TWO_AXES, "naxis1": 5}, "`NAXIS1` must be an integer, given once, got '5'"),
        ({**TWO_AXES, "NAXIS1": "4.0"}, "`NAXIS1` must be an integer, given once, got '4.0'"),
        ({**TWO_AXES, "GROUPS": "T"}, "`GROUPS` must be an integer"),
    ],
    ids=str,
)
def test_each_header_is_looked_at_before_the_next_is_read(read, second, message, tmp_path):
    path = tmp_path / "hmi.sharp.bitmap.fits"
    path.write_bytes(header_only(PRIMARY, BITPIX=8, NAXIS=0) + header_only(IMAGE, **second))
    with pytest.raises(DataError, match=rf"hmi\.sharp\.bitmap\.fits.*{message}"):
        read(path)


def test_a_table_that_reaches_beyond_the_file_is_not_decoded():
    stream = io.BytesIO()
    fits.CompImageHDU(np.ones((64, 64), np.int16), compression_type="RICE_1").writeto(stream)
    payload = re.sub(rb"PCOUNT  = {1,20}(\d+)", lambda m: b"PCOUNT  =" + b"99999999".rjust(21), stream.getvalue())
    with pytest.raises(DataError, match="its header promises"), guarded_fits(payload, "x.fits") as file:
        file.pixels(file.image())


def test_an_image_of_too_many_tiles_is_not_decoded():
    stream = io.BytesIO()
    image = fits.CompImageHDU(np.ones((600, 600), np.int16), compression_type="RICE_1", tile_shape=(2, 2))
    image.writeto(stream)
    with pytest.raises(DataError, match="at most 65536 tiles, has 90000"), guarded_fits(stream.getvalue(), "x") as file:
        file.pixels(file.image())


@pytest.mark.parametrize(("name", "there", "other"), [("BYTEPIX", 4, 8), ("BLOCKSIZE", 32, 31)])
def test_how_rice_is_to_be_decoded_is_looked_at_first(name, there, other):
    """Eight bytes a pixel gave half of the numbers, in silence; other values do worse to the decoder."""
    stream = io.BytesIO()
    fits.CompImageHDU(np.arange(4096, dtype=np.int32).reshape(64, 64), compression_type="RICE_1").writeto(stream)
    payload, count = re.subn(rf"(ZVAL\d   = *){there}\b".encode(), rb"\g<1>%d" % other, stream.getvalue())
    assert count == 1
    message = f"`here` is damaged: its `{name}` must be one of .*, got {other};"
    with pytest.raises(DataError, match=message), guarded_fits(payload, "here") as file:
        file.pixels(file.image())


def compressed(data, **how):
    stream = io.BytesIO()
    fits.CompImageHDU(data, compression_type="RICE_1", **how).writeto(stream)
    return stream.getvalue()


def decoded(payload, rows=None):
    with guarded_fits(payload, "here") as file:
        return file.pixels(file.image(), rows)


def refuse(*_):
    raise AssertionError("all tiles were decoded, one by one")


EVERY_THIRD = np.arange(48) % 3 == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_rows_as_jsoc_stores_them_are_those_that_astropy_finds(monkeypatch, dtype):
    data = np.random.default_rng(1).integers(0, 200, (48, 64)).astype(dtype)
    data[5, 5:9] = 0, np.iinfo(dtype).max, np.iinfo(dtype).min, 1
    payload = compressed(data)
    monkeypatch.setattr(fits.CompImageHDU, "data", property(refuse))
    assert decoded(payload).dtype == dtype
    np.testing.assert_array_equal(decoded(payload), data)
    np.testing.assert_array_equal(decoded(payload, EVERY_THIRD), data[EVERY_THIRD])


@pytest.mark.parametrize("how", ["tiles", "floats", "gzip", "elsewhere"])
def test_rows_of_an_image_that_is_stored_in_another_way(monkeypatch, how):
    data = np.random.default_rng(1).normal(0, 50, (48, 64)).astype(np.float32 if how == "floats" else np.int16)
    payload = compressed(data, **({"tile_shape": (16, 32)} if how == "tiles" else {}))
    if how == "gzip":
        stream = io.BytesIO()
        fits.CompImageHDU(data, compression_type="GZIP_2").writeto(stream)
        payload = stream.getvalue()
    if how == "elsewhere":
        monkeypatch.setitem(sys.modules, "astropy.io.fits.hdu.compressed._codecs", None)
    with fits.open(io.BytesIO(payload)) as hdus:
        expected = hdus[1].data.copy()
    np.testing.assert_array_equal(decoded(payload), expected)
    np.testing.assert_array_equal(decoded(payload, EVERY_THIRD), expected[EVERY_THIRD])


@pytest.mark.parametrize("place", [(0, 0), (4, 0), (-1, 0), (100, -5), (100, 1 << 30)])
def test_a_row_that_is_not_where_the_table_says(place):
    payload = compressed(np.arange(48 * 64, dtype=np.int32).reshape(48, 64))
    with fits.open(io.BytesIO(payload), disable_image_compression=True) as hdus:
        table = hdus[1].fileinfo()["datLoc"]
    wrong = payload[: table + 80] + np.array(place, ">i4").tobytes() + payload[table + 88 :]
    with pytest.raises(DataError, match="`here` is a damaged or truncated FITS file"):
        decoded(wrong)
    rows = np.arange(48) != 10
    np.testing.assert_array_equal(decoded(wrong, rows), decoded(payload, rows))


@pytest.mark.parametrize("damage", ["a gzip tile", "must be one of", "at most 8192 pixels"])
def test_what_an_image_may_be(damage):
    if damage == "a gzip tile":
        payload = with_tile(gzip.compress(bytes(128))[:-9])
    elif damage == "must be one of":
        stream = io.BytesIO()
        fits.CompImageHDU(np.ones((64, 64), np.int16), compression_type="HCOMPRESS_1").writeto(stream)
        payload = stream.getvalue()
    else:
        payload = header_only(PRIMARY, BITPIX=8, NAXIS=2, NAXIS1=8193, NAXIS2=1) + bytes(8640)
    with pytest.raises(DataError, match=f"here.*{damage}"), guarded_fits(payload, "here") as file:
        file.pixels(file.image())


def test_an_error_within_names_the_file_and_one_of_kflare_stays():
    message = r"`x\.fits` is a damaged or truncated FITS file: 'BITPIX'; run again"
    with pytest.raises(DataError, match=message), guarded_fits(EMPTY, "x.fits", advice="run again"):
        raise KeyError("BITPIX")
    own = DataError("of its own")
    with pytest.raises(DataError) as seen, guarded_fits(EMPTY, "x.fits"):
        raise own
    assert seen.value is own


def test_nothing_else_opens_fits():
    root = Path(kflare.__file__).parent
    opened = re.compile(r"fits\.open\(|getdata\(|getheader\(")
    found = [path.relative_to(root) for path in root.rglob("*.py") if opened.search(path.read_text(encoding="utf-8"))]
    assert found == [Path("io/guarded_fits.py")]
