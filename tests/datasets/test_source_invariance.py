"""One Sun through the routes of several archives is one input of the network."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from kflare.datasets.nuisances import as_another_source
from kflare.datasets.preprocessing import _whole_disk, reduced, reduction
from kflare.models.pretraining import line_maps
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.readers.images import magnetogram_from_image
from kflare.observations.readers.reader import Options
from kflare.observations.reduction import rolled
from kflare.sun.disk import Disk, disk_mask
from tools.synthetic.sun import SyntheticSun

TIME = datetime(2014, 1, 11, tzinfo=UTC)
SIZE = 256


def sun(width):
    return SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 12, seed=3).magnetogram(TIME, size=width)


def moved(image, disk, width=512):
    """The Sun with another disk, bilinear, as archives resample: an image of 512 pixels at least as coarse."""
    scale = image.disk.radius / disk.radius
    offset = [image.disk.y - disk.y * scale, image.disk.x - disk.x * scale]
    field = np.where(np.isfinite(image.data), image.data, 0)
    data = ndimage.affine_transform(field, [scale, scale], offset, output_shape=(width, width), order=1)
    magnetogram = Magnetogram(data.astype(np.float32), image.time, disk, "synthetic", "moved")
    data[~magnetogram.on_disk] = np.nan
    return Magnetogram(data.astype(np.float32), image.time, disk, "synthetic", "moved")


def from_file(pixels, byte_range, kind="JPEG"):
    """What the reader makes of an image file, which finds the disk in it."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, quality=90)
    return magnetogram_from_image(stream.getvalue(), Options("sun_20140103_000000.jpg", byte_range=byte_range))


def jpeg(image, disk):
    return from_file(moved(image.resized(512), disk).to_bytes(250), 250.0)


def resampled(image):
    """512 pixels to 460 and back, each bilinear."""
    pixels = Image.fromarray(image.resized(512).to_bytes(250))
    for width in (460, 512):
        pixels = pixels.resize((width, width), Image.Resampling.BILINEAR)
    return from_file(np.asarray(pixels), 250.0, "PNG")


def in_bytes(image, limit, width=512):
    return from_file(image.resized(width).to_bytes(limit), float(limit), "PNG")


def turned(image):
    data = rolled(image.data, 0.5, image.disk.x, image.disk.y)
    return Magnetogram(data, image.time, image.disk, "synthetic", "rolled")


#: Each route, the one it is compared with, and the least correlation of the fields. Where bytes are, field beyond
#: ±250 G is cut before the mean, for which no reduction can make up: they are compared with others that are cut.
ROUTES = {
    "1024 pixels": (lambda image: image.resized(1024), lambda image: image, 0.999),
    "512 pixels": (lambda image: image.resized(512), lambda image: image, 0.999),
    "bytes of 1000 G": (lambda image: in_bytes(image, 1000), lambda image: image, 0.995),
    "JPEG, radius 200": (lambda image: jpeg(image, Disk(255.5, 255.5, 200)), lambda image: in_bytes(image, 250), 0.99),
    "JPEG, radius 225": (lambda image: jpeg(image, Disk(255.5, 255.5, 225)), lambda image: in_bytes(image, 250), 0.99),
    "JPEG off centre": (lambda image: jpeg(image, Disk(259, 250.1, 213.7)), lambda image: in_bytes(image, 250), 0.99),
    "all bytes": (lambda image: in_bytes(image, 250, len(image.data)), lambda image: in_bytes(image, 250), 0.99),
    "512 to 460 to 512": (resampled, lambda image: in_bytes(image, 250), 0.98),
    "roll": (turned, lambda image: image, 0.95),  # which moves the limb by a pixel of the network's
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


@pytest.mark.parametrize("name", ROUTES)
def test_one_sun_is_one_input_by_whatever_route(image, name):
    """Before, the disk stayed as large and where it was (correlation 0.07 to 0.85) and saturated pixel by pixel."""
    route, reference, least = ROUTES[name]
    correlation, (line, root, flux) = compared(route(image), reference(image))
    assert correlation > least
    # Few regions make the field at lines: what another grid of pixels does to one of them is seen.
    assert abs(line) < 0.12
    assert abs(root) < 0.12
    assert abs(flux) < 0.05


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
