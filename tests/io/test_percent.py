"""Probabilities as readers see them, in every place that writes one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.io.percent import chance, percent, rate, rounded


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


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.12, 0.071, 0.188), "12 % (7–19)"),
        ((0.12,), "12 %"),
        ((0.0199, 0.004, 0.0401), "1.9 % (<1–5)"),
        ((0.79996, 0.7, 0.995), "79 % (70–>99)"),
        ((0.003, 0.001, 0.0099), "< 1 %"),
        ((0.003, 0.001, 0.021), "< 1 % (up to 3)"),
        ((0.003,), "< 1 %"),
        ((0.0, 0.0, 0.0), "< 1 %"),
        # A calibration of 79 days gives no less than 1/81 = 0.0123: the interval cannot reach below.
        ((1 / 81, 1 / 81, 0.05), "< 2 % (up to 5)"),
        ((1 / 81, 1 / 81, 1 / 81), "< 2 %"),
        ((80 / 81, 0.9, 80 / 81), "> 98 % (from 90)"),
        ((0.996, 0.95, 0.999), "> 99 % (from 95)"),
        ((1.0,), "> 99 %"),
        ((None, None, None), "–"),
        ((np.nan, np.nan, np.nan), "–"),
        ((0.29,), "29 %"),
        ((0.57, np.nan, np.nan), "57 %"),
    ],
)
def test_a_chance_is_told_no_finer_than_a_calibration_can(values, text):
    assert chance(*values) == text


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_chance_is_never_nought_nor_certain_and_stays_below_its_mark(p, down, up):
    lower, upper = p * down, p + (1 - p) * up
    for text in (chance(p), chance(p, lower, upper)):
        assert not text.startswith(("0", "100"))
        assert "(0" not in text
        assert "100" not in text
        if text[0].isdigit():
            shown = float(text.partition(" %")[0]) / 100
            assert 0.01 <= shown <= p + 1e-8
            for mark in (0.5, 0.8):
                assert (shown >= mark) == (p >= mark - 1e-9)


def test_a_rate_is_told_to_the_nearest_tenth():
    given = ((0.1475, 0.082, 0.1424), (0.0, 0.0, 0.434), (1.0,), (0.79996,), (None,), (np.nan, np.nan, np.nan))
    assert [rate(*values) for values in given] == [
        "14.8 % (8.2–14.2)",
        "0.0 % (0.0–43.4)",
        "100.0 %",
        "80.0 %",
        "–",
        "–",
    ]
