"""Helioviewer's JP2: the header in the XML box, the byte scale, and files that lie about their size."""

import io
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kflare.errors import DataError, KflareError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import policy_named
from kflare.observations.readers.jp2 import magnetogram_from_jp2, xml_header
from kflare.observations.readers.reader import Options
from kflare.observations.reading import magnetogram_time, read_magnetogram
from kflare.sun.disk import Disk

WIDTH = 64
NAME = "2022_08_02__10_47_53_000__SDO_HMI_HMI_magnetogram.jp2"
CARDS = {
    "CRPIX1": 32.5,
    "CRPIX2": 32.5,
    "CDELT1": 35.0,
    "CDELT2": 35.0,
    "RSUN_OBS": 980.0,
    "CROTA2": 0.0,
    "BUNIT": "Gauss",
    "CONTENT": "MAGNETOGRAM",
    "TELESCOP": "SDO",
    "INSTRUME": "HMI_FRONT2",
    "QUALITY": 1024,
    "T_OBS": "2022.08.02_10:48:52.509_TAI",
}


def picture():
    """Bytes of both signs on the disk, 0 off it."""
    y, x = np.mgrid[:WIDTH, :WIDTH] - 31.5
    image = np.random.default_rng(0).integers(100, 157, (WIDTH, WIDTH)).astype(np.uint8)
    image[20, 20] = 255
    image[np.hypot(x, y) > 28] = 0
    return image


def xml(cards=None, extra="", head='<?xml version="1.0" encoding="UTF-8"?>'):
    lines = "".join(f"<{key}>{value}</{key}>" for key, value in (CARDS | (cards or {})).items() if value is not None)
    return f"{head}<meta><fits>{lines}<comment>a &amp; b</comment></fits>{extra}</meta>".encode()


def jp2(image=None, box=None, **options):
    stream = io.BytesIO()
    # Lossless unless asked for: what is read is what was written.
    Image.fromarray(picture() if image is None else image).save(stream, "JPEG2000", **options)
    payload = stream.getvalue()
    place = payload.index(b"jp2c") - 4
    box = xml() if box is None else box
    return payload[:place] + (struct.pack(">I4s", 8 + len(box), b"xml ") + box if box else b"") + payload[place:]


def read(payload, *, policy="default", **options):
    return magnetogram_from_jp2(payload, Options(**({"source": NAME} | options), policy=policy_named(policy)))


def test_bytes_become_gauss_with_zero_field_128():
    seen = read(jp2(box=xml(extra="<helioviewer><HV_IMG_DMAX>255</HV_IMG_DMAX></helioviewer>")))
    # With R = 255 G: B = (v - 128) / 255 · 510 = 2 v - 256.
    inside = seen.on_disk
    np.testing.assert_allclose(seen.data[inside], 2.0 * picture()[inside] - 256.0, rtol=0, atol=1e-4)
    assert np.isnan(seen.data[~inside]).all()
    assert seen.disk == Disk(31.5, 31.5, 28.0)
    assert (seen.instrument, seen.quality, seen.byte_range) == ("HMI", 0x400, 255.0)
    # TAI - UTC was 37 s in 2022.
    assert seen.time == datetime(2022, 8, 2, 10, 48, 15, 509000, tzinfo=UTC)


def test_the_scale_is_what_the_file_says_else_helioviewers_250():
    assert read(jp2()).byte_range == 250.0
    box = xml(extra="<helioviewer><HV_IMG_DMAX>300.00000</HV_IMG_DMAX></helioviewer>")
    assert read(jp2(box=box)).byte_range == 300.0
    # What is told is for files that do not tell.
    assert read(jp2(box=box), byte_range=100.0).byte_range == 300.0


def test_size_and_given_disk_and_time():
    disk, time = Disk(31.0, 32.0, 27.0), datetime(2001, 2, 3, tzinfo=UTC)
    seen = read(jp2(), disk=disk, time=time)
    assert (seen.disk, seen.time) == (disk, time)
    assert read(jp2(), size=32).data.shape == (32, 32)


def test_the_header_is_read_from_the_xml_box():
    cards = xml_header(jp2(), source=NAME)
    assert cards["INSTRUME"] == "HMI_FRONT2"
    assert cards["CRPIX1"] == "32.5"
    assert cards["COMMENT"] == "a & b"


def refused(payload, match, **options):
    with pytest.raises(DataError, match=match) as caught:
        read(payload, **options)
    assert NAME in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entities_are_never_expanded():
    # A billion laughs, and a file of the machine.
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    refused(jp2(box=xml(head=f'<!DOCTYPE meta [<!ENTITY l0 "ha">{laughs}]>')), "no document type and no entities")
    outside = '<!DOCTYPE meta [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    refused(jp2(box=xml({"CONTENT": "&x;"}, head=outside)), "no document type and no entities")
    refused(jp2(box=xml({"CONTENT": "&x;"})), "XML box cannot be parsed: undefined entity")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"box": b""}, "must hold the FITS header in an XML box"),
        ({"box": b"<meta><fits>"}, "cannot be parsed"),
        ({"box": b"<meta/>" + b" " * (1 << 20)}, "XML box must be at most 1048576 bytes"),
        ({"box": xml({"CRPIX1": None})}, "`CRPIX1` is missing"),
        ({"box": xml({"RSUN_OBS": "nan"})}, "`RSUN_OBS` must be a finite number, got 'nan'"),
        ({"box": xml({"CONTENT": "CONTINUUM INTENSITY"})}, "no magnetogram: `CONTENT`"),
        ({"box": xml({"INSTRUME": "AIA_3"})}, "INSTRUME.*'AIA_3'"),
        ({"box": xml({"QUALITY": "-2147483648"})}, "0x80000000: NODATA"),
        ({"image": picture()[:, :48]}, "must be square.*64, 48"),
        ({"image": np.stack([picture()] * 3, axis=-1)}, "one component of 8 bits"),
        ({"image": picture().astype(np.uint16)}, "one component of 8 bits"),
        ({"image": np.full((WIDTH, WIDTH), 200, np.uint8)}, "both signs"),
    ],
)
def test_unusable_files_name_the_fault(options, match):
    refused(jp2(**options), match)


