"""What is refused before any score is computed."""

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.verification.samples import check_outcomes, check_probabilities, check_samples


@pytest.mark.parametrize("observed", [[True, False], [1, 0], [1.0, 0.0], np.array([1, 0], np.int8), pd.Series([1, 0])])
def test_outcomes_may_be_booleans_or_zeros_and_ones(observed):
    assert check_outcomes(observed).tolist() == [True, False]


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        ([0.2, 55.0], r"`probability` must lie in \[0, 1\], got 55.0 in row 1: divide percentages by 100"),
        ([0.2, -1.0], r"got -1.0 in row 1: this is no percentage either; .* leave it empty"),
        ([np.inf, 0.2], r"got inf in row 0: this is no percentage either"),
        ([0.2, 999.0], r"got 999.0 in row 1: this is no percentage either"),
        ([-0.1], r"got -0.1 in row 0"),
        ([0.2, np.nan], r"got nan in row 1: drop the sample for every method, or score a missing forecast as 0"),
        ([np.inf], r"got inf in row 0"),
        ([], "`probability` must not be empty"),
        ([[0.1, 0.2]], r"one dimension, got the shape \(1, 2\)"),
        (["0.5"], "must hold numbers, got .*0.5"),
        (np.array([0.5, "high"], object), "must hold numbers only"),
        (np.array([0.5, pd.NA], object), "must hold numbers only"),
        (pd.Series([0.5, pd.NA], dtype="Float64"), "got nan in row 1"),
    ],
)
def test_bad_probabilities_are_named(probability, message):
    with pytest.raises(DataError, match=message):
        check_probabilities(probability)


@pytest.mark.parametrize(("observed", "seen"), [([0, 2], "2.0 in row 1"), ([0.5], "0.5 in row 0"), ([np.nan], "nan")])
def test_outcomes_are_zero_or_one(observed, seen):
    with pytest.raises(DataError, match=f"`observed` must be 0 or 1 .* got {seen}"):
        check_outcomes(observed)


def test_methods_with_other_samples_are_refused():
    with pytest.raises(DataError, match="`MAG4` must hold one value for each outcome, got 3 for 2"):
        check_samples([0, 1], [0.1, 0.2, 0.3], name="MAG4")
