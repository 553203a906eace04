"""The verification page's content, and how the site words numbers and verdicts."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kflare.models.publish import METADATA
from kflare.operations.forecast import Forecast, MarkBounds, Outage, Probability
from kflare.operations.publish.pages import PastCycle, SiteData, WindowOutcome, age_text, span_text, time_text, verdict
from kflare.operations.publish.site import write_site
from kflare.operations.publish.verification import record_sections, verification_sections, what_followed

from .conftest import outcomes_of

Make = Callable[..., Forecast]


def by_score(past: PastCycle, name: str) -> str:
    """The verdict by the paper's rule: `verdict` where the score stood in the place of the probability."""
    assert isinstance(past.forecast, Forecast)
    score = past.forecast.full_disk[name].network
    return verdict(replace(past, forecast=replace(past.forecast, full_disk={name: Probability(score, score)})), name)


def test_counts_are_of_the_forecasts_whose_outcome_is_known(past: tuple[PastCycle, ...]) -> None:
    head, *diagrams = verification_sections(outcomes_of(past))
    rows = {row[:2]: dict(zip(head.head, row, strict=True)) for row in head.rows}
    for name in ("C", "M"):
        known = [one for one in past if one.outcome is not None]
        for method, verdicts in (
            ("regions combined", [by_score(one, name) for one in known]),
            ("regions combined, likelier than not", [verdict(one, name) for one in known]),  # as on the last days
        ):
            row = rows[f"≥ {name}1.0", method]
            assert row["Forecasts"] == str(len(known)) == "22"
            assert row["Hits"] == str(verdicts.count("hit"))
            assert row["False alarms"] == str(verdicts.count("false alarm"))
            assert row["Misses"] == str(verdicts.count("miss"))
            assert row["Correct nulls"] == str(verdicts.count("correct null"))
    assert len(rows) == 6
    assert [figure.name for section in diagrams for figure in section.figures][:4] == [
        "largest-class",
        "series-c",
        "roc-c",
        "reliability-c",
    ]
    assert all(figure.alt for section in diagrams for figure in section.figures)


def test_the_largest_class_is_counted_once_for_each_forecast(past: tuple[PastCycle, ...]) -> None:
    section = verification_sections(outcomes_of(past))[1]
    assert (section.title, section.head) == ("Largest class", ("Forecast", "below C", "C", "M"))
    known = [one for one in past if one.outcome is not None]
    counts = {
        (row[0], head): int(cell) for row in section.rows for head, cell in zip(section.head[1:], row[1:], strict=True)
    }
    assert sum(counts.values()) == len(known)
    assert counts["M", "M"] == [by_score(one, "M") for one in known].count("hit")
    assert sum(counts[row, "M"] for row in ("below C", "C")) == [by_score(one, "M") for one in known].count("miss")
    assert "Gerrity " in section.text


def test_few_forecasts_give_no_diagram_and_none_give_no_section(past: tuple[PastCycle, ...]) -> None:
    known = [one for one in past if one.outcome is not None][:3]
    titles = [section.title for section in verification_sections(outcomes_of(known))]
    assert titles == ["Contingency tables and scores", "Largest class", "Diagrams"]
    assert verification_sections(outcomes_of(one for one in past if one.outcome is None)) == ()


def test_an_interval_of_no_width_is_no_sign_of_certainty(make_forecast: Make) -> None:
    """The forecasts of one day can only be drawn together: "0.50 [0.50, 0.50]" had stood for four forecasts."""
    issues = [make_forecast().issue + timedelta(hours=6 * n) for n in range(4)]
    day = timedelta(days=1)
    entries = [
        PastCycle(
            make_forecast(issue=one, window_start=one, window_end=one + day, next_issue=one + day, cnn={},
                          full_disk={"X": Probability(None, 0.7 if n < 3 else 0.1)}),
            WindowOutcome({"X": n % 2 == 0}),
        )
        for n, one in enumerate(issues)
    ]  # fmt: skip
    (row,) = verification_sections(outcomes_of(entries))[0].rows
    assert row[:6] == ("≥ X1.0", "statistics", "4", "2", "2", "1")
    assert row[8:10] == ("0.50", "0.33")


