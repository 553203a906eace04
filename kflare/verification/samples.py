"""The samples that are verified: what was observed, and the probability that had been forecast.

Every score begins here, so that a forecast in percent, a gap in a table or two methods with different samples
stops with a clear `DataError` and never becomes a number.
"""

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import ArrayLike, BoolArray, Float64Array

Outcomes = BoolArray
Probabilities = Float64Array


def check_outcomes(observed: ArrayLike, *, name: str = "observed") -> Outcomes:
    """Outcomes (or yes/no forecasts) as booleans of shape (N,), from True or 1 and False or 0; else `DataError`."""
    values = _numbers(observed, name)
    if (bad := np.flatnonzero((values != 0) & (values != 1))).size:
        raise DataError(f"`{name}` must be 0 or 1 (False or True), got {values[bad[0]]} in row {bad[0]}")
    return values == 1


def check_probabilities(probability: ArrayLike, *, name: str = "probability") -> Probabilities:
    """Probabilities, 0 to 1, as float64 of shape (N,); `DataError` where empty, not numeric, NaN or outside [0, 1]."""
    values = _numbers(probability, name)
    if (bad := np.flatnonzero(~((values >= 0) & (values <= 1)))).size:
        value = values[bad[0]]
        raise DataError(f"`{name}` must lie in [0, 1], got {value} in row {bad[0]}: {probability_advice(value)}")
    return values


def probability_advice(value: float) -> str:
    """What to do about a number that is no probability."""
    if np.isnan(value):
        return "drop the sample for every method, or score a missing forecast as 0"
    if 1 < value <= 100:
        return "divide percentages by 100"
    return "this is no percentage either; where it stands for a forecast that was not issued, leave it empty"


def check_samples(
    observed: ArrayLike, probability: ArrayLike, *, name: str = "probability"
) -> tuple[Outcomes, Probabilities]:
    """Outcomes, bool (N,), and probabilities, float64 (N,), of the same samples; `DataError` where lengths differ."""
    outcomes, values = check_outcomes(observed), check_probabilities(probability, name=name)
    if len(outcomes) != len(values):
        fault = f"`{name}` must hold one value for each outcome, got {len(values)} for {len(outcomes)}"
        raise DataError(f"{fault}: score every method on the same samples")
    return outcomes, values


def _numbers(values: ArrayLike, name: str) -> Float64Array:
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"`{name}` must have one dimension, got the shape {array.shape}")
    if not array.size:
        raise DataError(f"`{name}` must not be empty, got no sample")
    if array.dtype.kind not in "biufO":
        raise DataError(f"`{name}` must hold numbers, got {array[0]!r} of type {array.dtype}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:  # objects: text, None or pandas' NA among the numbers
        raise DataError(f"`{name}` must hold numbers only: {error}") from error
