import json
from datetime import UTC, datetime

import numpy as np
import pytest

from kflare.errors import DataError, SettingError
from kflare.verification.evaluation import as_table, evaluate, groups_of

# At 0.5: hit, miss, false alarm, correct null.
OBSERVED = np.array([True, True, False, False])
PROBABILITY = np.array([0.9, 0.4, 0.6, 0.1], np.float32)
QUIET = np.zeros(4, bool)


def test_scores_derived_by_hand():
    e = evaluate("network", "test", OBSERVED, PROBABILITY, threshold=0.5)
    assert (e.table.tp, e.table.fn, e.table.fp, e.table.tn) == (1, 1, 1, 1)
    assert e.table.tss == 0
    # Of the four pairs of event and non-event, (0.4, 0.6) alone is in the wrong order.
    assert e.roc_area == pytest.approx(3 / 4)
    # Brier score (0.01 + 0.36 + 0.36 + 0.01)/4 = 0.185; climatology 0.25.
    assert e.bss == pytest.approx(1 - 0.185 / 0.25, rel=1e-6)
    assert np.isnan([*e.tss_interval, *e.bss_interval]).all()


def test_threshold_and_ranks_are_of_the_probability_and_frequencies_of_the_calibrated():
    calibrated = np.array([1, 1, 0, 0], np.float32)
    e = evaluate("network", "test", OBSERVED, PROBABILITY, calibrated, threshold=0.4)
    assert e.bss == 1
    assert e.roc_area == pytest.approx(3 / 4)
    # `probability >= threshold` is a forecast event: 0.4 counts, in float32 as well.
    e = evaluate("network", "test", OBSERVED, PROBABILITY, calibrated, threshold=float(np.float32(0.4)))
    assert (e.table.tp, e.table.fp) == (2, 1)


def test_intervals_come_from_clusters():
    # Twenty days of one hit and one correct null each: every resample is perfect.
    observed, clusters = np.tile([True, False], 20), np.repeat(np.arange(20), 2)
    perfect = evaluate("network", "test", observed, observed.astype(np.float32), threshold=0.5, clusters=clusters)
    assert perfect.tss_interval == pytest.approx((1, 1))
    assert perfect.bss_interval == pytest.approx((1, 1))
    noisy = np.random.default_rng(0).random(40).astype(np.float32)
    lower, upper = evaluate("network", "test", observed, noisy, threshold=0.5, clusters=clusters).tss_interval
    assert lower < evaluate("network", "test", observed, noisy, threshold=0.5).table.tss < upper


@pytest.mark.parametrize("clusters", [None, np.arange(4)])
def test_json_has_null_where_a_score_is_undefined(clusters):
    e = evaluate("network", "test", QUIET, PROBABILITY, threshold=0.5, clusters=clusters)
    entry = json.loads(json.dumps(e.as_json(), allow_nan=False))
    assert (entry["method"], entry["span"], entry["threshold"]) == ("network", "test", 0.5)
    assert (entry["tp"], entry["fp"], entry["fn"], entry["tn"]) == (0, 2, 0, 2)
    undefined = {name for name, value in entry.items() if value is None}
    undefined_too = {"apss", "frequency_bias"}
    assert undefined == {"pod", "tss", "bss", "roc_area", "tss_interval", "bss_interval"} | undefined_too
    assert entry["note"].startswith("test: none of 4 samples has an event")
    assert (entry["base_rate"], entry["accuracy"], entry["far"], entry["hss"]) == (0, 0.5, 1, 0)


