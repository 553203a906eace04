"""P_FD calibrated by what the regions combine to and by the flares before, on made-up Suns whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from kflare.models.cross_fitting import OutOfSample
from kflare.models.disk_calibration import calibrate_disk, disk_samples


def sun(seed=0, weight=1.0):
    """Six years of days, quiet and active in turn: regions combine alike, the flares of unseen ones do not."""
    rng = np.random.default_rng(seed)
    time = pd.date_range("2012-01-01", "2017-12-31", freq="D", tz="UTC")
    active = (time.year % 2).to_numpy()
    counts = pd.DataFrame({"day": rng.poisson(0.2 + 3 * active), "week": rng.poisson(1 + 20 * active)}, dtype=float)
    combined = rng.uniform(0.02, 0.98, len(time)).astype(np.float32)
    truth = expit(0.5 * logit(combined) + weight * np.log1p(counts["day"]) - 1)
    return OutOfSample.of(rng.random(len(time)) < truth, combined, time), counts, np.asarray(truth), active


def asked(counts):
    return {name: counts[name].to_numpy(np.float32) for name in counts}


def test_the_flares_before_tell_active_years_from_quiet_ones():
    samples, counts, truth, active = sun()
    fit = calibrate_disk(samples, counts, resamples=20)
    told = fit.of(samples.probability, asked(counts))
    assert np.abs(told["calibrated"] - truth).mean() < 0.03
    assert (told["calibrated_lower"] <= told["calibrated"]).all()
    assert (told["calibrated"] <= told["calibrated_upper"]).all()
    alone = fit.alone(samples.probability).numpy()
    for years in (active == 0, active == 1):
        assert told["calibrated"][years].mean() == pytest.approx(samples.observed[years].mean(), abs=0.03)
        assert abs(alone[years].mean() - samples.observed[years].mean()) > 0.1
    assert fit.weights["day"] == pytest.approx(1, abs=0.2)


def test_where_a_count_is_unknown_the_regions_speak_alone():
    samples, counts, *_ = sun()
    fit = calibrate_disk(samples, counts, resamples=20)
    some = counts.astype(float)
    some.loc[::3, "week"] = np.nan
    told, every = fit.of(samples.probability, asked(some)), fit.of(samples.probability, asked(counts))
    for name, alone in fit.alone.outputs(samples.probability).items():
        assert np.array_equal(told[name][::3], alone.numpy()[::3])
        assert np.array_equal(told[name][1::3], every[name][1::3])
    assert not np.array_equal(told["calibrated"], every["calibrated"])


@pytest.mark.parametrize("with_flares", [True, False])
def test_what_cannot_be_has_no_probability(with_flares):
    samples, counts, *_ = sun()
    fit = calibrate_disk(samples, counts if with_flares else None, resamples=20)
    combined = np.array([0.3, 0.0, 1.0, 0.3, -0.1, 1.1, np.nan, np.inf, 0.3, 0.3, 0.3], np.float32)
    day = np.array([2, 0, 0, np.nan, 2, 2, 2, 2, -1, np.inf, -np.inf], np.float32)
    told = fit.of(combined, {"day": day, "week": np.full(11, 5, np.float32)})
    known = np.isin(np.arange(11), [0, 1, 2, 3] if with_flares else [0, 1, 2, 3, 8, 9, 10])
    for value in told.values():
        np.testing.assert_array_equal(np.isfinite(value), known)


def test_more_flares_before_never_lower_it():
    samples, counts, *_ = sun(weight=-1.0)
    fit = calibrate_disk(samples, counts, resamples=0)
    assert all(weight >= 0 for weight in fit.weights.values())
    flares = {name: np.array([0, 1, 10, 1000], np.float32) for name in counts}
    assert (np.diff(fit.of(np.full(4, 0.3, np.float32), flares)["calibrated"]) >= 0).all()


def test_counts_of_too_few_days_are_left_out():
    samples, counts, *_ = sun()
    counts.iloc[20:] = np.nan
    fit = calibrate_disk(samples, counts, resamples=0)
    assert fit.informed is None
    assert fit.as_json() == calibrate_disk(samples, resamples=0).as_json()


def test_the_regions_of_a_time_are_combined_for_the_disk():
    times = pd.to_datetime(["2012-01-01T00:00Z", "2012-01-01T00:00Z", "2012-01-02T00:00Z"])
    disk, counts = disk_samples(times, [0.5, 0.2, 0.1], [True, True, False], pd.DataFrame({"n": [4.0, 4.0, 1.0]}))
    np.testing.assert_allclose(disk.probability, [1 - 0.5 * 0.8, 0.1], rtol=1e-6)
    assert disk.observed.tolist() == [True, False]
    assert disk.year.tolist() == ["2012", "2012"]
    assert counts["n"].tolist() == [4.0, 1.0]


def test_metadata_tell_both_calibrations():
    samples, counts, *_ = sun()
    told = calibrate_disk(samples, counts, resamples=20).as_json()
    assert told["slope"] != told["with_flares"]["slope"]
    assert set(told["with_flares"]["index"]) == {"offset", "slope", "weights"}
    assert set(told["with_flares"]["index"]["weights"]) == {"day", "week"}
