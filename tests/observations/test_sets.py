"""Files of a folder put together by JSOC's names, for which nothing is opened, so empty files do; else by headers."""

from datetime import UTC, datetime, timedelta
from time import process_time

import pytest

from kflare.errors import DataError, SettingError
from kflare.observations.sets import find_sets, sets_in

# 00:00:37 TAI is 00:00:00 UTC from July 2015 to the end of 2016, when TAI was 36 s ahead; in 2014 it was 35 s.
MAGNETOGRAM = "hmi.M_720s_nrt.20140101_{:02d}0035_TAI.magnetogram.fits"
AIA = "aia.lev1_nrt2.20140101T{}Z.{}.image_lev1.fits"


def utc(hour, minute=0):
    return datetime(2014, 1, 1, hour, minute, tzinfo=UTC)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_magnetogram_alone_is_a_set(tmp_path):
    (found,) = sets_in([touch(tmp_path, MAGNETOGRAM.format(3))])
    assert found.time == utc(3)
    assert found.files == (tmp_path / MAGNETOGRAM.format(3),)
    assert found.vector_time is None


def test_what_was_seen_within_the_tolerance_joins(tmp_path):
    touch(
        tmp_path,
        MAGNETOGRAM.format(3),
        AIA.format("025000", 1600),
        AIA.format("032500", 1600),
        AIA.format("030010", 131),
        AIA.format("020010", 131),
        AIA.format("002900", 131),
        AIA.format("030010", 193),
    )
    (found,) = sets_in([tmp_path])
    assert found.aia_1600.name == AIA.format("025000", 1600)  # 10 min away, not 25
    now, one, two = found.aia_131
    assert (now.name, one.name, two) == (AIA.format("030010", 131), AIA.format("020010", 131), None)
    (found,) = sets_in([tmp_path], tolerance=timedelta(minutes=5))
    assert found.aia_1600 is None
    (found,) = sets_in([tmp_path], tolerance=timedelta(minutes=35))
    assert found.aia_131[2].name == AIA.format("002900", 131)


def test_an_image_does_not_stand_for_two_hours(tmp_path):
    touch(tmp_path, MAGNETOGRAM.format(3), AIA.format("023000", 131))
    (found,) = sets_in([tmp_path])
    assert [path is not None for path in found.aia_131] == [True, False, False]


def test_segments_of_a_vector_field_by_harp(tmp_path):
    touch(
        tmp_path,
        MAGNETOGRAM.format(3),
        *(
            f"hmi.bharp_720s_nrt.7.20140101_030035_TAI.{s}.fits"
            for s in ("field", "inclination", "azimuth", "disambig")
        ),
        "sub/hmi.bharp_720s_nrt.12.20140101_024835_TAI.field.fits",
        "hmi.bharp_720s_nrt.13.20140101_010035_TAI.field.fits",
        "hmi.sharp_cea_720s.7.20140101_030035_TAI.Br.fits",
    )
    (found,) = sets_in([tmp_path])
    assert {harp: sorted(paths) for harp, paths in found.vector.items()} == {
        7: ["azimuth", "disambig", "field", "inclination"],
        12: ["field"],
    }
    assert found.vector_time == utc(2, 48)  # the farthest one


def test_a_full_disk_vector_field(tmp_path):
    touch(tmp_path, MAGNETOGRAM.format(3), "hmi.B_720s.20140101_030035_TAI.field.fits")
    (found,) = sets_in([tmp_path])
    assert list(found.vector) == [0]


def test_span_and_cadence(tmp_path):
    touch(
        tmp_path, *(MAGNETOGRAM.format(hour) for hour in range(12)), "hmi.M_720s.20140101_063635_TAI.magnetogram.fits"
    )
    assert len(sets_in([tmp_path])) == 13
    found = sets_in([tmp_path], since=utc(2), until=utc(11))
    assert (found[0].time, found[-1].time) == (utc(2), utc(10))
    found = sets_in([tmp_path], cadence=timedelta(hours=6))
    # Nearest to 00, 06 and 12 UT: 11 UT is within half the cadence of 12 UT.
    assert [one.time for one in found] == [utc(0), utc(6), utc(11)]


