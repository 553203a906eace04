"""Event statistics against simulated flares of known rate and index, brute force, and the flares of fifteen years."""

from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches
from kflare.flares.repairing import read_flares
from kflare.models.baselines import disk_recent_climatology
from kflare.models.event_statistics import (
    disk_event_statistics,
    event_statistics,
    last_block,
    power_law_index,
    probability_of_larger,
    region_event_statistics,
)
from kflare.verification.probabilistic import brier_skill_score

BEGIN = datetime(2014, 1, 1, tzinfo=UTC)
YEAR = BEGIN + timedelta(days=365)
INDEX = 2.1


def poisson(rng, rate, days, first=0.0):
    """Days of the events of a Poisson process."""
    return first + np.sort(rng.random(rng.poisson(rate * days))) * days


def flare_list(days, flux, noaa=None):
    start = pd.DatetimeIndex(pd.Timestamp(BEGIN) + pd.to_timedelta(days, unit="D"))
    letters = [f"C{value / 1e-6:.6f}" if value < 1e-5 else f"M{value / 1e-5:.6f}" for value in flux]
    table = pd.DataFrame({"start": start, "peak": start, "goes_class": letters})
    return FlareList(table if noaa is None else table.assign(noaa=noaa), "simulated")


def power_law(rng, number, smallest=4e-6):
    # P(> s) = (s/S1)^(1 - γ), so s = S1 u^(-1/(γ - 1)); M9999 is beyond any flare.
    return np.minimum(smallest * rng.random(number) ** (-1 / (INDEX - 1)), 1e-2)


def test_recovers_rate_index_and_probability_of_simulated_flares():
    rng = np.random.default_rng(1)
    days = poisson(rng, 3.0, 365)
    forecast = event_statistics(flare_list(days, power_law(rng, len(days))), YEAR, "M")
    # Standard errors of the maximum likelihood: (γ - 1)/√M of the index, √(λ/T) of the rate.
    assert forecast.index == pytest.approx(INDEX, abs=4 * 1.1 / np.sqrt(len(days)))
    assert forecast.days == pytest.approx(365, abs=1)
    assert forecast.rate == pytest.approx(3.0, abs=4 * np.sqrt(3.0 / 365))
    # λ2 = 3 · 2.5^(-1.1) = 1.095 flares ≥ M1.0 a day: 1 - e^(-1.095) = 0.665.
    assert forecast.probability == pytest.approx(0.665, abs=0.06)
    assert forecast.lower < forecast.probability < forecast.upper


def test_the_last_block_begins_where_the_rate_changed():
    rng = np.random.default_rng(2)
    days = np.concatenate([poisson(rng, 0.2, 300), poisson(rng, 5.0, 65, first=300.0)])
    forecast = event_statistics(flare_list(days, power_law(rng, len(days))), YEAR, "M")
    assert forecast.days == pytest.approx(65, abs=3)
    assert forecast.flares == pytest.approx(325, abs=80)
    quiet = event_statistics(flare_list(days, power_law(rng, len(days))), BEGIN + timedelta(days=299), "M")
    assert quiet.probability < 0.2 < 0.6 < forecast.probability


def test_probability_is_the_mean_of_the_posterior_of_the_design_papers():
    # P(ε) ∝ [-ln(1-ε)]^M' (1-ε)^(T'/ΔT (S2/S1)^(γ-1) - 1) Λ(λ), with the flat prior of a record without earlier block.
    rng = np.random.default_rng(3)
    days = poisson(rng, 0.5, 365)
    forecast = event_statistics(flare_list(days, power_law(rng, len(days))), YEAR, "M")
    assert forecast.days > 360
    size = 2.5 ** (forecast.index - 1)
    epsilon = (np.arange(100_000) + 0.5) / 100_000
    logarithm = np.log1p(-epsilon)
    log_density = forecast.flares * np.log(-logarithm) + (forecast.days * size - 1) * logarithm
    density = np.exp(log_density - log_density.max())
    assert forecast.probability == pytest.approx(np.average(epsilon, weights=density), abs=1e-4)
    cumulative = np.cumsum(density) / density.sum()
    assert forecast.lower == pytest.approx(epsilon[np.searchsorted(cumulative, 0.025)], abs=1e-4)
    assert forecast.upper == pytest.approx(epsilon[np.searchsorted(cumulative, 0.975)], abs=1e-4)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    # 120 records with 0.5 small flares a day. The posterior is that of the rate: the index counts as known.
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(120):
        days = poisson(rng, 0.5, 365)
        # A C1.0 at the end, below the small flares that count, shows that the list reaches to the forecast.
        days, flux = np.append(days, 364.9), np.append(power_law(rng, len(days)), 1e-6)
        forecast = event_statistics(flare_list(days, flux), YEAR, "M", level=0.9)
        truth = -np.expm1(-0.5 * 2.5 ** (1 - forecast.index))
        inside += forecast.lower <= truth <= forecast.upper
    # A standard error of 0.03, and in 5 % of the records a change point too many that makes the last block a short one.
    assert 0.8 <= inside / 120 <= 0.98


