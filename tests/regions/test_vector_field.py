"""The vector field: disambiguation, and the turn to the surface against sunpy's frames."""

import numpy as np
import pytest

from kflare.errors import DataError, SettingError
from kflare.regions.vector_field import FullDiskVector, camera_components, surface_components
from kflare.sun.geometry import DiskGeometry

from .fields import TIME, camera_field, view


def sunpy_axes(lon, lat, *, b0, l0):
    """Unit vectors west, north and up at points, in sunpy's heliocentric axes (west, north, towards the observer)."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from sunpy.coordinates import Heliocentric, HeliographicStonyhurst

    observer = HeliographicStonyhurst(l0 * u.deg, b0 * u.deg, 1 * u.au, obstime=TIME.replace(tzinfo=None))
    frame = Heliocentric(observer=observer, obstime=observer.obstime)

    def place(lon, lat, radius):
        point = SkyCoord(lon * u.deg, lat * u.deg, radius * u.m, frame="heliographic_stonyhurst",
                         obstime=observer.obstime).transform_to(frame)  # fmt: skip
        return point.cartesian.xyz.to_value("m")

    step = 1e-3
    for ends in (
        (place(lon - step, lat, 7e8), place(lon + step, lat, 7e8)),
        (place(lon, lat - step, 7e8), place(lon, lat + step, 7e8)),
        (place(lon, lat, 6.9e8), place(lon, lat, 7.1e8)),
    ):
        difference = ends[1] - ends[0]
        yield difference / np.linalg.norm(difference, axis=0)


@pytest.mark.parametrize(("b0", "l0"), [(0.0, 0.0), (7.2, 0.0), (-6.5, 30.0)])
def test_the_turn_to_the_surface_is_that_of_sunpy(b0, l0):
    rng = np.random.default_rng(8)
    lon, lat = rng.uniform(l0 - 70, l0 + 70, 40), rng.uniform(-50, 50, 40)
    expected = rng.normal(0, 1000, (3, 40))
    axes = list(sunpy_axes(lon, lat, b0=b0, l0=l0))
    seen = sum(part * axis for part, axis in zip(expected, axes, strict=True))
    geometry = DiskGeometry(view(512).disk, (512, 512), b0=b0, l0=l0)
    found = surface_components(*seen.astype(np.float32), lon=lon, lat=lat, geometry=geometry)
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_a_roll_of_the_camera_is_undone():
    geometry = view(512, roll=0.0)
    rolled = DiskGeometry(geometry.disk, geometry.shape, roll=12.0)
    lon, lat = np.array([20.0]), np.array([-10.0])
    # Solar north lies 12 degrees clockwise of up: a field towards solar north points right by sin 12.
    angle = np.radians(12)
    seen = np.array([[np.sin(angle)], [np.cos(angle)], [0.0]], np.float32) * 100
    straight = surface_components(*np.array([[0.0], [100.0], [0.0]], np.float32), lon=lon, lat=lat, geometry=geometry)
    np.testing.assert_allclose(surface_components(*seen, lon=lon, lat=lat, geometry=rolled), straight, atol=1e-3)


def test_angles_are_those_of_hmi():
    """0 = towards the observer; azimuth 0 = up, counterclockwise: 90 = left."""
    field, tilt, turn = (np.array(values, np.float32) for values in ([100] * 4, [0, 90, 90, 45], [7, 0, 90, 180]))
    right, up, los = camera_components(field, tilt, turn)
    np.testing.assert_allclose(right, [0, 0, -100, 0], atol=1e-4)
    np.testing.assert_allclose(up, [0, 100, 0, -100 / np.sqrt(2)], atol=1e-4)
    np.testing.assert_allclose(los, [100, 0, 0, 100 / np.sqrt(2)], atol=1e-4)


@pytest.mark.parametrize(
    ("method", "flipped"),
    [
        # Bit 0 of 0..7: 1, 3, 5, 7; bit 1: 2, 3, 6, 7; bit 2: 4 to 7.
        ("potential", [0, 1, 0, 1, 0, 1, 0, 1]),
        ("random", [0, 0, 1, 1, 0, 0, 1, 1]),
        ("radial-acute", [0, 0, 0, 0, 1, 1, 1, 1]),
    ],
)
def test_each_method_reads_its_bit(method, flipped):
    ones = np.ones(8, np.float32)
    right, _, los = camera_components(ones, 60 * ones, 90 * ones, np.arange(8, dtype=np.uint8), method=method)
    np.testing.assert_allclose(right, np.where(flipped, 1, -1) * np.sin(np.radians(60)), rtol=1e-6)
    np.testing.assert_allclose(los, 0.5, rtol=1e-6)


def test_an_unknown_method_is_refused():
    ones = np.ones(2, np.float32)
    with pytest.raises(SettingError, match="must be one of potential, random, radial-acute, got 'acute'"):
        camera_components(ones, ones, ones, np.zeros(2, np.uint8), method="acute")


def full_disk(geometry, **changes):
    def surface(lon, lat):
        return 300 + 2 * lat, 100 - lon, 800 + 3 * lon

    right, up, los = (part.astype(np.float32) for part in camera_field(geometry, surface))
    everywhere = np.ones(geometry.shape, bool)
    given = {"right": right, "up": up, "los": los, "covered": everywhere, "sure": everywhere} | changes
    return FullDiskVector(**given, geometry=geometry, time=TIME, source="test")


@pytest.mark.parametrize("roll", [0.0, 0.2, -35.0])
def test_components_at_points_of_the_surface(roll):
    geometry = view(512, b0=-5.0, roll=roll)
    lon, lat = np.meshgrid(np.linspace(-60, 60, 9), np.linspace(40, -40, 7))
    bx, by, bz, sure = full_disk(geometry).at(lon, lat)
    assert bx.dtype == by.dtype == bz.dtype == np.float32
    assert sure.all()
    # Bilinear in an image whose pixels are 0.24 to 0.5 degrees wide; a tenth of a degree of direction is 2 G.
    np.testing.assert_allclose(bx, 300 + 2 * lat, atol=2)
    np.testing.assert_allclose(by, 100 - lon, atol=2)
    np.testing.assert_allclose(bz, 800 + 3 * lon, atol=2)


def test_points_behind_the_limb_or_never_covered_are_unknown():
    geometry = view(256)
    lon, lat = np.array([[0.0, 30.0, 130.0]]), np.array([[10.0, 10.0, 10.0]])
    bx, _, bz, sure = full_disk(geometry).at(lon, lat)
    assert np.isfinite(bx).tolist() == [[True, True, False]]
    assert sure.tolist() == [[True, True, False]]
    nowhere = np.zeros(geometry.shape, bool)
    bx, _, bz, sure = full_disk(geometry, covered=nowhere).at(lon, lat)
    assert np.isnan(bx).all()
    assert np.isnan(bz).all()
    assert not sure.any()


def test_outside_the_harps_the_field_is_zero_and_not_sure():
    geometry = view(256)
    covered = np.zeros(geometry.shape, bool)
    covered[:, 128:] = True
    parts = [
        np.where(covered, part, np.float32(0)) for part in camera_field(geometry, lambda lon, lat: (lon, lat, lon))
    ]
    vector = full_disk(
        geometry, covered=covered, **dict(zip(("right", "up", "los"), map(np.float32, parts), strict=True))
    )
    bx, _, bz, sure = vector.at(np.array([[-20.0, 20.0]]), np.array([[5.0, 5.0]]))
    assert (bx[0, 0], bz[0, 0]) == (0, 0)
    assert bz[0, 1] == pytest.approx(20, abs=0.5)
    assert sure.tolist() == [[False, True]]


def test_shapes_must_agree():
    with pytest.raises(DataError, match=r"`test`: `up` of a vector field must have the shape \(256, 256\)"):
        full_disk(view(256), up=np.zeros((128, 128), np.float32))


def test_without_confidence_strong_is_200_gauss_at_disk_centre_and_400_at_the_limb():
    geometry = view(512)
    # 30 degrees from disk centre the distance on the disk is half the radius: 300 G.
    lon, lat = np.array([[0.0, 30.0, 70.0]]), np.zeros((1, 3))
    for strength, expected in ((190, [0, 0, 0]), (250, [1, 0, 0]), (350, [1, 1, 0]), (410, [1, 1, 1])):
        parts = camera_field(geometry, lambda lon, lat, b=strength: (0 * lon + b * 0.6, 0 * lat, 0 * lon + b * 0.8))
        vector = full_disk(
            geometry, sure=None, **dict(zip(("right", "up", "los"), map(np.float32, parts), strict=True))
        )
        assert vector.at(lon, lat)[3].tolist() == [[bool(one) for one in expected]], strength