def test_a_magnetogram_of_helioviewer(tmp_path):
    touch(tmp_path, "2022_08_02__10_47_53_000__SDO_HMI_HMI_magnetogram.jp2", ".hidden.magnetogram.fits", "notes.txt")
    (found,) = sets_in([tmp_path])
    assert found.time == datetime(2022, 8, 2, 10, 47, 53, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, DataError, "holds no magnetogram: files must be named as JSOC names them"),
        ({"since": datetime(2014, 1, 1, tzinfo=UTC)}, DataError, "holds no magnetogram from 2014"),
        ({"cadence": timedelta(0)}, SettingError, "`cadence` must be above 0"),
        ({"tolerance": -timedelta(1)}, SettingError, "`tolerance` must be above 0"),
    ],
)
def test_what_cannot_be_searched(tmp_path, options, error, message):
    touch(tmp_path, AIA.format("000000", 131))
    with pytest.raises(error, match=message):
        sets_in([tmp_path], **options)


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        sets_in([tmp_path / "absent"])


CARDS = {
    "SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": 64, "NAXIS2": 64, "CTYPE1": "'HPLN-TAN'", "CTYPE2": "'HPLT-TAN'",
}  # fmt: skip
HMI = {"TELESCOP": "'SDO/HMI'", "INSTRUME": "'HMI_FRONT2'", "CONTENT": "'MAGNETOGRAM'", "BUNIT": "'Gauss'"}
AIA_CARDS = {"TELESCOP": "'SDO/AIA'", "INSTRUME": "'AIA_3'"}


def header(path, **cards):
    """A file that is all header: its pixels are never read."""
    lines = [f"{key:<8}= {value:>20}".ljust(80) for key, value in {**CARDS, **cards}.items()]
    path.write_bytes("".join([*lines, "END".ljust(80)]).encode().ljust(2880))
    return path


def hmi(path, time, **cards):
    return header(path, **HMI, T_OBS=f"'{time}'", **cards)


def aia(path, time, wavelength):
    return header(path, **AIA_CARDS, T_OBS=f"'{time}'", WAVELNTH=wavelength)


def test_images_under_the_names_of_jsocs_exports(tmp_path):
    hmi(tmp_path / "hmi.M_720s.20140225_004800_TAI.3.magnetogram.fits", "2014.02.25_00:48:00_TAI")
    names = {
        "aia.lev1_uv_24s.2014-02-25T004752Z.1600.image_lev1.fits": ("2014-02-25T00:47:52.12Z", 1600),
        "aia.lev1_euv_12s.2014-02-25T004755Z.131.image_lev1.fits": ("2014-02-25T00:47:55.62Z", 131),
        "aia.lev1_euv_12s.2014-02-24T234755Z.131.image_lev1.fits": ("2014-02-24T23:47:55.62Z", 131),
        "aia.lev1_euv_12s.2014-02-24T224755Z.131.image_lev1.fits": ("2014-02-24T22:47:55.62Z", 131),
    }
    for name, (time, wavelength) in names.items():
        aia(tmp_path / name, time, wavelength)
    (found,) = sets_in(tmp_path)
    assert found.time == datetime(2014, 2, 25, 0, 47, 25, tzinfo=UTC)
    assert [path.name for path in (found.aia_1600, *found.aia_131)] == list(names)


@pytest.mark.parametrize(
    ("name", "tai", "expected"),
    [
        ("hmi.m_720s.2014.02.25_12_00_00_TAI.magnetogram.fits", "2014.02.25_12:00:00_TAI", (11, 59, 25)),
        ("hmi.m_45s.2014.02.25_06_01_30_TAI.magnetogram.fits", "2014.02.25_06:01:30_TAI", (6, 0, 55)),
        ("hmi_m_45s_2014_02_25_06_01_30_tai_magnetogram.fits", "2014.02.25_06:01:30_TAI", (6, 0, 55)),
        ("2014_02_25__06_00_55_10__SDO_HMI_HMI_magnetogram.fits", "2014.02.25_06:01:30_TAI", (6, 0, 55)),
        ("magnetogram.FTS", "2014.02.25_06:01:30_TAI", (6, 0, 55)),
        ("D2.fits", "2014.02.25_06:01:30_TAI", (6, 0, 55)),
    ],
)
def test_magnetograms_under_other_names(name, tai, expected, tmp_path):
    hmi(tmp_path / name, tai)
    (found,) = sets_in(tmp_path)
    assert found.time == datetime(2014, 2, 25, *expected, tzinfo=UTC)


