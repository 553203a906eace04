"""The drawing of the last three days: where the flux, the flares and the windows lie in it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.operations.forecast import Forecast, Outage
from kflare.operations.publish.curve import WIDTH, cycle_xrays, days_between, sun_curve

ISSUE = datetime(2014, 1, 8, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = WIDTH * 3 / 4  # three days before the issue, one after
Make = Callable[..., Forecast]


def feed(folder: Path, flux: dict[datetime, float], satellite: int = 16) -> None:
    records = [
        {"time_tag": f"{time:%Y-%m-%dT%H:%M:%SZ}", "satellite": satellite, "flux": value, "energy": "0.1-0.8nm"}
        for time, value in flux.items()
    ]
    (folder / "goes_xrays_20140108T0300Z.json").write_text(json.dumps(records))


def test_no_flare_is_lost_in_the_maxima_and_a_gap_stays_one(tmp_path: Path) -> None:
    minutes = [ISSUE - HOUR + timedelta(minutes=step) for step in range(60)]
    flux = dict.fromkeys(minutes, 2e-7) | {minutes[13]: 3e-5} | dict.fromkeys(minutes[30:40], 0.0)
    feed(tmp_path, flux | {ISSUE - 4 * DAY: 1e-3})
    found = cycle_xrays(tmp_path, ISSUE)
    assert found is not None
    last = found[found["time"] >= ISSUE - HOUR]
    assert last["flux"].tolist() == pytest.approx([2e-7, 3e-5, 2e-7, np.nan, 2e-7, 2e-7], nan_ok=True)
    assert found["time"].min() >= ISSUE - 3 * DAY
    path = sun_curve(Outage("o", ISSUE, "no data"), (), found, None)["path"]
    assert path.count("M") == 2  # begun anew after the gap


def test_flux_of_older_satellites_is_on_the_scale_of_the_flares(tmp_path: Path) -> None:
    feed(tmp_path, {ISSUE - HOUR: 0.7e-5}, satellite=15)
    found = cycle_xrays(tmp_path, ISSUE)
    assert found is not None
    assert found["flux"].max() == pytest.approx(1e-5)


@pytest.mark.parametrize("content", [None, "[]", "<html>busy</html>"])
def test_without_flux_the_flares_stand_alone(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "goes_xrays_20140108T0300Z.json").write_text(content)
    assert cycle_xrays(tmp_path, ISSUE) is None


def flares(*given: tuple[timedelta, str, float]) -> pd.DataFrame:
    rows = [{"start": ISSUE - ago, "peak": ISSUE - ago, "goes_class": name, "flux": flux} for ago, name, flux in given]
    table = pd.DataFrame(rows)
    for column in ("start", "peak"):
        table[column] = pd.to_datetime(table[column], utc=True)
    return table


def test_everything_lies_at_its_time_and_flux(make_forecast: Make) -> None:
    known = flares((2 * DAY, "M1.0", 1e-5), (2 * DAY - HOUR, "M3.0", 3e-5), (HOUR, "C1.0", 1e-6), (4 * DAY, "X9", 9e-4))
    past = [make_forecast(ISSUE - 6 * step * HOUR) for step in range(20, 0, -1)]
    now = make_forecast()
    curve = sun_curve(now, past, None, known)
    assert curve["now"] == NOW
    # From 1e-7 to above X1: M1 lies half way up.
    assert [(one["goes_class"], one["x"], one["named"]) for one in curve["flares"]] == [
        ("M3.0", NOW * 25 / 72, True), ("M1.0", NOW / 3, False), ("C1.0", round(NOW * 71 / 72, 1), False),
    ]  # fmt: skip
    levels = {one["label"]: one["y"] for one in curve["levels"]}
    assert curve["flares"][1]["y"] == levels["M1"]
    assert curve["flares"][2]["y"] == levels["C1"]
    # Windows of a day, every six hours: four lanes, none of them with two at a time.
    assert curve["lanes"] == 4
    assert len(curve["bars"]) == 4 * 3 + 3 + 1
    assert [one["x"] for one in curve["bars"] if one["forecast"] is now] == [NOW]
    for lane in {one["y"] for one in curve["bars"]}:
        bars = sorted((one["x"], one["x"] + one["width"]) for one in curve["bars"] if one["y"] == lane)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(bars))


def test_of_forecasts_by_the_hour_one_in_six_is_drawn(make_forecast: Make) -> None:
    past = [make_forecast(ISSUE - step * HOUR) for step in range(48, 0, -1)]
    assert sun_curve(make_forecast(), past, None, None)["lanes"] == 4


def test_labels_of_days_do_not_run_out_of_the_chart() -> None:
    days = days_between(ISSUE, ISSUE + 7 * DAY - 2 * HOUR)  # ends an hour after a midnight
    assert [one["label"] for one in days] == [f"{day:02d} Jan" for day in range(9, 16)]
    assert [one["end"] for one in days] == [False] * 6 + [True]
