"""The magnetogram itself: what it refuses, how it is reduced and scaled, and how a file is dispatched."""

import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.errors import DataError, KflareError, SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.sun.disk import Disk, require_full_disk
from kflare.sun.geometry import Observer
from kflare.sun.times import time_from_name

TIME = datetime(2013, 10, 23, tzinfo=UTC)


def magnetogram(data, disk=None, **changes):
    data = np.asarray(data, dtype=np.float32)
    middle = (data.shape[0] - 1) / 2
    fields = {"time": TIME, "disk": disk or Disk(middle, middle, data.shape[0]), "instrument": "HMI", "source": "here"}
    return Magnetogram(data, **(fields | changes))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (np.zeros((4, 4)), "float32"),
        (np.zeros((4, 6), np.float32), "square"),
        (np.zeros((4, 4, 1), np.float32), "square"),
        (np.zeros((0, 0), np.float32), "square"),
        ([[1.0]], "float32"),
        (np.full((4, 4), np.inf, np.float32), "infinities"),
    ],
)
def test_data_that_is_no_square_float32_image_is_refused(data, rule):
    with pytest.raises(DataError, match=rule):
        Magnetogram(data, TIME, Disk(1.5, 1.5, 2), "HMI", "here")


def test_time_must_be_aware_and_becomes_utc():
    with pytest.raises(DataError, match="time zone"):
        magnetogram(np.zeros((4, 4)), time=datetime(2013, 10, 23))  # noqa: DTZ001
    tokyo = datetime(2013, 10, 23, 9, tzinfo=timezone(timedelta(hours=9)))
    assert magnetogram(np.zeros((4, 4)), time=tokyo).time.isoformat() == "2013-10-23T00:00:00+00:00"


@pytest.mark.parametrize("values", [(np.nan, 0, 1), (0, np.inf, 1), (0, 0, 0), (0, 0, -3)])
def test_disk_must_be_finite_and_have_a_radius(values):
    with pytest.raises(DataError, match="disk"):
        Disk(*values)


def test_on_disk_holds_the_pixels_whose_centre_is_within_the_radius():
    # Centre (1, 2), radius 1: the centre pixel and its four neighbours.
    seen = magnetogram(np.zeros((4, 4)), Disk(1, 2, 1)).on_disk
    assert [tuple(pixel) for pixel in np.argwhere(seen)] == [(1, 1), (2, 0), (2, 1), (2, 2), (3, 1)]


def test_resized_is_the_mean_over_the_finite_pixels_of_each_block():
    nan = np.nan
    small = magnetogram(
        [
            [1, 3, nan, nan],
            [5, 7, nan, 9],
            [nan, 4, nan, nan],
            [nan, 6, nan, nan],
        ],
        Disk(1.5, 1.5, 2),
    ).resized(2)
    # (1 + 3 + 5 + 7) / 4; three of four NaN is more than half; (4 + 6) / 2 of exactly half; nothing.
    np.testing.assert_array_equal(small.data, np.array([[4, nan], [5, nan]], np.float32))
    # The middle of 4 pixels is at 1.5, that of 2 at 0.5.
    assert small.disk == Disk(0.5, 0.5, 1.0)
    assert small.data.dtype == np.float32
    assert small.time == TIME


def test_resized_keeps_the_disk_on_the_same_part_of_the_sun():
    # The left edge of the image is at -0.5 in any resolution: (10 + 0.5) / 4 - 0.5 = 2.125.
    small = magnetogram(np.zeros((64, 64)), Disk(10, 30, 20)).resized(16)
    assert small.disk == Disk(2.125, 7.125, 5.0)


def test_resized_to_the_same_size_changes_nothing():
    same = magnetogram(np.eye(4))
    assert same.resized(4) is same


@pytest.mark.parametrize("size", [0, -2, 65, 128])
def test_resized_never_enlarges(size):
    with pytest.raises(DataError, match=rf"`size` must be 1 to 64 pixels.*got {size}$"):
        magnetogram(np.zeros((64, 64))).resized(size)


def test_resized_keeps_what_is_known_of_the_image():
    fields = {"quality": 0x400, "quality_note": "degraded: x", "observer": Observer(1, 2, 1.5e11), "roll": 0.1}
    small = magnetogram(np.zeros((4, 4)), byte_range=100.0, **fields).resized(2)
    assert {name: getattr(small, name) for name in fields} == fields
    assert small.byte_range == 100.0


def test_quality_is_a_mask_without_sign():
    with pytest.raises(DataError, match="without sign, got -2147483648"):
        magnetogram(np.zeros((4, 4)), quality=-(2**31))


