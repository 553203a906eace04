"""Splits: no label window reaches into a later span."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.datasets.splits import Split, chronological_split
from kflare.errors import DataError, SettingError
from kflare.sun.times import read_date

DAY = pd.Timedelta(days=1)
HOUR = pd.Timedelta(hours=1)
START, TRAIN, VALIDATE, TEST = (pd.Timestamp(f"2014-{month:02d}-01", tz="UTC") for month in (1, 2, 3, 4))
ENDS = {"train_until": TRAIN, "validate_until": VALIDATE}


def days(*offsets):
    return pd.Series([START + DAY * offset for offset in offsets], dtype="datetime64[us, UTC]")


def test_a_sample_whose_window_crosses_the_end_of_its_span_is_dropped_from_the_earlier_side():
    second = pd.Timedelta(seconds=1)
    times = [
        START - second,  # before the training span
        START,
        TRAIN - DAY,  # its window ends with the span
        TRAIN - DAY + second,  # crosses: neither in training nor in validation
        TRAIN - second,
        TRAIN,
        VALIDATE - DAY,
        VALIDATE - 12 * HOUR,
        VALIDATE,
        TEST - DAY,
        TEST - DAY + second,
        TEST,
    ]
    split = chronological_split(pd.Series(times), start=START, test_until=TEST, **ENDS)
    assert np.flatnonzero(split.train).tolist() == [1, 2]
    assert np.flatnonzero(split.validation).tolist() == [5, 6]
    assert np.flatnonzero(split.test).tolist() == [8, 9]
    assert list(split.parts()) == ["train", "validation", "test"]
    assert all(mask.dtype == np.bool_ for mask in split.parts().values())


def test_without_start_and_test_end_the_outer_spans_are_open():
    split = chronological_split(days(-9000, 0, 35, 90, 9000), **ENDS)
    assert [mask.tolist() for mask in split.parts().values()] == [
        [True, True, False, False, False],
        [False, False, True, False, False],
        [False, False, False, True, True],
    ]


@given(
    st.lists(st.integers(-72, 120 * 24), max_size=60),
    st.sampled_from([6.0, 24.0, 48.0]),
    st.randoms(use_true_random=False),
)
def test_windows_of_different_spans_never_overlap(hours, window_hours, random):
    # One sample in the middle of each span keeps all three from being empty.
    hours = [*hours, 10 * 24, 40 * 24, 70 * 24]
    random.shuffle(hours)
    times = pd.Series([START + HOUR * hour for hour in hours])
    split = chronological_split(times, start=START, test_until=TEST, window_hours=window_hours, **ENDS)
    window = HOUR * window_hours
    for (low, high), mask in zip(
        ((START, TRAIN), (TRAIN, VALIDATE), (VALIDATE, TEST)), split.parts().values(), strict=True
    ):
        assert mask.tolist() == [low <= time and time + window <= high for time in times]
    assert times[split.train].max() + window <= times[split.validation].min()
    assert times[split.validation].max() + window <= times[split.test].min()
    assert not (split.train & split.validation).any()
    assert not (split.validation & split.test).any()


@pytest.mark.parametrize(
    "change",
    [
        {"train_until": VALIDATE, "validate_until": TRAIN},
        {"validate_until": TRAIN},
        {"start": TRAIN},
        {"start": VALIDATE},
        {"test_until": VALIDATE},
        {"test_until": TRAIN},
    ],
)
def test_spans_that_overlap_are_refused(change):
    with pytest.raises(SettingError, match=r"split dates overlap: start < train-until.*got 2014-"):
        chronological_split(days(0, 40, 70), **ENDS | change)


@pytest.mark.parametrize(
    ("times", "name"),
    [(days(40, 70), "train"), (days(0, 70), "validation"), (days(0, 40), "test"), (days(0, 40, 59.5), "test")],
)
def test_a_span_without_a_sample_is_refused(times, name):
    # 59 days after January 1 is March 1: the sample of 59.5 is in the test span, but test_until cuts its window off.
    with pytest.raises(DataError, match=f"the {name} span holds no sample: the samples cover 2014-.*move the split"):
        chronological_split(times, test_until=VALIDATE + DAY, **ENDS)


def test_no_samples_at_all_and_naive_times_are_refused():
    with pytest.raises(DataError, match="the train span holds no sample: the samples cover none"):
        chronological_split(days(), **ENDS)
    with pytest.raises(DataError, match="`time` must be in UTC"):
        chronological_split(days(0, 40, 70).dt.tz_localize(None), **ENDS)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2014-03-18", "2014-03-18T00:00Z"),
        ("20140318", "2014-03-18T00:00Z"),
        ("2014-03-18T12:00", "2014-03-18T12:00Z"),
        ("2014-03-18T12:00Z", "2014-03-18T12:00Z"),
        ("2014-03-18T12:00+09:00", "2014-03-18T03:00Z"),
    ],
)
def test_a_date_is_utc(text, time):
    found = read_date(text)
    assert found == pd.Timestamp(time)
    assert found.utcoffset() == pd.Timedelta(0)


# pandas alone would take 14-03-18 for 2018-03-14, 03/04/2014 for March 4, and 12:00 and now for today.
@pytest.mark.parametrize("text", ["", "NaT", "2014-02-30", "14-03-18", "03/04/2014", "12:00", "now", "2014", "spring"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(SettingError, match=f"`{text}` is no date: write it as 2014-03-18"):
        read_date(text)


def test_without_a_validation_span_the_last_tenth_of_the_training_samples_is_taken():
    # 20 days before the end of training: the last two validate, and the one before has its window in training.
    times = pd.Series(pd.date_range("2014-01-01", "2014-01-31", freq="D", tz="UTC"))
    until = pd.Timestamp("2014-01-21", tz="UTC")

    def spans(times, **dates):
        parts = chronological_split(times, train_until=until, **dates).parts()
        return [f"{times[mask].min():%d %Hh} to {times[mask].max():%d %Hh}" for mask in parts.values()]

    assert spans(times) == ["01 00h to 18 00h", "19 00h to 20 00h", "21 00h to 31 00h"]
    # From a later start, of 10 samples the last one; at another hour the next midnight begins it.
    start = pd.Timestamp("2014-01-11", tz="UTC")
    assert spans(times, start=start) == ["11 00h to 19 00h", "20 00h to 20 00h", "21 00h to 31 00h"]
    # Of 21 samples the 19th is of 19 January, 6 h; the last before the end has its window beyond it.
    until += pd.Timedelta(hours=12)
    later = times + pd.Timedelta(hours=6)
    assert spans(later) == ["01 06h to 18 06h", "20 06h to 20 06h", "22 06h to 31 06h"]
    with pytest.raises(DataError, match="no sample lies before 2013-01-01, the end of training"):
        chronological_split(times, train_until=pd.Timestamp("2013-01-01", tz="UTC"))
    # Of one sample nothing can be held back: of dates that nobody gave it was said that they overlap.
    few = "the 1 samples before 2014-01-21 leave no validation span .the last tenth .*: give its end, or more samples"
    with pytest.raises(DataError, match=few):
        chronological_split(later, train_until=until, start=until - pd.Timedelta(hours=12))


def test_a_split_is_chronological_where_no_window_reaches_into_the_test():
    times = pd.Series(pd.date_range("2014-01-01", periods=4, freq="D", tz="UTC"))
    masks = np.eye(4, dtype=bool)
    assert Split(masks[0], masks[1], masks[2]).chronological(times)
    assert not Split(masks[3], masks[1], masks[2]).chronological(times)
    assert not Split(masks[0], masks[1], masks[2]).chronological(times[0] + (times - times[0]) / 2)


def test_a_date_so_long_ago(monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 8, 31, 17, 30, tzinfo=tz)

    monkeypatch.setattr("kflare.sun.times.datetime", Clock)
    # Months end when they do: six before 31 August is 28 February.
    wanted = {"6months": "2026-02-28", "1 month": "2026-07-31", "90days": "2026-06-02", "2weeks": "2026-08-17",
              "1year": "2025-08-31", "0days": "2026-08-31"}  # fmt: skip
    assert {text: f"{read_date(text):%Y-%m-%d}" for text in wanted} == wanted
    assert read_date("6months") == pd.Timestamp("2026-02-28T00:00Z")
    with pytest.raises(SettingError, match="`\\+6months` lies in the future"):
        read_date("+6months")
    for text in ("6 fortnights", "months", "-6months", "6.5months"):
        with pytest.raises(SettingError, match="is no date: write it as"):
            read_date(text)