def test_vector_fields_under_other_names(tmp_path):
    hmi(tmp_path / "m.fits", "2014.02.25_00:48:00_TAI")
    for segment in ("field", "azimuth"):
        name = f"hmi.sharp_720s.2014.02.25_00_48_00_TAI.{segment}.fits"
        header(tmp_path / name, **(HMI | {"CONTENT": "'B'"}), T_OBS="'2014.02.25_00:47:50_TAI'", HARPNUM=377)
    (found,) = sets_in(tmp_path)
    assert {harp: sorted(paths) for harp, paths in found.vector.items()} == {377: ["azimuth", "field"]}


def test_no_packed_file_is_passed_over(tmp_path):
    hmi(tmp_path / "m.fits.fz", "2014.02.25_00:48:00_TAI")
    packed = [hmi(tmp_path / "n.FITS.BZ2", "x"), hmi(tmp_path / "n.fts.Z", "x")]
    packed[0].write_bytes(b"BZh91AY&SY" + bytes(20))
    packed[1].write_bytes(b"\x1f\x9d\x90" + bytes(20))
    found = find_sets(tmp_path)
    assert [one.magnetogram.name for one in found.sets] == ["m.fits.fz"]
    assert sorted(found.left_out) == packed
    assert all(f"`{path}` must be a FITS file; it begins with" in found.left_out[path] for path in packed)


def test_what_is_left_out_is_said_with_the_reason(tmp_path):
    hmi(tmp_path / "a.fits", "2014.02.25_00:48:00_TAI")
    wrong = {
        "b.fits": hmi(tmp_path / "b.fits", "2014.02.25_00:48:00_TAI"),
        "c.fits": header(tmp_path / "c.fits", **(HMI | {"CONTENT": "'DOPPLERGRAM'"}), T_OBS="'2014-02-25T00:47'"),
        "d.fits": header(tmp_path / "d.fits", INSTRUME="'SXT'", TELESCOP="'YOHKOH'"),
        "e.fits": hmi(tmp_path / "e.fits", "nonsense"),
        "f.fits": hmi(tmp_path / "f.fits", "2014.02.25_00:48:00_TAI", HARPNUM=377),
        "g.fits": tmp_path / "g.fits",
        "h.jp2": tmp_path / "h.jp2",
    }
    for name in ("g.fits", "h.jp2"):
        wrong[name].write_bytes(b"<html><title>Busy</title>")
    found = find_sets(tmp_path)
    reasons = {path.name: reason for path, reason in found.left_out.items()}
    assert reasons.keys() == wrong.keys()
    for name, word in zip(wrong, ("same time as", "no magnetogram", "neither a full-disk", "`T_OBS`", "neither", "HTML", "HTML"), strict=True):  # fmt: skip # noqa: E501
        assert word in reasons[name]
        assert name in reasons[name]
    assert found.unserved == []


def test_kinds_of_which_nothing_is_used(tmp_path):
    touch(tmp_path, MAGNETOGRAM.format(3), AIA.format("090000", 1600), AIA.format("030010", 131))
    found = find_sets(tmp_path)
    assert found.unserved == [
        "none of 1 files of AIA at 1600 Å is within 30 min of a magnetogram that is used, such as "
        + AIA.format("090000", 1600)
    ]
    # What lies outside the span that was asked for is no fault.
    assert find_sets(tmp_path, until=utc(4)).unserved == []


def test_thousands_of_headers_take_seconds(tmp_path):
    for number in range(1000):
        aia(
            tmp_path / f"{number}.fits", f"2014-02-{1 + number // 100:02d}T{number % 20:02d}:{number % 60:02d}:00Z", 131
        )
    hmi(tmp_path / "m.fits", "2014.02.05_00:48:00_TAI")
    start = process_time()
    assert len(sets_in(tmp_path)) == 1
    assert process_time() - start < 20
