"""`latest.json` and its schema."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from kflare.errors import DataError
from kflare.operations.forecast import CLIMATOLOGY, Forecast, InputRecord, Outage, Probability
from kflare.operations.publish.latest import latest_text, read_latest, schema_text

Make = Callable[..., Forecast]
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """What breaks the schema; knows the keywords that ours uses and fails on any other."""
    known = {"$ref", "type", "required", "properties", "additionalProperties", "items", "enum", "const", "oneOf",
             "anyOf", "pattern", "minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems", "description",
             "$schema", "$id", "$defs", "title"}  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    found = []
    if "$ref" in schema:
        found += faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not (isinstance(value, tuple(TYPES[kind] for kind in kinds)) and not isinstance(value, bool)):
        found.append(f"{at} is no {kinds}")
    if isinstance(value, dict):
        found += [f"{at} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, one in value.items():
            if name in schema.get("properties", {}):
                found += faults(one, schema["properties"][name], root, f"{at}.{name}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{at} must not have {name}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at} has {len(value)} items")
        for index, one in enumerate(value):
            found += faults(one, schema.get("items", {}), root, f"{at}[{index}]")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is none of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{at} is not {schema['const']}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{at} does not match")
    if isinstance(value, (int, float)):
        bounds = schema.get("minimum", value), schema.get("maximum", value)
        if not bounds[0] <= value <= bounds[1] or value <= schema.get("exclusiveMinimum", value - 1):
            found.append(f"{at} is out of range")
    if "anyOf" in schema and all(faults(value, one, root, at) for one in schema["anyOf"]):
        found.append(f"{at} is none of anyOf")
    if "oneOf" in schema and sum(not faults(value, one, root, at) for one in schema["oneOf"]) != 1:
        found.append(f"{at} is not one of oneOf")
    return found


def check(text: str) -> list[str]:
    schema = json.loads(schema_text())
    return faults(json.loads(text), schema, schema)


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
