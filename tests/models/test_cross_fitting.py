import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from kflare.errors import DataError, SettingError
from kflare.models.calibration import fit_calibration
from kflare.models.cross_fitting import OutOfSample, cross_fitted

DAYS = pd.date_range("2012-01-01", "2014-12-31", freq="D", tz="UTC")


def simulated(seed, *, shift=(0.0, 0.0, 0.0), times=DAYS):
    """Three years of days whose flares follow a known calibration, its offset shifted from year to year."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, len(times))
    away = np.array(shift)[times.year - 2012]
    observed = rng.random(len(times)) < expit(0.8 * x - 1.5 + away)
    return OutOfSample.of(observed, expit(x).astype(np.float32), times)


def test_with_one_year_it_is_the_common_fit():
    times = pd.date_range("2012-01-01", "2012-12-31", freq="D", tz="UTC")
    samples = simulated(3, times=times)
    plain = fit_calibration(samples.observed, samples.probability)
    for own in (None, "2012"):
        fitted = cross_fitted(samples, own=own, resamples=20)
        assert (fitted.slope, fitted.offset) == pytest.approx((plain.slope, plain.offset), abs=1e-6)
        assert fitted.spread is None
    assert fitted.lowest == 1 / (366 + 2)


def test_without_an_own_year_all_years_count_alike():
    samples = simulated(4, shift=(0.0, 1.0, -1.0))
    plain = fit_calibration(samples.observed, samples.probability)
    fitted = cross_fitted(samples, resamples=20)
    assert (fitted.slope, fitted.offset) == pytest.approx((plain.slope, plain.offset), abs=1e-6)
    assert [(name, year["samples"], year["windows"]) for name, year in fitted.years.items()] == [
        ("2012", 366, 366), ("2013", 365, 365), ("2014", 365, 365),
    ]  # fmt: skip
    assert sum(year["events"] for year in fitted.years.values()) == samples.observed.sum()


def test_a_year_of_few_events_stays_with_the_others():
    # The last year is the network's own: its offset is 1.5 lower, seen in 365 days or in 20.
    def own_offset(days):
        chosen = DAYS[(DAYS.year < 2014) | (DAYS.day_of_year <= days)]
        fits = [simulated(seed, shift=(0.5, -0.5, -1.5), times=chosen) for seed in range(5)]
        common = np.mean([fit_calibration(one.observed, one.probability).offset for one in fits])
        alone = np.mean([
            fit_calibration(one.observed[last], one.probability[last]).offset
            for one in fits for last in [one.year == "2014"] if one.observed[last].any()
        ])  # fmt: skip
        own = np.mean([cross_fitted(one, own="2014", resamples=2).offset for one in fits])
        return common, own, alone

    common, own, alone = own_offset(365)
    assert alone - 0.1 < own < common - 0.3  # near its own fit
    common, own, _ = own_offset(20)
    assert abs(own - common) < 0.6 * 1.5


def test_a_year_without_a_flare_is_calibrated_by_the_others():
    samples = simulated(5)
    quiet = replace(samples, observed=samples.observed & (samples.year != "2014"))
    fitted = cross_fitted(quiet, own="2014", resamples=20)
    common = fit_calibration(quiet.observed, quiet.probability)
    assert np.isfinite([fitted.slope, fitted.offset]).all()
    assert fitted.offset < common.offset  # a year without a flare says that they are rarer
    with pytest.raises(SettingError, match="`own` must be one of the years 2012, 2013, 2014, got 2011"):
        cross_fitted(samples, own="2011")


def test_repeats_of_a_region_make_nothing_more_certain():
    # Fifteen samples of each day, 96 minutes apart, all with the day's outcome: as windows they are one.
    times = pd.date_range("2012-01-01", "2012-12-31", freq="D", tz="UTC")
    once = simulated(6, times=times)
    regions = np.arange(len(times)) // 10
    minutes = np.tile(np.arange(15) * 96, len(times))
    repeated = OutOfSample.of(
        np.repeat(once.observed, 15), np.repeat(once.probability, 15),
        times.repeat(15) + pd.to_timedelta(minutes, unit="min"), regions=np.repeat(regions, 15),
    )  # fmt: skip
    one = cross_fitted(OutOfSample.of(once.observed, once.probability, times, regions=regions))
    many = cross_fitted(repeated)
    assert many.lowest == one.lowest == 1 / (366 + 2)
    np.testing.assert_allclose(many.band, one.band, atol=1e-4)
    assert many.years["2012"]["windows"] == 366


def test_the_interval_holds_the_truth_as_often_as_it_says():
    # 60 draws of one year: 90 % intervals of the frequency at an output of 0.3 hold the true one in 46 to 60 of them
    # (99.9 % range of a binomial with p = 0.9 is 46 to 60).
    times = pd.date_range("2012-01-01", "2012-12-31", freq="D", tz="UTC")
    truth, held = expit(0.8 * logit(0.3) - 1.5), 0
    for seed in range(60):
        told = cross_fitted(simulated(seed, times=times)).outputs(tf.constant([0.3]))
        held += float(told["calibrated_lower"][0]) <= truth <= float(told["calibrated_upper"][0])
    assert held >= 46


def test_the_interval_is_wider_where_years_differ():
    alike, different = (
        cross_fitted(simulated(7, shift=shift)).outputs(tf.constant([0.5]))
        for shift in ((0.0, 0.0, 0.0), (1.5, 0.0, -1.5))
    )
    width = [float(one["calibrated_upper"][0] - one["calibrated_lower"][0]) for one in (alike, different)]
    assert width[1] > 2 * width[0]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), years=st.integers(1, 3), own=st.booleans(),
    p=st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40),
)  # fmt: skip
def test_the_interval_contains_the_point_and_rises_with_it(seed, years, own, p):
    times = DAYS[DAYS.year < 2012 + years]
    samples = simulated(seed, shift=(0.0, 0.7, -0.7), times=times)
    fitted = cross_fitted(samples, own="2012" if own else None, resamples=20)
    values = np.sort(np.array(p, np.float32))
    told = {name: value.numpy() for name, value in fitted.outputs(tf.constant(values)).items()}
    in_graph = tf.function(fitted.outputs)(tf.constant(values))
    low, point, high = (told[name] for name in ("calibrated_lower", "calibrated", "calibrated_upper"))
    assert ((low <= point) & (point <= high)).all()
    assert (low > 0).all()
    assert (high < 1).all()
    for name, values_of in told.items():
        assert (np.diff(values_of) >= -1e-7).all()
        assert values_of.dtype == np.float32
        np.testing.assert_allclose(in_graph[name], values_of, rtol=1e-5)
    # The same in numpy: a line for the point, the broken lines of the knots for the ends.
    x = logit(np.clip(values.astype(np.float64), 1e-6, 1 - 1e-6))
    knots = np.linspace(logit(1e-6), logit(1 - 1e-6), len(fitted.band[0]))
    ends = [np.interp(x, knots, edge) for edge in fitted.band]
    wanted = [ends[0], fitted.slope * x + fitted.offset, ends[1]]
    for line, found in zip(wanted, (low, point, high), strict=True):
        np.testing.assert_allclose(found, np.clip(expit(line), fitted.lowest, 1 - fitted.lowest), rtol=2e-3, atol=1e-6)


def test_an_unknown_output_calibrates_nothing():
    with pytest.raises(DataError, match="must be known for every sample, got NaN"):
        OutOfSample.of(np.array([True, False]), np.array([0.1, np.nan], np.float32), DAYS[:2])


def test_metadata_say_what_was_fitted_to_what():
    plain = cross_fitted(simulated(8), own="2013", resamples=20).as_json()
    assert json.loads(json.dumps(plain)) == plain
    how = "Platt scaling on out-of-sample forecasts of several years, fit of the 2013 shrunk to that of all"
    assert plain["method"] == how
    assert plain["interval"]["level"] == 0.9
    assert "not of the network" in plain["interval"]["of"]
    assert set(plain["years"]) == {"2012", "2013", "2014"}
    assert set(plain["years"]["2012"]) == {"samples", "windows", "clusters", "events", "slope", "offset"}
    assert set(plain["spread_between_years"]) == {"slope", "offset"}
    once = fit_calibration(np.array([True, False]), np.array([0.8, 0.2], np.float32)).as_json()
    assert set(once) == {"method", "slope", "offset", "lowest"}
