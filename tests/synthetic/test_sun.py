import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from kflare.errors import SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.repairing import read_flares
from kflare.observations.reading import read_magnetogram
from kflare.operations.swpc import SwpcForecast
from kflare.sun.geometry import synodic_rate
from kflare.synthetic.files import swpc_probabilities
from kflare.synthetic.flares import flare_rate
from kflare.synthetic.regions import SQUARE_DEGREE, Patches, emerge_regions, times_to_days
from kflare.synthetic.sharp import patch_parameters
from kflare.synthetic.sun import SyntheticSun
from kflare.synthetic.surface import disk_grid, paint

START = datetime(2014, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sun():
    return SyntheticSun(START, 200, seed=1)


@pytest.fixture(scope="module")
def quiet_sun():
    """So few regions that a large one is usually alone on the disk."""
    return SyntheticSun(START, 400, seed=4, activity=0.2)


@pytest.fixture(scope="module")
def lone_regions(quiet_sun):
    """(time, row of the region table): large regions near the central meridian with no other within 30 degrees."""
    table = quiet_sun.region_table(quiet_sun.times(24))
    lone = []
    for time, rows in table.groupby("time"):
        for _, row in rows.iterrows():
            others = rows[rows["noaa"] != row["noaa"]]
            far = np.hypot(others["lon"] - row["lon"], others["lat"] - row["lat"]) > 30
            if row["USFLUX"] > 5e21 and abs(row["lon"]) < 35 and far.all():
                lone.append((time.to_pydatetime(), row))
    assert len({row["noaa"] for _, row in lone}) >= 6
    return lone


def around(magnetogram, lon, lat, reach=15.0):
    """Field, longitude and latitude of the pixels within `reach` degrees, and which of them are clearly magnetic."""
    grid = disk_grid(magnetogram.data.shape[0])
    near = (np.abs(grid.lon - lon) < reach) & (np.abs(grid.lat - lat) < reach)
    field = magnetogram.data.ravel()[grid.index][near] / grid.mu[near]
    return field, grid.lon[near], grid.lat[near], np.abs(field) > 80


def simple_bipole(flux=4e21):
    """One region: positive patch 3 degrees west of its centre, negative one 3 degrees east, each 1 degree wide."""
    one = np.array([[1.0, 0.0, -1.0, 0.0, 0.0]])
    return Patches(flux / 2 * one, 3.0 * one, 0 * one, np.ones((1, 5)))


def plain(grid):
    return np.ones(len(grid.index), dtype=np.float32)


def test_leading_polarity_follows_hales_law_in_the_image(quiet_sun, lone_regions):
    seen = {1.0: 0, -1.0: 0}
    for time, row in lone_regions:
        field, lon, _, magnetic = around(quiet_sun.magnetogram(time), row["lon"], row["lat"])
        west = np.average(lon[magnetic & (field > 0)], weights=field[magnetic & (field > 0)])
        east = np.average(lon[magnetic & (field < 0)], weights=-field[magnetic & (field < 0)])
        # Even cycle: the leading (western) polarity is negative in the north, positive in the south.
        assert np.sign(west - east) == -np.sign(row["lat"])
        seen[np.sign(row["lat"])] += 1
    assert min(seen.values()) >= 3


def test_cycle_sign_reverses_every_polarity():
    even, odd = (SyntheticSun(START, 3, leading_north=sign).regions["leading"] for sign in (-1, 1))
    np.testing.assert_array_equal(even, -odd)


def test_tilt_follows_joys_law():
    regions = emerge_regions(1, 4000, seed=0, activity=1.0, belt=16.0, leading_north=-1)
    lat = np.abs(regions.lat)
    low, high = regions.tilt[lat < 12].mean(), regions.tilt[lat > 20].mean()
    # Half the latitude: about 4.5 degrees below 12 degrees (mean latitude 9) and 12 above 20 (mean latitude 24). With
    # scatter near 12 degrees and about 800 regions in each group the means are known to 0.5 degrees.
    assert low == pytest.approx(0.5 * lat[lat < 12].mean(), abs=1.5)
    assert high == pytest.approx(0.5 * lat[lat > 20].mean(), abs=1.5)
    patches = regions.patches_at(regions.born + regions.rise)
    equatorward = -np.sign(regions.lat) * (patches.y[:, 1] - patches.y[:, 3])  # leading plage against following
    np.testing.assert_array_equal(np.sign(equatorward), np.sign(np.sin(np.deg2rad(regions.tilt))))


def test_synodic_rate_is_that_of_howard_1990():
    # Equator: 2.894e-6 rad/s · 86400 s · 57.29578 deg/rad = 14.3264; less 0.9856 = 13.3408 degrees per day.
    assert synodic_rate(0.0) == pytest.approx(13.3408, abs=1e-3)
    # 30 degrees: 2.894 - 0.428/4 - 0.370/16 = 2.763875 → 13.6822 - 0.9856 = 12.6966.
    assert synodic_rate(30.0) == pytest.approx(12.6966, abs=1e-3)


def test_regions_cross_the_disk_at_the_solar_rate(quiet_sun, lone_regions):
    rates = []
    for time, row in lone_regions:
        if abs(row["lon"]) > 15:
            continue
        places = []
        for hours in (-24, 24):
            moment = time + timedelta(hours=hours)
            guess = row["lon"] + 13.2 * hours / 24  # only chooses the window
            field, lon, _, magnetic = around(quiet_sun.magnetogram(moment), guess, row["lat"])
            # The middle of both polarities: their unsigned fluxes are equal, whatever they do otherwise.
            places.append(np.mean([lon[magnetic & (sign * field > 0)].mean() for sign in (-1, 1)]))
        rates.append((places[1] - places[0]) / 2)
    assert len(rates) >= 8
    # 13.1 degrees per day at the mean latitude of 16 degrees; one centroid wanders by some tenths of a degree.
    assert np.median(rates) == pytest.approx(13.1, abs=0.3)


def test_region_table_moves_west_at_the_rate_of_its_latitude(sun):
    table = sun.region_table(sun.times(24)[:40])
    for _, rows in table.groupby("noaa"):
        next_day = (rows["time"].diff() == pd.Timedelta(days=1)).to_numpy()[
            1:
        ]  # not the return after half a turn on the far side
        np.testing.assert_allclose(np.diff(rows["lon"])[next_day], synodic_rate(rows["lat"].iloc[0]), rtol=1e-6)


def test_north_is_up_and_east_is_left():
    grid = disk_grid(128)
    one = np.zeros((1, 5))
    source = Patches(one + np.array([4e21, 0, 0, 0, 0]), one, one, np.ones((1, 5)))
    image = np.zeros(128 * 128)
    image[grid.index] = paint(grid, source, np.array([-30.0]), np.array([20.0]), plain(grid))
    row, column = np.unravel_index(image.argmax(), (128, 128))
    # row = 63.5 - 56.32 sin 20°, column = 63.5 - 56.32 sin 30° cos 20° (radius 0.44 · 128 = 56.32 pixels)
    assert (row, column) == (round(63.5 - 19.26), round(63.5 - 26.46))


@pytest.mark.parametrize("size", [64, 128, 512])
def test_flux_does_not_depend_on_the_resolution(size):
    grid = disk_grid(size)
    field = paint(grid, simple_bipole(), np.array([0.0]), np.array([0.0]), plain(grid))
    # One pixel covers (57.296° / radius)² of the surface at disk centre, 1 / mu more elsewhere.
    area = SQUARE_DEGREE * np.rad2deg(1 / grid.radius) ** 2 / grid.mu
    assert np.sum(np.abs(field) * area) == pytest.approx(4e21, rel=0.02)


def test_field_is_seen_along_the_line_of_sight(sun):
    magnetogram = sun.magnetogram(START + timedelta(days=30), 256)
    grid = disk_grid(256)
    # On the limb mu = 0: nothing is left but noise of 10 G · 256/1024 = 2.5 G.
    limb = magnetogram.data.ravel()[grid.index][grid.mu < 0.1]
    assert np.std(limb) < 4
    assert np.nanmax(np.abs(magnetogram.data)) > 200


def test_off_the_disk_is_nan(sun):
    magnetogram = sun.magnetogram(START, 128)
    np.testing.assert_array_equal(np.isfinite(magnetogram.data), magnetogram.on_disk)
    assert magnetogram.disk.radius == pytest.approx(0.44 * 128)
    assert (magnetogram.instrument, magnetogram.byte_range, magnetogram.time) == ("synthetic", None, START)


def test_sizes_show_the_same_sun(sun):
    time = START + timedelta(days=3, hours=7)
    # Clumps of network smaller than a pixel may fall in its neighbour: compare means over 3 × 3 pixels.
    full, small = (
        ndimage.uniform_filter(np.nan_to_num(image.resized(128).data), 3)
        for image in (sun.magnetogram(time, 512), sun.magnetogram(time, 128))
    )
    strong = np.abs(small) > 20
    assert strong.sum() > 100
    assert np.corrcoef(full[strong], small[strong])[0, 1] > 0.95


def test_a_seed_is_one_sun_whatever_the_order_and_span(sun):
    later = SyntheticSun(START + timedelta(days=5), 10, seed=1)
    times = [START + timedelta(days=9), START + timedelta(days=6, hours=5)]
    images = {time: later.magnetogram(time, 64).data for time in times}
    for time in reversed(times):
        np.testing.assert_array_equal(sun.magnetogram(time, 64).data, images[time])
    mine = sun.flares.between(later.start, later.end).table.drop(columns="noaa")
    pd.testing.assert_frame_equal(mine, later.flares.table.drop(columns="noaa"))
    assert not np.array_equal(
        SyntheticSun(START, 9, seed=2).magnetogram(START, 64).data, sun.magnetogram(START, 64).data
    )


def test_regions_emerge_grow_and_decay():
    regions = emerge_regions(1, 40, seed=0, activity=1.0, belt=16.0, leading_north=-1)
    assert (regions.flux_at(regions.born) == 0).all()
    np.testing.assert_allclose(regions.flux_at(regions.born + regions.rise), regions.flux)
    # One e-folding time after its largest a region holds 1/e = 0.368 of its flux.
    np.testing.assert_allclose(
        regions.flux_at(regions.born + regions.rise + regions.decay), 0.368 * regions.flux, rtol=1e-3
    )
    patches = regions.patches_at(regions.born + regions.rise)
    np.testing.assert_allclose(patches.flux.sum(axis=1), 0, atol=1e8)  # both polarities balance, to rounding of 1e22
    np.testing.assert_allclose(np.abs(patches.flux).sum(axis=1), regions.flux)


def test_regions_table_is_in_order_of_emergence(sun):
    regions = sun.regions
    assert regions["emergence"].is_monotonic_increasing
    assert regions["noaa"].tolist() == list(range(10001, 10001 + len(regions)))
    assert regions["region"].iloc[0] == "HARP 1"
    assert regions["flux"].between(1e21, 4e22).all()
    assert regions["carrington_lon"].between(0, 360).all()
    assert regions["emergence"].dtype == "datetime64[us, UTC]"


def test_flares_are_those_that_goes_sees(sun):
    assert isinstance(sun.flares, FlareList)
    table = sun.flares.table
    assert ((table["start"] >= sun.start) & (table["start"] < sun.end)).all()
    assert ((table["start"] < table["peak"]) & (table["peak"] < table["end"])).all()
    assert (table["lon"].abs() < 90).all()
    assert table["flux"].between(5e-7, 1e-3).all()
    assert table["noaa"].isin(sun.regions["noaa"]).all()
    # The catalogue's position is the region's own at that minute.
    lat = sun.regions.set_index("noaa")["lat"]
    np.testing.assert_allclose(table["lat"], lat.loc[table["noaa"]])


def test_flare_sizes_are_a_power_law(sun):
    flux = sun.flares.table["flux"].to_numpy()
    # Density ∝ x^-1.9 from 5e-7 to 1e-3 W m^-2: above x lies (x^-0.9 - 1e-3^-0.9) / (5e-7^-0.9 - 1e-3^-0.9), that is
    # 0.535 at C1 and 0.0664 at M1. Binomial scatter of 600 flares: 0.02 and 0.01; three of them allowed.
    assert len(flux) > 400
    assert np.mean(flux >= 1e-6) == pytest.approx(0.535, abs=0.06)
    assert np.mean(flux >= 1e-5) == pytest.approx(0.0664, abs=0.03)


def pil_flux(sun, times):
    """Polarity-inversion-line flux of the visible hemisphere, which drives the flares: Mx, (N,)."""
    days = times_to_days(pd.DatetimeIndex(times))
    at, one = sun._visible(days, 90.0, 0.0)
    return np.bincount(at, weights=sun._born.take(one).patches_at(days[at]).pil_flux, minlength=len(days))


def test_flare_days_are_as_frequent_as_near_a_solar_maximum_and_can_be_forecast(sun):
    times = sun.times(24)
    assert len(times) == 200
    largest = np.array(
        [sun.flares.between(t, t + timedelta(days=1)).table["flux"].max() for t in times.to_pydatetime()]
    )
    assert 0.3 < np.mean(largest >= 1e-6) < 0.6
    assert 0.05 < np.mean(largest >= 1e-5) < 0.2
    assert roc_auc_score(largest >= 1e-6, pil_flux(sun, times)) > 0.75


def test_delta_regions_flare_more():
    regions = emerge_regions(1, 1000, seed=0, activity=1.0, belt=16.0, leading_north=-1)
    rate = flare_rate(regions.patches_at(regions.born + regions.delta_age).pil_flux)
    large = regions.flux > 5e21
    assert np.median(rate[large & (regions.complexity > 0.6)]) > 2 * np.median(rate[large & (regions.complexity < 0.1)])


def test_pil_flux_of_two_patches():
    # Patches of 2e21 Mx and 1 degree, 6 degrees apart: overlap exp(-36 / 4) = 1.234e-4. Peak field 2e21 /
    # (2π · 1.4743e18 cm²) = 215.9 G, so the weight is 215.9 / 1215.9 = 0.1776; 2e21 · 1.234e-4 · 0.1776 = 4.383e16 Mx.
    assert simple_bipole().pil_flux == pytest.approx([4.383e16], rel=1e-3)


def test_sharp_parameters_of_a_simple_bipole():
    values = {name: value[0] for name, value in patch_parameters(simple_bipole()).items()}
    # Peak 215.9 G, so 25 G is reached at radius² = 2 ln(8.64) = 4.312 degree² in each polarity. Their area is
    # 2π · 4.312 · 1.4743e18 = 3.994e19 cm² = 1313 µHem (3.0412e16 cm²), their flux 4e21 · (1 - 25/215.9) = 3.537e21 Mx.
    # The pixel grid of 0.25 degrees smooths by 0.1 degree.
    assert values["AREA"] == pytest.approx(1313, rel=0.03)
    assert values["USFLUX"] == pytest.approx(3.537e21, rel=0.02)
    # Mean over the disk of radius R = 2.077 of B0 r exp(-r²/2): B0 · (2/R²) ∫ r² exp(-r²/2) dr; the integral to R is
    # sqrt(π/2) erf(R/√2) - R exp(-R²/2) = 1.2059 - 0.2404 = 0.9655, so 215.9 · 0.4638 · 0.9655 = 96.7 G/degree, and a
    # degree is 12.142 Mm: 7.96 G/Mm.
    assert values["MEANGBZ"] == pytest.approx(7.96, rel=0.04)
    assert values["R_VALUE"] == 0  # 6 degrees apart: no strong polarity inversion line


def test_close_opposite_polarities_have_a_strong_polarity_inversion_line():
    wide = simple_bipole(1e22)
    close = Patches(wide.flux, wide.x / 3, wide.y, wide.sigma)
    assert patch_parameters(close)["R_VALUE"][0] > 3
    assert close.pil_flux[0] > 1000 * wide.pil_flux[0]


def test_region_table_has_the_agreed_columns(sun):
    times = [START + timedelta(days=10), START + timedelta(days=20)]
    table = sun.region_table(times)
    columns = ["time", "region", "harpnum", "noaa", "lon", "lat", "AREA", "USFLUX", "MEANGBZ", "R_VALUE"]
    assert table.columns.tolist() == columns
    assert table["time"].dtype == "datetime64[us, UTC]"
    assert table["noaa"].dtype == "Int64"
    assert (table["lon"].abs() <= 70).all()
    assert (table[["AREA", "USFLUX", "MEANGBZ"]] > 0).all(axis=None)
    assert table["time"].is_monotonic_increasing
    assert set(table["time"]) == {pd.Timestamp(time) for time in times}


def test_region_table_of_an_empty_disk_keeps_its_types():
    table = SyntheticSun(START, 1, seed=0, activity=1e-9).region_table([START])
    assert len(table) == 0
    assert table.dtypes.astype(str).to_dict() == {
        "time": "datetime64[us, UTC]",
        "region": "str",
        "harpnum": "int64",
        "noaa": "Int64",
        **dict.fromkeys(["lon", "lat", "AREA", "USFLUX", "MEANGBZ", "R_VALUE"], "float64"),
    }


def test_written_archive_is_read_back(sun, tmp_path):
    small = SyntheticSun(START + timedelta(days=30), 3, seed=1)
    small.write(tmp_path / "archive", cadence_hours=12, table_cadence_hours=8, size=256)
    paths = sorted((tmp_path / "archive" / "magnetograms").iterdir())
    # 12 h apart, each with 24 h before the end at 72 h: 0, 12, ... 48 h.
    assert [path.name for path in paths][:2] == ["synthetic_20140131_000000.jpg", "synthetic_20140131_120000.jpg"]
    assert len(paths) == 5
    read, made = read_magnetogram(paths[1], byte_range=100.0), small.magnetogram(small.start + timedelta(hours=12), 256)
    assert read.time == made.time
    assert read.disk.x == pytest.approx(made.disk.x, abs=0.5)
    assert read.disk.y == pytest.approx(made.disk.y, abs=0.5)
    assert read.disk.radius == pytest.approx(made.disk.radius, abs=1.0)
    inside = disk_grid(256).index[disk_grid(256).mu > 0.2]
    error = read.data.ravel()[inside] - np.clip(made.data.ravel()[inside], -100, 100)
    assert np.sqrt(np.mean(error**2)) < 3  # JPEG of quality 95 and bytes of 0.78 G

    flares = read_flares(tmp_path / "archive" / "flares.csv").table
    columns = ["start", "peak", "end", "goes_class", "flux", "noaa"]
    pd.testing.assert_frame_equal(flares[columns], small.flares.table[columns])
    np.testing.assert_allclose(flares["lon"], small.flares.table["lon"], atol=0.051)

    path = tmp_path / "archive" / "regions.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(path), small.region_table(small.times(8)))
    assert parquet.read_schema(path).field("USFLUX").metadata[b"unit"] == b"Mx"


def test_each_time_has_its_magnetogram_and_its_regions():
    sun = SyntheticSun(START, 2, seed=1)
    seen = [
        (sun.magnetogram(time.to_pydatetime(), 64), sun.region_table(pd.DatetimeIndex([time]))) for time in sun.times(8)
    ]
    assert [magnetogram.time for magnetogram, _ in seen] == [START + timedelta(hours=h) for h in (0, 8, 16, 24)]
    assert all(len(table) for _, table in seen)
    assert all((table["time"] == magnetogram.time).all() for magnetogram, table in seen)


def test_the_made_up_forecaster_knows_what_had_ended_when_it_spoke():
    end = pd.to_datetime(["2014-01-04T22:00Z", "2014-01-06T12:00Z", "2014-01-07T21:59Z", "2014-01-07T22:00Z"])
    flares = pd.DataFrame({"end": end, "flux": [2e-6, 2e-5, 3e-6, 2e-4]})
    day = datetime(2014, 1, 7, tzinfo=UTC)
    rows = {hour: swpc_probabilities(flares, day + timedelta(hours=hour)) for hour in (21, 22, 27, 46)}
    assert rows[22] == rows[27] != rows[21]
    (row,) = rows[27]
    # Of the three days before 22 UT: three C and one M, 1 - exp(-3.1 / 3) = 0.644 and 1 - exp(-1.1 / 3) = 0.307.
    assert [row[f"{name}_class_{n}_day"] for name in "cmx" for n in (1, 3)] == [65, 65, 30, 30, 5, 5]
    assert rows[46][0]["x_class_1_day"] == 30  # the X flare, too, a day later
    for hour, rows_of_hour in rows.items():
        assert SwpcForecast.of_feed(json.dumps(rows_of_hour), day + timedelta(hours=hour)).percent["M"][0] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": datetime(2014, 1, 1)}, "`start` must carry a time zone"),  # noqa: DTZ001
        ({"days": 0}, "`days` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"activity": 0.0}, "`activity` must be above 0"),
        ({"belt": 60.0}, r"`belt` must lie in \[2, 40\] degrees"),
        ({"leading_north": 0}, "`leading_north` must be -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    settings = {"start": START, "days": 2, **change}
    with pytest.raises(SettingError, match=message):
        SyntheticSun(settings.pop("start"), settings.pop("days"), **settings)


def test_times_not_covered_are_refused(sun):
    with pytest.raises(SettingError, match="`times` must lie between 2014-01-01T00:00:00Z"):
        sun.magnetogram(START - timedelta(hours=1), 64)
    with pytest.raises(SettingError, match="`times` must carry a time zone"):
        sun.region_table([datetime(2014, 1, 2)])  # noqa: DTZ001
    with pytest.raises(SettingError, match="`size` must be at least 16"):
        sun.magnetogram(START, 8)
    with pytest.raises(SettingError, match="`cadence_hours` must be above 0"):
        sun.times(0)
