"""Maps of regions in the projection of SHARPs."""

import math

import numpy as np
import pytest

from kflare.errors import DataError
from kflare.regions.cea import CEA_STEP, Patch, cea_patch
from kflare.regions.los_features import line_of_sight_features
from kflare.regions.vector_field import FullDiskVector
from kflare.sun.constants import MICROHEMISPHERE_CM2

from .fields import TIME, camera_field, magnetogram_of, patch_of, view


def unit(lon, lat):
    lon, lat = np.radians(lon), np.radians(lat)
    return np.stack(np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def bipole(lon0, lat0, *, apart=4.0, sigma=1.0, peak=1500.0):
    """Radial field of two spots, and its unsigned flux in Mx.

    Each is peak · exp((cos d - 1) / s²), d the distance from its centre: its integral over a sphere of radius R is
    2π R² s² · peak, less exp(-2 / s²).
    """
    s, half = math.radians(sigma), apart / 2 / math.cos(math.radians(lat0))
    centres = [unit(lon0 - half, lat0), unit(lon0 + half, lat0 + 1)]

    def field(lon, lat):
        point = unit(lon, lat)
        spots = [np.exp((np.tensordot(centre, point, 1) - 1) / s**2) for centre in centres]
        return peak * (spots[0] - spots[1])

    # Where the two overlap they cancel: sums on a fine grid instead of 2 · 2π R² s² · peak.
    north, west = np.meshgrid(
        np.arange(-6, 6, 0.05) + lat0, np.arange(-7, 7, 0.05) / math.cos(math.radians(lat0)) + lon0
    )
    cells = np.cos(np.radians(north)) * math.radians(0.05) ** 2 / math.cos(math.radians(lat0)) * 6.96e10**2
    return field, float(np.sum(np.abs(field(west, north)) * cells))


def seen(field, geometry):
    height, width = geometry.shape
    lon, lat = geometry.lonlat(np.arange(width), np.arange(height)[:, np.newaxis])
    return magnetogram_of(field(lon, lat) * geometry.mu, geometry)


def frame(geometry, lon0, lat0, *, half=(7.0, 6.0)):
    lon = lon0 + np.array([-1, 1, -1, 1]) * half[0]
    x, y, _ = geometry.pixel(lon, lat0 + np.array([-1, -1, 1, 1]) * half[1])
    return math.floor(x.min()), math.floor(y.min()), math.ceil(x.max()) + 1, math.ceil(y.max()) + 1


@pytest.mark.parametrize("lat", [0.0, -25.0])
@pytest.mark.parametrize("lon", [0.0, -45.0, 60.0, 70.0])
def test_unsigned_flux_does_not_depend_on_the_place_on_the_disk(lon, lat):
    """Within 1 % as far as 70 degrees from the central meridian, on 768² pixels too."""
    geometry = view(768, b0=6.0)
    field, flux = bipole(lon, lat)
    patch = cea_patch(seen(field, geometry), frame(geometry, lon, lat))
    features = line_of_sight_features(patch)
    assert features["USflux"] == pytest.approx(flux, rel=0.01)
    assert features["Bmax"] == pytest.approx(1500, rel=0.03)
    # |B| > 140 G within r of each centre, r² = 2 s² ln(1500 / 140): 2 · 2π s² · 2.37 sr, somewhat less between them.
    area = 4 * math.pi * math.radians(1) ** 2 * math.log(1500 / 140) * 6.96e10**2 / MICROHEMISPHERE_CM2
    assert features["Area"] == pytest.approx(area, rel=0.05)
    assert features["NumNL"] == 1
    assert features["MaxNL"] == pytest.approx(line_of_sight_features(_from_above())["MaxNL"], rel=0.06)


def _from_above():
    geometry = view(768)
    field, _ = bipole(0.0, 0.0)
    return cea_patch(seen(field, geometry), frame(geometry, 0.0, 0.0))


def test_pixels_of_a_map_have_the_same_area_everywhere():
    geometry = view(512, b0=-7.0)
    flat = magnetogram_of(np.where(np.isfinite(geometry.mu), 100.0, np.nan), geometry)
    for lon, lat in ((0, 0), (-50, 30), (65, -20)):
        box = frame(geometry, lon, lat)
        patch = cea_patch(flat, box)
        x, y = np.meshgrid(np.arange(box[0], box[2]), np.arange(box[1], box[3]))
        covered = float(np.nansum(geometry.pixel_area_cm2(x, y)))
        assert patch.inside.sum() * patch.pixel_area_cm2 == pytest.approx(covered, rel=0.01)
    assert patch.step_m == pytest.approx(math.radians(0.03) * 6.96e8)
    # As seen from 1 au: 6.96e8 · 0.03 · π/180 / 1.496e11 rad.
    assert patch.arcsec == pytest.approx(0.50246, rel=1e-4)


def test_points_of_a_map_lie_where_its_projection_says():
    """Cylindrical equal-area about its centre: longitude and sine of latitude from there, in pixels of 0.03 degrees."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    geometry = view(1024, b0=3.0)
    height, width = geometry.shape
    maps = geometry.lonlat(np.arange(width), np.arange(height)[:, np.newaxis])
    # The magnetograms of longitude and of latitude.
    lon, lat = (cea_patch(magnetogram_of(part, geometry), frame(geometry, 30.0, 20.0)) for part in maps)
    centre = SkyCoord(lon.lon * u.deg, lon.lat * u.deg)
    rows, columns = np.array([40, 200, 350]), np.array([60, 250, 410])
    points = SkyCoord(lon.los[rows, columns] * u.deg, lat.los[rows, columns] * u.deg)
    offsets = points.transform_to(centre.skyoffset_frame())
    west = np.diff(offsets.lon.wrap_at("180d").deg) / 0.03
    north = np.diff(np.degrees(np.sin(offsets.lat.rad))) / 0.03
    np.testing.assert_allclose(west, np.diff(columns), atol=0.2)
    np.testing.assert_allclose(north, -np.diff(rows), atol=0.2)


def test_a_frame_over_the_limb_holds_what_is_on_the_disk():
    geometry = view(512)
    field, _ = bipole(80.0, 0.0)
    patch = cea_patch(seen(field, geometry), (470, 200, 512, 300))
    assert patch.inside.any()
    assert not patch.inside.all()
    assert np.isfinite(patch.mu[patch.inside]).all()
    # Nearer than 80 degrees to the limb the field is not divided by mu.
    assert np.isnan(patch.radial[patch.mu < 0.17]).all()
    assert np.isfinite(list(line_of_sight_features(patch).values())).all()


def test_frames_off_the_disk_or_empty_are_refused():
    geometry = view(256)
    magnetogram = seen(bipole(0, 0)[0], geometry)
    with pytest.raises(DataError, match=r"`box` \(0, 0, 20, 20\) must hold pixels on the disk, it holds none"):
        cea_patch(magnetogram, (0, 0, 20, 20))
    with pytest.raises(DataError, match="`box` must have x0 < x1 and y0 < y1"):
        cea_patch(magnetogram, (100, 100, 100, 120))


def test_missing_pixels_stay_missing():
    geometry = view(512)
    los = np.where(np.isfinite(geometry.mu), 100.0, np.nan)
    los[250:260, 250:260] = np.nan
    patch = cea_patch(magnetogram_of(los, geometry), (240, 240, 280, 280))
    # A pixel has 0.24 degrees here, bilinear values need all neighbours: 11 pixels square.
    missing = np.isnan(patch.los) & patch.inside
    assert missing.sum() * CEA_STEP**2 == pytest.approx((11 * math.degrees(1 / geometry.disk.radius)) ** 2, rel=0.05)
    assert np.isfinite(list(line_of_sight_features(patch).values())[:5]).all()
    all_missing = cea_patch(magnetogram_of(los, geometry), (251, 251, 258, 258))
    assert all(math.isnan(value) for value in line_of_sight_features(all_missing).values())


def test_the_vector_field_lies_on_the_same_grid():
    geometry = view(512, b0=5.0)
    parts = [part.astype(np.float32) for part in camera_field(geometry, lambda lon, lat: (lon, lat, 10 * lon))]
    everywhere = np.isfinite(parts[0])
    vector = FullDiskVector(*parts, everywhere, everywhere, geometry, TIME, "test")
    lon, lat = geometry.lonlat(np.arange(512), np.arange(512)[:, np.newaxis])
    box = frame(geometry, -30, 15)
    patch = cea_patch(magnetogram_of(lon, geometry), box, vector=vector)
    assert patch.bx.dtype == patch.by.dtype == patch.bz.dtype == np.float32
    np.testing.assert_allclose(patch.bx[patch.used], patch.los[patch.used], atol=0.3)
    np.testing.assert_allclose(patch.bz[patch.used], 10 * patch.los[patch.used], atol=1.0)
    latitudes = cea_patch(magnetogram_of(lat, geometry), box).los
    np.testing.assert_allclose(patch.by[patch.used], latitudes[patch.used], atol=0.3)


def test_maps_of_a_patch_must_agree():
    patch = patch_of(*np.zeros((3, 8, 9)))
    with pytest.raises(DataError, match="must have all of `bx`, `by`, `bz` and `used`, or none"):
        Patch(patch.los, patch.mu, patch.inside, patch.step_m, patch.arcsec, bx=patch.bx)
    with pytest.raises(DataError, match=r"`mu` of a patch must have the shape of `inside`, \(8, 9\), got \(2, 2\)"):
        Patch(patch.los, np.ones((2, 2), np.float32), patch.inside, patch.step_m, patch.arcsec)
    with pytest.raises(DataError, match="`step_m` of a patch must be above 0 metres, got 0"):
        Patch(patch.los, patch.mu, patch.inside, 0, patch.arcsec)
