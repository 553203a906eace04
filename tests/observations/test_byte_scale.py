"""Which field byte 255 stands for: who is believed, and what the quiet Sun says to it."""

import io
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from kflare.errors import DataError
from kflare.observations.byte_scale import IN_USE, choose_byte_scale, quiet_noise, scale_note
from kflare.observations.magnetogram import ByteScale
from kflare.observations.reading import read_magnetogram
from kflare.sun.disk import Disk
from kflare.synthetic.sun import SyntheticSun

TIME = datetime(2014, 3, 1, tzinfo=UTC)


def noise(radius, sigma, seed=0):
    """A Sun of no field but white noise, in bytes."""
    width = 2 * radius + 12
    image = np.random.default_rng(seed).normal(127.5, sigma, (width, width)).clip(1, 255).round().astype(np.uint8)
    return image, Disk((width - 1) / 2, (width - 1) / 2, radius)


@pytest.fixture(scope="module")
def sun():
    """The made-up Sun, whose quiet noise at 512 pixels is like that of HMI: about 2.3 G."""
    return SyntheticSun(TIME, 2, seed=11).magnetogram(TIME, size=512)


def choose(sun, gauss, *, name="hmi.M_20140301_000000.jpg", instrument="HMI", **told):
    return choose_byte_scale(sun.to_bytes(gauss), sun.disk, source=name, instrument=instrument, **told)


def test_white_noise_is_measured_and_falls_with_the_pixels_averaged():
    # Of 64 values the scaled median deviation scatters by about 1.17 / sqrt(64) = 15 % of sigma: the tenth percentile
    # of the blocks lies 1.28 times as much below.
    known = 20 * (1 - 1.28 * 0.146)
    assert quiet_noise(*noise(100, 20.0)) == pytest.approx(known, rel=0.06)
    # Areas of 2 × 2 pixels have half of it, of 4 × 4 a quarter.
    assert quiet_noise(*noise(200, 20.0)) == pytest.approx(known / 2, rel=0.06)
    assert quiet_noise(*noise(400, 20.0)) == pytest.approx(known / 4, rel=0.06)


