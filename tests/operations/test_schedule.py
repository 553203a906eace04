"""Issue times of a schedule."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import SettingError
from kflare.operations.clock import issue_times, latest_issue, next_issue

PAPER = (3.0, 9.0, 15.0, 21.0)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_the_paper_issues_four_a_day() -> None:
    day = list(issue_times(PAPER, datetime(2026, 11, 19, 23, tzinfo=UTC), datetime(2026, 11, 20, 22, tzinfo=UTC)))
    assert [time.hour for time in day] == [3, 9, 15, 21]


def test_next_and_latest() -> None:
    assert next_issue(PAPER, NOON) == datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert latest_issue(PAPER, NOON) == datetime(2026, 11, 20, 9, tzinfo=UTC)
    # An issue time itself is the latest one, and not the next.
    at_nine = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert latest_issue(PAPER, at_nine) == at_nine
    assert next_issue(PAPER, at_nine) == datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert next_issue(PAPER, datetime(2026, 11, 20, 22, tzinfo=UTC)) == datetime(2026, 11, 21, 3, tzinfo=UTC)
    assert latest_issue(PAPER, datetime(2026, 11, 20, 2, tzinfo=UTC)) == datetime(2026, 11, 19, 21, tzinfo=UTC)


def test_local_clocks_do_not_matter() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert next_issue(PAPER, NOON.astimezone(tokyo)) == next_issue(PAPER, NOON)


def test_hourly_and_half_hours() -> None:
    hourly = tuple(float(hour) for hour in range(24))
    assert len(list(issue_times(hourly, NOON, NOON + timedelta(days=3)))) == 72
    assert next_issue((0.5,), NOON) == datetime(2026, 11, 21, 0, 30, tzinfo=UTC)


def test_no_hours_are_refused() -> None:
    with pytest.raises(SettingError, match="`hours` must hold at least one"):
        next_issue((), NOON)


@given(st.lists(st.integers(0, 23), min_size=1, unique=True).map(sorted), st.integers(0, 10**6))
def test_latest_and_next_are_neighbours(hours: list[int], seconds: int) -> None:
    now = NOON + timedelta(seconds=seconds)
    before, after = latest_issue(hours, now), next_issue(hours, now)
    assert before <= now < after
    assert list(issue_times(hours, before, after)) == [after]
