"""`latest.json` and its schema."""

import json
from collections.abc import Callable

import pytest
from jsonschema import Draft202012Validator

from kflare.errors import DataError
from kflare.operations.forecast import CLIMATOLOGY, Forecast, InputRecord, MarkBounds, Outage, Probability
from kflare.operations.publish.latest import latest_text, read_latest, schema_text

Make = Callable[..., Forecast]


def check(text: str) -> list[str]:
    validator = Draft202012Validator(json.loads(schema_text()))
    return [error.message for error in validator.iter_errors(json.loads(text))]


@pytest.fixture
def outage(make_forecast: Make) -> Outage:
    missing = InputRecord("HMI magnetogram", "", None, None, None, "no answer", "missing")
    return Outage("x", make_forecast().issue, "no data", (missing,), make_forecast().next_issue)


def test_a_forecast_goes_there_and_back_and_keeps_the_schema(make_forecast: Make) -> None:
    for forecast in (
        make_forecast(),
        make_forecast(regions=(), full_disk={"M": Probability(0.01, 0.01)}, remarks=("</script> ü",)),
        make_forecast(regions=(), data_time=None, rung=CLIMATOLOGY, full_disk={"C": Probability(None, 0.2)}, cnn={}),
    ):
        text = latest_text(forecast)
        assert read_latest(text) == forecast
        assert check(text) == []


def test_an_outage_goes_there_and_back_and_holds_no_probability(outage: Outage) -> None:
    text = latest_text(outage)
    assert read_latest(text) == outage
    assert check(text) == []
    assert "probability" not in text
    assert json.loads(text)["kind"] == "outage"


def test_what_follows_from_the_forecast_stands_beside_it(make_forecast: Make) -> None:
    content = json.loads(
        latest_text(make_forecast(full_disk={"M": Probability(0.8, 0.05), "C": Probability(0.9, 0.5)}))
    )
    assert (content["mark"], content["forecast_class"], content["data_age_hours"]) == ("Danger flares", "M", 1.0)
    assert content["issue"] == "2014-01-08T03:00:00Z"
    assert content["headline"] == {"M": "5.0 %, score 80.0", "C": "50 %, score 90.0"}
    assert list(content).index("headline") < list(content).index("mark")


def test_an_office_marks_by_the_calibrated_probability_and_the_paper_by_the_score(make_forecast: Make) -> None:
    bounds = MarkBounds(calibrated_danger=0.5, calibrated_warning=0.2)
    text = latest_text(make_forecast(full_disk={"M": Probability(0.92, 0.27)}, bounds=bounds))
    content = json.loads(text)
    assert (content["mark"], content["score_mark"]) == ("Warning", "Danger flares")
    assert check(text) == []
    assert read_latest(text).bounds == bounds


def test_the_schema_is_one_and_describes_its_fields() -> None:
    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    region = schema["$defs"]["RegionForecast"]
    assert region["properties"]["lon"]["description"] == "Degrees from the central meridian, west positive."
    assert region["required"] == list(region["properties"])


# The schema itself is held to account: it must see damage.
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("forecast", "full_disk", "M", "network"), 0),
        (("forecast", "full_disk", "M", "network"), 1.5),
        (("forecast", "full_disk", "X"), {"network": 0.1, "calibrated": 0.1}),
        (("forecast", "issue"), "2014-01-08T03:00:00"),
        (("forecast", "regions", 0, "status"), "perhaps"),
        (("forecast", "regions", 0, "box"), [0, 0, 1]),
        (("forecast", "rung"), None),
        (("kind",), "outage"),
        (("mark",), "Panic"),
    ],
)
def test_the_schema_sees_damage(make_forecast: Make, path: tuple, value: object) -> None:
    content = json.loads(latest_text(make_forecast()))
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert check(json.dumps(content)) != []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "kflare-latest/2"}', '{"format": "kflare-latest/1"}'])
def test_what_is_no_latest_json_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        read_latest(text)
