"""HARPs cover the pixels that JSOC's own keyword counts, and those of outlines worked out by hand, in each series."""

import dataclasses
import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from kflare.attribution.harps import harp_areas, place_regions
from kflare.errors import DataError
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.vector_files import read_segment
from kflare.sun.disk import Disk
from kflare.sun.geometry import Observer, earth_at
from tests.harp_files import AU, NOON, write_bitmap, write_cea

CENTRE, RADIUS = 255.5, 225


def sun(size=512, b0=0.0):
    """Zero field from the Earth's longitude."""
    disk = Disk(CENTRE, CENTRE, RADIUS).resized(512, size)
    observer = Observer(earth_at(NOON).lon, b0, AU)
    return Magnetogram(np.zeros((size, size), np.float32), NOON, disk, "HMI", "test", observer=observer)


def quadrant(*, west=True, north=True, side=200):
    """20° × 20° of which one quarter lies in the HARP."""
    data = np.zeros((side, side), bool)
    half = side // 2
    data[half if north else 0 : side if north else half, half if west else 0 : side if west else half] = True
    return data


def regions(*rows):
    names = ("noaa", "lon", "lat")
    table = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows]).astype({"noaa": "Int64"})
    size = dict.fromkeys(("extent", "AREA_ACR", "lon_min", "lon_max", "lat_min", "lat_max"), np.nan)
    return table.assign(time=pd.Timestamp(NOON), region="NOAA " + table["noaa"].astype(str), **size)


def test_a_real_harp_has_the_pixels_that_its_header_counts(real_data):
    # NPIX of HARP 377: 120121 pixels of the camera (4096², 0.504 arcsec) within the outline; LON_MIN 3.871, LON_MAX
    # 22.325, LAT_MIN -25.242, LAT_MAX -15.631.
    folder = real_data / "sharp_cea_377"
    header = read_segment(next(folder.glob("*.bitmap.fits"))).header
    for size in (1024, 512):
        disk = Disk(2047.5, 2047.5, header.needed("RSUN_OBS") / 0.504).resized(4096, size)
        image = Magnetogram(np.zeros((size, size), np.float32), header.time(), disk, "HMI", "test")
        (area,) = harp_areas(folder, image)
        assert (area.harp, area.noaas) == (377, {11158})
        assert area.mask.sum() * (4096 / size) ** 2 == pytest.approx(120121, rel=0.005)
        lon, lat = image.geometry.lonlat(*np.nonzero(area.mask)[::-1])
        edges = lon.min(), lon.max(), lat.min(), lat.max()
        assert edges == pytest.approx((3.871, 22.325, -25.242, -15.631), abs=0.1 + 120 / size)


@pytest.mark.parametrize("west", [True, False])
@pytest.mark.parametrize("north", [True, False])
def test_a_quarter_of_a_map(tmp_path, west, north):
    write_cea(tmp_path, quadrant(west=west, north=north))
    (area,) = harp_areas(tmp_path, sun())
    rows, columns = np.nonzero(area.mask)
    assert (columns > CENTRE).all() == west
    assert (columns < CENTRE).all() != west
    assert (rows < CENTRE).all() == north
    # R sin 10° = 39.07, seen from 215 R half a percent more: 39 pixels; in the north likewise, 10° of a map being
    # asin(10 π / 180) = 10.05°, 39.4.
    assert np.ptp(columns) + 1 == np.ptp(rows) + 1 == 39
    (patch,) = place_regions(regions((12080, 0, 0)), sun(), bitmaps=tmp_path)
    assert patch.outline == "hmi.sharp_cea_720s.9.20140606_120035_TAI.bitmap.fits"
    np.testing.assert_array_equal(patch.full_mask(512), area.mask)


def test_away_from_the_centre_and_from_the_equator(tmp_path):
    write_cea(tmp_path, np.ones((61, 61), bool), lon=30, lat=-20)
    image = sun(b0=5.0)
    (area,) = harp_areas(tmp_path, image)
    x, y, _ = image.geometry.pixel(30, -20)
    rows, columns = np.nonzero(area.mask)
    assert (columns.mean(), rows.mean()) == pytest.approx((float(x), float(y)), abs=0.3)
    # 6.1° squared, foreshortened by mu: 225² (6.1 π / 180)² mu pixels.
    expected = RADIUS**2 * math.radians(6.1) ** 2 * float(image.geometry.mu_at(x, y))
    assert area.mask.sum() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("series", ["sharp_720s", "Mharp_720s"])