def changed(payload, marker, offset, value):
    """The codestream with bytes of a marker segment changed, counted from the marker."""
    place = payload.index(marker, payload.index(b"jp2c")) + offset
    return payload[:place] + value + payload[place + len(value) :]


@pytest.mark.parametrize(
    ("marker", "offset", "value", "match"),
    [
        # SIZ: Xsiz and Ysiz follow marker, length and capabilities; the file stays a few kilobytes.
        (b"\xff\x51", 6, struct.pack(">II", 60000, 60000), "at most 8192²"),
        (b"\xff\x51", 22, struct.pack(">II", 1, 1), "all 4096 tiles are in the file, got 1"),
        (b"\xff\x51", 22, struct.pack(">II", 0, 64), "tiles have a size"),
        # COD: style, progression, layers.
        (b"\xff\x52", 6, struct.pack(">H", 65535), "1 to 256 layers, got 65535"),
        (b"\xff\x52", 9, b"\xff", "at most 32 levels"),
    ],
)
def test_what_the_codestream_claims_is_checked_before_it_is_decoded(marker, offset, value, match):
    refused(changed(jp2(), marker, offset, value), match)


def test_many_tiny_precincts_are_refused():
    # Precincts of 2^0 pixels in 8192²: 67 million of them in a file of a few kilobytes.
    payload = jp2()
    siz = struct.pack(">IIIIIIII", 8192, 8192, 0, 0, 8192, 8192, 0, 0)
    payload = changed(payload, b"\xff\x51", 6, siz)
    place = payload.index(b"\xff\x52", payload.index(b"jp2c"))
    (length,) = struct.unpack_from(">H", payload, place + 2)
    body = bytearray(payload[place + 4 : place + 2 + length])
    body[0] |= 1
    body += bytes(body[5] + 1)
    cod = b"\xff\x52" + struct.pack(">H", 2 + len(body)) + bytes(body)
    refused(payload[:place] + cod + payload[place + 2 + length :], "at most 262144 precincts")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(part):
    payload = jp2()
    refused(payload[: int(part * len(payload))], "truncated|damaged|XML box")


def test_a_bare_codestream_has_no_header(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "JPEG2000", no_jp2=True)
    path = tmp_path / "sun.j2k"
    path.write_bytes(stream.getvalue())
    with pytest.raises(DataError, match="codestream without the header"):
        read_magnetogram(path)


SEED = jp2()


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=8),
    head=st.booleans(),
    keep=st.one_of(st.just(1.0), st.floats(0.02, 1)),
)
def test_damaged_files_give_a_magnetogram_or_a_kflare_error(changes, head, keep):
    payload = bytearray(SEED)
    # Where the boxes and the marker segments are, or anywhere.
    length = min(len(payload), payload.index(b"jp2c") + 200) if head else len(payload)
    for place, new in changes:
        start = int(place * length)
        payload[start : start + len(new)] = new
    try:
        seen = read(bytes(payload[: int(keep * len(payload))]))
    except KflareError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(seen, Magnetogram)


@settings(max_examples=100)
@given(
    box=st.one_of(
        st.binary(max_size=200), st.text(max_size=100).map(lambda text: f"<m><fits>{text}</fits></m>".encode())
    )
)
def test_any_xml_box_gives_a_kflare_error(box):
    with pytest.raises(KflareError):
        read(jp2(box=box))


def test_helioviewers_file(real_data):
    (path,) = (real_data / "hmi_fulldisk").glob("*.jp2")
    seen = read_magnetogram(path, size=512)
    # CRPIX 2048.5, RSUN_OBS 945.41888 / CDELT1 0.60000002 = 1575.698 pixels of 4096²: 196.962 of 512².
    assert (seen.disk.x, seen.disk.y, seen.disk.radius) == pytest.approx((255.5, 255.5, 196.962), abs=1e-3)
    assert (seen.quality, seen.quality_note, seen.byte_range) == (0x400, "", 250.0)
    assert seen.time == datetime(2022, 8, 2, 10, 48, 15, 509000, tzinfo=UTC)
    # DATAMEDN is -0.08 G; a byte is 1.96 G wide. JPEG 2000 and the mean over 8 × 8 pixels leave little noise.
    assert abs(np.nanmedian(seen.data)) < 1.0
    assert np.isfinite(seen.data[seen.on_disk]).mean() > 0.99


def test_boxes_of_other_kinds_are_skipped():
    place = SEED.index(b"xml ") - 4
    extra = struct.pack(">I4s", 8 + 100, b"uuid") + bytes(100)
    assert isinstance(read(SEED[:place] + extra + SEED[place:]), Magnetogram)


def test_the_time_of_a_file_needs_no_pixels(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(jp2())
    assert magnetogram_time(path) == read_magnetogram(path).time


def test_the_time_of_a_damaged_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / NAME
    # A box that declares a length of 64 bits and ends before it.
    path.write_bytes(jp2()[:12] + b"\x00\x00\x00\x01xml ")
    with pytest.raises(DataError, match="damaged or truncated JP2 file"):
        magnetogram_time(path)