def test_table_lines_up_and_shows_what_is_undefined():
    rows = [
        evaluate("network", "validation", OBSERVED, PROBABILITY, threshold=0.5, clusters=np.arange(4)),
        evaluate("persistence", "test", QUIET, PROBABILITY, threshold=0.25),
    ]
    *lines, told = as_table(rows).splitlines()
    head, network, persistence = (line.split() for line in lines)
    assert len({len(line) for line in lines}) == 1
    # Of the quiet span alone it is said why.
    assert told == "test: none of 4 samples has an event, so that scores which need both are undefined"
    assert network[:9] == ["validation", "network", "4", "0.500", "0.50", "1", "1", "1", "1"]
    value = dict(zip(head, persistence, strict=True))
    assert (value["TN"], value["FP"], value["thr"], value["TSS"], value["AUC"]) == ("1", "3", "0.25", "–", "–")


def test_a_threshold_of_each_fold():
    # Of the first fold 0.5, of the second 0.7: the false alarm of 0.6 is none any more.
    e = evaluate("network", "all", OBSERVED, PROBABILITY, threshold=np.array([0.5, 0.5, 0.7, 0.7]))
    assert (e.table.tp, e.table.fn, e.table.fp, e.table.tn) == (1, 1, 0, 2)
    assert e.as_json()["threshold"] is None
    assert as_table([e]).splitlines()[1].split()[4] == "–"


def test_scores_of_table_1_stand_in_the_line():
    # Table 1 of Yi et al. (2021) has Nishizuka's C row: HSS .53, ApSS .09, FB 1.53.
    observed = np.repeat([True, False, True, False], [4967, 4420, 1171, 20778])
    forecast = np.repeat([1.0, 1.0, 0.0, 0.0], [4967, 4420, 1171, 20778])
    head, line = (
        text.split() for text in as_table([evaluate("n", "t", observed, forecast, threshold=0.5)]).split("\n")
    )
    value = dict(zip(head, line, strict=True))
    assert [value[name] for name in ("rate", "HSS", "ApSS", "FB")] == ["0.196", "0.528", "0.089", "1.529"]


TIMES = np.array(["2009-12-31T00:00", "2010-06-01", "2011-01-01", "2011-05-01"], "datetime64[us]")


def utc(*date):
    return datetime(*date, tzinfo=UTC)


def test_groups_are_years_instruments_and_named_periods():
    spans = [("hmi", utc(2011, 1, 1), utc(2017, 7, 1)), ("mdi", utc(2009, 1, 1), utc(2011, 1, 1))]
    found = groups_of(TIMES, periods=spans, instruments=np.array(["MDI", "MDI", "HMI", "MDI"]))
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "year 2009": [True, False, False, False],
        "year 2010": [False, True, False, False],
        "year 2011": [False, False, True, True],
        "instrument HMI": [False, False, True, False],
        "instrument MDI": [True, True, False, True],
        "period mdi": [True, True, False, False],
        "period hmi": [False, False, True, True],  # its begin belongs to it, the end of the other does not
    }
    # What is one for all samples is the whole, and stands there already.
    assert list(groups_of(TIMES[2:], instruments=np.array(["HMI", "HMI"]))) == []


@pytest.mark.parametrize(
    ("spans", "error", "message"),
    [
        ([("a", utc(2009, 1, 1), utc(2011, 1, 2)), ("b", utc(2011, 1, 1), utc(2012, 1, 1))], SettingError,
         "the periods `a` and `b` overlap: the one ends 2011-01-02T00:00Z, the other begins 2011-01-01T00:00Z"),
        ([("a", utc(2011, 1, 1), utc(2010, 1, 1))], SettingError, "`a` must be named once and begin before it ends"),
        ([("a", utc(2009, 1, 1), utc(2011, 1, 1)), ("a", utc(2011, 1, 1), utc(2012, 1, 1))], SettingError, "once"),
        ([("a", utc(2013, 1, 1), utc(2014, 1, 1))], DataError,
         "`a` holds no sample that is scored: these are of 2009-12-31 to 2011-05-01"),
    ],
)  # fmt: skip
def test_spans_that_cannot_be_scored_are_refused(spans, error, message):
    with pytest.raises(error, match=message):
        groups_of(TIMES, periods=spans)
