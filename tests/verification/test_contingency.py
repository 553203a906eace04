"""Contingency tables: counts by hand, what is undefined, thresholds, and properties that hold for every table."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.verification.contingency import ContingencyTable, best_threshold, counts_by_threshold
from kflare.verification.scores import Score, score_arrays

counts = st.integers(0, 1000)
tables = st.builds(ContingencyTable, counts, counts, counts, counts)
# Probabilities in sixteenths have many ties, as human forecasts do.
forecasts = st.lists(st.tuples(st.booleans(), st.integers(0, 16).map(lambda n: n / 16)), min_size=1, max_size=40)


def test_counts_by_hand():
    #            hit  false alarm  miss  null  null  hit
    observed = [True, False, True, False, False, True]
    predicted = [1, 1, 0, 0, 0, 1]
    assert ContingencyTable.from_forecasts(observed, predicted) == ContingencyTable(2, 1, 1, 2)


def test_scores_by_hand():
    # TP 2, FP 1, FN 2, TN 5: P = 4, Q = 6, N = 10, three forecasts.
    table = ContingencyTable(tp=2, fp=1, fn=2, tn=5)
    expected = {
        "accuracy": 7 / 10,
        "pod": 2 / 4,
        "pofd": 1 / 6,
        "far": 1 / 3,
        "tss": 2 / 4 - 1 / 6,
        "hss": 2 * (2 * 5 - 2 * 1) / (4 * 7 + 3 * 6),  # 16/46
        "apss": (2 - 1) / 4,
        "ets": (2 - 1.2) / (5 - 1.2),  # a = 3 * 4/10 = 1.2
        "csi": 2 / 5,
        "frequency_bias": 3 / 4,
        "base_rate": 4 / 10,
    }
    assert table.scores() == pytest.approx(expected)
    assert {name: getattr(table, name) for name in expected} == pytest.approx(expected)


def test_appleman_skill_changes_its_reference_with_the_event_rate():
    # Yi et al. 2021, eq. (4): (H - F)/(H + M) = (2 - 1)/4 for s = 0.4; (N - M)/(F + N) = (2 - 1)/4 for s = 0.6.
    assert ContingencyTable(2, 1, 2, 5).apss == 0.25
    assert ContingencyTable(5, 2, 1, 2).apss == 0.25


def test_the_threshold_itself_forecasts_an_event():
    assert ContingencyTable.from_probabilities([1, 0], [0.5, 0.49]) == ContingencyTable(1, 0, 0, 1)
    assert ContingencyTable.from_probabilities([1, 0], [0.5, 0.49], threshold=0.45) == ContingencyTable(1, 1, 0, 0)
    with pytest.raises(SettingError, match=r"`threshold` must lie in \[0, 1\], got 50"):
        ContingencyTable.from_probabilities([1, 0], [0.5, 0.49], threshold=50)


def test_tables_of_folds_add_up():
    folds = [ContingencyTable(1, 2, 3, 4), ContingencyTable(10, 20, 30, 40)]
    assert sum(folds, ContingencyTable()) == ContingencyTable(11, 22, 33, 44)
    with pytest.raises(TypeError):
        _ = folds[0] + 1


def test_layout_of_the_paper():
    # Nishizuka et al. 2021, Table 1 (a).
    assert ContingencyTable(963, 4382, 54, 25937).as_text(event="≥M-class Flares").splitlines() == [
        "≥M-class Flares       Observed Events",
        "                        Yes     No",
        "Forecast         Yes    963   4382",
        "Events           No      54  25937",
        # Columns of Yi et al. 2021, Table 1.
        "ACC 0.858  HSS 0.263  ApSS -3.362  TSS 0.802  FB 5.256  event rate 0.032",
    ]
    assert ContingencyTable(tn=5).as_text().endswith("ApSS n/a  TSS n/a  FB n/a  event rate 0.000")


@pytest.mark.parametrize(
    ("table", "undefined"),
    [
        (ContingencyTable(), "accuracy pod pofd far tss hss apss ets csi frequency_bias base_rate"),
        (ContingencyTable(tn=5), "pod far tss hss apss ets csi frequency_bias"),
        (ContingencyTable(tp=5), "pofd tss hss apss ets"),
        (ContingencyTable(fp=2, tn=5), "pod tss apss frequency_bias"),
        (ContingencyTable(tp=2, fn=5), "pofd tss apss"),
        (ContingencyTable(fn=2, tn=5), "far"),
        (ContingencyTable(2, 1, 2, 5), ""),
    ],
)
def test_what_is_undefined_is_nan_with_a_reason(table, undefined):
    scores = table.scores()
    assert {name for name, score in scores.items() if math.isnan(score)} == set(undefined.split())
    for name, score in scores.items():
        assert bool(score.reason) == math.isnan(score)
        assert not score.reason or score.reason.startswith(f"`{name}` is undefined because")


def test_a_reason_shows_the_table():
    reason = "`tss` is undefined because only one of the two outcomes was observed (TP=0, FP=2, FN=0, TN=5)"
    assert ContingencyTable(fp=2, tn=5).tss.reason == reason


def test_a_score_is_a_float_that_keeps_its_reason():
    score = Score(math.nan, "no event")
    assert pickle.loads(pickle.dumps(score)).reason == "no event"
    assert json.dumps({"tss": Score(0.25)}) == '{"tss": 0.25}'
    assert f"{Score(0.8024):.2f}" == "0.80"


@pytest.mark.parametrize(("count", "message"), [(-1, "not be negative, got -1"), (0.5, "integer count, got 0.5")])
def test_counts_are_whole_numbers(count, message):
    with pytest.raises(DataError, match=f"`fn` must .*{message}"):
        ContingencyTable(1, 1, count, 1)


def test_appleman_skill_against_another_forecast():
    # 3 errors against 4 of the reference.
    assert ContingencyTable(2, 1, 2, 5).apss_against(ContingencyTable(0, 0, 4, 6)) == 0.25
    assert "makes no error" in ContingencyTable(2, 1, 2, 5).apss_against(ContingencyTable(4, 0, 0, 6)).reason
    with pytest.raises(DataError, match="4 events and 6 non-events, got 5 and 6"):
        ContingencyTable(2, 1, 2, 5).apss_against(ContingencyTable(0, 0, 5, 6))


@given(tables)
def test_ranges(table):
    limits = {"tss": -1, "hss": -1, "ets": -1 / 3, "apss": -math.inf}
    for name, score in table.scores().items():
        if not math.isnan(score):
            upper = math.inf if name == "frequency_bias" else 1
            assert limits.get(name, 0) - 1e-12 <= score <= upper


@given(tables)
def test_many_tables_score_like_one(table):
    arrays = score_arrays([table.tp], [table.fp], [table.fn], [table.tn])
    assert {name: values[0] for name, values in arrays.items()} == pytest.approx(dict(table.scores()), nan_ok=True)


@given(tables)
def test_forecasting_the_opposite_of_the_opposite_event_changes_no_skill(table):
    opposite = ContingencyTable(table.tn, table.fn, table.fp, table.tp)
    for name in ("accuracy", "tss", "hss", "apss"):
        assert getattr(table, name) == pytest.approx(getattr(opposite, name), nan_ok=True)


@given(forecasts, forecasts)
def test_adding_tables_is_counting_all_samples(first, second):
    def count(samples):
        return ContingencyTable.from_probabilities(*zip(*samples, strict=True))

    assert count(first) + count(second) == count(first + second)


@given(forecasts)
def test_best_threshold_is_the_best_of_all(samples):
    observed, probability = map(np.array, zip(*samples, strict=True))
    threshold, table = best_threshold(observed, probability)
    if math.isnan(threshold):
        assert "`threshold` is undefined because only one of the two outcomes" in threshold.reason
        assert table == ContingencyTable.from_forecasts(observed, probability >= threshold)
        return
    assert table == ContingencyTable.from_probabilities(observed, probability, threshold=threshold)
    others = (ContingencyTable.from_probabilities(observed, probability, threshold=p).tss for p in probability)
    assert table.tss == pytest.approx(max(others))


def test_best_threshold_lies_in_the_middle_of_its_gap():
    # Every threshold in (0.1, 0.9] separates the two perfectly; the middle is 0.5.
    threshold, table = best_threshold([0, 1], [0.1, 0.9])
    assert (threshold, table) == (0.5, ContingencyTable(1, 0, 0, 1))


def test_best_threshold_prefers_the_middle_among_ties():
    # Events at 0.9 and 0.4, non-events at 0.6 and 0.2.
    #   t in (0.6, 0.9]: TP 1, FP 0, TSS 1/2, middle 0.75;   t in (0.4, 0.6]: TSS 1/2 - 1/2 = 0;
    #   t in (0.2, 0.4]: TP 2, FP 1, TSS 1/2, middle 0.3, which is nearer to 0.5.
    threshold, table = best_threshold([1, 0, 1, 0], [0.9, 0.6, 0.4, 0.2])
    assert threshold == pytest.approx(0.3)
    assert table == ContingencyTable(2, 1, 0, 1)


def test_no_middle_between_neighbouring_floats():
    low, high = 0.5, np.nextafter(0.5, 1)
    threshold, table = best_threshold([0, 1], [low, high])
    assert (threshold, table) == (high, ContingencyTable(1, 0, 0, 1))


def test_counts_by_threshold_by_hand():
    thresholds, tp, fp, fn, tn = counts_by_threshold([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.2])
    assert thresholds.tolist() == [0.9, 0.5, 0.2]
    assert (tp.tolist(), fp.tolist()) == ([1, 2, 2], [0, 1, 2])
    assert (fn.tolist(), tn.tolist()) == ([1, 0, 0], [2, 1, 0])
