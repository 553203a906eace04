"""The forecast object: exact round trip, what it refuses, marks and classes at their boundaries."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError
from kflare.operations.forecast import (
    CLIMATOLOGY,
    Forecast,
    InputRecord,
    MarkBounds,
    Outage,
    Probability,
    RegionForecast,
    forecast_class,
    risk_mark,
)
from kflare.operations.records import utc_text
from kflare.serving import full_disk_probability

TIME = datetime(2026, 1, 1, 3, tzinfo=UTC)
Make = Callable[..., Forecast]


def region(number: int = 1, **changes: object) -> RegionForecast:
    return replace(
        RegionForecast(number, f"HARP {number}", (), (), 0.0, 0.0, None, probability={"M": Probability(0.5, 0.02)}),
        **changes,
    )


def test_a_forecast_goes_through_json_unchanged(make_forecast: Make) -> None:
    forecast = make_forecast(data_time=datetime(2014, 1, 8, 2, 0, 0, 123456, tzinfo=UTC), remarks=("ü ≥ \u2028",))
    assert Forecast.from_json(json.loads(json.dumps(forecast.as_json()))) == forecast


def test_an_outage_goes_through_json_unchanged() -> None:
    missing = InputRecord("HMI magnetogram", "", None, None, None, "no answer", "missing")
    outage = Outage("20260101T0300Z", TIME, "no data", (missing,), TIME + timedelta(hours=6), "1.0")
    assert Outage.from_json(json.loads(json.dumps(outage.as_json()))) == outage


probabilities = st.floats(0, 1, exclude_min=True)


@given(network=st.none() | probabilities, calibrated=probabilities)
def test_probabilities_go_through_json_to_the_last_bit(network: float | None, calibrated: float) -> None:
    known = {"C": Probability(network, calibrated, calibrated / 2 or calibrated, calibrated)}
    one = replace(region(), probability=known)
    forecast = Forecast("x", TIME, None, TIME, TIME + timedelta(days=1), TIME + timedelta(hours=6), CLIMATOLOGY, "",
                        (one,), known)  # fmt: skip
    assert Forecast.from_json(json.loads(json.dumps(forecast.as_json()))) == forecast


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, float("nan"), float("inf")])
def test_a_probability_outside_the_open_zero_is_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"must lie in \(0, 1\]"):
        Probability(value)
    with pytest.raises(DataError, match="`calibrated`"):
        Probability(0.5, value)


def test_an_underflow_becomes_the_smallest_probability_and_nothing_else_does() -> None:
    assert Probability.of(0.0, 0.0) == Probability(1e-6, 1e-6)
    assert Probability.of(0.25, None) == Probability(0.25, None)
    with pytest.raises(DataError):
        Probability.of(float("nan"))
    with pytest.raises(DataError, match="neither"):
        Probability.of(None, None)


def test_an_interval_has_two_ends_around_the_calibrated_probability() -> None:
    whole = Probability(0.5, 0.12, 0.071, 0.188)
    assert whole.frequency == "12 % (7–19)"
    assert Probability.of(0.5, 0.12, 0.0, 0.2).calibrated_lower == 1e-6
    for ends in ((0.2, 0.3), (0.01, 0.1), (None, 0.2), (0.1, None)):
        with pytest.raises(DataError, match="the interval of a calibrated probability must lie around it"):
            Probability(0.5, 0.12, *ends)
    with pytest.raises(DataError, match=r"must lie around it, got 0\.1, None, 0\.2"):
        Probability(0.5, None, 0.1, 0.2)
    with pytest.raises(DataError, match="`calibrated_upper` probability must lie in"):
        Probability(0.5, 0.12, 0.1, 1.2)


def test_a_forecast_recorded_before_there_were_intervals_and_marks_of_an_office_is_read(make_forecast: Make) -> None:
    before = make_forecast(full_disk={"M": Probability(0.5, 0.12)})
    plain = before.as_json()
    del plain["full_disk"]["M"]["calibrated_lower"], plain["full_disk"]["M"]["calibrated_upper"]
    del plain["bounds"]["calibrated_danger"], plain["bounds"]["calibrated_warning"]
    assert Forecast.from_json(plain) == before


# Nishizuka et al. 2021, section 3.1: "Danger flares" >= 80 %, "Warning" >= 50 %, "Quiet" < 50 %.
@pytest.mark.parametrize(
    ("p", "mark"), [(0.80, "Danger flares"), (0.7999, "Warning"), (0.50, "Warning"), (0.4999, "Quiet"), (1e-6, "Quiet")]
)
def test_marks_begin_at_their_boundaries(p: float, mark: str) -> None:
    assert risk_mark(p) == mark


def test_eighty_percent_from_regions_is_eighty_percent() -> None:
    # 1 - 0.5 * 0.4 = 0.8, which the product of binary numbers misses by a unit of the last place.
    for first, second in ((0.5, 0.6), (0.2, 0.75)):
        assert risk_mark(full_disk_probability([first, second])) == "Danger flares"


def test_the_boundaries_of_marks_are_settings(make_forecast: Make) -> None:
    low = MarkBounds(danger=0.3, warning=0.1)
    assert make_forecast(full_disk={"M": Probability(0.3)}, bounds=low).mark == "Danger flares"
    assert make_forecast(full_disk={"M": Probability(0.3)}).mark == "Quiet"
    assert make_forecast(full_disk={"C": Probability(0.9)}).mark is None
    # An X flare that is forecast, by statistics too, is the highest mark, whatever is said of M.
    assert make_forecast(full_disk={"M": Probability(0.3), "X": Probability(None, 0.5)}).mark == "Danger flares"
    assert make_forecast(full_disk={"M": Probability(0.3), "X": Probability(None, 0.4)}).mark == "Quiet"
    # On the days that the paper marks "Danger flares" a flare of class M follows on few: an office marks by frequency.
    office = MarkBounds(calibrated_danger=0.5, calibrated_warning=0.2)
    for frequency, mark in ((0.5, "Danger flares"), (0.27, "Warning"), (0.199, "Quiet")):
        forecast = make_forecast(full_disk={"M": Probability(0.92, frequency)}, bounds=office)
        assert (forecast.mark, forecast.score_mark) == (mark, "Danger flares")
    by_statistics = make_forecast(full_disk={"M": Probability(None, 0.27)}, bounds=office)
    assert (by_statistics.mark, by_statistics.score_mark) == ("Warning", None)
    assert make_forecast(full_disk={"M": Probability(0.92)}, bounds=office).mark == "Danger flares"
    for odd in ((0.2, 0.5), (0.5, None), (None, 0.2), (1.5, 0.2)):
        with pytest.raises(DataError, match="`marks` must keep 0 < calibrated_warning <= calibrated_danger <= 1"):
            MarkBounds(calibrated_danger=odd[0], calibrated_warning=odd[1])
    with pytest.raises(DataError, match="got warning 0"):
        MarkBounds(danger=0.5, warning=0.6)


@pytest.mark.parametrize(
    ("c", "m", "expected"),
    [(0.9, 0.5, "M"), (0.2, 0.7, "M"), (0.5, 0.49, "C"), (0.49, 0.1, "below C"), (0.9, None, "C")],
)
def test_the_forecast_class_is_the_highest_that_is_said_yes_to(c: float, m: float | None, expected: str) -> None:
    both = {"C": Probability(c)} | ({} if m is None else {"M": Probability(m)})
    assert forecast_class(both) == expected
    assert forecast_class(both | {"X": Probability(None, 0.49)}) == expected
    assert forecast_class(both | {"X": Probability(None, 0.5)}) == "X"


def test_nothing_forecast_is_no_class() -> None:
    assert forecast_class({}) is None


def test_statistics_decide_on_the_calibrated_probability() -> None:
    assert Probability(None, 0.3).deciding == 0.3
    assert Probability(0.6, 0.3).deciding == 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "maybe"}, "must be one of forecast, limb"),
        ({"status": "limb"}, "if and only if"),
        ({"probability": {}}, "if and only if"),
        ({"probability": {"B": Probability(0.1)}}, "must be of classes C, M, X, got 'B'"),
        ({"lat": 91.0}, "-90 to 90"),
        ({"lon": float("nan")}, "-180 to 180"),
        ({"box": (0.2, 0.1, 0.1, 0.3)}, "`box`"),
    ],
)
def test_an_impossible_region_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        region(**changes)


def test_places_are_written_as_forecasters_do() -> None:
    assert region(lon=-6.4, lat=15.2).location == "N15E06"
    assert region(lon=72.6, lat=-8.0).location == "S08W73"
    # Half a degree towards the east is still the central meridian, and the equator is north, by convention.
    assert region(lon=-0.4, lat=-0.4).location == "N00W00"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issue": datetime(2026, 1, 1)}, "`issue` of Forecast must be an aware time in UTC"),  # noqa: DTZ001
        ({"data_time": datetime(2014, 1, 8, tzinfo=timezone(timedelta(hours=9)))}, "`data_time`"),
        ({"rung": "luck"}, "`rung`"),
        ({"full_disk": {}}, "record an `Outage`"),
        ({"window_end": datetime(2014, 1, 1, tzinfo=UTC)}, "`window_end` must come after"),
        ({"next_issue": datetime(2014, 1, 8, 3, tzinfo=UTC)}, "`next_issue` must come after"),
        ({"regions": (region(1), region(1))}, "different `number`s"),
    ],
)
def test_an_impossible_forecast_is_refused(make_forecast: Make, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_forecast(**changes)


def test_an_outage_must_say_why() -> None:
    with pytest.raises(DataError, match="`reason`"):
        Outage("x", TIME, "")


def test_no_sunspot_needs_an_image_of_the_disk(make_forecast: Make) -> None:
    bare = {"C": Probability(0.01, 0.01), "M": Probability(0.01, 0.01)}
    assert make_forecast(regions=(), full_disk=bare).no_sunspot
    assert not make_forecast(regions=(), full_disk=bare, data_time=None).no_sunspot
    assert not make_forecast().no_sunspot
    assert make_forecast(data_time=None).data_age is None
    assert make_forecast().data_age == timedelta(hours=1)


@pytest.mark.parametrize(
    "damage",
    [
        {"issue": None},
        {"issue": "2014-01-08"},
        {"regions": None},
        {"models": [{"nome": 1}]},
        {"full_disk": {"M": {"network": 0}}},
        {"inputs": [1]},
        {"surprise": 1},
    ],
)
def test_damaged_json_is_refused(make_forecast: Make, damage: dict) -> None:
    with pytest.raises(DataError):
        Forecast.from_json(make_forecast().as_json() | damage)
    with pytest.raises(DataError):
        Outage.from_json(make_forecast().as_json())


def test_numbers_that_json_does_not_know_are_refused(make_forecast: Make) -> None:
    with pytest.raises(DataError, match="`age_hours` of InputRecord must be a finite number, got nan"):
        InputRecord("x", "", None, float("nan"), None, "", "missing")
    with pytest.raises(DataError, match="must lie at `lon`"):
        replace(make_forecast().regions[0], lon=float("inf"))


def test_an_input_has_a_known_status() -> None:
    with pytest.raises(DataError, match="ok, degraded, stale, missing"):
        InputRecord("x", "", None, None, None, "", "fine")


def test_times_are_written_in_utc_with_z() -> None:
    assert utc_text(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))) == "2026-01-01T03:00:00Z"
