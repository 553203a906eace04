"""A folder of magnetograms as an index, and every way such a folder can be wrong."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kflare.datasets.archive import daily_images, forecast_time, index_archive, magnetogram_files
from kflare.errors import DataError
from kflare.observations.reading import SUFFIXES


def write_sun(path, *, width=48, seed=0):
    """Quiet Sun in grey around 127, black off a disk of radius 0.44 of the width."""
    y, x = np.mgrid[:width, :width] - (width - 1) / 2
    image = np.random.default_rng(seed).normal(127, 10, (width, width)).clip(1, 255)
    image[np.hypot(x, y) > 0.44 * width] = 0
    Image.fromarray(image.astype(np.uint8)).save(path, quality=95)
    return path


def test_the_index_is_in_order_of_time_not_of_name(tmp_path):
    for name in ("b_20131021_000034.jpg", "c_20131020_000014.png", "a_20131023_235954.JPEG"):
        write_sun(tmp_path / name)
    (tmp_path / "readme.txt").write_text("not a magnetogram")
    (tmp_path / "older").mkdir()
    index = index_archive(tmp_path)
    assert list(index.columns) == ["path", "time", "forecast_time"]
    assert [Path(path).name[0] for path in index["path"]] == ["c", "b", "a"]
    assert all(Path(path).parent == tmp_path for path in index["path"])
    assert index["time"].tolist() == [
        pd.Timestamp(text) for text in ("2013-10-20T00:00:14Z", "2013-10-21T00:00:34Z", "2013-10-23T23:59:54Z")
    ]
    # 54 s after 23:59 is the record of the next midnight.
    assert index["forecast_time"].tolist() == [
        pd.Timestamp(text) for text in ("2013-10-20T00:00Z", "2013-10-21T00:00Z", "2013-10-24T00:00Z")
    ]


@given(st.datetimes(datetime(1996, 1, 1), datetime(2040, 1, 1)), st.integers(-12, 12))  # noqa: DTZ001
def test_forecast_time_is_the_nearest_record_in_utc(naive, zone):
    observed = naive.replace(tzinfo=timezone(timedelta(hours=zone)))
    found = forecast_time(observed)
    assert found.utcoffset() == timedelta(0)
    assert (found.minute % 12, found.second, found.microsecond) == (0, 0, 0)
    assert abs(found - observed) <= pd.Timedelta(minutes=6)


def test_forecast_time_of_the_daily_images():
    assert forecast_time(datetime(2013, 10, 23, 0, 0, 54, tzinfo=UTC)) == pd.Timestamp("2013-10-23T00:00Z")


def test_real_images_forecast_from_midnight(real_data, tmp_path):
    names = ["hmi.M_20130104_000034.jpg", "hmi.M_20131023_000054.jpg", "hmi.M_20141231_000034.jpg"]
    for name in names:
        (tmp_path / name).symlink_to(real_data / "hmi_daily" / name)
    index = index_archive(tmp_path)
    assert [Path(path).name for path in index["path"]] == names
    assert index["forecast_time"].tolist() == [
        pd.Timestamp(text, tz="UTC") for text in ("2013-01-04", "2013-10-23", "2014-12-31")
    ]


def test_an_earlier_image_of_the_evening_forecasts_the_next_midnight():
    times = ["2013-10-20T00:00:34Z", "2013-10-20T22:30:00Z", "2013-10-22T01:36:00Z", "2013-10-24T18:00:00Z"]
    index = pd.DataFrame({"path": list("abcd"), "time": pd.to_datetime(times)})
    daily = daily_images(index, limit=timedelta(hours=4))
    # 21st: 22:30 of the 20th. 22nd: what there is at 01:36 is later. 23rd, 24th: too old. 25th: 18:00 is 6 h old.
    assert daily["forecast_time"].tolist() == list(pd.date_range("2013-10-20", "2013-10-25", tz="UTC"))
    assert daily["path"].dropna().tolist() == ["a", "b"]
    assert daily["note"].iloc[:2].tolist() == [
        "",
        "image of 2013-10-20T22:30:00Z for 2013-10-21T00:00:00Z, 1.5 h earlier",
    ]
    assert daily["note"].iloc[2].endswith("is 25.5 h old, at most 4 h are allowed")
    assert daily["time"].isna().tolist() == [False, False, True, True, True, True]
    assert daily_images(index, limit=timedelta(hours=6))["path"].iloc[-1] == "d"


def test_folders_are_searched_through_and_the_first_named_has_precedence(tmp_path):
    for name in ("mdi/1999/20101020_0000_mdimag_512.jpg", "mdi/20101021_0000_mdimag_512.jpg",
                 "hmi/2010/hmi.M_20101021_000034.png", "hmi/hmi.M_20101022_000034.jpg"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_sun(tmp_path / name)
    found = index_archive([tmp_path / "mdi", tmp_path / "hmi"])
    taken = [str(Path(path).relative_to(tmp_path)) for path in found["path"]]
    assert taken == ["mdi/1999/20101020_0000_mdimag_512.jpg", "mdi/20101021_0000_mdimag_512.jpg",
                     "hmi/hmi.M_20101022_000034.jpg"]  # fmt: skip
    assert found.attrs["notes"] == ["1 images passed over: the folder named first has one for their time"]
    found = index_archive([tmp_path / "hmi", tmp_path / "mdi"])
    assert [Path(path).name[:3] for path in found["path"]] == ["201", "hmi", "hmi"]
    # The order may also name a folder of another: its files count as of the first.
    assert [Path(path).name[:3] for path in index_archive([tmp_path / "hmi", tmp_path])["path"]] == [
        "201",
        "hmi",
        "hmi",
    ]
    with pytest.raises(DataError, match="no order says which") as caught:
        index_archive([tmp_path])
    assert str(tmp_path / "mdi/20101021_0000_mdimag_512.jpg") in str(caught.value)
    assert str(tmp_path / "hmi/2010/hmi.M_20101021_000034.png") in str(caught.value)
    assert str(caught.value).endswith("keep one, or give them in folders of their own, the preferred one first")


def test_a_second_folder_that_is_missing_or_empty_is_refused(tmp_path):
    (tmp_path / "hmi").mkdir()
    write_sun(tmp_path / "hmi" / "hmi.M_20101022_000034.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"no file or folder {tmp_path / 'mdi'}"):
        index_archive([tmp_path / "hmi", tmp_path / "mdi"])
    with pytest.raises(DataError, match=f"no magnetogram in {tmp_path / 'empty'}"):
        index_archive([tmp_path / "hmi", tmp_path / "empty"])


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("not a magnetogram")
    with pytest.raises(DataError, match=f"no magnetogram in {tmp_path}: expected files ending in .jpg, .jpeg"):
        index_archive(tmp_path)
    with pytest.raises(DataError, match=f"no magnetogram in {tmp_path}:"):
        magnetogram_files(place for place in [tmp_path])


def test_one_of_several_that_is_missing_is_left_to_the_reader(tmp_path):
    (tmp_path / "sun.jpg").touch()
    places = [tmp_path / "nowhere.jpg", tmp_path / "sun.jpg"]
    assert magnetogram_files(places) == places
    with pytest.raises(DataError, match="no file or folder"):
        magnetogram_files([tmp_path / "nowhere.jpg", tmp_path / "nowhere"])


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"no file or folder {tmp_path / 'nowhere'}"):
        index_archive(tmp_path / "nowhere")


@pytest.mark.parametrize("second", ["a_20131023_000014.jpg", "b_20131022_235954.png"])
def test_two_images_of_one_time_are_refused(tmp_path, second):
    write_sun(tmp_path / "hmi.M_20131023_000054.jpg")
    write_sun(tmp_path / "hmi.M_20131024_000054.jpg")
    write_sun(tmp_path / second)
    with pytest.raises(DataError, match="more than one magnetogram for 2013-10-23T00:00Z") as caught:
        index_archive(tmp_path)
    assert second in str(caught.value)
    assert "hmi.M_20131023_000054.jpg" in str(caught.value)
    assert "20131024" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hmi.M_20131023_000054.jpg", b"404 not found, but as a text file\n"),
        ("hmi.M_20131023_000054.fits", b"404 not found, but as a text file\n"),
        ("hmi.M_20131023_000054.png", b""),
    ],
)
def test_a_file_that_is_no_image_is_named(tmp_path, name, content):
    write_sun(tmp_path / "hmi.M_20131024_000054.jpg")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        index_archive(tmp_path)


def test_an_image_without_a_time_is_named(tmp_path):
    write_sun(tmp_path / "sun.png")
    with pytest.raises(DataError, match=r"sun.png.*must carry its time"):
        index_archive(tmp_path)


def test_files_and_folders_may_be_mixed(tmp_path):
    (tmp_path / "folder").mkdir()
    for suffix in (*SUFFIXES, ".txt"):
        (tmp_path / "folder" / f"x{suffix}").touch()
    (tmp_path / "FOLDER.JPG").touch()
    found = magnetogram_files([tmp_path / "FOLDER.JPG", tmp_path / "folder"])
    # A file that is named is taken whatever its suffix, those of a folder by suffix and in order of name.
    assert found == [tmp_path / "FOLDER.JPG", *sorted(tmp_path / "folder" / f"x{suffix}" for suffix in SUFFIXES)]
    assert magnetogram_files([tmp_path / "folder" / "x.txt"]) == [tmp_path / "folder" / "x.txt"]
