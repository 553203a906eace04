"""Pixels of the disk on the Sun and back."""

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.world import map_of
from kflare.sun.constants import MICROHEMISPHERE_CM2, SOLAR_RADIUS_CM
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry, Observer, common_area, earth_at, rotated

TIME = datetime(2014, 3, 5, 6, tzinfo=UTC)


def magnetogram(**options) -> Magnetogram:
    return Magnetogram(np.zeros((512, 512), np.float32), TIME, Disk(255.8, 255.2, 225.0), "HMI", "test", **options)


# sunpy counts the time that light takes to the spacecraft: 165 s less than to the Earth, in which the Sun turns 0.03°.
@pytest.mark.parametrize(
    ("observer", "tolerance"),
    [(None, 1e-6), (Observer(lon=150.0, lat=-3.0, distance=1.0e11), 0.05)],
    ids=["the Earth", "another spacecraft"],
)
def test_agrees_with_sunpy(observer, tolerance):
    from astropy import units as u
    from sunpy.coordinates import HeliographicStonyhurst

    # A roll of 0.2 degrees and B0 = -7.2: whatever is turned the wrong way shows.
    image = magnetogram(observer=observer, roll=0.2)
    geometry = image.geometry
    x = np.array([255.8, 100.0, 300.0, 400.0, 255.0, 470.0, 60.0])
    y = np.array([255.2, 120.0, 90.0, 300.0, 450.0, 255.0, 200.0])
    solar_map = map_of(image)
    seen = solar_map.pixel_to_world(x * u.pix, (511 - y) * u.pix)
    expected = seen.transform_to(HeliographicStonyhurst(obstime=solar_map.reference_date))
    lon, lat = geometry.lonlat(x, y)
    assert np.abs((lon - expected.lon.deg + 180) % 360 - 180).max() < tolerance
    assert np.abs(lat - expected.lat.deg).max() < 1e-6


@given(
    lon=st.floats(-60, 60),
    lat=st.floats(-60, 60),
    b0=st.floats(-7.3, 7.3),
    roll=st.floats(-180, 180),
    distance=st.floats(1e10, 5e12),
)
def test_there_and_back(lon, lat, b0, roll, distance):
    geometry = DiskGeometry(Disk(510.0, 514.0, 450.0), (1024, 1024), b0=b0, l0=20.0, distance=distance, roll=roll)
    x, y, visible = geometry.pixel(lon + 20, lat)
    if visible:
        back = geometry.lonlat(x, y)
        # Near the limb a pixel is many degrees wide, and so is its rounding error.
        mu = float(geometry.mu_at(x, y))
        assert np.abs(np.array(back) - [lon + 20, lat]).max() < 1e-6 / mu**2


def test_behind_the_limb_is_not_visible():
    geometry = DiskGeometry(Disk(255.5, 255.5, 225.0), (512, 512))
    _, _, visible = geometry.pixel([0, 89, 91, 180], [0, 0, 0, 0])
    # From 1 au the limb is a quarter of a degree this side of 90 degrees.
    assert visible.tolist() == [True, True, False, False]


def test_north_is_up_and_west_is_right():
    geometry = DiskGeometry(Disk(255.5, 255.5, 225.0), (512, 512))
    lon, lat = geometry.lonlat([255.5, 400.0, 255.5], [255.5, 255.5, 100.0])
    assert lon == pytest.approx([0, np.degrees(np.arcsin(144.5 / 225)), 0], abs=0.3)
    assert lat == pytest.approx([0, 0, np.degrees(np.arcsin(155.5 / 225))], abs=0.3)
    assert np.isnan(geometry.lonlat(0.0, 0.0)).all()


def test_areas_add_up_to_the_cap():
    # From infinity mu > 0.1 is a cap of 0.9 of the hemisphere.
    geometry = DiskGeometry(Disk(255.5, 255.5, 225.0), (512, 512), distance=9e12)
    rows, columns = np.mgrid[:512, :512]
    area = geometry.pixel_area_cm2(columns, rows)
    assert area[geometry.mu > 0.1].sum() / MICROHEMISPHERE_CM2 == pytest.approx(0.9e6, rel=2e-3)
    assert area[255, 255] == pytest.approx((SOLAR_RADIUS_CM / 225) ** 2, rel=1e-3)


