"""QUALITY as a mask, in all the forms in which it is handed around, and what the policies make of it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.observations.quality import HMI_QUALITY, MDI_QUALITY, POLICIES, QualityPolicy, judge, parse_quality

TIME = datetime(2013, 10, 23, tzinfo=UTC)


def judged(quality=None, *, policy="default", instrument="HMI", **options):
    options = {"time": TIME} | options
    return judge("hmi.fits", policy=POLICIES[policy], instrument=instrument, quality=quality, **options)


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        (0, 0),
        (1024, 0x400),
        # FITS integers have a sign: the lowest of 32 bits is "no data", and -1073741824 is 0xC0000000 (sunpy#3735).
        (-2147483648, 0x80000000),
        (-1073741824, 0xC0000000),
        (3221225472, 0xC0000000),
        (np.int32(-2147483648), 0x80000000),
        (np.uint32(0x80000000), 0x80000000),
        (-1, 0xFFFFFFFF),
        (1024.0, 0x400),
        # JSOC's answers and Helioviewer's XML are text.
        ("0x00000400", 0x400),
        ("0XC0000000", 0xC0000000),
        (" 1024 ", 0x400),
        ("1024.0", 0x400),
        ("-2147483648", 0x80000000),
        (None, None),
        ("", None),
        ("nan", None),
        ("MISSING", None),
        (float("nan"), None),
    ],
)
def test_every_form_is_one_mask(value, mask):
    assert parse_quality(value) == mask


@pytest.mark.parametrize(
    "value", ["good", "0x", "0x1FFFFFFFF", 2**32, -(2**31) - 1, 1.5, float("inf"), True, "1e3", [0]]
)
def test_what_is_no_mask_is_refused(value):
    with pytest.raises(DataError, match="`here`: `QUALITY` must be an integer of 32 bits"):
        parse_quality(value, source="here")


@given(st.integers(0, 2**32 - 1))
def test_forms_agree(mask):
    signed = mask - 2**32 if mask >= 2**31 else mask
    assert parse_quality(signed) == parse_quality(f"0x{mask:08x}") == parse_quality(str(signed)) == mask


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        # The bits of JSOC's list, each alone or as images have them together.
        (0x80000000, "NODATA (no image was made)"),
        (0xC0000000, "NODATA (no image was made), TARGETFILTERGRAMMISSING"),
        (0x00020000, "MISSINGLEV1P"),
        (0x00000100, "ECLIPSE (eclipse)"),
        (0x00000200, "ECLIPSE_STOKES (eclipse)"),
        (0x00000020, "POORQUALITY (eclipse, lunar transit"),
        (0x80011C00, "NODATA"),
    ],
)
def test_what_the_default_policy_rejects(quality, words):
    with pytest.raises(DataError) as caught:
        judged(quality)
    assert f"`QUALITY` 0x{quality:08x}: {words}" in str(caught.value)
    assert "policy `default`" in str(caught.value)
    note = judged(quality, policy="any")
    assert note.startswith(f"rejected: `QUALITY` 0x{quality:08x}: {words}")


@pytest.mark.parametrize(
    ("quality", "note"),
    [
        (None, ""),
        (0, ""),
        (0x400, ""),  # normal near real time
        (0x10000, "degraded: `QUALITY` 0x00010000: LOWINTERPNUM (fewer filtergrams interpolated than usual)"),
        (0x40, "degraded: `QUALITY` 0x00000040: LARGEFTSID (noisy focus sequence)"),
        (0x3, "degraded: `QUALITY` 0x00000003: bits 0x3 without a name"),
    ],
)
def test_what_the_default_policy_takes(quality, note):
    assert judged(quality) == note


def test_a_live_near_real_time_image_is_read_with_a_note():
    # o-ilios: live NRT carries 0x00011c00 = LOWINTERPNUM, NOGAPFILL, LIMBFITISSUE, NOCOSMICRAY.
    note = judged(0x11C00)
    assert note.startswith("degraded: `QUALITY` 0x00011c00: LOWINTERPNUM")
    assert "NOGAPFILL" in note
    assert "LIMBFITISSUE" in note
    assert "NOCOSMICRAY" not in note
    with pytest.raises(DataError, match="`strict`"):
        judged(0x11C00, policy="strict")
    assert judged(0x400, policy="strict") == ""


@pytest.mark.parametrize(
    ("quality", "verdict"),
    [
        (0x200, ""),  # not in the prime 60-s program: the file of 2010-10-15 has it
        (0x5, "degraded: `QUALITY` 0x00000005: MISSING0 (pixels missing), TELEMETRY (telemetry problem)"),
        (0xD, "degraded: `QUALITY` 0x0000000d: MISSING1"),
        (0x1C, None),
        (0x2, None),
        (0x100, None),
        (0x40000, None),
        (0x80000000, None),
    ],
)
def test_bits_of_mdi_mean_something_else(quality, verdict):
    if verdict is None:
        with pytest.raises(DataError, match=f"0x{quality:08x}"):
            judged(quality, instrument="MDI")
    else:
        assert judged(quality, instrument="MDI").startswith(verdict)
        assert bool(judged(quality, instrument="MDI")) == bool(verdict)


def test_missing_part_of_the_disk():
    assert judged(missing=0.0005) == ""
    assert judged(missing=0.004) == "degraded: 0.4 % of the disk is missing"
    with pytest.raises(DataError, match=r"3\.2 % of the disk is missing, at most 1 % may be"):
        judged(missing=0.032)
    with pytest.raises(DataError, match=r"at most 0\.1 % may be"):
        judged(missing=0.004, policy="strict")
    assert judged(0x8000, missing=0.5, policy="any").startswith("rejected: 50 % of the disk is missing")


def test_other_instruments_and_the_future():
    with pytest.raises(DataError, match="`INSTRUME` must be HMI or MDI, got 'AIA_3'"):
        judged(instrument="unknown", named="AIA_3")
    assert judged(instrument="unknown") == ""
    now = TIME - timedelta(days=1)
    with pytest.raises(DataError, match=r"2013-10-23T00:00:00Z lies in the future \(it is 2013-10-22"):
        judged(now=now)
    assert judged(now=TIME - timedelta(minutes=59)) == ""
    assert "future" in judged(now=now, policy="any")


def test_all_reasons_are_given_at_once():
    with pytest.raises(DataError, match=r"AIA_3.*NODATA.*missing"):
        judged(0x80000000, instrument="unknown", named="AIA_3", missing=1.0)


def test_a_policy_of_ones_own():
    # HARP code rejects the mask 0x80000200 only.
    harp = QualityPolicy("harp", hmi_reject=0x80000200)
    assert judge("x", policy=harp, time=TIME, instrument="HMI", quality=0x100).startswith("degraded")
    with pytest.raises(DataError, match="`harp`"):
        judge("x", policy=harp, time=TIME, instrument="HMI", quality=0x200)
    with pytest.raises(SettingError, match="hmi_reject"):
        QualityPolicy("x", hmi_reject=-1)
    with pytest.raises(SettingError, match="max_missing"):
        QualityPolicy("x", max_missing=2.0)


def test_unnamed_policies_are_refused(tmp_path):
    from kflare.observations.reading import read_magnetogram

    with pytest.raises(SettingError, match="`policy` must be one of default, strict, any, got 'lax'"):
        read_magnetogram(tmp_path / "absent.fits", policy="lax")


def test_bits_do_not_overlap():
    for values in (list(HMI_QUALITY), list(MDI_QUALITY)):
        assert sum(values) == np.bitwise_or.reduce(values)
    # All of 0x20 to 0x80000000 has a name with HMI.
    assert sum(HMI_QUALITY) == 0xFFFFFFE0
