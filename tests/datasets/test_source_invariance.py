"""One Sun through the routes of several archives is one input of the network."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import tensorflow as tf

from kflare.datasets.nuisances import as_another_source
from kflare.datasets.preprocessing import _whole_disk, reduced, reduction
from kflare.models.pretraining import line_maps
from kflare.sun.disk import Disk, disk_mask
from kflare.synthetic.sun import SyntheticSun
from tools.source_invariance import ROUTES, as_file

TIME = datetime(2014, 1, 11, tzinfo=UTC)
SIZE = 256


def sun(width):
    return SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 12, seed=3).magnetogram(TIME, size=width)


def in_bytes(image, limit):
    return as_file(image.resized(512).to_bytes(limit), limit)


def cut(image):
    return in_bytes(image, 250)


def cut_before(image):
    """Pixel by pixel before anything is averaged, as the routes that move the disk cut it."""
    return replace(image, data=np.clip(image.data, -250, 250))


#: Of each route the one it is compared with, and the least correlation of the fields. Where bytes are, field beyond
#: ±250 G is cut before the mean, for which no reduction can make up: they are compared with others that are cut.
EXPECTED = {
    "1024 pixels": (None, 0.999),
    "512 pixels": (None, 0.999),
    "512 pixels, JPEG of ±250 G": (cut, 0.99),
    "all pixels, bytes of ±250 G": (cut, 0.99),
    "JPEG of ±250 G, a disk of radius 200": (cut_before, 0.99),
    "JPEG of ±250 G, a disk of radius 225": (cut_before, 0.99),
    "JPEG of ±250 G, a disk off the middle": (cut_before, 0.99),
    "512 → 460 → 512 pixels, bytes of ±250 G": (cut, 0.98),
    "bytes of ±1000 G": (None, 0.995),
    "bytes of ±100 G (the papers')": (lambda image: in_bytes(image, 100), 0.999),
    "rolled by 0.5°": (None, 0.95),  # which moves the limb by a pixel of the network's
    "noise of 10 G, rolled by 1°, off the middle by 3 pixels": (ROUTES["rolled by 0.5°"], 0.9),
}


def lines(field):
    """Means over the image of the maps: field at lines, its root, and flux."""
    return line_maps(tf.constant(field[None, ..., None])).numpy().mean(axis=(0, 1, 2))[[0, 2, 3]]


def compared(first, second):
    fields = [reduced(image, size=SIZE) for image in (first, second)]
    np.testing.assert_array_equal(*(np.isfinite(field) for field in fields))
    seen = np.isfinite(fields[0])
    return np.corrcoef(fields[0][seen], fields[1][seen])[0, 1], lines(fields[0]) / lines(fields[1]) - 1


@pytest.fixture(scope="module", params=[1024, pytest.param(4096, marks=pytest.mark.slow)])
def image(request):
    return sun(request.param)


def test_every_route_is_held_to_something():
    assert list(EXPECTED) == list(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
def test_one_sun_is_one_input_by_whatever_route(image, name):
    """Before, the disk stayed as large and where it was (correlation 0.07 to 0.85) and saturated pixel by pixel."""
    reference, least = EXPECTED[name]
    correlation, (line, root, flux) = compared(ROUTES[name](image), reference(image) if reference else image)
    assert correlation > least
    # Few regions make the field at lines: what another grid of pixels does to one of them is seen.
    assert abs(line) < 0.12
    assert abs(root) < 0.12
    assert abs(flux) < (0.15 if "noise" in name else 0.05)  # noise of 10 G is flux everywhere


def test_what_clipping_before_the_mean_costs(image):
    """±1000 G nothing, ±250 G a third of the field at lines and a few percent of the flux, ±100 G most of it."""
    cost = {limit: compared(in_bytes(image, limit), image)[1] for limit in (1000, 250, 100)}
    assert abs(cost[1000][0]) < 0.05
    assert -0.5 < cost[250][0] < -0.1
    assert -0.1 < cost[250][2] < 0.0
    assert -0.9 < cost[100][0] < -0.5


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.25, -0.5), (3.4, 7.7)])
@pytest.mark.parametrize("damage", ["none", "gap at the limb", "bad pixels"])
def test_the_disk_is_found_to_a_tenth_of_a_pixel(shift, damage):
    disk = Disk(255.5 + shift[0], 255.5 + shift[1], 221.3)
    measured = disk_mask(512, disk)
    random = np.random.default_rng(1)
    if damage == "gap at the limb":
        measured[100:140, :300] = False  # 40 rows, up to and beyond the edge
    if damage == "bad pixels":
        measured ^= random.random((512, 512)) < 2e-4  # 50 pixels, on the disk and off it
    found = _whole_disk(tf.constant(measured)).numpy()
    np.testing.assert_allclose(found, [disk.x, disk.y, disk.radius], rtol=0, atol=0.1)


def test_a_guise_keeps_the_sun_and_is_the_same_for_the_same_draws():
    """Ten guises: each is another image, of which the network sees nearly the same."""
    image = sun(512)
    plain = reduced(image, size=SIZE)
    seen = np.isfinite(plain)
    found = [as_another_source(image, np.random.default_rng(number)) for number in range(10)]
    np.testing.assert_array_equal(found[3], as_another_source(image, np.random.default_rng(3)))
    assert len({field.tobytes() for field in found}) == 10
    for field in found:
        assert field.dtype == np.float32
        guise = reduction(SIZE)(field).numpy()
        assert np.isfinite(guise)[seen].mean() > 0.999
        both = seen & np.isfinite(guise)
        # Up to 1.5 degrees of roll, 15 G of noise and ±100 G.
        assert np.corrcoef(guise[both], plain[both])[0, 1] > 0.7
