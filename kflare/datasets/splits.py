"""Chronological splits: training, validation and test spans that share no sample and no flare.

Both papers split by time ("chronological data separation", Yi et al. 2021, section 2; Nishizuka et al. 2021, section
2.3), because neighbouring samples of a region are nearly equal and a shuffled split lets a model remember.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.labels import LEAD_HOURS, in_seconds
from kflare.io.arrays import BoolArray

VALIDATION_RULE = "the last tenth of the training samples, in time, from 00:00 UT of a day on"
"""Of the validation span where none is given: the papers name none, and what is nearest to the test is most like it."""


@dataclass(frozen=True)
class Split:
    """Disjoint boolean masks of shape (N,) over the samples; a sample outside all three is not used."""

    train: BoolArray
    validation: BoolArray
    test: BoolArray

    def parts(self) -> dict[str, BoolArray]:
        """The masks by name, in time order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def chronological(self, times: pd.Series) -> bool:
        """Whether all windows of training and validation end before the first test sample; `times` as (N,), UTC."""
        ends = times[self.train | self.validation].max() + pd.Timedelta(hours=LEAD_HOURS)
        return bool(ends <= times[self.test].min())


def chronological_split(
    times: pd.Series, *, train_until: datetime, validate_until: datetime | None = None,
    start: datetime | None = None, test_until: datetime | None = None, window_hours: float = LEAD_HOURS
) -> Split:  # fmt: skip
    """Split samples by time so that no label window reaches into a later span.

    Of N forecast times (aware UTC), the begin of the training span, and the ends of the spans (exclusive, UTC): without
    `validate_until` that of training, whose last tenth is then the validation span (`VALIDATION_RULE`); without
    `test_until` that of the samples. One whose window of `window_hours` crosses the end of its span is dropped.
    SettingError: the ends do not follow one another, so spans would overlap; DataError: a span holds no sample.
    """
    if validate_until is None:
        known = times[(times < train_until) & (times >= (start or times.min()))].sort_values()
        if known.empty:
            raise DataError(f"no sample lies before {train_until:%Y-%m-%d}, the end of training: move the split dates")
        train_until, validate_until = known.iloc[len(known) * 9 // 10].ceil("D"), train_until
        if not known.iloc[0] < train_until < validate_until:
            rule = f"leave no validation span ({VALIDATION_RULE}): give its end, or more samples"
            raise DataError(f"the {len(known)} samples before {validate_until:%Y-%m-%d} {rule}")
    ends = [end for end in (start, train_until, validate_until, test_until) if end is not None]
    if any(later <= earlier for earlier, later in pairwise(ends)):
        shown = ", ".join(f"{end:%Y-%m-%dT%H:%MZ}" for end in ends)
        rule = "split dates overlap: start < train-until < validate-until < test-until must hold"
        raise SettingError(f"{rule}, got {shown}")
    begin = in_seconds(times)
    end = begin + round(window_hours * 3600)
    first = -np.inf if start is None else start.timestamp()
    last = np.inf if test_until is None else test_until.timestamp()
    bounds = [first, train_until.timestamp(), validate_until.timestamp(), last]
    split = Split(*[(begin >= low) & (end <= high) for low, high in pairwise(bounds)])
    for name, mask in split.parts().items():
        if not mask.any():
            seen = pd.DatetimeIndex(times)
            span = f"{seen.min():%Y-%m-%d} to {seen.max():%Y-%m-%d}" if len(seen) else "none"
            raise DataError(f"the {name} span holds no sample: the samples cover {span}; move the split dates")
    return split
