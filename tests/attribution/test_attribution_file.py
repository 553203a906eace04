import itertools
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from kflare.attribution.attribution_file import (
    LABELS,
    METHODS,
    Attribution,
    Origin,
    read_attribution,
    read_origin,
    write_attribution,
)
from kflare.errors import DataError, ModelError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.world import header_of, map_of
from kflare.sun.disk import Disk, network_disk

TIME = datetime(2014, 2, 4, 0, 0, 54, tzinfo=UTC)
ORIGIN = Origin("cnn-m", 3, "0123456789abcdef")


def magnetogram(size=128, *, spot=None):
    """Zero field; where `spot` is given, 100 G there and in the eight pixels around. The disk lies a little off."""
    data = np.zeros((size, size), np.float32)
    if spot is not None:
        data[spot[0] - 1 : spot[0] + 2, spot[1] - 1 : spot[1] + 2] = 100
    disk = Disk(0.51 * size, 0.49 * size, 0.44 * size)
    return Magnetogram(data, TIME, disk, "HMI", "archive/hmi.M_20140204_000054.jpg", 250.0)


def outputs(*, size=128, cells=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "probability": np.array([0.25, 0.75], np.float32),
        "calibrated": np.array([0.1, 0.3], np.float32),
        "cam": (1e-2 * rng.normal(0, 1, (2, size // 2, size // 2, 2)) ** 5).astype(np.float32),
        "grad_cam": rng.normal(0, 1e-4, (2, cells, cells, 2)).astype(np.float32),
        "grad_cam_share": np.array([[0.5, 0.25], [-0.125, 0.0625]], np.float32),
        # As of a trained network: few strong gradients, many that are ten thousand times weaker.
        "grad_cam_plus_plus": rng.uniform(0, 1e-4, (2, cells, cells, 2)).astype(np.float32),
        "saliency": (1e-3 * rng.normal(0, 1, (2, size, size, 2)) ** 9).astype(np.float32),
        "guided_backprop": (1e-3 * rng.normal(0, 1, (2, size, size, 2)) ** 9).astype(np.float32),
    }


@pytest.fixture(scope="module")
def attribution():
    return Attribution.of_reply(outputs(), 1, magnetogram(), origin=ORIGIN)


def test_what_is_read_is_what_was_written(attribution, tmp_path):
    write_attribution(attribution, tmp_path / "a.fits")
    read = read_attribution(tmp_path / "a.fits")
    for name in ("image", "time", "byte_range", "origin", "probability", "calibrated"):
        assert getattr(read, name) == getattr(attribution, name)
    for method in METHODS:
        np.testing.assert_array_equal(read.maps[method], attribution.maps[method])
        assert read.maps[method].dtype == np.float32
    assert read.share == attribution.share == (-0.125, 0.0625)
    assert read.header == attribution.header
    assert read_origin(tmp_path / "a.fits") == (ORIGIN, 250.0, METHODS)
    assert read.image == "hmi.M_20140204_000054.jpg"
    assert (read.probability, read.calibrated) == (0.75, pytest.approx(0.3))
    # And written again it is the same file, so that a resumed export differs in nothing.
    write_attribution(read, tmp_path / "b.fits")
    for method in METHODS:
        np.testing.assert_array_equal(read_attribution(tmp_path / "b.fits").maps[method], read.maps[method])


def test_a_model_without_the_exact_cam(tmp_path):
    given = {name: outputs()[name] for name in ("probability", "calibrated", "grad_cam", "guided_backprop")}
    write_attribution(Attribution.of_reply(given, 1, magnetogram(), origin=ORIGIN), tmp_path / "a.fits")
    read = read_attribution(tmp_path / "a.fits")
    assert list(read.maps) == ["grad_cam", "guided_backprop"]
    assert np.isnan(read.share).all()
    read.require("grad_cam")
    with pytest.raises(DataError, match=r"cnn-m version 3 gave no `cam` of `hmi.*`, only grad_cam, guided_backprop"):
        read.require("cam")


def test_maps_are_kept_to_1e_5_of_their_largest_value(attribution):
    given = outputs()
    np.testing.assert_array_equal(attribution.maps["grad_cam"], given["grad_cam"][1])
    for method, label in itertools.product(("cam", "guided_backprop"), range(2)):
        wanted = given[method][1, ..., label]
        error = np.abs(attribution.maps[method][..., label] - wanted).max()
        assert 0 < error <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("exact", [False, True])
def test_the_magnetogram_on_the_pixels_of_the_maps(exact):
    image = magnetogram(256, spot=(100, 70))
    given = outputs() if exact else {name: value for name, value in outputs().items() if name != "cam"}
    found = Attribution.of_reply(given, 1, image, origin=ORIGIN)
    shown = found.on_maps(image)
    disk = network_disk(128) if exact else image.disk.resized(256, 128)
    assert (shown.disk.x, shown.disk.y, shown.disk.radius) == pytest.approx((disk.x, disk.y, disk.radius))
    column, row = disk.place_of(70, 100, image.disk)
    bright = np.nan_to_num(shown.data)
    rows, columns = np.indices(bright.shape)
    assert (bright * rows).sum() / bright.sum() == pytest.approx(row, abs=0.1)
    assert (bright * columns).sum() / bright.sum() == pytest.approx(column, abs=0.1)


def test_files_are_small(attribution, tmp_path):
    write_attribution(attribution, tmp_path / "a.fits")
    # Four maps of 128² float32 are 262 kB, two of 64² 33 kB; headers of eleven HDUs take 60 kB.
    assert (tmp_path / "a.fits").stat().st_size < 220_000


def test_a_map_of_zeros_and_an_image_without_byte_range(tmp_path):
    given = {name: np.zeros_like(value) for name, value in outputs().items()}
    found = Attribution.of_reply(given, 0, replace(magnetogram(), byte_range=None), origin=Origin("cnn-m", 1))
    write_attribution(found, tmp_path / "a.fits")
    read = read_attribution(tmp_path / "a.fits")
    assert not any(values.any() for values in read.maps.values())
    assert read_origin(tmp_path / "a.fits") == (Origin("cnn-m", 1, ""), None, METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_that_is_no_number_is_refused(method):
    given = outputs()
    given[method][1, 2, 2, 0] = np.nan
    Attribution.of_reply(given, 0, magnetogram(), origin=ORIGIN)
    with pytest.raises(ModelError, match=r"cnn-m version 3 for `archive/hmi.* hold NaN"):
        Attribution.of_reply(given, 1, magnetogram(), origin=ORIGIN)


# A spot in the north east, as (row, column) of the image, and the model's input 128, 256 or 192 pixels wide.
# A model that answers the exact CAM sees the Sun on one disk, an older one the image as it is.
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("width", "size", "cells"), [(128, 128, 4), (512, 256, 8), (384, 192, 6), (400, 200, 6)])
def test_maps_lie_over_the_magnetogram_in_sunpy(tmp_path, width, size, cells, exact):
    import sunpy.map

    spot = (round(0.30 * width), round(0.25 * width))
    image = magnetogram(width, spot=spot)
    row, column = ((place + 0.5) * size / width - 0.5 for place in spot)
    shrunk = width / size
    if exact:
        column, row = network_disk(size).place_of(spot[1], spot[0], image.disk)
        shrunk = image.disk.radius / network_disk(size).radius
    cell = 2 ** int(np.log2(size / cells))
    maps = {
        "cam": np.zeros((1, size // 2, size // 2, 2), np.float32),
        "grad_cam": np.zeros((1, cells, cells, 2), np.float32),
        "guided_backprop": np.zeros((1, size, size, 2), np.float32),
    }
    maps["guided_backprop"][0, round(row), round(column), 1] = 1
    maps["cam"][0, int((row + 0.5) / 2), int((column + 0.5) / 2), 1] = 1
    maps["grad_cam"][0, int((row + 0.5) / cell), int((column + 0.5) / cell), 1] = 1
    if not exact:
        del maps["cam"]
    given = {"probability": np.array([0.5]), "calibrated": np.array([0.5]), **maps}
    write_attribution(Attribution.of_reply(given, 0, image, origin=ORIGIN), tmp_path / "a.fits")

    here = map_of(image)
    brightest = np.argwhere(here.data == 100).mean(axis=0)
    source = here.wcs.pixel_to_world(brightest[1], brightest[0])
    assert source.Tx < 0 < source.Ty  # north east
    opened = {found.meta["extname"]: found for found in sunpy.map.Map(tmp_path / "a.fits")}
    assert list(opened) == [f"{method}_{label}".upper() for method in maps for label in reversed(LABELS)]
    reaches = {"GUIDED_BACKPROP_FLARE": 1, "GRAD_CAM_FLARE": cell} | ({"CAM_FLARE": 2} if exact else {})
    for name, reach in reaches.items():
        found = opened[name]
        place = np.argwhere(found.data > 0.5)[0]
        world = found.wcs.pixel_to_world(place[1], place[0])
        # The centre of a cell lies at most half a cell from what is in it.
        half = 0.51 * found.meta["cdelt1"]
        assert abs((world.Tx - source.Tx).to_value("arcsec")) <= half
        assert abs((world.Ty - source.Ty).to_value("arcsec")) <= half
        assert found.meta["cdelt1"] == pytest.approx(here.meta["cdelt1"] * reach * shrunk)
        assert found.observer_coordinate.separation_3d(here.observer_coordinate).to_value("km") < 1
        assert found.rsun_obs.value == pytest.approx(here.rsun_obs.value, rel=1e-12)
        assert found.date == here.date
        assert (found.meta["model"], found.meta["modelver"], found.meta["prob"]) == ("cnn-m", 3, 0.5)
        assert (found.meta["method"], found.meta["label"]) == (name.lower().removesuffix("_flare"), "flare")
    assert opened["GRAD_CAM_FLARE"].meta["layer"] == "last convolution"
    # Seen from the whole frame: the corners of the map are those of the image, but for the pixels that pooling drops.
    corner = opened["GRAD_CAM_FLARE"].wcs.pixel_to_world(-0.5, cells - 0.5)
    x, y = image.disk.place_of(-0.5, -0.5, network_disk(size)) if exact else (-0.5, -0.5)
    wanted = here.wcs.pixel_to_world(x, width - 1 - y)
    assert corner.separation(wanted).to_value("arcsec") < 0.01


def test_the_frame_is_the_networks_of_the_magnetogram(attribution):
    image = magnetogram()
    for name in ("x", "y", "radius"):
        assert getattr(attribution.frame.disk, name) == pytest.approx(getattr(network_disk(128), name), abs=1e-9)
    assert attribution.frame.time == TIME
    assert attribution.frame.roll == 0
    assert header_of(attribution.frame)["CRLN_OBS"] == pytest.approx(header_of(image)["CRLN_OBS"])


@pytest.mark.parametrize("kept", [0, 100, 2880, 20000, -3000])
def test_a_damaged_file_is_refused(attribution, tmp_path, kept):
    path = tmp_path / "a.fits"
    write_attribution(attribution, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.fits` is no whole attribution file.*run again"):
        read_attribution(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "a.fits")
    for read in (read_attribution, read_origin):
        with pytest.raises(DataError, match=r"a\.fits` is no .*attribution file"):
            read(tmp_path / "a.fits")
