from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.models.baselines import (
    climatology,
    disk_climatology,
    disk_recent_climatology,
    gradient_boosting,
    logistic_regression,
    random_forest,
    recent_climatology,
    region_persistence,
)
from kflare.models.calibration import unweighted
from kflare.verification.probabilistic import brier_skill_score

LEARNERS = pytest.mark.parametrize("learn", [logistic_regression, gradient_boosting, random_forest])


@pytest.fixture(scope="module")
def samples():
    """Features of which the first decides: frequency 1/(1 + e^(2 - 2x)), about a quarter with an event."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 3)).astype(np.float32)
    return x, rng.random(2000) < 1 / (1 + np.exp(2 - 2 * x[:, 0]))


@LEARNERS
def test_learners_beat_climatology_on_new_samples(learn, samples):
    x, observed = samples
    probability = learn(x[:1500], observed[:1500])(x[1500:])
    assert probability.dtype == np.float32
    assert brier_skill_score(observed[1500:], probability) > 0.2


@LEARNERS
def test_class_weights_move_the_prior_that_undoing_moves_back(learn, samples):
    x, observed = samples
    weight = float((~observed).sum() / observed.sum())
    weighted = learn(x, observed, class_weights=(1.0, weight))(x)
    # The two classes weigh the same: half of the weight is the flares'.
    shares = weighted[observed].mean(), weighted[~observed].mean()
    assert sum(shares) / 2 == pytest.approx(0.5, abs=0.08)
    assert unweighted(weighted, weight).mean() == pytest.approx(observed.mean(), abs=0.04)


@LEARNERS
def test_learners_need_both_classes(learn, samples):
    with pytest.raises(DataError, match="hold one class only"):
        learn(samples[0], np.zeros(2000, np.bool_))


def test_climatology_is_never_a_certainty():
    assert climatology(np.zeros(8, np.bool_)) == 0.1
    assert climatology(np.array([True, False])) == 0.5


def flares(starts, classes):
    return FlareList(pd.DataFrame({"start": pd.to_datetime(starts), "goes_class": classes}), "test")


def test_recent_climatology_counts_closed_windows_of_120_days_only():
    times = pd.Series(pd.date_range("2014-01-01", periods=200, freq="D", tz="UTC"))
    observed = np.zeros(200, np.bool_)
    observed[[10, 119, 120]] = True
    rate = recent_climatology(times, observed, otherwise=0.3)
    # Day 120 is the first with 120 days behind it: days 0 to 119, whose windows had closed, hold two events.
    np.testing.assert_allclose(rate[:120], 0.3)
    np.testing.assert_allclose(rate[[120, 121, 130, 131]], np.array([2, 3, 3, 2]) / 120, rtol=1e-6)


def test_the_disk_climatologies_count_days_of_the_flare_list():
    # One C flare on each of the first 60 of 200 days, then a B flare a day.
    starts = pd.date_range("2014-01-01T06:00Z", periods=200, freq="D")
    every = flares(starts, ["C1.0"] * 60 + ["B1.0"] * 140)
    times = pd.Series(pd.to_datetime(["2014-05-02T00:00Z", "2014-05-12T00:00Z"]))
    # 2 May is day 121: days 1 to 120 hold 59 flares; ten days later 49.
    np.testing.assert_allclose(
        disk_recent_climatology(times, every, "C", otherwise=0.3), np.array([59, 49]) / 120, rtol=1e-6
    )
    assert disk_climatology(every, datetime(2014, 5, 2, tzinfo=UTC), "C") == pytest.approx(60 / 122)
    assert disk_climatology(every, datetime(2014, 5, 2, tzinfo=UTC), "M") == pytest.approx(1 / 122)
    with pytest.raises(DataError, match="test covers 2014-01-01 to 2014-07-19"):
        disk_climatology(every, datetime(2015, 5, 2, tzinfo=UTC), "M")


def test_region_persistence_looks_at_the_regions_own_last_24_hours():
    table = pd.DataFrame(
        {"time": pd.to_datetime(["2014-01-02", "2014-01-03", "2014-01-02"], utc=True), "region": ["a", "a", "b"]},
        index=[7, 3, 5],
    )
    own = flares(["2014-01-01T00:00Z", "2014-01-02T00:00Z"], ["C9.9", "M1.0"]).table.assign(region="a")
    assert region_persistence(table, own, "C").tolist() == [1, 1, 0]
    assert region_persistence(table, own, "M").tolist() == [0, 1, 0]
