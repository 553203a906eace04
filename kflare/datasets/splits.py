"""Chronological splits: training, validation and test spans that share no sample and no flare.

Both papers split by time ("chronological data separation", Yi et al. 2021, section 2; Nishizuka et al. 2021, section
2.3), because neighbouring samples of a region are nearly equal and a shuffled split lets a model remember.
"""

from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.labels import LEAD_HOURS, in_seconds
from kflare.io.arrays import BoolArray
from kflare.sun.times import read_date

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


def utc_date(text: str) -> pd.Timestamp:
    """A date of `read_date` as pandas has it."""
    # pandas alone would guess: it takes 14-03-18 for 2018-03-14 and 12:00 for today's noon.
    return pd.Timestamp(read_date(text))


def carved_validation(
    times: pd.Series, *, train_until: pd.Timestamp, start: pd.Timestamp | None = None
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """End of training and of validation, by `VALIDATION_RULE`, where samples before `train_until` serve for both.

    The arguments are those of `chronological_split`; `DataError` where there is no such sample.
    """
    known = times[(times < train_until) & (times >= (start or times.min()))].sort_values()
    if known.empty:
        raise DataError(f"no sample lies before {train_until:%Y-%m-%d}, the end of training: move the split dates")
    return known.iloc[len(known) * 9 // 10].ceil("D"), train_until


def chronological_split(
    times: pd.Series, *, train_until: pd.Timestamp, validate_until: pd.Timestamp, start: pd.Timestamp | None = None,
    test_until: pd.Timestamp | None = None, window_hours: float = LEAD_HOURS
) -> Split:  # fmt: skip
    """Split samples by time so that no label window reaches into a later span.

    Of N forecast times (aware UTC), the begin of the training span, and the ends of the spans (exclusive, UTC); without
    `test_until` the test span is everything after. A sample whose window of
    `window_hours` crosses the end of its span is dropped.
    SettingError: the ends do not follow one another, so spans would overlap; DataError: a span holds no sample.
    """
    ends = [end for end in (start, train_until, validate_until, test_until) if end is not None]
    if any(later <= earlier for earlier, later in pairwise(ends)):
        shown = ", ".join(f"{end:%Y-%m-%dT%H:%MZ}" for end in ends)
        rule = "split dates overlap: start < train-until < validate-until < test-until must hold"
        raise SettingError(f"{rule}, got {shown}")
    begin = in_seconds(times)
    end = begin + round(window_hours * 3600)
    first, last = (0 if start is None else _seconds(start)), (2**62 if test_until is None else _seconds(test_until))
    bounds = [first, _seconds(train_until), _seconds(validate_until), last]
    masks = [(begin >= low) & (end <= high) for low, high in pairwise(bounds)]
    split = Split(*masks)
    for name, mask in split.parts().items():
        if not mask.any():
            seen = pd.DatetimeIndex(times)
            span = f"{seen.min():%Y-%m-%d} to {seen.max():%Y-%m-%d}" if len(seen) else "none"
            raise DataError(f"the {name} span holds no sample: the samples cover {span}; move the split dates")
    return split


def _seconds(time: pd.Timestamp) -> int:
    return int(time.timestamp())
