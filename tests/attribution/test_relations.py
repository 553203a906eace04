"""Rates, correlations and quartiles against values worked out by hand, or by scipy on the same resample."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kflare.attribution.outcomes import named_outcomes
from kflare.attribution.relations import correlation, correlations, occurrence_rates
from kflare.errors import DataError, SettingError
from kflare.sharp.keywords import SHARP_KEYWORDS


def test_outcomes():
    found = named_outcomes([0.9, 0.2, 0.5, 0.49], [True, True, False, False])
    assert found.tolist() == ["hit", "miss", "false alarm", "null"]


def test_occurrence_rates():
    values = [0.0, 0.05, 0.1, 0.5, 1.0, 0.95]
    flux = [0.0, 1e-6, 2e-6, 9.99e-7, 1e-4, 3e-5]
    table = occurrence_rates(values, flux).set_index(["flare_class", "low"])
    assert len(table) == 3 * 10
    # Bins hold their lower edge: 0 and .05; .1; .5; and the last one both edges: .95 and 1.
    assert table.loc["C", "regions"].to_list() == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    assert table.loc["C", "flaring"].to_list() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert table.loc["M", "flaring"].to_list() == [0] * 9 + [2]
    assert table.loc["X", "flaring"].to_list() == [0] * 9 + [1]
    assert table.loc[("C", 0.0), "rate"] == 0.5
    assert np.isnan(table.loc[("C", 0.2), ["rate", "rate_low", "rate_high"]].astype(float)).all()


def test_the_interval_is_wilsons():
    # z² = 1.959964² = 3.841459. Of 0 in 10 the interval is [0, z²/(10 + z²)] = [0, .27753]; of 5 in 10 it is
    # .5 ± (z/(10 + z²)) sqrt(10/4 + z²/4) = .5 ± .26341.
    table = occurrence_rates(np.full(10, 0.3), np.zeros(10), bins=[0, 1])
    assert table.loc[0, ["rate_low", "rate_high"]].to_list() == pytest.approx([0, 0.27753], abs=1e-5)
    table = occurrence_rates(np.full(10, 0.3), [1e-5] * 5 + [0] * 5, bins=[0, 1])
    assert table.loc[0, ["rate_low", "rate_high"]].to_list() == pytest.approx([0.23659, 0.76341], abs=1e-5)


def test_rates_refuse_what_is_missing():
    with pytest.raises(DataError, match="must be finite and of one shape"):
        occurrence_rates([0.1, np.nan], [0, 0])
    with pytest.raises(SettingError, match="`bins` must be at least two ascending edges"):
        occurrence_rates([0.1], [0], bins=[0, 0])


def test_correlation_by_hand():
    x, y = [1, 2, 3, 4, 5, np.nan], [2, 1, 4, 3, 5, 7]
    # Deviations -2 -1 0 1 2 and -1 -2 1 0 2: sum of products 2 + 2 + 0 + 0 + 4 = 8, of squares 10 and 10.
    found = correlation(x, y, range(6))
    assert found["r"] == pytest.approx(0.8)
    assert (found["n"], found["days"]) == (5, 5)
    assert found["low"] <= 0.8 <= found["high"]
    assert found == correlation(x, y, range(6))
    assert correlation(x, np.exp(np.array(y) * 50), range(6), ranks=True)["r"] == pytest.approx(0.8)


def test_huge_numbers_keep_their_correlation():
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    y = 0.6 * x + 0.8 * random.normal(size=200)
    expected = np.corrcoef(x, y)[0, 1]
    assert correlation(x, 1e24 * y + 1e25, range(200), resamples=0)["r"] == pytest.approx(expected, abs=1e-9)
    assert correlation(1e-12 * x, -y, range(200), resamples=0)["r"] == pytest.approx(-expected, abs=1e-9)


@pytest.mark.parametrize("ranks", [False, True])
def test_a_resample_is_what_scipy_makes_of_it(ranks):
    random = np.random.default_rng(1)
    x, y = random.integers(0, 6, 30).astype(float), random.normal(size=30)
    days = np.arange(30) // 2
    found = correlation(x, y, days, ranks=ranks, resamples=40, seed=7)
    drawn = np.random.default_rng(7).multinomial(15, np.full(15, 1 / 15), size=40)
    pairs = ((np.repeat(x, times[days]), np.repeat(y, times[days])) for times in drawn)
    expected = [(stats.spearmanr if ranks else stats.pearsonr)(*pair).statistic for pair in pairs]
    assert (found["low"], found["high"]) == pytest.approx(np.percentile(expected, (2.5, 97.5)), abs=1e-12)


def test_the_interval_covers_the_truth():
    """Of 60 samples of 300 independent pairs with ρ = 0.5 a 95 % interval misses about 3; 10 would be a scandal."""
    random = np.random.default_rng(2)
    missed = 0
    for number in range(60):
        x = random.normal(size=300)
        y = 0.5 * x + np.sqrt(0.75) * random.normal(size=300)
        found = correlation(x, y, np.arange(300), resamples=300, seed=number)
        missed += not found["low"] <= 0.5 <= found["high"]
    assert missed < 10


def test_regions_of_one_day_count_together():
    """Each pair ten times in its day: n grows tenfold, but the interval must not shrink."""
    random = np.random.default_rng(3)
    x = random.normal(size=60)
    y = x + random.normal(size=60)
    once = correlation(x, y, np.arange(60))
    often = correlation(np.repeat(x, 10), np.repeat(y, 10), np.repeat(np.arange(60), 10))
    assert often["n"] == 600
    assert often["r"] == pytest.approx(once["r"])
    assert (often["low"], often["high"]) == pytest.approx((once["low"], once["high"]))


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([np.nan] * 3, [1, 2, 3]), ([], [])])
def test_correlations_that_are_undefined(x, y):
    found = correlation(x, y, range(len(x)))
    assert np.isnan([found["r"], found["low"], found["high"]]).all()


def test_sixteen_parameters():
    random = np.random.default_rng(4)
    values = random.uniform(0, 1, 100)
    table = pd.DataFrame(dict.fromkeys(SHARP_KEYWORDS, np.nan), index=range(100))
    table["grad_cam"], table["day"] = values, [f"day {n // 2}" for n in range(100)]
    table["USFLUX"] = 10 ** (20 + 3 * values)  # a power of the value: its logarithm is linear
    table["MEANJZH"] = np.where(np.arange(100) < 10, 0, -values)
    found = correlations(table, resamples=50).set_index("parameter")
    assert list(found.index) == list(SHARP_KEYWORDS)
    flux = found.loc["USFLUX"]
    assert (flux["n"], flux["days"], flux["yi2021"]) == (100, 50, 0.70)
    assert (flux["pearson_log"], flux["spearman"]) == (pytest.approx(1), pytest.approx(1))
    assert 0.6 < flux["pearson"] < 0.95
    twist = found.loc["MEANJZH"]
    # The ten zeros have no logarithm; that of the others is of their size.
    assert (twist["n"], twist["n_log"]) == (100, 90)
    assert twist["pearson"] < 0 < twist["pearson_log"]
    assert np.isnan(found.loc["TOTUSJZ", "pearson"])
