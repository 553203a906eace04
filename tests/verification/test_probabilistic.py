"""Scores of probabilities: numbers by hand, what is undefined, and properties that hold for every sample."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import (
    brier_decomposition,
    brier_score,
    brier_skill_score,
    gini,
    log_score,
    msess,
    reliability,
    roc_area,
    roc_curve,
)

OBSERVED, PROBABILITY = [1, 0, 1, 0], [0.9, 0.5, 0.5, 0.2]

# Probabilities in sixteenths have many ties, and sums of them are exact.
samples = st.lists(st.tuples(st.booleans(), st.integers(0, 16).map(lambda n: n / 16)), min_size=1, max_size=40).map(
    lambda rows: tuple(map(np.array, zip(*rows, strict=True)))
)


def test_brier_scores_by_hand():
    # (0.1^2 + 0.5^2 + 0.5^2 + 0.2^2)/4 = 0.55/4; s = 1/2, so s (1 - s) = 1/4.
    assert brier_score(OBSERVED, PROBABILITY) == pytest.approx(0.1375)
    assert brier_skill_score(OBSERVED, PROBABILITY) == pytest.approx(1 - 0.55)
    # A reference that always says 0.6 has (0.16 + 0.36 + 0.16 + 0.36)/4 = 0.26.
    assert msess(OBSERVED, PROBABILITY, [0.6] * 4) == pytest.approx(1 - 0.1375 / 0.26)


def test_log_score_by_hand():
    # The outcomes had probabilities 0.9, 0.5, 0.5 and 0.8.
    assert log_score(OBSERVED, PROBABILITY) == pytest.approx(-math.log(0.9 * 0.5 * 0.5 * 0.8) / 4)
    assert log_score([1, 0], [1, 0]) == 0
    assert log_score([1, 0], [1, 1]) == math.inf


def test_decomposition_by_hand():
    # Groups 0.2 (0 of 1), 0.5 (1 of 2) and 0.9 (1 of 1), s = 1/2:
    #   reliability (0.04 + 2 * 0 + 0.01)/4, resolution (0.25 + 2 * 0 + 0.25)/4, uncertainty 0.25; 0.1375 in all.
    parts = brier_decomposition(OBSERVED, PROBABILITY, bins=None)
    assert (parts.reliability, parts.resolution, parts.uncertainty) == pytest.approx((0.0125, 0.125, 0.25))
    assert parts.within_bins == 0


def test_reliability_by_hand():
    # Two bins: [0, 0.5) holds 0.2; [0.5, 1] holds 0.5, 0.5 and 0.9 with 2 events: (2 + 1)/(3 + 2) = 0.6 with
    # sigma = sqrt(0.6 * 0.4/(3 + 3)) = 0.2.
    curve = reliability(OBSERVED, PROBABILITY, bins=2)
    assert curve.count.tolist() == [1, 3]
    assert curve.events.tolist() == [0, 2]
    assert curve.forecast == pytest.approx([0.2, 1.9 / 3])
    assert curve.frequency == pytest.approx([1 / 3, 0.6])
    assert curve.sigma == pytest.approx([math.sqrt(2 / 9 / 4), 0.2])


def test_empty_bins_are_nan_and_edges_belong_to_the_upper_bin():
    # 0.15, 0.35 and 0.95 are edges of bins 3, 7 and 19 of 20; 1 belongs to the last bin.
    curve = reliability([0, 1, 1, 1], [0.15, 0.35, 0.95, 1.0])
    assert np.flatnonzero(curve.count).tolist() == [3, 7, 19]
    assert curve.count[19] == 2
    assert np.isnan(curve.frequency).sum() == np.isnan(curve.sigma).sum() == np.isnan(curve.forecast).sum() == 17


def test_roc_by_hand():
    # Thresholds 0.9, 0.5, 0.2: POD 1/2, 1, 1 and POFD 0, 1/2, 1. Of the 4 pairs of an event and a non-event three are
    # in order and one (0.5, 0.5) is tied: area 3.5/4.
    curve = roc_curve(OBSERVED, PROBABILITY)
    assert curve.pod.tolist() == [0, 0.5, 1, 1]
    assert curve.pofd.tolist() == [0, 0, 0.5, 1]
    assert curve.threshold.tolist() == [math.inf, 0.9, 0.5, 0.2]
    assert roc_area(OBSERVED, PROBABILITY) == 0.875
    assert gini(OBSERVED, PROBABILITY) == 0.75


@pytest.mark.parametrize("observed", [[0, 0, 0], [1, 1, 1]])
def test_one_outcome_only_gives_nan_with_a_reason(observed):
    probability = [0.1, 0.5, 0.9]
    for score in (brier_skill_score, roc_area, gini):
        value = score(observed, probability)
        assert math.isnan(value)
        assert "undefined because only one of the two outcomes was observed" in value.reason
    assert "Gini" in gini(observed, probability).reason
    curve = roc_curve(observed, probability)
    assert np.isnan(curve.pod).all() != np.isnan(curve.pofd).all()
    assert brier_decomposition(observed, probability).uncertainty == 0


def test_no_skill_against_a_perfect_reference_is_undefined():
    assert "reference makes no error" in msess([0, 1], [0.5, 0.5], [0, 1]).reason


def test_the_methods_need_the_same_samples():
    with pytest.raises(DataError, match="`reference` must hold one value for each outcome, got 3 for 4"):
        msess(OBSERVED, PROBABILITY, [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="got 3 for 4"):
        brier_score(OBSERVED, PROBABILITY[:3])


@pytest.mark.parametrize("function", [reliability, brier_decomposition])
def test_bins_are_counted_from_one(function):
    with pytest.raises(SettingError, match="`bins` must be at least 1, got 0"):
        function(OBSERVED, PROBABILITY, bins=0)


@given(samples, st.integers(1, 25))
def test_the_decomposition_adds_up(sample, bins):
    parts = brier_decomposition(*sample, bins=bins)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins
    assert total == pytest.approx(brier_score(*sample))
    exact = brier_decomposition(*sample, bins=None)
    assert exact.reliability - exact.resolution + exact.uncertainty == pytest.approx(brier_score(*sample))
    assert 0 <= exact.resolution <= exact.uncertainty + 1e-12


@given(samples, st.integers(1, 25))
def test_the_term_inside_the_bins_is_variance_and_covariance(sample, bins):
    # Stephenson, Coelho and Jolliffe 2008: mean over the samples of (p - p_bin)^2 - 2 (p - p_bin)(o - o_bin).
    observed, probability = sample
    groups = np.minimum(np.floor(probability * bins + 1e-12).astype(int), bins - 1)
    inside = 0.0
    for group in np.unique(groups):
        p, o = probability[groups == group], observed[groups == group].astype(float)
        inside += np.sum((p - p.mean()) ** 2 - 2 * (p - p.mean()) * (o - o.mean())) / len(probability)
    assert brier_decomposition(*sample, bins=bins).within_bins == pytest.approx(inside, abs=1e-12)


def test_samples_of_one_cluster_tell_less():
    # Ten samples of 0.5 in two clusters, one with all events and one with none: f = 6/12, sums of o - f are 2.5
    # and -2.5, sigma = sqrt(2 * 2.5^2) / 10 against sqrt(0.5 * 0.5 / 13) of independent ones.
    observed, p, clusters = np.arange(10) < 5, np.full(10, 0.5), np.arange(10) // 5
    alone = reliability(observed, p, bins=2)
    together = reliability(observed, p, bins=2, clusters=clusters)
    assert together.sigma[1] == pytest.approx(np.sqrt(12.5) / 10)
    assert alone.sigma[1] == pytest.approx(np.sqrt(0.25 / 13))
    assert np.isnan(together.sigma[0])
    np.testing.assert_array_equal(reliability(observed, p, bins=2, clusters=np.arange(10)).count, alone.count)


@given(samples, st.integers(1, 25))
def test_reliability_counts_every_sample_once(sample, bins):
    curve = reliability(*sample, bins=bins)
    assert curve.count.sum() == len(sample[0])
    assert curve.events.sum() == sample[0].sum()
    filled = curve.count > 0
    assert np.average(curve.forecast[filled], weights=curve.count[filled]) == pytest.approx(sample[1].mean())


@given(samples)
def test_roc_area_is_the_share_of_pairs_in_order(sample):
    observed, probability = sample
    events, others = probability[observed][:, None], probability[~observed]
    area = roc_area(*sample)
    if math.isnan(area):
        assert not events.size or not others.size
    else:
        assert area == pytest.approx(np.mean((events > others) + 0.5 * (events == others)))
        assert roc_area(observed, probability**2) == area  # only the order counts


@given(samples)
def test_a_yes_no_forecast_has_its_tss_as_gini(sample):
    predicted = sample[1] >= 0.5
    table = ContingencyTable.from_forecasts(sample[0], predicted)
    assert gini(sample[0], predicted) == pytest.approx(table.tss, nan_ok=True)


@given(samples)
def test_always_forecasting_climatology_has_no_skill(sample):
    observed = sample[0]
    rate = np.mean(observed)
    always = np.full(len(observed), rate)
    if 0 < rate < 1:
        assert brier_skill_score(observed, always) == pytest.approx(0, abs=1e-12)
        assert msess(*sample, always) == pytest.approx(brier_skill_score(*sample))
        assert roc_area(observed, always) == 0.5
        assert log_score(observed, always) == pytest.approx(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate))
