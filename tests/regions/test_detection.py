"""Active regions found in magnetograms made for it, in the synthetic Sun and in observed ones."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.regions.detection import DetectionOptions, detect_regions, merged_boxes
from kflare.sun.constants import MICROHEMISPHERE_CM2
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry
from kflare.synthetic.sun import SyntheticSun

TIME = datetime(2014, 1, 1, tzinfo=UTC)
DISK = Disk(255.5, 255.5, 225.0)
ROWS, COLUMNS = np.mgrid[:512, :512]
VIEW = DiskGeometry(DISK, (512, 512), distance=5e12)


def sun(*patches: tuple[float, float, float, float]) -> Magnetogram:
    """A Sun without any field but round patches: lon, lat, radius (degrees) and radial field (gauss) of each."""
    lon, lat = np.radians(VIEW.lonlat(COLUMNS, ROWS))
    field = np.where(np.isfinite(lon), 0.0, np.nan)
    for where, up, radius, strength in patches:
        x, y = np.radians([where, up])
        cosine = np.sin(lat) * np.sin(y) + np.cos(lat) * np.cos(y) * np.cos(lon - x)
        field = np.where(cosine >= np.cos(np.radians(radius)), strength * VIEW.mu, field)
    return Magnetogram(field.astype(np.float32), TIME, DISK, "synthetic", "made for the test")


@pytest.mark.parametrize(("lon", "lat"), [(0, 0), (0, 40), (-40, 15), (55, -20)])
def test_position_area_and_flux_of_a_patch(lon, lat):
    found = detect_regions(sun((lon, lat, 4, 1000)))
    assert found.status == "regions"
    (region,) = found.regions
    area = 1e6 * (1 - np.cos(np.radians(4)))  # of a cap, in millionths of the hemisphere: 2436
    assert region.area_uhem == pytest.approx(area, rel=0.02)
    assert region.flux_mx == pytest.approx(1000 * area * MICROHEMISPHERE_CM2, rel=0.02)
    assert (region.lon, region.lat) == pytest.approx((lon, lat), abs=0.3)
    assert region.status == "forecast"
    # The patch and 10 arcsec = 0.6 degrees at disk centre on either side, and at most 2 pixels of 0.25 degrees.
    assert region.lat_min <= lat - 4 + 0.1
    assert region.lat_max >= lat + 4 - 0.1
    if lon == 0 == lat:
        assert region.lon_max - region.lon_min == pytest.approx(8 + 1.2, abs=0.6)


def test_polarities_that_touch_are_one_region():
    found = detect_regions(sun((-3, 10, 3, 800), (3, 10, 3, -800)))
    assert len(found.regions) == 1
    assert found.regions[0].lon == pytest.approx(0, abs=0.2)


def test_distant_ones_are_numbered_from_the_east():
    found = detect_regions(sun((30, 10, 3, 800), (-20, -10, 3, -800), (5, 20, 3, 500)))
    assert [region.number for region in found.regions] == [1, 2, 3]
    assert [round(region.lon) for region in found.regions] == [-20, 5, 30]
    assert [region.box for region in found.regions] == found.boxes()
    assert {region.status for region in found.regions} == {"forecast"}


def test_no_sunspot():
    for quiet in (sun(), sun((0, 0, 4, 130)), sun((0, 0, 0.4, 1000))):
        found = detect_regions(quiet)
        assert (found.status, found.regions, found.boxes()) == ("no sunspot", (), [])
    nothing = Magnetogram(np.full((512, 512), np.nan, np.float32), TIME, DISK, "HMI", "all NaN")
    assert detect_regions(nothing).status == "no sunspot"


def test_a_smaller_one_with_a_smaller_minimum():
    # A cap of 0.5 degrees is 38 µHem; on a pixel of 4 arcsec (3.1 µHem) that is about a dozen pixels.
    small = sun((0, 0, 0.5, 1000))
    assert detect_regions(small).status == "no sunspot"
    assert len(detect_regions(small, options=DetectionOptions(minimum_area=20)).regions) == 1


@pytest.mark.parametrize(
    ("lon", "field", "corners"), [(50, False, False), (71, False, True), (77, True, True), (-77, True, True)]
)
def test_limb_rules(lon, field, corners):
    # 71 + 4 degrees ends 0.97 radii from the centre, within the edge of 0.98. The outer corner of its box is at
    # sin(75°) cos(12°) + margin = 0.955 and sin(16°) + margin = 0.286 radii: 0.997, and a pixel more off the disk.
    image = sun((lon, 12, 4, 3000))
    for rule, limb in (("field", field), ("corners", corners)):
        (region,) = detect_regions(image, options=DetectionOptions(limb_rule=rule)).regions
        assert region.limb is limb
        assert region.status == ("not forecast: limb" if limb else "forecast")


def test_radial_finds_what_is_foreshortened():
    # At 60 degrees mu is a half: 200 G radial is 100 G along the line of sight.
    image = sun((60, 0, 4, 200))
    assert detect_regions(image).status == "no sunspot"
    assert len(detect_regions(image, options=DetectionOptions(radial=True)).regions) == 1


def test_an_image_that_saturates_below_the_threshold_is_refused():
    image = replace(sun((0, 0, 4, 100)), byte_range=100.0)
    with pytest.raises(DataError, match="byte 255 must stand for more than the `threshold` of 140 G"):
        detect_regions(image)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"width": 10}, {"edge": 1.0}, {"smoothing": -1}, {"limb_rule": "centre"}]
)
def test_options_out_of_range(wrong):
    with pytest.raises(SettingError, match=f"`{next(iter(wrong))}`"):
        DetectionOptions(**wrong)


def test_mirror_and_polarity():
    image = SyntheticSun(TIME, 2, seed=5).magnetogram(TIME)
    boxes = detect_regions(image).boxes()
    assert len(boxes) >= 3
    assert detect_regions(replace(image, data=-image.data)).boxes() == boxes
    mirrored = detect_regions(replace(image, data=image.data[:, ::-1].copy())).boxes()
    assert sorted((512 - x1, y0, 512 - x0, y1) for x0, y0, x1, y1 in mirrored) == sorted(boxes)


def test_the_same_boxes_at_every_resolution():
    # The finer image is averaged to the pixels of the coarser one first; only its margins end on finer pixels.
    fine = SyntheticSun(TIME, 2, seed=5).magnetogram(TIME, 1024)
    boxes = np.array(detect_regions(fine).boxes())
    coarse = np.array(detect_regions(fine.resized(512)).boxes())
    assert np.abs(2 * coarse - boxes).max() <= 1


SIDE = st.integers(1, 20)
BOXES = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), SIDE, SIDE), max_size=12)


@given(BOXES, st.randoms(use_true_random=False))
def test_merged_boxes(corners, random):
    boxes = [(x, y, x + width, y + height) for x, y, width, height in corners]
    merged, owner = merged_boxes(boxes)
    for number, one in enumerate(merged):
        for other in merged[:number]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        own = [box for box, index in zip(boxes, owner, strict=True) if index == number]
        lows, highs = np.min(own, axis=0)[:2], np.max(own, axis=0)[2:]
        assert one == (*lows, *highs)
    # Whatever the order, the result is the same: the merged boxes are the finest partition without overlaps.
    random.shuffle(boxes)
    assert sorted(merged_boxes(boxes)[0]) == sorted(merged)


def test_the_regions_of_2013_10_23(real_data):
    # Yi et al. (2021), Fig. 2. NOAA gives 11875 at N07W04 and 11877 at S13E23; byte 255 is taken as 250 G.
    image = read_magnetogram(real_data / "hmi_daily" / "hmi.M_20131023_000054.jpg", byte_range=250)
    found = detect_regions(image)
    x, y, _ = found.geometry.pixel([-4, -23], [7, -13])
    for column, row in zip(x, y, strict=True):
        assert sum(x0 <= column < x1 and y0 <= row < y1 for x0, y0, x1, y1 in found.boxes()) == 1
    assert 6 <= len(found.regions) <= 14


def test_a_real_image_of_4096_pixels(real_data):
    (path,) = (real_data / "hmi_fulldisk").glob("*.jp2")
    found = detect_regions(read_magnetogram(path))
    # The one large bipole of 2022-08-02, seen in the picture south of the centre.
    largest = max(found.regions, key=lambda region: region.flux_mx)
    assert (largest.lon, largest.lat) == pytest.approx((4, -15.5), abs=2)
    assert largest.x1 > 2000