def test_mu_of_all_pixels_is_that_of_each():
    geometry = DiskGeometry(Disk(250.3, 260.2, 225.0), (512, 512), roll=30.0)
    rows, columns = np.mgrid[:512, :512]
    each = geometry.mu_at(columns, rows)
    clear = np.nan_to_num(each) > 0.05
    assert geometry.mu.dtype == np.float32
    assert np.abs(geometry.mu - each)[clear].max() < 1e-4


def test_what_a_box_spans():
    geometry = DiskGeometry(Disk(255.5, 255.5, 225.0), (512, 512), distance=5e12)
    # Edges at 143 and 368 are half a radius from the centre: 30 degrees on either side of the equator's middle.
    lon_min, lon_max, lat_min, lat_max = geometry.box_lonlat((143, 256, 369, 257))
    assert (lon_min, lon_max) == pytest.approx((-30, 30), abs=0.2)
    assert (lat_min, lat_max) == pytest.approx((-0.4, 0.0), abs=0.3)
    assert np.isnan(geometry.box_lonlat((0, 0, 10, 10))).all()


def test_the_synthetic_sun_is_seen_from_its_equator():
    image = Magnetogram(np.zeros((64, 64), np.float32), TIME, Disk(31.5, 31.5, 28.0), "synthetic", "test")
    assert image.geometry.b0 == 0
    assert magnetogram().geometry.b0 == pytest.approx(-7.25, abs=0.01)  # its least, in early March


@pytest.mark.parametrize("wrong", [{"b0": 91.0}, {"b0": np.nan}, {"l0": np.inf}, {"distance": 1.0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(DataError, match=f"`{next(iter(wrong))}`"):
        DiskGeometry(Disk(31.5, 31.5, 28.0), (64, 64), **wrong)


def test_rotation_of_a_day():
    # Howard et al. (1990): 2.894 - 0.428 sin² - 0.370 sin⁴ µrad/s, less the Earth's 0.9856 degrees a day.
    sine2 = np.sin(np.radians([0.0, 30.0])) ** 2
    rate = np.degrees(86400e-6 * (2.894 - 0.428 * sine2 - 0.370 * sine2**2)) - 0.9856
    assert rotated([-10.0, 175.0], [0.0, 30.0], seconds=86400.0) == pytest.approx(
        [rate[0] - 10, rate[1] - 185], abs=0.01
    )


def test_common_area_of_boxes():
    boxes = [(0, 4, 0, 2), (3, 5, 1, 3), (10, 11, 0, 1)]
    assert common_area(boxes, boxes).tolist() == [[8, 1, 0], [1, 4, 0], [0, 0, 1]]
    assert common_area([], boxes).shape == (0, 3)


@pytest.mark.parametrize(
    "time", ["1996-08-06 19:10", "2003-11-04 19:29:07.25", "2016-12-31 23:59:59", "2026-11-20 03:00"]
)
def test_the_earth_is_where_sunpy_has_it(time):
    from sunpy.coordinates import sun

    earth = earth_at(datetime.fromisoformat(time).replace(tzinfo=UTC))
    # The radius of the Sun differs by 300 km, a millisecond of light, in which it turns by 2e-7 degrees.
    assert earth.lon == pytest.approx(sun.L0(time).to_value("deg"), abs=5e-7)
    assert earth.lat == pytest.approx(sun.B0(time).to_value("deg"), abs=1e-8)
    assert earth.distance == pytest.approx(sun.earth_distance(time).to_value("m"), abs=10)


def test_regions_turn_as_sunpy_turns_them():
    from astropy import units as u
    from sunpy.sun.models import differential_rotation

    lat, seconds = np.array([-60.0, -20.0, 0.0, 35.0]), np.array([-86400.0, 3600.0, 1e6, 5e5])
    turned = differential_rotation(seconds * u.s, lat * u.deg, model="howard", frame_time="synodic").to_value("deg")
    assert rotated(10.0, lat, seconds=seconds) == pytest.approx((10 + turned + 180) % 360 - 180, abs=1e-9)


def test_where_the_earth_is_takes_no_astropy():
    code = (
        "import sys; from datetime import UTC, datetime; from kflare.sun.geometry import earth_at, rotated\n"
        "earth_at(datetime(2014, 1, 3, tzinfo=UTC)); rotated(0, 20, seconds=60)\n"
        "sys.exit(not {'astropy', 'sunpy'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
