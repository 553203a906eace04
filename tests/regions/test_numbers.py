"""NOAA and HARP numbers of detected regions."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares.srs import read_srs
from kflare.observations.reading import read_magnetogram
from kflare.regions.detection import Detection, Region, detect_regions
from kflare.regions.tracking import harp_numbers, noaa_numbers
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry

TIME = datetime(2013, 10, 23, 18, tzinfo=UTC)
VIEW = DiskGeometry(Disk(255.5, 255.5, 225.0), (512, 512))


def detection(*boxes: tuple[float, float, float, float], time: datetime = TIME) -> Detection:
    """A detection with boxes of lon_min, lon_max, lat_min, lat_max near the disk's centre."""
    regions = []
    for number, (left, right, low, high) in enumerate(boxes, start=1):
        x, y, _ = VIEW.pixel([left, right], [high, low])
        pixels = int(x[0]), int(y[0]), int(x[1]) + 1, int(y[1]) + 1
        place = (left + right) / 2, (low + high) / 2
        regions.append(Region(number, *pixels, *place, left, right, low, high, 100.0, 1e21, limb=False))
    return Detection(time, VIEW, tuple(regions))


@pytest.fixture
def srs():
    rows = [(11875, 4.0, 7.0, 420.0), (11877, -23.0, -13.0, 390.0), (11871, 56.0, -8.0, 0.0)]
    table = pd.DataFrame(rows, columns=["noaa", "lon", "lat", "area_uhem"])
    return table.assign(time=pd.Timestamp("2013-10-23", tz="UTC"))


def test_noaa_numbers_by_the_position_at_the_time(srs):
    # 13.3 degrees a day at 7 degrees of latitude: 10 degrees in 18 h, from W04 to W14; from E23 to E13.
    found = detection((10, 18, 4, 10), (-27, -19, -16, -10), (-18, -10, -16, -10))
    assert noaa_numbers(found, srs) == [(11875,), (), (11877,)]
    assert noaa_numbers(detection((-20, 20, -20, 20)), srs) == [(11875, 11877)]


def test_only_the_latest_report_before_the_image_counts(srs):
    box = (-10, 10, -10, 12)
    later = srs.assign(time=srs["time"] + pd.Timedelta(days=1), noaa=srs["noaa"] + 100)
    both = pd.concat([srs, later])
    # 11875 at W04 of 00 UT.
    assert noaa_numbers(detection(box, time=TIME - timedelta(hours=18)), both) == [(11875,)]
    assert noaa_numbers(detection(box, time=TIME + timedelta(hours=6)), both) == [(11975,)]
    assert noaa_numbers(detection(box, time=TIME - timedelta(hours=19)), srs) == [()]
    assert noaa_numbers(detection((-80, 80, -40, 40), time=TIME + timedelta(hours=19)), srs) == [()]  # 37 h old
    assert noaa_numbers(detection(), srs) == []


def test_harp_numbers_by_overlap():
    harps = pd.DataFrame(
        {
            "time": pd.Timestamp(TIME) - pd.Timedelta(hours=3),  # 1.67 degrees of rotation at the equator
            "harpnum": [7, 8, 9, 10],
            "lon_min": [-12.0, -30.0, 0.0, np.nan],
            "lon_max": [-2.0, -20.0, 3.0, np.nan],
            "lat_min": [-5.0, -5.0, -5.0, np.nan],
            "lat_max": [5.0, 5.0, 5.0, np.nan],
        }
    )
    found = detection((-10, 0, -5, 5), (-10, 6, -5, 5), (20, 30, -5, 5))
    assert harp_numbers(found, harps) == [(7,), (7, 9), ()]
    earlier = harps.assign(time=harps["time"] - pd.Timedelta(hours=4))
    assert harp_numbers(found, earlier) == [(), (), ()]
    # The record nearest in time is taken: 8 would have to turn by 20 degrees.
    assert harp_numbers(found, pd.concat([earlier.assign(lon_min=-90, lon_max=-80), harps])) == [(7,), (7, 9), ()]
    with pytest.raises(DataError, match="lacks the column `lat_max`"):
        harp_numbers(found, harps.drop(columns="lat_max"))


def test_the_regions_of_2013_10_23(real_data):
    image = read_magnetogram(real_data / "hmi_daily" / "hmi.M_20131023_000054.jpg", byte_range=250)
    found = detect_regions(image)
    named = {
        number for own in noaa_numbers(found, read_srs(real_data / "regions" / "srs_1996-2018.csv")) for number in own
    }
    assert {11873, 11874, 11875, 11877, 11879} <= named
