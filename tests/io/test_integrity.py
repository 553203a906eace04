"""Whole files are taken for whole, and every beginning of one for damaged."""

import io
import json
import struct
from itertools import chain

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.io.integrity import KINDS, damage, html_title
from kflare.io.payload import MAGIC
from tests.standin import picture, quick_export


def plain_fits():
    stream = io.BytesIO()
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])
    fits.HDUList([fits.PrimaryHDU(np.zeros((10, 10), np.float32)), table]).writeto(stream)
    return stream.getvalue()


def hdf5(version, size=4096):
    # HDF5 file format specification, II.A: end-of-file address behind base address and free-space address.
    head = b"\x89HDF\r\n\x1a\n" + bytes([version])
    head = head.ljust({0: 24, 1: 28, 2: 12}[version], b"\x00")
    head += struct.pack("<QQQ", 0, 2**64 - 1, size)
    return head.ljust(size, b"\x01")


WHOLE = {
    "FITS": (quick_export(), plain_fits()),
    "JPEG": (picture("JPEG"),),
    "JP2": (picture("JPEG2000"),),
    "netCDF": (hdf5(0), hdf5(1), hdf5(2)),
    "JSON": (json.dumps([{"flux": 1e-7}]).encode(), b"[]", b'\n{"a": 1}'),
    "text": (b":Product: 20150301events.txt\n#\n",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_whole(kind, tmp_path):
    for content in WHOLE[kind]:
        (tmp_path / "file").write_bytes(content)
        assert damage(tmp_path / "file", kind) is None


# The beginning of a text is a text, and that of a FITS file with two images may be one with the first.
@pytest.mark.parametrize("kind", ["FITS", "JPEG", "JP2", "netCDF", "JSON"])
@settings(max_examples=60)
@given(data=st.data())
def test_no_beginning_of_a_file_is_taken_for_the_file(kind, data, tmp_path_factory):
    content = WHOLE[kind][0]
    cut = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.mktemp("cut") / "file"
    path.write_bytes(content[:cut])
    assert damage(path, kind)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(content=st.binary(max_size=300))
def test_nothing_but_an_answer_comes_of_any_bytes(kind, content, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "file"
    for start in (b"", b"[", *chain.from_iterable(MAGIC.values())):
        path.write_bytes(start + content)
        assert damage(path, kind) is None or isinstance(damage(path, kind), str)


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html>\n<html><head><title>403\n Forbidden</title></head>",
        b"  <html lang=en><TITLE>403 Forbidden</TITLE>",
        b'<?xml version="1.0"?>\n<!-- proxy --><html><title>403 Forbidden</title>',
    ],
)
def test_a_page_of_html_is_told_by_its_title(page, tmp_path):
    assert html_title(page) == "403 Forbidden"
    (tmp_path / "m.fits").write_bytes(page)
    assert damage(tmp_path / "m.fits", "FITS") == "a page of HTML (403 Forbidden), no FITS"


def test_a_jp2_that_ends_between_its_boxes(tmp_path):
    # Signature 12, file type 20, header 45 bytes; then the image.
    for cut in (12, 32, 77):
        (tmp_path / "m.jp2").write_bytes(picture("JPEG2000")[:cut])
        assert damage(tmp_path / "m.jp2", "JP2") == f"truncated: {cut} bytes without an image"


def test_what_is_wrong_is_said_in_numbers(tmp_path):
    path = tmp_path / "m.fits"
    whole = plain_fits()
    # Header 2880, image 10 x 10 x 4 = 400 padded to 2880, table header 2880, table 20 padded to 2880.
    assert len(whole) == 4 * 2880
    path.write_bytes(whole[:8000])
    assert "at byte 5760 is damaged or cut off" in damage(path, "FITS")
    path.write_bytes(whole[:9000])
    assert damage(path, "FITS") == "truncated: 9000 of 11520 bytes"
    path.write_bytes(whole + b"\x00" * 100)  # some archives pad
    assert damage(path, "FITS") is None
    path.write_bytes(b"")
    assert damage(path, "FITS") == "empty"
    path.write_bytes(quick_export()[:2880])
    assert damage(path, "FITS") == "without data: 2880 bytes of headers alone"
    path.write_bytes(picture("JPEG"))
    assert damage(path, "FITS").startswith("no FITS: it begins with b'\\xff\\xd8")


def test_real_files_are_whole(real_data):
    kinds = {"hmi_daily/hmi.M_20131023_*.jpg": "JPEG", "hmi_fulldisk/*.jp2": "JP2", "mdi/*.fits": "FITS",
             "sharp_cea_377/*.fits": "FITS", "goes/*.nc": "netCDF", "goes/*.json": "JSON"}  # fmt: skip
    for pattern, kind in kinds.items():
        paths = sorted(real_data.glob(pattern))
        assert paths, pattern
        assert [damage(path, kind) for path in paths] == [None] * len(paths)