def test_fields_of_mdi_are_divided_by_1_40_on_request():
    # 1.40 is the ratio of Liu et al. 2012: 140 G of MDI are 100 G of HMI, and byte 255 of ±140 G stands for 100 G then.
    seen = magnetogram([[140.0, -70.0], [0.0, np.nan]], instrument="MDI", byte_range=140.0).on_hmi_scale()
    np.testing.assert_allclose(seen.data, [[100, -50], [0, np.nan]], rtol=1e-6)
    assert seen.byte_range == pytest.approx(100.0)
    assert seen.data.dtype == np.float32
    hmi = magnetogram([[140.0]])
    assert hmi.on_hmi_scale() is hmi
    with pytest.raises(DataError, match=r"only fields of MDI.*'synthetic'"):
        magnetogram([[1.0]], instrument="synthetic").on_hmi_scale()
    with pytest.raises(SettingError, match="factor"):
        hmi.on_hmi_scale(0.0)


def test_to_bytes_follows_the_scale_of_the_archives():
    field = magnetogram([[-250, -100, -50], [-0.4, 0.4, 50], [100, 250, np.nan]])
    # v = (B + 100) * 1.275: -50 G gives 63.75, -0.4 G 126.99, 0.4 G 128.01, 50 G 191.25; NaN is off the disk.
    np.testing.assert_array_equal(field.to_bytes(), np.array([[0, 0, 64], [127, 128, 191], [255, 255, 0]], np.uint8))
    # v = (B + 250) * 0.51: -100 G gives 76.5, -> 76 (even); -50 G 102; 0 G 127.5; 50 G 153; 100 G 178.5.
    np.testing.assert_array_equal(field.to_bytes(byte_range=250.0)[0], np.array([0, 76, 102], np.uint8))


def test_to_bytes_is_0_off_the_disk():
    assert magnetogram(np.full((3, 3), 100), Disk(1, 1, 1)).to_bytes().tolist() == [[0, 255, 0], [255] * 3, [0, 255, 0]]


@pytest.mark.parametrize("byte_range", [0.0, -100.0, np.nan, np.inf])
def test_byte_range_must_be_positive(byte_range):
    with pytest.raises(DataError, match="byte_range"):
        magnetogram(np.zeros((4, 4))).to_bytes(byte_range)
    with pytest.raises(DataError, match="byte_range"):
        magnetogram(np.zeros((4, 4)), byte_range=byte_range)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("hmi.M_20131023_000054.jpg", "2013-10-23T00:00:54+00:00"),
        ("20010311_0000_mdimag_512.jpg", "2001-03-11T00:00:00+00:00"),
        ("archive/synthetic_20240229T120000.jpg", "2024-02-29T12:00:00+00:00"),
        # TAI - UTC was 34 s in 2010.
        ("mdi.fd_M_96m_lev182.20101015_000000_TAI.data.fits", "2010-10-14T23:59:26+00:00"),
        # 99991399 is no date, the next digits are.
        ("run_99991399_0000_20131023_0600.png", "2013-10-23T06:00:00+00:00"),
        ("2022_08_02__10_47_53_000__SDO_HMI_HMI_magnetogram.jp2", "2022-08-02T10:47:53+00:00"),
        ("20131023_2460.jpg", None),
        ("20130229_0000.jpg", None),
        ("120131023_0000.jpg", None),
        ("18000101_000000_TAI.jpg", None),
        ("magnetogram.jpg", None),
    ],
)
def test_time_from_name(name, time):
    found = time_from_name(name)
    assert (found.isoformat() if found else None) == time


@pytest.mark.parametrize("disk", [Disk(31.5, 31.5, 10), Disk(31.5, 31.5, 40), Disk(20, 31.5, 20), Disk(31.5, 36, 30)])
def test_a_disk_that_is_small_cut_or_off_centre_is_no_full_disk(disk):
    with pytest.raises(DataError, match="not a full disk"):
        require_full_disk(disk, 64, "here")


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        (b"", "is empty"),
        (b"Hello, this is text named .jpg", "begins with b'Hello, t'"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "XML box"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"GIF89a", "GIF"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, payload, seen):
    path = tmp_path / "hmi.M_20131023_000054.jpg"
    path.write_bytes(payload)
    with pytest.raises(DataError, match=seen) as caught:
        read_magnetogram(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_data_errors(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_magnetogram(tmp_path / "absent.jpg")
    with pytest.raises(DataError, match="no regular file"):
        read_magnetogram(tmp_path)
    with pytest.raises(DataError):
        read_magnetogram("a\0b.jpg")


@settings(max_examples=100)
@given(
    head=st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"SIMPLE  =",
            b"SIMPLE  =                    T",
            b"\x00\x00\x00\x0cjP  \r\n\x87\n",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        ]
    ),
    tail=st.binary(max_size=400),
)
def test_arbitrary_bytes_never_raise_anything_but_a_kflare_error(head, tail):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "20131023_000000.jpg"
        path.write_bytes(head + tail)
        with pytest.raises(KflareError):
            read_magnetogram(path)
