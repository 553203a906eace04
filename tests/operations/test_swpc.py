"""SWPC's own probabilities: what is read of its feed and texts, for which days, and what that says of a window."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from kflare.errors import DataError
from kflare.operations.swpc import SwpcForecast

from .world import rsga

DAY = timedelta(days=1)
NOON = datetime(2025, 10, 18, 3, tzinfo=UTC)


def row(date, **percent):
    days = {"c": (99, 95, 95), "m": (50, 35, 35), "x": (5, 5, 1)} | percent
    return {"date": date} | {f"{name}_class_{n}_day": p for name, of in days.items() for n, p in enumerate(of, 1)}


def test_the_feed_is_for_the_day_that_runs():
    feed = json.dumps([row("2025-10-18T00:00:00"), row("2025-10-17T00:00:00", m=(65, 35, 35))])
    found = SwpcForecast.of_feed(feed, NOON)
    assert found.first == datetime(2025, 10, 18, tzinfo=UTC)
    assert found.percent == {"C": (99, 95, 95), "M": (50, 35, 35), "X": (5, 5, 1)}
    assert SwpcForecast.of_feed(feed, NOON + timedelta(hours=19)).first == datetime(2025, 10, 19, tzinfo=UTC)
    with pytest.raises(DataError, match="is of 2025-10-18, and says nothing of 2025-10-21"):
        SwpcForecast.of_feed(feed, NOON + 3 * DAY)
    for wrong in ("", "{}", "[]", "[1]", json.dumps([{"date": 3}]), json.dumps([row("2025-10-18", m=(1, "a", 2))])):
        with pytest.raises(DataError, match="is no list of SWPC's probabilities"):
            SwpcForecast.of_feed(wrong, NOON)
    with pytest.raises(DataError, match=r"class M must lie in 0..100 %, got \(150.0"):
        SwpcForecast.of_feed(json.dumps([row("2025-10-18", m=(150, 1, 2))]), NOON)


def test_texts_of_the_past(tmp_path):
    first = datetime(2024, 12, 22, tzinfo=UTC)
    (tmp_path / "20241221RSGA.txt").write_text(rsga(first - DAY, first, "60/60/40", "10/10/10"))
    (tmp_path / "20241222RSGA.txt").write_text(rsga(first, first + DAY, "55/55/55", "05/05/05").upper())
    daypre = (
        ":Product: 3-Day Solar-Geomagnetic Predictions\n:Issued: 2024 Dec 23 2200 UTC\n"
        ":Prediction_dates:   2024 Dec 24   2024 Dec 25   2024 Dec 26\n:Whole_Disk_Flare_Prob:\n"
        "Class_M                  30            30            25\n"
        "Class_X                   1             1             1\n"
    )
    (tmp_path / "20241223daypre.txt").write_text(daypre)
    found = SwpcForecast.of_texts(tmp_path, first + timedelta(hours=15))
    assert (found.first, found.percent) == (first, {"M": (60, 60, 40), "X": (10, 10, 10)})
    assert SwpcForecast.of_texts(tmp_path, first + timedelta(hours=22)).percent["M"] == (55, 55, 55)
    assert SwpcForecast.of_texts(tmp_path, first + timedelta(days=2, hours=3)).percent["M"] == (30, 30, 25)
    for hours in (-3, 100):
        with pytest.raises(DataError, match="has no forecast of SWPC issued in the day before"):
            SwpcForecast.of_texts(tmp_path, first + timedelta(hours=hours))
    (tmp_path / "other.txt").write_text(rsga(first, first + 3 * DAY, "1/1/1", "1/1/1"))
    with pytest.raises(DataError, match=r"was issued 2024-12-22T22:00Z, but its first day is the 25\."):
        SwpcForecast.of_texts(tmp_path, first)
    (tmp_path / "other.txt").write_text("nothing")
    with pytest.raises(DataError, match="is no forecast of SWPC: it must have :Issued:"):
        SwpcForecast.of_texts(tmp_path, first)


def test_a_window_takes_part_of_two_days():
    found = SwpcForecast(datetime(2025, 10, 18, tzinfo=UTC), {"M": (50, 20, 20), "X": (0, 0, 0)})
    day = found.of_window(found.first, found.first + DAY)
    assert day["M"].calibrated == pytest.approx(0.5)
    assert day["M"].network is None
    assert 0 < day["X"].calibrated <= 1e-6  # nothing is ever certain
    # A quarter of the first day and three of the second: no flare with 0.5^(1/4) 0.8^(3/4).
    later = found.of_window(found.first + timedelta(hours=18), found.first + timedelta(hours=42))
    assert later["M"].calibrated == pytest.approx(1 - 0.5**0.25 * 0.8**0.75)
    assert found.of_window(found.first + 2.5 * DAY, found.first + 3.5 * DAY) == {}
    assert found.of_window(found.first - 0.5 * DAY, found.first + 0.5 * DAY) == {}