def test_cut_out_of_the_camera_that_hangs_upside_down(tmp_path, series):
    # On the camera, radius 1900 pixels about (2000, 2100) from 1, a round region of 100 pixels 500 west and 300 north;
    # with CROTA2 = 180 west is at lower columns, north at lower rows.
    middle, left, bottom = (2000 - 500, 2100 - 300), 1350, 1700
    columns, rows = left + np.arange(300), bottom + np.arange(220)[:, np.newaxis]
    data = np.hypot(columns - middle[0], rows - middle[1]) < 100
    cards = {"CTYPE1": "HPLN-TAN", "CDELT1": 0.5, "CDELT2": 0.5, "CROTA2": 180.0, "RSUN_OBS": 950.0}
    cards |= {"IMCRPIX1": 2000, "IMCRPIX2": 2100}
    # A SHARP's CRPIX is the centre of the disk in the cut-out, a HARP's the cut-out's corner on the disk.
    corner = {"CRPIX1": left, "CRPIX2": bottom}
    centre = {"CRPIX1": 2000 - left + 1, "CRPIX2": 2100 - bottom + 1}
    write_bitmap(tmp_path, series, data, **cards, **(centre if series == "sharp_720s" else corner))
    (area,) = harp_areas(tmp_path, sun())
    rows, columns = np.nonzero(area.mask)
    scale = RADIUS / 1900
    assert (columns.mean(), rows.mean()) == pytest.approx((CENTRE + 500 * scale, CENTRE - 300 * scale), abs=0.15)
    assert area.mask.sum() == pytest.approx(math.pi * (100 * scale) ** 2, rel=0.02)


def test_the_nearest_in_time_rotated(tmp_path):
    # 6 hours at the equator turn it by 13.341° / 4 (see test_harps.py): what was at -3.335° is in the middle now.
    write_cea(tmp_path, np.ones((41, 41), bool), lon=-3.335, time=NOON - timedelta(hours=6))
    write_cea(tmp_path, np.ones((41, 41), bool), lon=40, time=NOON + timedelta(hours=9))
    (area,) = harp_areas(tmp_path, sun())
    rows, columns = np.nonzero(area.mask)
    assert (columns.mean(), rows.mean()) == pytest.approx((CENTRE, CENTRE), abs=0.2)
    assert harp_areas(tmp_path, sun(), tolerance_hours=5) == []


def test_which_region_has_which_area(tmp_path):
    # One HARP with two regions, east and west; another region has a box; of a row with HARP's number that counts.
    file = write_cea(tmp_path, np.ones((100, 200), bool), noaas="12080,12081")
    image = sun()
    areas = harp_areas(tmp_path, image)
    found = place_regions(regions((12080, -5, 0), (12081, 5, 0), (12082, 40, 0)), image, bitmaps=tmp_path)
    assert [patch.outline for patch in found] == [file, file, "box"]
    east, west = (patch.full_mask(512) for patch in found[:2])
    np.testing.assert_array_equal(east | west, areas[0].mask)
    assert not (east & west).any()
    assert np.nonzero(east)[1].max() < CENTRE < np.nonzero(west)[1].min()
    alone = place_regions(regions((12082, 40, 0)), image)[0]
    np.testing.assert_array_equal(found[2].mask, alone.mask)
    numbered = regions((12080, 3, 0), (12080, -4, 0)).assign(harpnum=pd.array([9, 10], "Int64"))
    assert [patch.outline for patch in place_regions(numbered, image, bitmaps=tmp_path)] == [file, "box"]


def test_only_the_strong_field_of_it(tmp_path):
    write_cea(tmp_path, quadrant())
    image = sun()
    data = image.data.copy()
    data[240, 270] = data[280, 240] = 400  # the second one lies in the box alone
    image = dataclasses.replace(image, data=data)
    (patch,) = place_regions(regions((12080, 0, 0)), image, area="field", bitmaps=tmp_path)
    assert (patch.rows, patch.columns) == (slice(236, 245), slice(266, 275))


def test_what_cannot_be_used_is_told(tmp_path):
    (tmp_path / "sharp_377.bitmap.fits").write_bytes(b"")
    with pytest.raises(DataError, match=r"must hold a bitmap of a HARP, such as hmi\.sharp_cea_720s\.377"):
        harp_areas(tmp_path, sun())
    other = tmp_path / "other"
    other.mkdir()
    name = write_bitmap(
        other, "sharp_cea_720s", quadrant(), CTYPE1="CRLN-CEA", CDELT1=0.1, CDELT2=0.1, CRPIX1=1, CRPIX2=1
    )
    with pytest.raises(DataError, match=f"{name}.*`CRVAL1` is missing"):
        harp_areas(other, sun())
