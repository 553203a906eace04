"""Folds calibrated on several validation spans: which ones, and what their outputs stand for."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from kflare.models.calibration import fit_calibration
from kflare.models.cross_fitting import at_rate
from kflare.models.crossvalidation.folds import cross_calibrated

TIMES = pd.date_range("2012-01-01", "2015-12-31", freq="D", tz="UTC")


def rows_of(folds, *, seed=1, moved=None):
    """Outputs x of days that flare as often as sigmoid(0.8 x - 1); of each fold the days of (validation, test)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.5, len(TIMES))
    observed = rng.random(len(TIMES)) < expit(0.8 * x - 1)
    parts = []
    for name, spans in folds.items():
        for span, used in zip(("validation", "test"), spans, strict=True):
            shift = 0.0 if moved is None else moved[name]
            output = expit(x[used] + shift).astype(np.float32)
            days = TIMES[used]
            frame = pd.DataFrame({"time": days, "cluster": days.floor("D"), "observed": observed[used]})
            parts.append(frame.assign(fold=name, span=span, method="network", seed=0, output=output))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(probability=rows["output"] / 2)


def year(number):
    return TIMES.year == number


YEARS = {str(test): (year(test - 1), year(test)) for test in (2013, 2014, 2015)}


def of(rows, fold, span="test"):
    return rows[(rows["fold"] == fold) & (rows["span"] == span)]


def test_a_year_is_calibrated_on_the_validation_years_before_it():
    rows = rows_of(YEARS)
    told = cross_calibrated(rows)
    first = of(rows, "2013", "validation")
    alone = fit_calibration(first["observed"].to_numpy(), first["output"].to_numpy())
    wanted = alone(of(rows, "2013")["output"].to_numpy())
    np.testing.assert_allclose(of(told, "2013")["probability"], np.clip(wanted, 1 / 368, 1 - 1 / 368), rtol=1e-4)
    # Later years, and the outcomes of a test, change nothing; an earlier validation year does.
    later = rows.assign(observed=rows["observed"] ^ ((rows["fold"] == "2015") | (rows["span"] == "test")))
    for name in ("2013", "2014"):
        np.testing.assert_array_equal(of(cross_calibrated(later), name)["probability"], of(told, name)["probability"])
    earlier = rows.assign(observed=rows["observed"] ^ ((rows["fold"] == "2013") & (rows["span"] == "validation")))
    assert not np.allclose(of(cross_calibrated(earlier), "2014")["probability"], of(told, "2014")["probability"])
    assert list(told) == list(rows)


def test_a_block_is_calibrated_on_all_that_do_not_touch_it():
    block = np.arange(len(TIMES)) * 4 // len(TIMES)
    rows = rows_of({f"block {number + 1}": (block == (number + 1) % 4, block == number) for number in range(4)})
    told = cross_calibrated(rows)

    def changed_by(fold):
        flip = (rows["fold"] == fold) & (rows["span"] == "validation")
        other = cross_calibrated(rows.assign(observed=rows["observed"] ^ flip))
        return not np.allclose(of(other, "block 2")["probability"], of(told, "block 2")["probability"])

    # Block 1 is validated on block 2, which is tested here; block 2 on block 3, with a day between in real folds.
    assert [changed_by(f"block {number}") for number in (1, 2, 3, 4)] == [False, True, True, True]


def test_what_is_a_frequency_already_stays():
    rows = rows_of(YEARS)
    rows["probability"] = rows["output"]
    pd.testing.assert_frame_equal(cross_calibrated(rows), rows)


def test_networks_of_other_class_weights_are_brought_to_the_own_one():
    # A network trained to the rate r says sigmoid(x - logit r) of the frequency sigmoid(x).
    rates = {"2013": 0.02, "2014": 0.1, "2015": 0.3}
    plain = cross_calibrated(rows_of(YEARS))
    moved = cross_calibrated(rows_of(YEARS, moved={name: -logit(rate) for name, rate in rates.items()}), rates)
    np.testing.assert_allclose(moved["probability"], plain["probability"], rtol=2e-3, atol=1e-5)
    assert at_rate([0.5], 0.02, 0.02) == pytest.approx(0.5)
    assert at_rate([0.5], 0.02, 0.5) == pytest.approx(0.02)
    assert at_rate([0.5], 0.1, 0.02) > 0.5
