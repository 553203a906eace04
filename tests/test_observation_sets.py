"""The synthetic Sun's observation sets: read back, they are what was written."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from kflare.flares.srs import read_srs
from kflare.observations.identity import VECTOR_SEGMENTS
from kflare.observations.reading import read_magnetogram
from kflare.observations.sets import sets_in
from kflare.observations.solar_image import read_solar_image
from kflare.regions.vector_files import read_vector
from kflare.synthetic.sun import SyntheticSun
from kflare.synthetic.surface import disk_grid
from kflare.xray.flux import read_xray_flux
from tests.observation_sets import flare_flux, surface, write_observations, xray_flux

START = datetime(2014, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sun():
    return SyntheticSun(START, 3, seed=2)


@pytest.fixture(scope="module")
def sets(observed_sun):
    return sets_in([observed_sun])


def test_every_set_is_whole(sets):
    assert [found.time.hour for found in sets] == [0, 1, 2]
    last = sets[-1]
    assert all(set(paths) == set(VECTOR_SEGMENTS) for paths in last.vector.values())
    assert last.vector_time == last.time
    assert all(path is not None for path in (last.aia_1600, *last.aia_131))


def test_the_vector_field_comes_back(sun, sets):
    magnetogram = read_magnetogram(sets[0].magnetogram)
    segments = [[paths[name] for paths in sets[0].vector.values()] for name in VECTOR_SEGMENTS]
    vector = read_vector(*segments, magnetogram=magnetogram)
    grid = disk_grid(256)
    field, cutouts = surface(sun, grid, sets[0].time)
    assert set(cutouts) == set(sets[0].vector)
    seen = vector.covered.ravel()[grid.index] & (grid.mu > 0.3)
    bx, by, bz, _ = vector.at(grid.lon[seen][np.newaxis], grid.lat[seen][np.newaxis])
    for measured, true in ((bx, field.west), (by, field.north), (bz, field.radial)):
        # Angles are stored to 0.01 degrees: of 3000 G that is 0.5 G; interpolation between pixels does more.
        assert np.abs(true[seen]).max() > 200
        assert np.corrcoef(measured[0], true[seen])[0, 1] > 0.999
    # The line-of-sight field is of the same field, with noise of 10 G · 256 / 1024.
    los = magnetogram.data.ravel()[grid.index]
    assert np.std(los - field.seen(grid)[2]) == pytest.approx(2.5, rel=0.05)


def test_a_full_disk_vector_field(sun, tmp_path):
    write_observations(sun, tmp_path, pd.DatetimeIndex([START]), size=64, full_disk_vector=True)
    (found,) = sets_in([tmp_path])
    assert list(found.vector) == [0]
    (observed,) = ([found.vector[0][name]] for name in ("field",))
    assert observed[0].name.startswith("hmi.B_720s.")


def test_the_sun_shines_at_both_wavelengths(sets):
    for path, wavelength, quiet in ((sets[0].aia_1600, 1600, 45), (sets[0].aia_131[0], 131, 4)):
        image = read_solar_image(path, wavelength=wavelength)
        # AIA's pixels are 0.6 arcsec wide where HMI's are 0.504, its disk off the middle.
        assert image.disk.radius == pytest.approx(0.44 * 256 * 0.504 / 0.6)
        assert image.disk.x != image.disk.y
        middle = image.data[118:138, 118:138]
        assert np.median(middle) == pytest.approx(quiet, rel=0.9)
        assert np.nanmax(image.data) > 2 * np.median(middle)


def test_the_shape_of_a_flare():
    at = pd.to_datetime(["2014-01-01T10:00Z", "2014-01-01T10:10Z", "2014-01-01T10:30Z"])
    flare = pd.DataFrame({"start": at[:1], "peak": at[1:2], "end": at[2:], "flux": [1e-5]})
    # At its end, as GOES defines it, half of the peak; at its start exp(-4) by the Gaussian of half the rise.
    np.testing.assert_allclose(flare_flux(flare, at)[0], [1e-5 * np.exp(-4), 1e-5, 5e-6])
    np.testing.assert_allclose(xray_flux(flare, at[1:]), [1e-5 + 2e-7, 5e-6 + 2e-7])


def test_what_is_written_beside(observed_sun, sun):
    flux = read_xray_flux(next(observed_sun.glob("goes_xrays_*.json"))).table
    assert (flux["time"].iloc[0], flux["time"].iloc[-1]) == (
        pd.Timestamp("2013-12-31", tz="UTC"),
        pd.Timestamp("2014-01-04", tz="UTC"),
    )
    assert flux["flux"].max() >= sun.flares.table["flux"].max()
    srs = read_srs(observed_sun / "srs.csv")
    assert set(srs["noaa"]) <= set(sun.regions["noaa"])
    assert len(srs)


def test_the_same_seed_writes_the_same(sun, tmp_path, observed_sun):
    write_observations(sun, tmp_path, pd.DatetimeIndex([pd.Timestamp("2014-01-02T01:00Z")]), size=256)
    for path in tmp_path.glob("*.fits"):
        assert path.read_bytes() == (observed_sun / path.name).read_bytes(), path.name
