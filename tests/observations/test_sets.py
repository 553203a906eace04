"""Files of a folder put together by their names: nothing is opened, so empty files do."""

from datetime import UTC, datetime, timedelta

import pytest

from kflare.errors import DataError, SettingError
from kflare.observations.sets import sets_in

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
