"""Regions land where they are: on a sphere worked out by hand, and on the strong field of a real magnetogram."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from kflare.attribution.harps import box_sizes, largest, place_regions, regions_near
from kflare.attribution.region_tables import read_regions
from kflare.errors import SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.sun.disk import Disk
from kflare.sun.geometry import Observer, rotated

NOON = datetime(2014, 6, 6, 12, tzinfo=UTC)
AU = 1.496e11


def table(*positions, time=NOON, **columns):
    rows = pd.DataFrame(
        {
            "time": pd.Timestamp(time),
            "region": [f"NOAA {11000 + number}" for number in range(len(positions))],
            "noaa": pd.array([11000 + number for number in range(len(positions))], "Int64"),
            "lon": [float(lon) for lon, _ in positions],
            "lat": [float(lat) for _, lat in positions],
        }
    )
    for name in ("extent", "AREA_ACR", "lon_min", "lon_max", "lat_min", "lat_max"):
        rows[name] = columns.get(name, np.nan)
    return rows


def sun(b0=0.0, size=512):
    """A magnetogram of zero field seen from the Earth's longitude: centre (255.5, 255.5), radius 225."""
    from sunpy.coordinates.sun import L0

    disk = Disk(255.5 * size / 512, 255.5 * size / 512, 225 * size / 512)
    data = np.zeros((size, size), np.float32)
    return Magnetogram(
        data, NOON, disk, "synthetic", "test", observer=Observer(float(L0(NOON.replace(tzinfo=None)).deg), b0, AU)
    )


def middle(patch):
    rows, columns = np.nonzero(patch.mask)
    return patch.columns.start + columns.mean(), patch.rows.start + rows.mean()


def test_a_day_of_rotation():
    # Howard et al. (1990) at the equator: 2.894e-6 rad/s · 86400 s = 14.327° a day to the stars; the Earth moves on by
    # 0.986°, which leaves 13.341°. At 30°: 2.894 - 0.428/4 - 0.370/16 = 2.7639 µrad/s, 13.682° - 0.986° = 12.697°.
    later = rotated([0, 0], [0, 30], seconds=[86400, 86400])
    np.testing.assert_allclose(later, [13.341, 12.697], atol=0.003)
    before = rotated([0, 0], [0, -30], seconds=[-86400, -86400])
    np.testing.assert_allclose(before, [-13.341, -12.697], atol=0.003)
    np.testing.assert_allclose(rotated([175.0], [0], seconds=86400), -171.659, atol=3e-3)
    np.testing.assert_allclose(rotated([-60.0], [10], seconds=0), -60.0)


def test_the_centre_of_the_disk_is_where_it_says():
    (patch,) = place_regions(table((0, 0)), sun())
    assert middle(patch) == pytest.approx((255.5, 255.5), abs=0.5)
    assert (patch.name, patch.noaa, patch.lon, patch.lat, patch.label) == ("NOAA 11000", 11000, 0.0, 0.0, "11000")
    # The default box of 14° × 7°: 2 · 225 · sin 7° = 54.8 by 2 · 225 · sin 3.5° = 27.5 pixels, half a percent more
    # since it is nearer than the limb.
    assert patch.mask.shape[1] == pytest.approx(54.8 * 1.005, abs=1.5)
    assert patch.mask.shape[0] == pytest.approx(27.5 * 1.005, abs=1.5)


def test_west_is_right_and_north_is_up():
    west, north, south_east = place_regions(table((30, 0), (0, 30), (-20, -40)), sun())
    # x = R sin 30° seen from 215 R: 112.5 / (1 - cos 30° / 215) = 113.0 pixels.
    box = west.columns.start + west.columns.stop - 1, west.rows.start + west.rows.stop - 1
    assert box[1] / 2 == pytest.approx(255.5, abs=0.6)
    # sin 23° = .3907 and sin 37° = .6018 are the edges of the box.
    assert west.columns.start == pytest.approx(255.5 + 225 * 0.3907 * 1.004, abs=1.2)
    assert west.columns.stop - 1 == pytest.approx(255.5 + 225 * 0.6018 * 1.004, abs=1.2)
    x, y = middle(north)
    assert x == pytest.approx(255.5, abs=0.5)
    assert y == pytest.approx(255.5 - 113.0, abs=1.5)
    x, y = middle(south_east)
    assert x < 255.5
    assert y > 255.5


def test_the_tilt_of_the_axis_counts():
    # From 7° north of the equator, latitude 7° is in the middle of the disk.
    (patch,) = place_regions(table((0, 7)), sun(b0=7.0))
    assert middle(patch) == pytest.approx((255.5, 255.5), abs=0.6)


def test_regions_rotate_to_the_time_of_the_image():
    yesterday = datetime(2014, 6, 5, 12, tzinfo=UTC)
    (patch,) = place_regions(table((-13.341, 0), time=yesterday), sun())
    assert patch.lon == pytest.approx(0, abs=0.003)
    assert middle(patch) == pytest.approx((255.5, 255.5), abs=0.6)


def test_at_the_limb_and_behind_it():
    image = sun()
    found = place_regions(table((0, 0), (95, 0), (85, 10), (-180, 0)), image)
    assert [patch.noaa for patch in found] == [11000, 11002]
    limb = found[1]
    assert limb.full_mask(512)[~image.on_disk].sum() == 0
    assert limb.columns.stop <= 255.5 + 225 + 1
    assert limb.mask.any()
    assert place_regions(table(), image) == []


