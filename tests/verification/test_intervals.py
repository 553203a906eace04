"""The bootstrap: resamples scored like real samples, clusters kept together, and what no interval can be given for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from kflare.errors import DataError, SettingError
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import ClusteredSamples, bootstrap, rate_interval
from kflare.verification.probabilistic import (
    brier_decomposition,
    brier_score,
    brier_skill_score,
    gini,
    log_score,
    roc_area,
)

rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 8).map(lambda n: n / 8), st.integers(0, 4)), min_size=1, max_size=30
)


def seeded(n=400, clusters=40, seed=1):
    """Forecasts with skill: the event rate is the probability."""
    random = np.random.default_rng(seed)
    probability = random.random(n)
    return random.random(n) < probability, probability, np.repeat(np.arange(clusters), n // clusters)


@settings(max_examples=60)
@given(rows, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_weights_score_like_repeated_samples(rows, times):
    """A resample is the samples of each cluster, as often as it was drawn."""
    observed, probability, clusters = map(np.array, zip(*rows, strict=True))
    samples = ClusteredSamples(observed, clusters)
    table, of_probability = samples.all_scores(probability, 0.5)[0]
    weight = np.array(times, float)[np.unique(clusters)]
    fast = table.resampled(weight[:, None]) | of_probability.resampled(weight[:, None])
    repeats = np.array(times)[clusters]
    if not repeats.sum():
        assert all(math.isnan(score[0]) for score in fast.values()), fast
        return
    o, p = np.repeat(observed, repeats), np.repeat(probability, repeats)
    slow = ContingencyTable.from_probabilities(o, p).scores() | {
        "brier_score": brier_score(o, p),
        "brier_skill_score": brier_skill_score(o, p),
        "reliability": brier_decomposition(o, p).reliability,
        "resolution": brier_decomposition(o, p).resolution,
        "log_score": log_score(o, p),
        "roc_area": roc_area(o, p),
        "gini": gini(o, p),
    }
    assert {name: score[0] for name, score in fast.items()} == pytest.approx(dict(slow), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(("events", "samples"), [(0, 1), (1, 1), (0, 30), (7, 30), (28, 100), (2666, 2666)])
def test_the_interval_of_a_rate_is_that_of_scipy(events, samples):
    expected = binomtest(events, samples).proportion_ci(0.95, method="wilson")
    assert rate_interval(events, samples) == pytest.approx(tuple(expected), abs=1e-12)


def test_the_value_is_that_of_the_samples():
    observed, probability, clusters = seeded()
    result = bootstrap(observed, probability, clusters, threshold=0.4, resamples=200)
    assert result["tss"].value == ContingencyTable.from_probabilities(observed, probability, threshold=0.4).tss
    assert result["brier_score"].value == brier_score(observed, probability)
    for interval in result.values():
        assert interval.lower <= interval.value <= interval.upper
        assert interval.sigma > 0 or interval.lower == interval.upper
        assert (interval.undefined, interval.reason) == (0, "")


def test_the_same_seed_gives_the_same_intervals():
    sample = seeded()
    assert bootstrap(*sample, resamples=100, seed=3) == bootstrap(*sample, resamples=100, seed=3)
    assert bootstrap(*sample, resamples=100, seed=3) != bootstrap(*sample, resamples=100, seed=4)


def test_sigma_of_independent_samples():
    # The accuracy of n independent samples has sigma sqrt(a (1 - a)/n); 4,000 resamples know it to about 1 %.
    observed, probability, _ = seeded(n=1000, clusters=100)
    accuracy = bootstrap(observed, probability, np.arange(1000), resamples=4000)["accuracy"]
    a = accuracy.value
    assert accuracy.sigma == pytest.approx(math.sqrt(a * (1 - a) / 1000), rel=0.05)
    # Normal approximation: 95 % of the resamples lie within 1.96 sigma, 68.3 % within one.
    assert (accuracy.upper - accuracy.lower) / 2 == pytest.approx(1.96 * accuracy.sigma, rel=0.05)
    narrow = bootstrap(observed, probability, np.arange(1000), resamples=4000, level=0.683)["accuracy"]
    assert (narrow.upper - narrow.lower) / 2 == pytest.approx(accuracy.sigma, rel=0.08)


def test_repeating_each_sample_within_its_cluster_adds_no_information():
    observed, probability, clusters = seeded()
    once = bootstrap(observed, probability, clusters, resamples=100)["tss"]
    four_times = bootstrap(*(np.repeat(part, 4) for part in (observed, probability, clusters)), resamples=100)["tss"]
    assert (four_times.lower, four_times.upper) == pytest.approx((once.lower, once.upper))
    as_if_independent = bootstrap(np.repeat(observed, 4), np.repeat(probability, 4), np.arange(1600), resamples=100)
    assert as_if_independent["tss"].sigma < 0.7 * once.sigma


def test_blocks_keep_neighbouring_days_together():
    # Days come in runs of five equal outcomes: single days are drawn as if there were five times as many.
    random = np.random.default_rng(5)
    observed, probability = np.repeat(random.random(80) < 0.4, 5), np.repeat(random.random(80), 5)
    days = np.datetime64("2016-01-01") + np.arange(400)
    single = bootstrap(observed, probability, days, resamples=500)["tss"]
    blocks = bootstrap(observed, probability, days, resamples=500, block_length=10)["tss"]
    assert blocks.sigma > 1.5 * single.sigma
    # One block of all days is the sample itself, begun elsewhere.
    whole = bootstrap(observed, probability, days, resamples=10, block_length=400)["tss"]
    assert (whole.lower, whole.upper) == pytest.approx((whole.value, whole.value))


def test_clusters_may_be_names_numbers_or_days():
    observed, probability, clusters = seeded()
    expected = bootstrap(observed, probability, clusters, resamples=50)
    names = np.array([f"HARP {number:04d}" for number in clusters])
    days = np.datetime64("2016-01-01") + clusters
    for labels in (names, names.astype(object), days, clusters.astype(float)):
        assert bootstrap(observed, probability, labels, resamples=50) == expected


def test_folds_are_scored_apart_and_averaged():
    observed, probability, clusters = seeded()
    years = np.repeat([2013, 2014], 200)
    result = bootstrap(observed, probability, clusters, folds=years, resamples=100)
    tss = [
        ContingencyTable.from_probabilities(observed[part], probability[part]).tss
        for part in (years == 2013, years == 2014)
    ]
    assert result["tss"].value == pytest.approx(np.mean(tss))
    assert result["tss"].lower < np.mean(tss) < result["tss"].upper


def test_each_fold_may_have_its_threshold():
    observed, probability, clusters = seeded()
    years = np.repeat([2013, 2014], 200)
    result = bootstrap(
        observed, probability, clusters, folds=years, threshold=np.where(years == 2013, 0.3, 0.6), resamples=20
    )
    first = ContingencyTable.from_probabilities(observed[:200], probability[:200], threshold=0.3)
    second = ContingencyTable.from_probabilities(observed[200:], probability[200:], threshold=0.6)
    assert result["far"].value == pytest.approx((first.far + second.far) / 2)


def test_pairing_takes_out_what_is_hard_for_both():
    observed, probability, clusters = seeded()
    slightly_worse = 0.9 * probability + 0.05
    ours, theirs = (bootstrap(observed, p, clusters, resamples=500) for p in (probability, slightly_worse))
    difference = bootstrap(observed, probability, clusters, other=slightly_worse, resamples=500)
    for name in ("brier_score", "brier_skill_score"):
        assert difference[name].value == pytest.approx(ours[name].value - theirs[name].value)
        assert difference[name].sigma < 0.5 * ours[name].sigma
    same = bootstrap(observed, probability, clusters, other=probability, resamples=50)
    assert all((interval.lower, interval.upper) == (0, 0) for interval in same.values())
    swapped = bootstrap(observed, slightly_worse, clusters, other=probability, resamples=500)
    assert swapped["brier_score"].lower == pytest.approx(-difference["brier_score"].upper)


def test_thresholds_of_the_two_methods():
    observed, probability, clusters = seeded()
    result = bootstrap(observed, probability, clusters, other=probability, threshold=0.4, resamples=20)
    first, second = (ContingencyTable.from_probabilities(observed, probability, threshold=t) for t in (0.4, 0.5))
    assert result["pod"].value == first.pod - second.pod
    assert result["roc_area"].value == 0


def test_resamples_without_an_event_are_counted():
    # One event in 4 days: a resample misses that day with chance (3/4)^4 = 0.316.
    tss = bootstrap([1, 0, 0, 0], [0.8, 0.6, 0.2, 0.1], [0, 1, 2, 3], resamples=4000)["tss"]
    # No non-event is in a resample with chance (1/4)^4 = 0.004.
    assert tss.undefined == pytest.approx(0.32, abs=0.03)
    assert not math.isnan(tss.lower)


def test_no_interval_without_a_value_or_a_second_cluster():
    never = bootstrap([0, 0, 0], [0.1, 0.2, 0.3], [1, 2, 3], resamples=20)["tss"]
    assert math.isnan(never.lower)
    assert never.reason == never.value.reason != ""
    one = bootstrap([0, 1, 0], [0.1, 0.2, 0.3], [7, 7, 7], resamples=20)["brier_score"]
    assert math.isnan(one.lower)
    assert math.isnan(one.sigma)
    assert "one cluster" in one.reason
    a_year_without = bootstrap([0, 1, 0, 0], [0.1, 0.2, 0.3, 0.1], [1, 2, 3, 4], folds=[1, 1, 2, 2], resamples=20)
    assert "only one of the two outcomes" in a_year_without["tss"].reason
    # Two of three folds' events sit in one cluster each, drawn together in no resample of two draws.
    rare = bootstrap([1, 0, 1, 0, 1, 0], [0.5] * 6, [1, 1, 2, 2, 3, 3], folds=[1, 1, 2, 2, 3, 3], resamples=3, seed=2)
    assert rare["tss"].undefined > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"clusters": [1, 2]},
            DataError,
            r"`clusters` must hold one label for each of the 3 samples, got the shape \(2,\)",
        ),
        ({"clusters": [1, 2, np.nan]}, DataError, "`clusters` must not be missing, got 1"),
        ({"clusters": np.array(["NaT"] * 3, "datetime64[D]")}, DataError, "`clusters` must not be missing, got 3"),
        ({"clusters": np.array(["a", None, "b"], object)}, DataError, "`clusters` must be numbers, text or datetime64"),
        ({"folds": [1, 2]}, DataError, "`folds` must hold one label"),
        ({"threshold": 1.5}, DataError, r"`threshold` must lie in \[0, 1\], got 1.5"),
        ({"threshold": [0.5]}, DataError, "`threshold` must hold one value for each outcome, got 1 for 3"),
        ({"block_length": 0}, SettingError, r"`block_length` must lie in \[1, 3\], the number of clusters, got 0"),
        ({"block_length": 4}, SettingError, "got 4"),
        ({"resamples": 0}, SettingError, "`resamples` must be at least 1, got 0"),
        ({"level": 95}, SettingError, "`level` must lie between 0 and 1, got 95"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"observed": [0, 1, 0], "probability": [0.1, 0.5, 0.9], "clusters": [1, 2, 3], "resamples": 5} | change
    with pytest.raises(error, match=message):
        bootstrap(**arguments)


def test_methods_with_other_samples_are_refused():
    with pytest.raises(DataError, match="`other` must hold one value for each outcome, got 2 for 3"):
        bootstrap([0, 1, 0], [0.1, 0.5, 0.9], [1, 2, 3], other=[0.1, 0.5])