@pytest.mark.parametrize("seed", range(6))
def test_last_block_is_that_of_the_best_of_all_partitions(seed):
    rng = np.random.default_rng(seed)
    events = np.sort(np.concatenate([rng.random(3) * 8, 8 + rng.random(5) * 0.5]))
    now = 9.0 + 4 * rng.random()
    edges = np.concatenate([[0.0], events, [now]])
    cells = len(edges) - 1
    counts = np.append(np.ones(cells - 1), 0)
    prior = 4 - np.log(73.53 * 0.05 * len(events) ** -0.478)

    def fitness(first, last):
        inside, length = counts[first:last].sum(), edges[last] - edges[first]
        return (inside * np.log(inside / length) if inside else 0.0) - prior

    best, start = -np.inf, 0
    for number in range(cells):
        for cuts in combinations(range(1, cells), number):
            ends = [0, *cuts, cells]
            total = sum(fitness(a, b) for a, b in pairwise(ends))
            if total > best + 1e-12:
                best, start = total, ends[-2]
    assert last_block(events, begin=0.0, now=now) == (int(counts[start:].sum()), edges[start])


def test_index_is_the_maximum_likelihood_and_can_be_pooled():
    # 1 + 3/(ln 1 + ln 2 + ln 4) = 1 + 3/(3 ln 2) = 2.4427; nothing known: the usual one.
    assert power_law_index([1.0, 2.0, 4.0], smallest=1.0) == pytest.approx(1 + 1 / np.log(2))
    assert power_law_index([], smallest=1.0, usual=1.9) == 1.9
    # Ten flares' worth of 2.0 (Σ ln = 10) and one of s = S1: 1 + 11/10.
    assert power_law_index([1.0], smallest=1.0, usual=2.0, weight=10) == pytest.approx(2.1)


def test_larger_flares_are_rarer_by_the_power_law():
    # Of flares with index 2 a tenth reach ten times the flux: two days in ten thousand without one in a thousand.
    assert probability_of_larger(1 - 0.9999**10, 2.0, ratio=10) == pytest.approx(1e-4)
    assert probability_of_larger(0.2, 1.0, ratio=10) == pytest.approx(0.2)
    assert 0.7 < probability_of_larger(1.0, 2.2, ratio=10) < 1
    # Simulated: windows of 20 flares on average above 1, of index 1.8; those above 3, and above 30.
    random = np.random.default_rng(3)
    counts = random.poisson(20, size=20_000)
    largest = np.array([(1 - random.random(count)).min(initial=1) for count in counts]) ** (-1 / 0.8)
    of_small, of_large = (float((largest >= size).mean()) for size in (30, 300))
    assert probability_of_larger(of_small, 1.8, ratio=10) == pytest.approx(of_large, abs=0.01)


def test_a_record_without_flares_forecasts_little_but_not_nothing():
    assert last_block([], begin=0.0, now=30.0) == (0, 0.0)
    flares = flare_list([0.0, 500.0], [5e-5, 5e-5])
    forecast = event_statistics(flares, BEGIN + timedelta(days=499), "M")
    assert 0 < forecast.lower < forecast.probability < 0.01


