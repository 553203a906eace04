"""The trailing climatology: which past it uses, and that it never uses the future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.verification.probabilistic import trailing_climatology

DAYS = np.datetime64("2016-01-01") + np.arange(10)


def test_the_preceding_days_by_hand():
    # Outcomes of days 0 to 9; the rate of day d is that of days d - 4 to d - 1, and unknown before day 4.
    observed = [1, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    climatology = trailing_climatology(DAYS, DAYS, observed, days=4)
    assert climatology[4:].tolist() == [2 / 4, 2 / 4, 3 / 4, 3 / 4, 2 / 4, 1 / 4]
    assert np.isnan(climatology[:4]).all()


def test_an_outcome_counts_only_when_its_window_has_closed():
    # At 12 UT the window of the day before (00 UT + 24 h) has closed, but not the one that began 18 h ago.
    history = np.array(["2016-01-01T00", "2016-01-04T00", "2016-01-04T18"], "datetime64[h]")
    noon = np.array(["2016-01-05T12"], "datetime64[h]")
    assert trailing_climatology(noon, history, [0, 0, 1], days=4) == [0.0]
    assert trailing_climatology(noon, history, [0, 0, 1], days=4, window_hours=12) == [0.5]


def test_a_gap_in_the_history_is_nan():
    history = np.array(["2016-01-01", "2016-03-01"], "datetime64[D]")
    assert np.isnan(trailing_climatology(np.array(["2016-02-01"], "datetime64[D]"), history, [1, 0], days=4)).all()


@given(st.lists(st.booleans(), min_size=10, max_size=10), st.integers(0, 9), st.permutations(range(10)))
def test_the_future_changes_nothing(observed, day, order):
    before = trailing_climatology(DAYS[: day + 1], DAYS, observed, days=3)
    changed = observed[:day] + [not outcome for outcome in observed[day:]]
    shuffled = [changed[index] for index in order]
    np.testing.assert_array_equal(before, trailing_climatology(DAYS[: day + 1], DAYS[order], shuffled, days=3))


def test_bad_input():
    with pytest.raises(DataError, match="`time` must be datetime64 in UTC, got object"):
        trailing_climatology(pd.Series(pd.to_datetime(DAYS, utc=True)), DAYS, [0] * 10)
    with pytest.raises(DataError, match="`history_time` must not hold NaT, got 1"):
        trailing_climatology(DAYS, np.array(["NaT"], "datetime64[D]"), [0])
    with pytest.raises(DataError, match="`history_time` must match `history_observed`, got 10 for 1"):
        trailing_climatology(DAYS, DAYS, [0])
    with pytest.raises(SettingError, match="`days` must be longer"):
        trailing_climatology(DAYS, DAYS, [0] * 10, days=1)
