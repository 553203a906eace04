"""Scores of yes/no forecasts: everything that follows from one 2 x 2 contingency table.

"No matter how many skill scores you show, you will not have more information than one contingency table"
(Nishizuka et al. 2021, section 4.2), so tables come first: they can be added over folds, and scored afterwards.

Symbols: TP hits, FP false alarms, FN misses, TN correct nulls (H, F, M, N of Yi et al. 2021); P = TP + FN events,
Q = FP + TN non-events, N = P + Q samples, s = P/N. Sources are marked [P] where the formula is printed in Yi et al.
(2021) or Nishizuka et al. (2021), [D] where it was confirmed by recomputing their tables, and [M] where it is general
knowledge and the paper named was not read.
"""

from dataclasses import astuple, dataclass
from operator import index
from typing import Any, Self

import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import ArrayLike, Float64Array, IntArray
from kflare.verification.samples import check_outcomes, check_samples
from kflare.verification.scores import Score, documentation, ratios


def _score(name: str) -> Any:
    return property(lambda table: table.scores()[name], doc=documentation(name))


@dataclass(frozen=True)
class ContingencyTable:
    """Counts of a yes/no forecast against the outcome.

    Tables of folds can be added. Each score is a float, NaN with a `reason` where the table does not define it.
    Counts other than integers from 0 raise `DataError`.
    """

    tp: int = 0  # hits
    fp: int = 0  # false alarms
    fn: int = 0  # misses
    tn: int = 0  # correct nulls

    def __post_init__(self) -> None:
        for name in ("tp", "fp", "fn", "tn"):
            count = getattr(self, name)
            try:
                object.__setattr__(self, name, index(count))
            except TypeError as error:
                raise DataError(f"`{name}` must be an integer count, got {count!r}") from error
            if count < 0:
                raise DataError(f"`{name}` must not be negative, got {count}")

    @classmethod
    def from_forecasts(cls, observed: ArrayLike, predicted: ArrayLike) -> Self:
        """Count yes/no forecasts against outcomes, bool or 0/1 of shape (N,); `DataError` for others."""
        events, forecasts = check_outcomes(observed), check_outcomes(predicted, name="predicted")
        check_samples(events, forecasts, name="predicted")
        hits, alarms = int(np.sum(events & forecasts)), int(np.sum(forecasts))
        misses = int(np.sum(events)) - hits
        return cls(hits, alarms - hits, misses, len(events) - alarms - misses)

    @classmethod
    def from_probabilities(cls, observed: ArrayLike, probability: ArrayLike, *, threshold: float = 0.5) -> Self:
        """Count forecasts (N,), 0 to 1, of which those of `probability >= threshold` are of an event.

        `observed` are bool or 0/1, (N,). Both papers train for 0.5; a threshold beyond [0, 1] raises `SettingError`,
        samples that are none (NaN, other values, unequal lengths) `DataError`.
        """
        if not 0 <= threshold <= 1:
            raise SettingError(f"`threshold` must lie in [0, 1], got {threshold}")
        events, values = check_samples(observed, probability)
        return cls.from_forecasts(events, values >= threshold)

    def __add__(self, other: object) -> Self:
        """Table of both sets of samples; `sum(tables, ContingencyTable())` adds folds."""
        if not isinstance(other, ContingencyTable):
            return NotImplemented
        return type(self)(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    def scores(self) -> dict[str, Score]:
        """All scores by name, in the order of the properties below."""
        result = {}
        for name, (numerator, denominator, why) in ratios(*astuple(self)).items():
            if denominator:
                result[name] = Score(numerator / denominator)
            else:
                seen = f"TP={self.tp}, FP={self.fp}, FN={self.fn}, TN={self.tn}"
                result[name] = Score(np.nan, f"`{name}` is undefined because {why} ({seen})")
        return result

    accuracy = _score("accuracy")
    pod = _score("pod")
    pofd = _score("pofd")
    far = _score("far")
    tss = _score("tss")
    hss = _score("hss")
    apss = _score("apss")
    ets = _score("ets")
    csi = _score("csi")
    frequency_bias = _score("frequency_bias")
    base_rate = _score("base_rate")

    def apss_against(self, reference: "ContingencyTable") -> Score:
        """Appleman skill score against another forecast of the same samples: 1 - wrong/wrong of the reference.

        Range -inf to 1, perfect 1; 0 for the reference itself. With the 120-day climatology it is ApSS_clim of Leka et
        al. 2019 [M]. `DataError` where the numbers of events or of samples differ.
        """
        samples, others = ((table.tp + table.fn, table.fp + table.tn) for table in (self, reference))
        if samples != others:
            rule = f"`reference` must be of the same samples: {samples[0]} events and {samples[1]} non-events"
            raise DataError(f"{rule}, got {others[0]} and {others[1]}")
        wrong = reference.fp + reference.fn
        if not wrong:
            return Score(np.nan, "`apss` is undefined because the reference makes no error")
        return Score(1 - (self.fp + self.fn) / wrong)

    def as_text(self, *, event: str = "Flares") -> str:
        """Write the table as Nishizuka et al. 2021 print theirs (Tables 1 and 2), headed by `event`.

        Below it stand the scores of Yi et al. 2021, Table 1; "n/a" where undefined.
        """
        first = max(len(event), len("Forecast"))
        width = max(5, *(len(str(count)) for count in astuple(self)))
        return "\n".join(
            (
                f"{event:<{first}}       Observed Events",
                f"{'':<{first}}       {'Yes':>{width}}  {'No':>{width}}",
                f"{'Forecast':<{first}}  Yes  {self.tp:>{width}}  {self.fp:>{width}}",
                f"{'Events':<{first}}  No   {self.fn:>{width}}  {self.tn:>{width}}",
                "  ".join(f"{label} {'n/a' if np.isnan(value) else f'{value:.3f}'}" for label, value in self.table_1()),
            )
        )

    def table_1(self) -> tuple[tuple[str, Score], ...]:
        """Labels and scores of Yi et al. 2021, Table 1, in its order."""
        named = (("ACC", "accuracy"), ("HSS", "hss"), ("ApSS", "apss"), ("TSS", "tss"), ("FB", "frequency_bias"))
        return tuple((label, getattr(self, name)) for label, name in (*named, ("event rate", "base_rate")))


def tss(observed: ArrayLike, predicted: ArrayLike) -> Score:
    """True skill statistic of yes/no forecasts, shape (N,); see :attr:`ContingencyTable.tss`."""
    return ContingencyTable.from_forecasts(observed, predicted).tss


def counts_by_threshold(
    observed: ArrayLike, probability: ArrayLike
) -> tuple[Float64Array, IntArray, IntArray, IntArray, IntArray]:
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


def best_threshold(observed: ArrayLike, probability: ArrayLike) -> tuple[Score, ContingencyTable]:
    """Probability threshold of the greatest TSS; to be chosen on validation samples, never on the test samples.

    All thresholds between two neighbouring probabilities give the same table, and the middle of that gap is returned,
    so that the choice does not hang on one sample's last digit. Of several gaps with exactly the greatest TSS, the one
    whose middle is nearest to 0.5 is taken.

    Of outcomes, bool or 0/1 (N,), and probabilities, 0 to 1 (N,), gives the threshold, from which on an event is
    forecast, and the table of the samples at it. Of one outcome alone it is NaN with a reason, nothing being forecast.
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
