"""`latest.json`: the newest forecast, or the outage in its place, for programs. The classes give its JSON Schema."""

import ast
import inspect
import json
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from kflare.errors import DataError
from kflare.operations import forecast
from kflare.operations.forecast import MARKS, Cycle, Forecast, Outage, forecast_class
from kflare.operations.records import CHECKED, CheckedRecord, Utc

FORMAT: Final = "kflare-latest/1"
"""Grows when a reader of the old form would read something wrong; new keys alone do not change it."""
SCHEMA_NAME: Final = "latest.schema.json"

_Mark = Annotated[str | None, Field(json_schema_extra={"enum": [*MARKS, None]})]
_Largest = Annotated[str | None, Field(json_schema_extra={"enum": ["X", "M", "C", "below C", None]})]


@dataclass(frozen=True, config=CHECKED)
class LatestForecast(CheckedRecord):
    """The newest forecast."""

    format: Literal["kflare-latest/1"]
    kind: Literal["forecast"]
    issue: Utc
    headline: dict[str, str]
    """The full disk by class, for people: calibrated probability with its 90 % interval, score (50: usual rate)."""
    mark: _Mark
    """Risk mark of the full disk, by `forecast.bounds`: of the calibrated probability of M or above if they have it."""
    score_mark: _Mark
    """The paper's mark, of the network's score; null without one."""
    forecast_class: _Largest
    """Highest class that the networks say yes to for the full disk: a score of 50, the usual rate, or more."""
    likely_class: _Largest
    """Highest class that is likelier than not for the full disk, by its calibrated probability."""
    data_age_hours: float | None
    """Age of the observation at the time of issue."""
    forecast: Forecast


@dataclass(frozen=True, config=CHECKED)
class LatestOutage(CheckedRecord):
    """The outage in place of the newest forecast; it has no probabilities at all."""

    format: Literal["kflare-latest/1"]
    kind: Literal["outage"]
    issue: Utc
    outage: Outage


_Latest = Annotated[LatestForecast | LatestOutage, Field(discriminator="kind")]


def latest_text(current: Cycle) -> str:
    """The newest forecast as JSON of the schema `schema_text`, and what follows from it: mark, class, age of data."""
    latest: CheckedRecord
    if isinstance(current, Outage):
        latest = LatestOutage(FORMAT, "outage", current.issue, current)
    else:
        hours = None if current.data_age is None else round(current.data_age.total_seconds() / 3600, 3)
        latest = LatestForecast(
            FORMAT, "forecast", current.issue,
            {name: one.headline for name, one in current.full_disk.items()},
            current.mark, current.score_mark, forecast_class(current.full_disk),
            forecast_class(current.full_disk, calibrated=True), hours, current,
        )  # fmt: skip
    return json.dumps({"$schema": SCHEMA_NAME} | latest.as_json(), indent=2, ensure_ascii=False) + "\n"


def read_latest(text: str) -> Cycle:
    """The forecast or outage of a `latest.json`; DataError if it is none, or of another format."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise DataError(f"`format` must be {FORMAT}, got {content['format']!r}: use the kflare that wrote it")
        if content["kind"] == "outage":
            return Outage.from_json(content["outage"])
        return Forecast.from_json(content["forecast"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"no latest.json of kflare: {type(error).__name__} {error}") from error


def schema_text() -> str:
    """JSON Schema (2020-12) of `latest.json`."""
    schema = TypeAdapter(_Latest).json_schema(mode="serialization")
    del schema["discriminator"]  # of OpenAPI, unknown to JSON Schema
    for name, one in schema["$defs"].items():
        del one["title"]
        of = ast.parse(inspect.getsource(globals().get(name) or getattr(forecast, name))).body[0]
        for known, told in pairwise(getattr(of, "body", ())):  # a field, and the text below it
            if isinstance(known, ast.AnnAssign) and isinstance(told, ast.Expr) and isinstance(known.target, ast.Name):
                one["properties"][known.target.id]["description"] = inspect.cleandoc(ast.literal_eval(told.value))
        # New keys may come under the same format; those of today are always written.
        one |= {"additionalProperties": True, "required": list(one["properties"])}
        one["description"] = one["description"].partition("\n")[0]
        for field in one["properties"].values():
            field.pop("title", None)
            field.pop("default", None)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_NAME,
        "title": f"latest.json of kflare, format {FORMAT}",
        "description": "The newest forecast or the outage in its place. Times are ISO 8601 in UTC with Z. What is not "
        "known is null or absent; a probability is never 0.",
    }
    return json.dumps(head | schema, indent=2) + "\n"
