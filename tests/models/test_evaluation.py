import json

import numpy as np
import pytest

from kflare.models.evaluation import as_table, evaluate

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
    assert (e.tss_interval, e.bss_interval) == (None, None)


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
    assert undefined == {"pod", "tss", "bss", "roc_area", "tss_interval", "bss_interval"}
    assert (entry["base_rate"], entry["accuracy"], entry["far"], entry["hss"]) == (0, 0.5, 1, 0)


def test_table_lines_up_and_shows_what_is_undefined():
    rows = [
        evaluate("network", "validation", OBSERVED, PROBABILITY, threshold=0.5, clusters=np.arange(4)),
        evaluate("persistence", "test", QUIET, PROBABILITY, threshold=0.25),
    ]
    lines = as_table(rows).splitlines()
    head, network, persistence = (line.split() for line in lines)
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert network[:9] == ["validation", "network", "4", "0.500", "0.50", "1", "1", "1", "1"]
    value = dict(zip(head, persistence, strict=True))
    assert (value["TN"], value["FP"], value["thr"], value["TSS"], value["AUC"]) == ("1", "3", "0.25", "–", "–")