def test_a_forecast_without_calibration_is_scored_as_yes_or_no(make_forecast: Make) -> None:
    entry = PastCycle(make_forecast(full_disk={"M": Probability(0.6)}, cnn={}), WindowOutcome({"M": True}))
    (row,) = verification_sections(outcomes_of([entry]))[0].rows
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


def write_record(models: Path, record: object, *, name: str = "defn-m") -> None:
    place = models / name / "3" / METADATA
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"class": f"{name[-1].upper()}+", "full_disk_record": record}), encoding="utf-8")


def counted(days: dict[int, int], events: dict[int, int]) -> dict[str, list[float]]:
    """Days and events at whole percents, which are the score, all of a calibrated 20 %."""
    every = {"days": days, "events": events, "calibrated": {at: 0.2 * count for at, count in days.items()}}
    every["score"] = {at: at / 100 * count for at, count in days.items()}
    return {name: [counts.get(at, 0) for at in range(100)] for name, counts in every.items()}


def test_the_page_says_what_followed_each_mark_before_the_release(make_forecast: Make, tmp_path: Path) -> None:
    by_score = counted({99: 60, 80: 40, 79: 50, 10: 200}, {99: 20, 80: 8, 79: 10, 10: 4})
    by_frequency = counted({70: 10, 20: 90, 5: 250}, {70: 8, 20: 20, 5: 14})
    for name in ("defn-c", "defn-m"):
        write_record(tmp_path, {"about": "Days of 2013.", "score": by_score, "calibrated": by_frequency}, name=name)
    forecast = make_forecast()
    paper = record_sections(forecast, tmp_path, MarkBounds())
    assert [section.title for section in paper] == ["What followed, flares ≥ C1.0", "What followed, flares ≥ M1.0"]
    assert paper[0].rows == ()  # marks are of M
    assert paper[1].text == "Days of 2013."
    assert paper[1].rows == (
        ("Danger flares", "score", "80", "100", "28.0 % (20.1–37.5)", "91.4", "20.0 %"),
        ("Warning", "score", "50", "50", "20.0 % (11.2–33.0)", "79.0", "20.0 %"),
        ("Quiet", "score", "0", "200", "2.0 % (0.8–5.0)", "10.0", "20.0 %"),
    )
    office = MarkBounds(calibrated_danger=0.71, calibrated_warning=0.2)
    assert [row[:5] for row in record_sections(forecast, tmp_path, office)[1].rows[:3]] == [
        ("Danger flares", "calibrated", "71 %", "0", "–"),
        ("Warning", "calibrated", "20 %", "100", "28.0 % (20.1–37.5)"),
        ("Quiet", "calibrated", "0 %", "250", "5.6 % (3.4–9.2)"),
    ]
    site = write_site(SiteData(forecast, record=paper), tmp_path / "site")
    page = re.sub(r"<[^>]*>", " ", (site / "about.html").read_text(encoding="utf-8"))
    assert "Danger flares score 80 100 28.0 % (20.1–37.5) 91.4 20.0 %" in " ".join(page.split())
    assert {path.name for path in (site / "figures").glob("record-*")} == {"record-c.png", "record-m.png"}


def test_a_mean_is_told_to_the_nearest_and_one_that_was_not_kept_is_a_dash() -> None:
    by_score = counted({10: 406}, {10: 44})
    # Was "14 %" beside "10 % (8-15)": rounded down as if a mark began at it, and outside its interval unseen.
    by_score["calibrated"] = [0.14749 * days for days in by_score["days"]]
    del by_score["score"]  # `defn-*` up to version 8
    _, _, quiet = what_followed({"score": by_score}, MarkBounds())
    assert quiet == ("Quiet", "score", "0", "406", "10.8 % (8.2–14.2)", "–", "14.7 %")


@pytest.mark.parametrize("record", [None, {}, {"about": "", "score": 1}, {"about": "", "score": {}, "calibrated": {}}])
def test_models_without_a_record_show_none(make_forecast: Make, tmp_path: Path, record: object) -> None:
    write_record(tmp_path, record)
    assert record_sections(make_forecast(), tmp_path, MarkBounds()) == ()
    assert record_sections(make_forecast(), tmp_path / "nowhere", MarkBounds()) == ()
    assert record_sections(make_forecast(), None, MarkBounds()) == ()
    assert record_sections(Outage("x", make_forecast().issue, "no data"), tmp_path, MarkBounds()) == ()
