from datetime import UTC, datetime

import distributed
import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.models.baselines import (
    class_climatology,
    climatology,
    disk_climatology,
    disk_recent_climatology,
    gradient_boosting,
    logistic_regression,
    one_number_regressions,
    persistence_climatology,
    random_forest,
    recent_climatology,
    region_persistence,
)
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


def test_a_forest_in_a_worker_of_dask_says_nothing(samples):
    """It warned that a worker can start no processes, which it does not."""

    def grown():
        import warnings

        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            probability = random_forest(*samples)(samples[0])
        return probability, [str(one.message) for one in heard]

    cluster = distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        probability, heard = client.submit(grown).result()
    assert heard == []
    np.testing.assert_array_equal(probability, random_forest(*samples)(samples[0]))


@LEARNERS
def test_class_weights_move_the_prior_that_undoing_moves_back(learn, samples):
    x, observed = samples
    weight = float((~observed).sum() / observed.sum())
    weighted = learn(x, observed, class_weights=(1.0, weight))(x)
    # The two classes weigh the same: half of the weight is the flares'.
    shares = weighted[observed].mean(), weighted[~observed].mean()
    assert sum(shares) / 2 == pytest.approx(0.5, abs=0.08)
    assert (weighted / (weighted + weight * (1 - weighted))).mean() == pytest.approx(observed.mean(), abs=0.04)


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
    with pytest.raises(DataError, match=r"test covers 2013-12-31.* to 2014-07-20.*, but 120 of 120"):
        disk_climatology(every, datetime(2015, 5, 2, tzinfo=UTC), "M")


def test_region_persistence_looks_at_the_regions_own_last_24_hours():
    table = pd.DataFrame(
        {"time": pd.to_datetime(["2014-01-02", "2014-01-03", "2014-01-02"], utc=True), "region": ["a", "a", "b"]},
        index=[7, 3, 5],
    )
    own = flares(["2014-01-01T00:00Z", "2014-01-02T00:00Z"], ["C9.9", "M1.0"]).table.assign(region="a")
    assert region_persistence(table, own, "C").tolist() == [1, 1, 0]
    assert region_persistence(table, own, "M").tolist() == [0, 1, 0]


def test_persistence_as_a_chance_is_the_rate_of_its_kind():
    flared = np.array([0, 0, 0, 0, 1, 1], np.float32)
    chance, told = persistence_climatology(flared, np.array([0, 0, 1, 0, 1, 1], bool), np.array([1, 0, 1], np.float32))
    # (1 + 1)/(4 + 2) without a flare the day before, (2 + 1)/(2 + 2) with one.
    np.testing.assert_allclose(chance, [3 / 4, 1 / 3, 3 / 4])
    assert chance.dtype == np.float32
    assert told == "events after a day with a flare of the class: 2 of 2 samples; without: 1 of 4 samples"
    # A kind that never occurred in training is no certainty either.
    assert persistence_climatology(flared[:4], np.zeros(4, bool), flared)[0][-1] == 0.5


def test_regressions_on_one_number_use_that_number_alone(samples):
    x, observed = samples
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"R_VALUE": np.maximum(x[:, 0], 0), "USFLUX": 10.0 ** (21 + x[:, 0]), "AREA": x[:, 1]})
    found = one_number_regressions(table[:1500], observed[:1500], table)
    assert list(found) == ["R_VALUE alone", "USFLUX alone"]
    # The rate is a logistic function of log10 USFLUX, slope 2 and offset -2: recovered within sampling errors.
    p = found["USFLUX alone"]
    np.testing.assert_allclose(p, 1 / (1 + np.exp(2 - 2 * x[:, 0])), atol=0.06)
    # R_VALUE knows nothing below 0, where it gives one probability, not on the line of those above.
    below = found["R_VALUE alone"][x[:, 0] <= 0]
    assert np.ptp(below) == 0
    assert below[0] == pytest.approx(observed[:1500][x[:1500, 0] <= 0].mean(), abs=0.01)
    other = one_number_regressions(table[:1500].assign(AREA=rng.normal(size=1500)), observed[:1500], table)
    np.testing.assert_array_equal(other["USFLUX alone"], p)


def test_one_number_is_the_training_mean_where_unknown_and_absent_where_never_known(samples):
    x, observed = samples
    table = pd.DataFrame({"log_flux": x[:, 0], "log_pil": np.nan, "log_line_field": 1.0})
    asked = pd.DataFrame({"log_flux": [np.nan, x[:, 0].mean()], "log_pil": 1.0, "log_line_field": [1.0, 5.0]})
    found = one_number_regressions(table, observed, asked)
    assert list(found) == ["flux alone", "line field alone"]
    assert found["flux alone"][0] == pytest.approx(found["flux alone"][1], abs=1e-6)
    np.testing.assert_allclose(
        one_number_regressions(table, observed, table)["line field alone"], observed.mean(), atol=1e-3
    )


def test_past_flares_weigh_by_class_and_the_last_day_ten_times(samples):
    history = ["Chis", "Mhis", "Xhis", "Chis1d", "Mhis1d", "Xhis1d"]
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.poisson(1.0, (2000, 6)), columns=history)
    observed = rng.random(2000) < 0.1 + 0.5 * (table["Mhis1d"] > 1)
    asked = pd.DataFrame(np.diag([100, 10, 1, 10, 1, 0]), columns=history)
    # log(1 + 10) of the first five, however they come about: 100 C flares ever, 10 M, 1 X, or 10 C and 1 M of today.
    found = one_number_regressions(table, observed, asked)["past flares alone"]
    np.testing.assert_allclose(found[:5], found[0])
    assert found[5] < found[0]


def test_the_climatology_of_a_class_is_drawn_to_that_of_all():
    training = pd.Series(["EKC"] * 10 + ["BXO"] * 30)
    flares = [2] * 10 + [0] * 30  # half a flare a day of all
    found = class_climatology(training, flares, pd.Series(["EKC", "BXO", "FKC", ""], index=[9, 8, 7, 6]))
    # (20 + 10 x 0.5)/(10 + 10), (0 + 10 x 0.5)/(30 + 10), and of classes never seen the mean of all.
    np.testing.assert_allclose(found, [1.25, 0.125, 0.5, 0.5])
    # What is unknown is no class of its own.
    unknown = class_climatology(pd.Series(["EKC"] * 10 + [""] * 30), flares, pd.Series(["", "EKC"]), weight=0)
    np.testing.assert_allclose(unknown, [0.5, 2])
