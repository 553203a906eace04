"""Flares with all their versions, and forecasts joined with what happened."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.archives.near_real_time_data import FEED_REACH, NrtRecord, NrtResult
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList, class_to_flux
from kflare.flares.labels import disk_flux, reaches, region_flux, windows_told
from kflare.flares.repairing import read_flares
from kflare.operations.forecast import Forecast, Probability, RegionForecast
from kflare.operations.inputs import FLARE_LAG, CycleInputs, record_feed_flares
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import forecast_outcomes
from kflare.operations.settings import ForecastSettings
from kflare.sun.disk import FULL_DISK

START = datetime(2026, 11, 20, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def flare_list(*flares: tuple[datetime, str, int | None]) -> FlareList:
    table = pd.DataFrame(
        {
            "start": [start for start, _, _ in flares],
            "peak": [start + HOUR / 6 for start, _, _ in flares],
            "end": [start + HOUR / 3 for start, _, _ in flares],
            "goes_class": [goes_class for _, goes_class, _ in flares],
            "flux": [class_to_flux(goes_class) for _, goes_class, _ in flares],
            "noaa": pd.array([noaa for _, _, noaa in flares], dtype="Int64"),
            "lon": np.nan,
            "lat": np.nan,
        }
    )
    for name in ("start", "peak", "end"):
        table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    return FlareList(table, "test", {})


def tell(ledger: Ledger, flares: FlareList, issue: datetime, folder: Path) -> None:
    """A cycle at which SWPC's feed lists what there is of the week before."""
    path = folder / f"{issue:%d%H}.csv"
    flares.between(issue - FEED_REACH, issue).write_csv(path)
    found = NrtResult("goes_flares", "", issue, (NrtRecord(issue, {"": path}),))
    inputs = CycleInputs((), found, NrtResult("goes_events", "", issue), None, {}, None, None)
    record_feed_flares(inputs, ForecastSettings(), ledger, now=issue)


def test_the_first_flare_after_a_quiet_week_leaves_no_hole(tmp_path: Path) -> None:
    """It left the hours before it uncovered for ever: of four forecasts the outcome was never known."""
    first = START + 8 * DAY + 5 * HOUR
    flares = flare_list((START - 3 * DAY, "C2.0", None), (START - 2 * DAY, "C3.0", None), (first, "C1.0", None))
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        for cycle in range(40):
            tell(ledger, flares, START + cycle * 6 * HOUR, tmp_path)
        known = ledger.flares(START - 7 * DAY, START + 10 * DAY)
    assert len(known.table) == 3
    assert known.covered == ((START - 3 * DAY, START + 39 * 6 * HOUR - FLARE_LAG),)


def test_a_feed_that_lost_its_past_tells_of_what_it_has(tmp_path: Path) -> None:
    flares = flare_list((START, "C2.0", None), (START + DAY, "C3.0", None), (START + 3 * DAY, "C1.0", None))
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        tell(ledger, flares, START + 2 * DAY, tmp_path)
        tell(ledger, flares.between(START + 2 * DAY, START + 5 * DAY), START + 4 * DAY, tmp_path)
        known = ledger.flares(START - 7 * DAY, START + 10 * DAY)
    assert len(known.table) == 3
    assert known.covered == (
        (START, START + 2 * DAY - FLARE_LAG), (START + 3 * DAY, START + 4 * DAY - FLARE_LAG)
    )  # fmt: skip


def forecast(issue: datetime, regions: tuple[tuple[str, tuple[int, ...]], ...]) -> Forecast:
    p = {"C": Probability(0.7, 0.4), "M": Probability(None, 0.02)}
    return Forecast(
        cycle_id=f"{issue:%d%H}",
        issue=issue,
        data_time=issue - HOUR,
        window_start=issue,
        window_end=issue + DAY,
        next_issue=issue + 6 * HOUR,
        rung="all features",
        rung_reason="",
        regions=tuple(
            RegionForecast(n, name, noaa, (), 0.0, 0.0, None, "forecast", p)
            for n, (name, noaa) in enumerate(regions, 1)
        ),
        full_disk=p,
        cnn={"M": Probability(0.1, 0.01)},
    )


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with Ledger(database_url) as opened:
        yield opened


