"""Files of the same time, for the fidelity checks."""

import pytest

from kflare.errors import DataError, SettingError
from kflare.observations.similarity.pairs import file_pairs
from tests.standin import picture, quick_export


@pytest.fixture
def folders(tmp_path):
    images, data = tmp_path / "images", tmp_path / "data"
    images.mkdir()
    data.mkdir()
    for name in ("20131020_0000", "20131021_0000", "20131022_0000"):
        (images / f"{name}_mdimag_512.jpg").write_bytes(picture("JPEG"))
    (images / "README.txt").write_text("20131020_0000")
    # 00:10:00 TAI is 00:09:25 UTC in 2013.
    for name in ("20131020_001000", "20131021_003600"):
        (data / f"hmi.M_720s.{name}_TAI.magnetogram.fits").write_bytes(quick_export())
    return images, data


def test_each_with_the_nearest_of_the_other_folder(folders):
    pairs = file_pairs(folders)
    # The 21st is 35 min apart, the 22nd has none.
    assert [(one.name[:8], other.name[11:19]) for one, other in pairs] == [("20131020", "20131020")]
    assert [path.suffix for path in pairs[0]] == [".jpg", ".fits"]


def test_images_with_data_in_one_folder(folders):
    images, data = folders
    for path in data.iterdir():
        path.rename(images / path.name)
    assert [path.suffix for path in file_pairs([images])[0]] == [".jpg", ".fits"]


def test_nothing_to_pair(folders, tmp_path):
    with pytest.raises(DataError, match="no two of 3 and 0 magnetograms"):
        file_pairs(folders[:1])
    with pytest.raises(SettingError, match="is no folder"):
        file_pairs([tmp_path / "nothing"])
