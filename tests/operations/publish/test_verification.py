"""The verification page's content, and how the site words numbers and verdicts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from kflare.operations.forecast import Forecast, Outage, Probability
from kflare.operations.publish.pages import PastCycle, WindowOutcome, age_text, span_text, time_text, verdict
from kflare.operations.publish.verification import verification_sections

Make = Callable[..., Forecast]


def test_counts_are_of_the_forecasts_whose_outcome_is_known(past: tuple[PastCycle, ...]) -> None:
    head, *diagrams = verification_sections(past)
    rows = {row[:2]: dict(zip(head.head, row, strict=True)) for row in head.rows}
    for name in ("C", "M"):
        known = [one for one in past if one.outcome is not None]
        row = rows[f"≥ {name}1.0", "regions combined"]
        verdicts = [verdict(one, name) for one in known]
        assert row["Forecasts"] == str(len(known)) == "22"
        assert row["Hits"] == str(verdicts.count("hit"))
        assert row["False alarms"] == str(verdicts.count("false alarm"))
        assert row["Misses"] == str(verdicts.count("miss"))
        assert row["Correct nulls"] == str(verdicts.count("correct null"))
    assert len(rows) == 4
    assert [figure.name for section in diagrams for figure in section.figures][:4] == [
        "largest-class",
        "series-c",
        "roc-c",
        "reliability-c",
    ]
    assert all(figure.alt for section in diagrams for figure in section.figures)


def test_the_largest_class_is_counted_once_for_each_forecast(past: tuple[PastCycle, ...]) -> None:
    section = verification_sections(past)[1]
    assert (section.title, section.head) == ("Largest class", ("Forecast", "below C", "C", "M"))
    known = [one for one in past if one.outcome is not None]
    counts = {
        (row[0], head): int(cell) for row in section.rows for head, cell in zip(section.head[1:], row[1:], strict=True)
    }
    assert sum(counts.values()) == len(known)
    assert counts["M", "M"] == [verdict(one, "M") for one in known].count("hit")
    assert sum(counts[row, "M"] for row in ("below C", "C")) == [verdict(one, "M") for one in known].count("miss")
    assert "Gerrity " in section.text


def test_few_forecasts_give_no_diagram_and_none_give_no_section(past: tuple[PastCycle, ...]) -> None:
    known = [one for one in past if one.outcome is not None][:3]
    titles = [section.title for section in verification_sections(known)]
    assert titles == ["Contingency tables and scores", "Largest class", "Diagrams"]
    assert verification_sections([one for one in past if one.outcome is None]) == ()


def test_a_forecast_without_calibration_is_scored_as_yes_or_no(make_forecast: Make) -> None:
    entry = PastCycle(make_forecast(full_disk={"M": Probability(0.6)}, cnn={}), WindowOutcome({"M": True}))
    (row,) = verification_sections([entry])[0].rows
    assert row[2:6] == ("1", "1", "1", "0")
    assert row[-1] == "–"


@pytest.mark.parametrize(
    ("p", "observed", "expected"),
    [(0.5, True, "hit"), (0.5, False, "false alarm"), (0.49, True, "miss"), (0.49, False, "correct null")],
)
def test_verdicts(make_forecast: Make, p: float, observed: bool, expected: str) -> None:
    forecast = make_forecast(full_disk={"M": Probability(p)})
    assert verdict(PastCycle(forecast, WindowOutcome({"M": observed})), "M") == expected
    assert verdict(PastCycle(forecast), "M") == "open"
    assert verdict(PastCycle(forecast, WindowOutcome({"C": observed})), "M") == "open"
    assert verdict(PastCycle(forecast, WindowOutcome({"C": observed})), "C") == "none"
    assert verdict(PastCycle(Outage("x", forecast.issue, "no data")), "M") == "none"


def test_times_and_ages() -> None:
    time = datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert time_text(time) == "2026-01-01 03:00 UTC"
    assert time_text(None) == age_text(None) == "–"
    assert span_text(time, time + timedelta(days=1)) == "2026-01-01 03:00 to 2026-01-02 03:00 UTC"
    ages = (timedelta(hours=1), timedelta(minutes=72), timedelta(0), timedelta(minutes=-5))
    assert [age_text(age) for age in ages] == ["1 h", "1 h 12 min", "0 min", "−5 min"]