def observed(table: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    return {(row.region, row.method, row.threshold): row.observed for row in table.itertuples()}


def test_every_version_of_a_flare_is_kept(ledger: Ledger) -> None:
    span = {"since": START, "until": START + DAY}
    strong, weak, small = (
        (START + (n + 1) * HOUR, *rest) for n, rest in enumerate([("C9.9", 12740), ("C1.0", None), ("B5.0", None)])
    )
    first = flare_list(strong, weak, small)
    counts = ledger.record_flares(first, **span, source="a", recorded=START + DAY)
    assert counts == {"new": 3, "changed": 0, "withdrawn": 0}
    # The same list again says nothing new.
    again = ledger.record_flares(first, **span, source="a", recorded=START + 2 * DAY)
    assert again == {"new": 0, "changed": 0, "withdrawn": 0}
    # Paper 2, section 4.2: a flare of C9.9 became M1.0. Another one is withdrawn.
    corrected = flare_list((START + HOUR, "M1.0", 12740), small)
    third = ledger.record_flares(corrected, **span, source="b", recorded=START + 3 * DAY)
    assert third == {"new": 0, "changed": 1, "withdrawn": 1}
    now = ledger.flares(START, START + DAY)
    assert list(now.table["goes_class"]) == ["M1.0", "B5.0"]
    assert list(now.table["revision"]) == [2, 1]
    then = ledger.flares(START, START + DAY, as_of=START + 2 * DAY)
    assert list(then.table["goes_class"]) == ["C9.9", "C1.0", "B5.0"]
    # A flare that comes back gets a version of its own too.
    assert ledger.record_flares(first, **span, source="c", recorded=START + 4 * DAY)["changed"] == 2
    assert list(ledger.flares(START, START + DAY).table["revision"]) == [3, 3, 1]


def test_flares_of_the_same_minute_stay_apart(ledger: Ledger) -> None:
    both = flare_list((START + HOUR, "C2.0", 13002), (START + HOUR, "M2.0", 13001))
    span = {"since": START, "until": START + DAY, "source": "a"}
    assert ledger.record_flares(both, **span)["new"] == 2
    assert ledger.record_flares(both, **span) == {"new": 0, "changed": 0, "withdrawn": 0}
    assert sorted(ledger.flares(START, START + DAY).table["noaa"]) == [13001, 13002]


def test_coverage_is_merged(ledger: Ledger) -> None:
    none = flare_list()
    for since, until in ((0, 24), (20, 48), (72, 96)):
        ledger.record_flares(none, since=START + since * HOUR, until=START + until * HOUR, source="a")
    covered = ledger.flares(START, START + 4 * DAY)
    begin = pd.Series(pd.DatetimeIndex([START - HOUR, START, START + HOUR, START + DAY, START + 3 * DAY]))
    end = pd.Series(pd.DatetimeIndex([START, START + 2 * DAY, START + 2 * DAY, START + 3 * DAY, START + 4 * DAY]))
    assert list(windows_told(begin, end, covered.covered)) == [False, True, True, False, True]
    assert not windows_told(begin, end, ledger.flares(START + 9 * DAY, START + 10 * DAY).covered).any()
    with pytest.raises(DataError, match="`since` must come before `until`"):
        ledger.record_flares(none, since=START, until=START, source="a")


def test_outcomes_wait_for_the_flare_list(ledger: Ledger) -> None:
    ledger.record(forecast(START, (("r1", (13001,)),)))
    assert forecast_outcomes(ledger, START, START + DAY)["observed"].isna().all()
    ledger.record_flares(flare_list((START + HOUR, "M1.0", 13001)), since=START, until=START + DAY - HOUR, source="a")
    assert forecast_outcomes(ledger, START, START + DAY)["observed"].isna().all()
    ledger.record_flares(flare_list((START + HOUR, "M1.0", 13001)), since=START, until=START + DAY, source="a")
    table = forecast_outcomes(ledger, START, START + DAY)
    # Two thresholds for the region, two for the disk, one for the CNN, all with an M1.0 in the window.
    assert len(table) == 5
    assert (table["observed"] == 1).all()
    assert set(table["probability"]) == {0.7, 0.02, 0.1}


def test_windows_are_closed_at_their_start_and_open_at_their_end(ledger: Ledger) -> None:
    ledger.record(forecast(START, ()))
    at_the_end = flare_list((START - HOUR, "X1.0", None), (START + DAY, "X1.0", None))
    ledger.record_flares(at_the_end, since=START - DAY, until=START + 2 * DAY, source="a")
    assert (forecast_outcomes(ledger, START, START + DAY)["observed"] == 0).all()
    at_the_start = flare_list((START, "C1.0", None))
    ledger.record_flares(at_the_start, since=START, until=START + DAY, source="a")
    seen = observed(forecast_outcomes(ledger, START, START + DAY))
    assert seen[FULL_DISK, "kflare", "C"] == 1
    assert seen[FULL_DISK, "kflare", "M"] == 0


def test_regions_and_their_numbers(ledger: Ledger) -> None:
    # NOAA numbers a region only six hours later; another never gets one; a third has a number and stays quiet.
    ledger.record(forecast(START, (("new", ()), ("unnumbered", ()), ("quiet", (13003,)))))
    ledger.record(forecast(START + 6 * HOUR, (("new", (13001,)),)))
    flares = flare_list((START + HOUR, "M1.0", 13001), (START + 2 * HOUR, "C5.0", None))
    ledger.record_flares(flares, since=START, until=START + 3 * DAY, source="a")
    seen = observed(forecast_outcomes(ledger, START, START + HOUR))
    assert seen["new", "kflare", "M"] == 1
    # The C5.0 of no region could be that of the region without a number.
    assert np.isnan(seen["unnumbered", "kflare", "C"])
    assert seen["unnumbered", "kflare", "M"] == 0
    assert seen["quiet", "kflare", "C"] == 0
    # Flares of no region count for the disk (paper 2, section 3.2).
    assert seen[FULL_DISK, "kflare", "C"] == 1


def test_a_list_without_region_numbers_is_not_no_flares(ledger: Ledger) -> None:
    """What SWPC's feed of X-ray flares alone tells: how strong, not where."""
    ledger.record(forecast(START, (("quiet", (13003,)),)))
    nameless = [(START + n * HOUR, goes_class, None) for n, goes_class in enumerate(["C2.0", "C3.0", "C4.0", "C5.0"])]
    ledger.record_flares(flare_list(*nameless), since=START, until=START + 3 * DAY, source="a")
    seen = observed(forecast_outcomes(ledger, START, START + HOUR))
    assert np.isnan(seen["quiet", "kflare", "C"])
    assert seen["quiet", "kflare", "M"] == 0  # there was none
    assert (seen[FULL_DISK, "kflare", "C"], seen[FULL_DISK, "kflare", "M"]) == (1, 0)
    # Of half of them a later list names the region: now the others are of no region, as NOAA's lists have them.
    named = [(*flare[:2], 13001 if n % 2 else None) for n, flare in enumerate(nameless)]
    ledger.record_flares(flare_list(*named), since=START, until=START + 3 * DAY, source="b")
    assert observed(forecast_outcomes(ledger, START, START + HOUR))["quiet", "kflare", "C"] == 0
    # And one that names none again does not take the names back.
    again = ledger.record_flares(flare_list(*nameless), since=START, until=START + 3 * DAY, source="a")
    assert again == {"new": 0, "changed": 0, "withdrawn": 0}
    assert observed(forecast_outcomes(ledger, START, START + HOUR))["quiet", "kflare", "C"] == 0


def test_a_flare_on_the_edge_of_a_class_has_one_outcome_and_label(ledger: Ledger) -> None:
    ledger.record(forecast(START, (("r1", (13001,)),)))
    # M1.0 but for the last of six digits.
    flares = flare_list((START + HOUR, "C9.99999", 13001))
    ledger.record_flares(flares, since=START, until=START + DAY, source="a")
    assert reaches(disk_flux(pd.Series([pd.Timestamp(START)]), flares), "M").all()
    assert (forecast_outcomes(ledger, START, START + DAY)["observed"] == 1).all()


def test_the_outcome_of_every_forecast_of_a_month_is_its_training_label(ledger: Ledger, real_data: Path) -> None:
    flares = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv")
    first, last = datetime(2015, 3, 1, tzinfo=UTC), datetime(2015, 4, 1, tzinfo=UTC)
    month = flares.between(first - DAY, last + DAY).table
    numbers = sorted(int(number) for number in month["noaa"].dropna().unique())
    ledger.record_flares(flares, since=first, until=last + DAY, source="SWPC")
    issues = pd.date_range(first, last, freq="6h", inclusive="left")
    for issue in issues:
        ledger.record(forecast(issue.to_pydatetime(), tuple((f"AR {number}", (number,)) for number in numbers)))
    table = forecast_outcomes(ledger, first, last)
    rows = table.drop_duplicates(["time", "region"])[["time", "region"]].reset_index(drop=True)
    own = month.dropna(subset="noaa").assign(region=lambda of: "AR " + of["noaa"].astype(str))
    whole = disk_flux(rows["time"], flares)
    rows["flux"] = np.where(rows["region"] == FULL_DISK, whole, region_flux(rows, own))
    table = table.merge(rows, on=["time", "region"])
    for letter in "CM":
        here = table[table["threshold"] == letter]
        assert len(here) >= len(issues) * (len(numbers) + 1)
        assert 0 < here["observed"].mean() < 1
        np.testing.assert_array_equal(here["observed"], reaches(here["flux"], letter))


def test_a_reclassified_flare_changes_the_score_and_not_the_record(ledger: Ledger) -> None:
    ledger.record(forecast(START, (("r1", (12740,)),)))
    span = {"since": START, "until": START + DAY, "source": "a"}
    ledger.record_flares(flare_list((START + HOUR, "C9.9", 12740)), **span, recorded=START + DAY)
    ledger.record_flares(flare_list((START + HOUR, "M1.0", 12740)), **span, recorded=START + 5 * DAY)
    assert observed(forecast_outcomes(ledger, START, START + DAY))["r1", "kflare", "M"] == 1
    assert observed(forecast_outcomes(ledger, START, START + DAY, as_of=START + 2 * DAY))["r1", "kflare", "M"] == 0


def test_an_empty_ledger_has_no_outcomes(ledger: Ledger) -> None:
    assert forecast_outcomes(ledger, START, START + DAY).empty


def test_flares_of_before_goes_16_are_on_todays_scale_whenever_they_were_recorded(ledger: Ledger) -> None:
    old = datetime(2014, 1, 1, tzinfo=UTC)
    span = {"since": old, "until": old + DAY, "source": "a list"}
    listed = replace(flare_list((old, "C7.0", 11900), (old + HOUR, "M1.0", None)), scale="operational")
    assert ledger.record_flares(listed, **span)["new"] == 2
    assert list(ledger.flares(old, old + DAY).table["goes_class"]) == ["M1.0", "M1.4"]
    assert list(ledger.flares(old, old + DAY).table["flux"]) == [1e-5, 1.4e-5]
    assert ledger.record_flares(listed.as_irradiance(), **span) == {"new": 0, "changed": 0, "withdrawn": 0}
    # From GOES-16 on both scales are one.
    now = {"since": START, "until": START + DAY, "source": "a list"}
    ledger.record_flares(replace(flare_list((START, "C7.0", None)), scale="operational"), **now)
    assert list(ledger.flares(START, START + DAY).table["goes_class"]) == ["C7.0"]
