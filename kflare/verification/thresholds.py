"""The yes/no forecasts that a probability allows: counts at every threshold, and the threshold of the greatest TSS."""

import numpy as np
import numpy.typing as npt

from kflare.io.arrays import IntArray
from kflare.verification.contingency import ContingencyTable
from kflare.verification.samples import check_samples
from kflare.verification.scores import Score

__all__ = ["best_threshold", "counts_by_threshold"]


def counts_by_threshold(
    observed: npt.ArrayLike, probability: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], IntArray, IntArray, IntArray, IntArray]:
    """Contingency tables of all yes/no forecasts that the probabilities allow: thresholds, TP, FP, FN, TN, each (K,).

    The thresholds are the K distinct probabilities, falling; `probability >= threshold` forecasts an event, so that at
    the last one every sample is a forecast event.
    """
    events, values = check_samples(observed, probability)
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    tp = np.cumsum(events[order])[last].astype(np.int64)
    fp = last + 1 - tp
    return falling[last], tp, fp, tp[-1] - tp, fp[-1] - fp


def best_threshold(observed: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Score, ContingencyTable]:
    """Probability threshold of the greatest TSS; to be chosen on validation samples, never on the test samples.

    All thresholds between two neighbouring probabilities give the same table, and the middle of that gap is returned,
    so that the choice does not hang on one sample's last digit. Of several gaps with exactly the greatest TSS, the one
    whose middle is nearest to 0.5 is taken.

    Parameters
    ----------
    observed : bool or 0/1 array of shape (N,)
        Whether an event was observed.
    probability : array of shape (N,)
        Forecast probability, 0 to 1.

    Returns
    -------
    threshold : Score
        `probability >= threshold` forecasts an event. NaN with a reason where only one outcome was observed: no sample
        is then a forecast event, as in the table.
    table : ContingencyTable
        Of the given samples at this threshold.
    """
    thresholds, *counts = counts_by_threshold(observed, probability)
    tp, fp, fn, tn = counts
    events, non_events = int(tp[-1]), int(fp[-1])
    if not events or not non_events:
        nothing_forecast = ContingencyTable(0, 0, events, non_events)
        return Score(np.nan, nothing_forecast.tss.reason.replace("tss", "threshold")), nothing_forecast
    gap_middle = (thresholds + np.append(thresholds[1:], 0.0)) / 2
    below = np.append(thresholds[1:], -1.0)
    gap_middle = np.where(gap_middle > below, gap_middle, thresholds)  # between neighbouring floats there is no middle
    skill = tp * tn - fp * fn  # TSS times P Q, in integers: ties are exact
    best = np.flatnonzero(skill == skill.max())
    chosen = best[np.argmin(np.abs(gap_middle[best] - 0.5))]
    return Score(gap_middle[chosen]), ContingencyTable(*(int(count[chosen]) for count in counts))
