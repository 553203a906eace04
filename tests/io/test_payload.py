"""Files before they are decoded: what kind they are, and what they would unpack to."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, KflareError
from kflare.io.payload import MAX_FILE_BYTES, inflate, kind_of, read_payload

FITS = b"SIMPLE  =                    T"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (FITS, "FITS"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n\x00", "JP2"),
    ],
)
def test_the_first_bytes_tell_the_kind(payload, kind):
    assert kind_of(payload, source="x") == kind


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html>403",
        b"\n  <HTML><body>",
        b"\xef\xbb\xbf<html>",
        b"<?xml version='1.0'?><Error>",
        b"<!-- -->",
    ],
)
def test_pages_of_servers_are_called_so(page):
    # sunpy#5012: the page of a 403 answer, saved as a `.fits`.
    with pytest.raises(DataError, match=r"`hmi\.fits`.*HTML or XML page.*download it again"):
        kind_of(page, source="hmi.fits")


@pytest.mark.parametrize("payload", [b"", b"SIMPLE", b"\x89PNG", b"hello", bytes(100)])
def test_others_are_shown(payload):
    with pytest.raises(DataError, match="must be a JPEG, PNG, FITS or JP2 file; it begins with"):
        kind_of(payload, source="x")


def test_gzip_archives_are_unpacked(tmp_path):
    path = tmp_path / "hmi.fits.gz"
    path.write_bytes(gzip.compress(FITS * 1000))
    assert read_payload(path) == FITS * 1000


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "hmi.fits.gz"
    # Zeros: refused by the first bytes. A FITS file that goes on for ever: refused by its size.
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(DataError, match="it begins with"):
        read_payload(path)
    path.write_bytes(gzip.compress(FITS + bytes(1 << 24)))
    with pytest.raises(DataError, match="must unpack to at most 1 MiB"):
        read_payload(path, limit=1 << 20)


def test_an_archive_in_an_archive_is_refused(tmp_path):
    path = tmp_path / "hmi.fits.gz"
    path.write_bytes(gzip.compress(gzip.compress(FITS)))
    with pytest.raises(DataError, match="a gzip archive in a gzip archive"):
        read_payload(path)


def test_inflate_stops_at_its_limit():
    assert inflate(gzip.compress(b"abc"), 3) == b"abc"
    assert inflate(gzip.compress(b"abcd"), 3) is None
    with pytest.raises(zlib.error):
        inflate(gzip.compress(b"abcd")[:-1], 10)


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, payload, packed):
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes((b"\x1f\x8b\x08" if packed else b"") + payload)
    try:
        kind_of(read_payload(path), source="x")
    except KflareError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "big.fits"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a hole: takes no space
    with pytest.raises(DataError, match="must be at most 512 MiB"):
        read_payload(path)


def test_text_may_be_packed_and_has_a_limit_of_its_own(tmp_path):
    path = tmp_path / "flares.csv"
    text = {"limit": 1 << 20, "what": "a flare list", "kinds": ()}
    for content in (b"start,peak,end", gzip.compress(b"start,peak,end")):
        path.write_bytes(content)
        assert read_payload(path, **text) == b"start,peak,end"
    path.write_bytes(gzip.compress(b"," * (1 << 24)))
    with pytest.raises(DataError, match="must unpack to at most 1 MiB to be a flare list"):
        read_payload(path, **text)


@pytest.mark.parametrize("packed", [False, True])
def test_another_kind_than_the_one_wanted(tmp_path, packed):
    path = tmp_path / "sharp.fits"
    content = b"\xff\xd8\xff\xe0 JFIF"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match="must be a SHARP in FITS; it is a JPEG file"):
        read_payload(path, what="a SHARP in FITS", kinds=("FITS",))


def test_an_archive_of_nothing_is_refused(tmp_path):
    path = tmp_path / "hmi.fits.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"hmi\.fits\.gz` is an archive of an empty file"):
        read_payload(path)