def test_flares_of_the_future_are_not_looked_at():
    rng = np.random.default_rng(5)
    days = poisson(rng, 2.0, 400)
    flux = power_law(rng, len(days))
    whole = flare_list(days, flux)
    past = flare_list(days[days <= 365], flux[days <= 365])
    louder = flare_list(days, np.where(days > 365, 9e-4, flux))
    expected = event_statistics(past, YEAR, "M")
    assert event_statistics(whole, YEAR, "M") == expected
    assert event_statistics(louder, YEAR, "M") == expected
    # A flare in progress has no class yet: it counts from its peak on.
    table = whole.table.copy()
    running = table["start"] > pd.Timestamp(YEAR) - pd.Timedelta(days=2)
    table.loc[running, "peak"] += pd.Timedelta(days=3)
    assert event_statistics(FlareList(table, "late"), YEAR, "M").flares < expected.flares


@pytest.fixture(scope="module")
def regions():
    """Two regions of twelve days, one that flares twice a day and one that never does, among the flares of others."""
    rng = np.random.default_rng(6)
    own = poisson(rng, 2.0, 12, first=353.0)
    others = poisson(rng, 3.0, 365)
    days = np.concatenate([own, others])
    noaa = np.append(np.full(len(own), 12001), np.full(len(others), 13000))
    flares = flare_list(days, power_law(rng, len(days), smallest=1e-6), noaa)
    times = pd.date_range("2014-12-20", "2015-01-01", freq="12h", tz="UTC")
    table = pd.concat([pd.DataFrame({"time": times, "region": name}) for name in ("12001", "12002")])
    of = flares.table[flares.table["noaa"] == 12001].assign(region="12001")
    return table.reset_index(drop=True), of[["region", "start", "peak", "flux"]], flares


def test_a_region_is_forecast_by_its_own_flares_and_its_silence(regions):
    table, own, flares = regions
    p = pd.Series(region_event_statistics(table, own, flares, "C"), index=[table["region"], table["time"]])
    active, quiet = p["12001"], p["12002"]
    assert active.iloc[-1] > 0.75  # 1 - e^-2 = 0.86
    assert quiet.iloc[-1] < quiet.iloc[0] / 3
    assert (p > 0).all()
    assert (p < 1).all()
    # Nothing is known of either at first: both get a region's usual rate.
    assert quiet.iloc[0] == pytest.approx(active.iloc[0], abs=0.15)


def test_one_forecast_is_that_of_the_table(regions):
    _, _, flares = regions
    now = YEAR - timedelta(hours=12)
    disk = disk_event_statistics(pd.Series([pd.Timestamp(now)]), flares, "M")
    assert event_statistics(flares, now, "M").probability == pytest.approx(disk[0])


def test_what_cannot_be_forecast_is_refused():
    flares = flare_list([0.0, 1.0, 2.0], [5e-6] * 3)
    with pytest.raises(
        DataError, match=r"simulated covers 2013-12-31.* to 2014-01-04.*, but 1 of 1 samples need .* 2014-03-01"
    ):
        event_statistics(flares, datetime(2014, 3, 1, tzinfo=UTC), "M")
    # A feed lags: half a day after the last day told of is near enough.
    last = BEGIN + timedelta(days=3, hours=12)
    assert event_statistics(flares, last, "M").flares == 2  # the first is where the list begins
    with pytest.raises(DataError, match="need"):
        event_statistics(flares, last + timedelta(minutes=1), "M")
    with pytest.raises(SettingError, match="`threshold` must be one of C, M, X, got 'Q'"):
        event_statistics(flares, BEGIN + timedelta(days=2), "Q")


def test_forecasts_of_fifteen_years_are_skilful_and_about_reliable(real_data):
    flares = read_flares(real_data / "goes" / "flares_1996-2024.csv")
    times = pd.Series(pd.date_range("1998-01-01", "2012-12-31", freq="9D", tz="UTC"))
    observed = reaches(disk_flux(times, flares), "M")
    probability = disk_event_statistics(times, flares, "M")
    # 609 windows, 0.18 of them with a flare: the standard error of their rate is 0.016.
    assert probability.mean() == pytest.approx(observed.mean(), abs=0.04)
    recent = disk_recent_climatology(times, flares, "M", otherwise=float(observed.mean()))
    assert brier_skill_score(observed, probability) > brier_skill_score(observed, recent) + 0.05