def test_only_the_strong_field():
    image = sun()
    data = image.data.copy()
    data[250, 250] = 400
    image = Magnetogram(data, NOON, image.disk, "synthetic", "test", observer=image.observer)
    (patch,) = place_regions(table((0, 0)), image, area="field", threshold=150)
    # 4 pixels to all sides.
    assert patch.mask.shape == (9, 9)
    assert patch.mask.all()
    assert (patch.rows.start, patch.columns.start) == (246, 246)
    with pytest.raises(SettingError, match="`area` must be one of box, field, got 'bitmap'"):
        place_regions(table((0, 0)), image, area="bitmap")


def test_a_known_box_is_taken_as_it_is():
    rows = table((12.0, -20.0), lon_min=3.0, lon_max=23.0, lat_min=-25.0, lat_max=-15.0)
    (patch,) = place_regions(rows, sun())
    # The middle of the box, not the flux-weighted centre.
    assert (patch.lon, patch.lat) == (13.0, -20.0)


def test_sizes_of_boxes():
    # By bounding box; by extent 12° + 6°; at least 10° × 6°; by area: 1000 µHem = 1e-3 · 20626.5 = 20.63 square
    # degrees, so the width is sqrt(2 · 7.3 · 20.63) = 17.35° at the equator; the rest 14° × 7°.
    rows = table((0, 0), (0, 0), (0, 0), (0, 0), (0, 0))
    rows["lon_min"], rows["lon_max"] = [-8.0, *[np.nan] * 4], [8.0, *[np.nan] * 4]
    rows["lat_min"], rows["lat_max"] = [-3.0, *[np.nan] * 4], [3.0, *[np.nan] * 4]
    rows["extent"] = [5.0, 12.0, 0.0, np.nan, np.nan]
    rows["AREA_ACR"] = [np.nan, 5.0, 5.0, 1000.0, np.nan]
    width, height = box_sizes(rows)
    np.testing.assert_allclose(width, [16, 18, 10, 17.35, 14], atol=0.01)
    np.testing.assert_allclose(height, [6, 9, 6, 8.68, 7], atol=0.01)


def test_harp_377_has_the_size_that_the_rules_were_made_for(real_data):
    path = next((real_data / "sharp_cea_377").glob("*.bitmap.fits"))
    known = read_regions(path)
    width, height = box_sizes(known)
    # Header: LON_MIN 3.871, LON_MAX 22.325, LAT_MIN -25.242, LAT_MAX -15.631; AREA_ACR 1101.
    assert (width[0], height[0]) == pytest.approx((18.453, 9.611), abs=1e-3)
    unboxed = known.assign(lon_min=np.nan, lat_min=np.nan)
    for guess in (unboxed.assign(extent=12.0), unboxed):
        assert [size[0] for size in box_sizes(guess)] == pytest.approx([width[0], height[0]], rel=0.08)


def test_the_nearest_record_of_each_region():
    rows = pd.concat(
        [
            table((1, 0), (2, 0), time=datetime(2014, 6, 6, 6, tzinfo=UTC)),
            table((3, 0), time=datetime(2014, 6, 6, 16, tzinfo=UTC)),
            table((4, 0), (5, 0), time=datetime(2014, 6, 6, 18, tzinfo=UTC)),
            table((6, 0), time=datetime(2014, 6, 7, 1, tzinfo=UTC)),
        ],
        ignore_index=True,
    )
    near = regions_near(rows, NOON)
    # 11000 is 4 h away at best; 11001 6 h before and after: the earlier.
    assert near["lon"].to_list() == [2.0, 3.0]
    assert near.index.to_list() == [1, 2]
    assert regions_near(rows, NOON, tolerance_hours=3).empty


def test_largest_inside():
    (patch,) = place_regions(table((0, 0)), sun())
    image = np.zeros((512, 512))
    image[255, 260], image[100, 100] = 0.4, 1.0
    assert largest(image, patch) == 0.4


def test_real_regions_lie_on_their_field(real_data):
    """2013-10-23 00 UT: NOAA 11875 at N07E04 and 11877 at S13E23 (SRS of that day; docs/science.md)."""
    image = read_magnetogram(real_data / "hmi_daily" / "hmi.M_20131023_000054.jpg", byte_range=250)
    near = regions_near(read_regions(real_data / "regions" / "srs_1996-2018.csv"), image.time)
    assert near["noaa"].to_list() == [11872, 11873, 11874, 11875, 11877, 11879]
    assert near.set_index("noaa").loc[[11875, 11877], ["lon", "lat"]].to_numpy().tolist() == [[-4, 7], [-23, -13]]

    def strong(positions):
        return [np.mean(np.abs(p.crop(image.data)[p.mask]) >= 150) for p in place_regions(positions, image)]

    # Two thirds of a percent of the disk, but a fifth of these regions is that strong; every sign matters.
    big = near[near["noaa"].isin([11875, 11877])]
    at, east_west = strong(big), strong(big.assign(lon=-big["lon"]))
    north_south = strong(big.assign(lat=-big["lat"]))
    assert min(at) > 0.15
    assert at[1] > 5 * max(east_west[1], north_south[1])
    assert at[0] > 5 * north_south[0]
    assert at[0] > east_west[0]  # 4° from the central meridian: the mirrored box overlaps