def test_what_cannot_be_measured_is_nan():
    assert math.isnan(quiet_noise(*noise(99, 20.0)))
    image, disk = noise(150, 20.0)
    image[: len(image) // 2 + 10] = 0  # not measured, or saturated
    assert math.isnan(quiet_noise(image, disk))


def test_a_saturated_active_day_has_quiet_blocks():
    image, disk = noise(225, 10.0)
    quiet = quiet_noise(image, disk)
    side = np.random.default_rng(1)
    for _ in range(40):
        x, y = side.integers(130, 310, 2)
        image[y : y + 12, x : x + 12], image[y : y + 12, x + 12 : x + 24] = 255, 0
    assert np.isin(image[130:322, 130:322], (0, 255)).mean() > 0.2
    assert quiet_noise(image, disk) == pytest.approx(quiet, rel=0.1)


def test_who_is_believed(sun):
    told = {"header": 240.0, "option": 260.0, "model": 300.0}
    assert choose(sun, 250, **told) == ByteScale(
        240.0, "header", "hmi.M_20140301_000000.jpg", pytest.approx(2.1, abs=0.4)
    )
    assert (choose(sun, 250, option=260.0, model=300.0).gauss, choose(sun, 250, model=300.0).gauss) == (260.0, 300.0)
    assert choose(sun, 250, model=300.0).why == "model"
    named = choose(sun, 100, name="20140301_0000_hmimag_512.jpg", model=110.0)
    assert (named.gauss, named.why) == (100.0, "name of its archive")
    for gauss in IN_USE:
        found = choose(sun, gauss)
        assert (found.gauss, found.why, found.doubt) == (gauss, "measured", "")


def test_a_model_that_learnt_from_other_images_is_not_believed(sun):
    assert (choose(sun, 100, model=250.0).gauss, choose(sun, 100, model=250.0).why) == (100.0, "measured")
    # A server tells nothing of its model: the same file gets the same scale.
    assert choose(sun, 250, model=250.0).gauss == choose(sun, 250).gauss


@pytest.mark.parametrize(
    ("gauss", "told", "message"),
    [
        (250, {"option": 100.0}, r"100 G \(--byte-range\).*0\.\d G, usual are 1\.6 to 5 G; .*: give another --byte"),
        (100, {"option": 250.0}, "cannot stand for 250 G .* about 100 G"),
        (250, {"option": 1000.0}, "cannot stand for 1000 G .* about 250 G"),
        (250, {"name": "20140301_0000_hmimag_512.jpg"}, r"cannot stand for 100 G \(name of its archive\)"),
        (30, {}, r"cannot stand for 100 G \(assumed as in the papers\).* it stands for about [34]\d(\.\d)? G"),
    ],
)  # fmt: skip
def test_an_image_that_contradicts_is_refused(sun, gauss, told, message):
    with pytest.raises(DataError, match=message):
        choose(sun, gauss, **told)


def test_where_the_noise_is_not_known_it_is_a_doubt(sun):
    found = choose(sun, 250, instrument="unknown", option=100.0)
    assert (found.gauss, found.why) == (100.0, "--byte-range")
    assert "it stands for about 250 G: give another --byte-range (`byte_range`)" in found.doubt
    assert "may be of another, as `hmi" in scale_note([found])
    # A header is believed, but it is said.
    assert choose(sun, 250, header=100.0).doubt.endswith("about 250 G: its header is believed")
    # Made-up images have any noise.
    assert choose(sun, 30, instrument="synthetic", name="synthetic_20140301_000000.jpg").doubt == ""


def test_a_jpeg_of_coarse_bytes_has_lost_its_noise(sun):
    stream = io.BytesIO()
    Image.fromarray(sun.to_bytes(1500)).save(stream, "JPEG", quality=75)
    image = np.asarray(Image.open(stream))
    about = {"source": "hmi.M_20140301_000000.jpg", "instrument": "HMI"}
    assert quiet_noise(image, sun.disk) == 0
    assert choose_byte_scale(image, sun.disk, option=1500.0, **about).doubt == ""
    with pytest.raises(DataError, match="it stands for more than 350 G"):
        choose_byte_scale(image, sun.disk, **about)


def test_what_is_said_of_many():
    scales = [ByteScale(250.0, "measured", "a.jpg", 10.25), None, ByteScale(250.0, "measured", "b.jpg", 2.5),
              ByteScale(1000.0, "header", "c.jp2")]  # fmt: skip
    said = "byte 255 is 250 G in 2 images (measured; noise of the quiet Sun 2.5 to 10.2 G); 1000 G in `c.jp2` (header)"
    assert scale_note(scales) == said
    assert scale_note([None]) == ""


def test_a_bad_option(sun):
    with pytest.raises(DataError, match=r"`byte_range` \(--byte-range\) must be"):
        choose(sun, 250, option=-1.0)


@pytest.mark.parametrize(
    "name", ["20130104_000034", "20130920_000034", "20131023_000054", "20141024_000034", "20141117_000034"]
)
def test_real_images_of_hmi(real_data, name):
    """The quietest and the most active day, and the day whose forecast was 99.2 % or 5.1 %, by what one remembered."""
    path = real_data / "hmi_daily" / f"hmi.M_{name}.jpg"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    assert read_magnetogram(path).byte_scale.why == "measured"
    assert read_magnetogram(path).byte_range == read_magnetogram(path, byte_range=250.0).byte_range == 250.0
    for wrong in (100.0, 1000.0):
        with pytest.raises(DataError, match="it stands for about 250 G"):
            read_magnetogram(path, byte_range=wrong)


@pytest.mark.parametrize("day", ["19991211", "20101015"])
def test_real_images_of_mdi(real_data, tmp_path, day):
    """An active and a quiet day, as SOHO's archive has them, ±100 G."""
    field = read_magnetogram(real_data / "mdi" / f"mdi.fd_M_96m_lev182.{day}_000000_TAI.data.fits").resized(512)
    path = tmp_path / f"{day}_0000_mdimag_512.jpg"
    Image.fromarray(field.to_bytes(100.0)).save(path, quality=85)
    assert read_magnetogram(path).byte_scale.why == "name of its archive"
    with pytest.raises(DataError, match="it stands for about 100 G"):
        read_magnetogram(path, byte_range=250.0)


def test_one_option_serves_files_with_and_without_a_header(real_data):
    (path,) = (real_data / "hmi_fulldisk").glob("*.jp2")
    read = read_magnetogram(path, byte_range=100.0)
    assert (read.byte_range, read.byte_scale.why, read.byte_scale.doubt) == (250.0, "header", "")
