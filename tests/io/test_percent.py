"""Probabilities as readers see them, in every place that writes one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.io.percent import percent, rounded


def test_percentages_never_say_never_nor_cross_a_boundary():
    assert [percent(p) for p in (None, np.nan, 1e-6, 0.001, 0.0123, 0.5, 0.7996, 0.79999, 0.8, 0.9995, 1.0)] == [
        "–", "–", "< 0.1 %", "0.1 %", "1.2 %", "50.0 %", "79.9 %", "79.9 %", "80.0 %", "> 99.9 %", "> 99.9 %",
    ]  # fmt: skip


@given(st.floats(0, 1), st.sampled_from([3, 4]))
def test_a_rounded_probability_is_on_its_own_side_of_every_mark(p, digits):
    shown = rounded(p, digits)
    assert 0 < shown < 1
    for mark in (0.5, 0.8):
        # A probability that misses the mark by a billionth is at it, as for the mark itself.
        assert (shown >= mark) == (p >= mark - 1e-9)
    if 10**-digits <= p < 1 - 10**-digits:
        assert p - 10**-digits <= shown <= p + 1e-9


@pytest.mark.parametrize("p", [0.1, 0.29, 0.57, 0.8, 0.999])
def test_a_tenth_of_a_percent_stays_what_it_is(p):
    # 1000 * 0.29 is 290.0 and 1000 * 0.57 is 569.9999999999999 in binary.
    assert percent(p) == f"{100 * p:.1f} %"
