"""In a run an image is decoded once, for its fingerprint, proxies, flux maps, training, folds and seeds together."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from PIL import Image

from kflare.commands import crossvalidate, fit
from kflare.flares.catalogue import FlareList
from kflare.observations.readers import images as reader
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Six days of each of four years, and flares on every other day."""
    folder, sun = tmp_path_factory.mktemp("archive"), SyntheticSun(datetime(2011, 1, 1, tzinfo=UTC), 1200, seed=2)
    days = [datetime(year, 1, 2 + day, tzinfo=UTC) for year in (2011, 2012, 2013, 2014) for day in range(6)]
    (folder / "images").mkdir()
    for time in days:
        field = sun.magnetogram(time, size=128).to_bytes(100)
        Image.fromarray(field).save(folder / "images" / f"synthetic_{time:%Y%m%d_%H%M%S}.png")
    # One more flare at the end, to which the list must reach.
    starts = pd.DatetimeIndex([time + timedelta(hours=6) for time in [*days[::2], days[-1] + timedelta(days=1)]])
    flares = pd.DataFrame({"start": starts, "peak": starts, "end": starts, "goes_class": "M1.0"})
    FlareList(flares, "test").write_csv(folder / "flares.csv")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """How often each file was decoded."""
    counts: Counter[str] = Counter()
    decode = reader.decode_grey

    def counting(payload, *, source):
        counts[source] += 1
        return decode(payload, source=source)

    monkeypatch.setattr(reader, "decode_grey", counting)
    return counts


# Failed before: an image was decoded for its time, for its proxies and its flux maps, and anew for training, validation
# and test of each fold and seed. 3.25 times in this fit (2.25 without --pretrain), 6.5 times in this cross-validation.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "options"),
    [
        (fit, ["--train-until", "2013-01-01", "--validate-until", "2014-01-01", "--no-publish", "--pretrain"]),
        (crossvalidate, ["--test-years", "2013", "2014", "--seeds", "0", "1", "--resamples", "20"]),
    ],
    ids=["fit", "crossvalidate, two years and two seeds"],
)
def test_every_image_is_decoded_once(archive, decoded, tmp_path, command, options):
    arguments = ["cnn-m", "--magnetograms", archive / "images", "--flares", archive / "flares.csv"]
    arguments += ["--image-size", 128, "--epochs", 1, "--output", tmp_path / "run", *options]
    assert command.main([str(argument) for argument in arguments]) == 0
    assert decoded == Counter(str(path) for path in (archive / "images").iterdir())
