"""Scores of several methods: equal to those of one, paired by common resamples, blocks where windows overlap."""

import math

import numpy as np
import pandas as pd
import pytest

from kflare.errors import SettingError
from kflare.verification.comparison import VerificationSettings, compare
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import bootstrap
from kflare.verification.probabilistic import msess, reliability, trailing_climatology
from kflare.verification.tables import forecast_table

FEW = VerificationSettings(thresholds=(0.5, 0.3), resamples=200, seed=3)


def seeded(days=200, step_hours=24, regions=0, seed=1):
    """Two methods with skill, the second with noise added."""
    random = np.random.default_rng(seed)
    time = pd.Timestamp("2016-01-01") + pd.to_timedelta(np.arange(days * 24 // step_hours) * step_hours, unit="h")
    n = len(time)
    good = random.random(n)
    observed = (random.random(n) < good).astype(int)
    noisy = np.clip(good + random.normal(0, 0.2, n), 0.01, 0.99)
    table = pd.concat(
        pd.DataFrame({"time": time, "method": method, "probability": values, "observed": observed})
        for method, values in (("good", good), ("noisy", noisy))
    )
    return table.assign(region=np.arange(len(table)) % n % regions) if regions else table


def row(table, **values):
    chosen = np.logical_and.reduce(
        [table[name].isna() if value is None else table[name].eq(value) for name, value in values.items()]
    )
    assert chosen.sum() == 1
    return table[chosen].iloc[0]


def test_every_method_scores_as_alone():
    forecasts = forecast_table(seeded())
    found = compare(forecasts, FEW)
    days = forecasts.time.astype("datetime64[D]")
    for method, probability in forecasts.probability.items():
        for threshold in FEW.thresholds:
            alone = bootstrap(forecasts.observed, probability, days, threshold=threshold, resamples=200, seed=3)
            table = ContingencyTable.from_probabilities(forecasts.observed, probability, threshold=threshold)
            counts = row(found.contingency, method=method, threshold=threshold)
            assert ContingencyTable(counts["tp"], counts["fp"], counts["fn"], counts["tn"]) == table
            for score in ("tss", "far", "base_rate", "brier_skill_score", "reliability", "log_score", "roc_area"):
                at = threshold if score in table.scores() else None
                interval = row(found.scores, method=method, threshold=at, score=score)
                assert interval["value"] == alone[score].value
                assert (interval["lower"], interval["upper"]) == pytest.approx((alone[score].lower, alone[score].upper))


def test_a_method_decides_at_its_own_threshold():
    forecasts = forecast_table(seeded())
    own = VerificationSettings(thresholds=(0.5, 0.3), own_thresholds=(("noisy", 0.7),), resamples=200, seed=3)
    found, plain = compare(forecasts, own), compare(forecasts, FEW)
    for method, threshold, least in (("good", 0.5, 0.5), ("good", 0.3, 0.3), ("noisy", 0.5, 0.7), ("noisy", 0.3, 0.3)):
        counts = row(found.contingency, method=method, threshold=threshold)
        table = ContingencyTable.from_probabilities(forecasts.observed, forecasts.probability[method], threshold=least)
        assert (counts["tp"], counts["fp"], counts["decides_at"]) == (table.tp, table.fp, least)
        assert row(found.scores, method=method, threshold=threshold, score="tss")["value"] == table.tss
        same = row(plain.scores, method=method, threshold=threshold, score="tss")["lower"]
        assert (row(found.scores, method=method, threshold=threshold, score="tss")["lower"] == same) == (
            least == threshold
        )
    difference = row(found.differences, method="good", other="noisy", threshold=0.5, score="pod")["value"]
    pod = [
        ContingencyTable.from_probabilities(forecasts.observed, forecasts.probability[name], threshold=least).pod
        for name, least in (("good", 0.5), ("noisy", 0.7))
    ]
    assert difference == pod[0] - pod[1]


def test_thresholds_of_methods_that_are_none():
    with pytest.raises(
        SettingError, match='there is no method "NOAA" for a threshold of its own: compared are good, noisy'
    ):
        compare(forecast_table(seeded()), VerificationSettings(own_thresholds=(("NOAA", 0.3),)))
    with pytest.raises(SettingError, match="one threshold of its own, got several for A, A"):
        VerificationSettings(own_thresholds=(("A", 0.3), ("A", 0.4)))
    with pytest.raises(SettingError, match="must lie between 0 and 1, got 3"):
        VerificationSettings(own_thresholds=(("A", 3.0),))


def test_differences_are_paired():
    forecasts = forecast_table(seeded())
    found = compare(forecasts, FEW).differences
    good, noisy = forecasts.probability.values()
    days = forecasts.time.astype("datetime64[D]")
    alone = bootstrap(forecasts.observed, good, days, other=noisy, resamples=200, seed=3)
    for score, threshold in (("tss", 0.5), ("brier_score", None), ("reliability", None)):
        interval = row(found, method="good", other="noisy", threshold=threshold, score=score)
        assert interval["value"] == alone[score].value
        assert (interval["lower"], interval["upper"]) == pytest.approx((alone[score].lower, alone[score].upper))
    assert len(found) == 2 * 11 + 7  # two thresholds, eleven scores of a table, seven of a probability


def test_against_the_trailing_climatology():
    forecasts = forecast_table(seeded())
    found = compare(forecasts, FEW).climatology
    reference = trailing_climatology(forecasts.time, forecasts.time, forecasts.observed)
    known = ~np.isnan(reference)
    assert known.sum() == 80  # of 200 days, those that have 120 before them
    observed, probability = forecasts.observed[known], forecasts.probability["good"][known]
    skill = row(found, method="good", score="msess", threshold=None)
    assert skill["value"] == pytest.approx(msess(observed, probability, reference[known]))
    assert skill["lower"] < skill["value"] < skill["upper"]
    assert skill["samples"] == 80
    ours, theirs = (ContingencyTable.from_probabilities(observed, p) for p in (probability, reference[known]))
    assert row(found, method="good", score="apss_reference", threshold=0.5)["value"] == ours.apss_against(theirs)


def test_a_short_series_has_no_climatology():
    found = compare(forecast_table(seeded(days=100)), FEW)
    assert found.climatology.empty
    assert found.notes == ("There is no trailing climatology: the outcomes do not reach back 120 days.",)


def test_overlapping_windows_need_blocks():
    forecasts = forecast_table(seeded(days=130, step_hours=6))
    found = compare(forecasts, FEW)
    assert found.block_length == 2  # a window that begins on one day may end on the next
    assert "Windows of 24 h overlap, for forecasts follow each other after 6 h" in found.notes[0]
    assert found.notes[0].endswith("one flare is the event of several samples. Blocks of 2 days are drawn.")
    one_day = compare(forecast_table(seeded(days=1, step_hours=6)), FEW)
    assert (one_day.clusters, one_day.block_length) == (1, 1)
    assert "one cluster" in row(one_day.scores, method="good", score="brier_score", threshold=None)["reason"]
    with pytest.raises(SettingError, match="`block_length` must be at least 2 days, got 1: windows of 24 h overlap"):
        compare(forecasts, VerificationSettings(block_length=1, resamples=10))
    assert compare(forecasts, VerificationSettings(block_length=5, resamples=10)).block_length == 5
    assert compare(forecasts, VerificationSettings(window_hours=6, resamples=10)).block_length == 1


def test_regions_are_drawn_whole():
    forecasts = forecast_table(seeded(regions=10))
    found = compare(forecasts, VerificationSettings(cluster="region", resamples=50))
    assert (found.clusters, found.event_clusters, found.block_length) == (10, 10, 1)
    with pytest.raises(SettingError, match="`block_length` must be 1 for regions"):
        compare(forecasts, VerificationSettings(cluster="region", block_length=2))
    with pytest.raises(SettingError, match="the forecasts have no column `region`"):
        compare(forecast_table(seeded()), VerificationSettings(cluster="region"))


def test_one_class_only_is_nan_with_its_reason():
    quiet = compare(forecast_table(seeded().assign(observed=0)), FEW)
    for score, threshold in (("tss", 0.5), ("pod", 0.5), ("brier_skill_score", None), ("roc_area", None)):
        interval = row(quiet.scores, method="good", score=score, threshold=threshold)
        assert math.isnan(interval["value"])
        assert math.isnan(interval["lower"])
        assert interval["reason"]
    assert row(quiet.scores, method="good", score="brier_score", threshold=None)["reason"] == ""
    assert row(quiet.differences, method="good", score="tss", threshold=0.5)["reason"]


def test_a_certainty_that_proved_wrong():
    table = seeded()
    table["probability"] = table["probability"].where(table["method"] == "noisy", 1.0)
    interval = row(compare(forecast_table(table), FEW).scores, method="good", score="log_score", threshold=None)
    assert interval["value"] == math.inf
    assert math.isnan(interval["lower"])
    assert interval["reason"] == "a forecast of certainty proved wrong"


def test_reliability_in_numbers():
    forecasts = forecast_table(seeded())
    found = compare(forecasts, VerificationSettings(bins=5, resamples=10)).reliability
    curve = reliability(forecasts.observed, forecasts.probability["noisy"], bins=5)
    rows = found[found["method"].eq("noisy")]
    assert rows["count"].tolist() == curve.count.tolist()
    np.testing.assert_allclose(rows["frequency"], curve.frequency)
    assert rows["bin_from"].tolist() == [0.0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": ()}, "thresholds must be one or more different numbers"),
        ({"thresholds": (0.5, 0.5)}, "thresholds must be one or more different numbers"),
        ({"thresholds": (50.0,)}, "a threshold must lie between 0 and 1, got 50"),
        ({"window_hours": 0.0}, "`window_hours` must be positive, got 0"),
        ({"level": 95}, "`level` must lie between 0 and 1, got 95"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(SettingError, match=message):
        VerificationSettings(**change)


def test_an_unknown_cluster():
    with pytest.raises(SettingError, match='`cluster` must be "day" or "region", got "week"'):
        compare(forecast_table(seeded()), VerificationSettings(cluster="week"))
