"""`latest.json`: the newest forecast, or the outage in its place, for programs."""

import json
from importlib.resources import files
from typing import Any, Final

from kflare.errors import DataError
from kflare.operations.forecast import Forecast, Outage, forecast_class, utc_text

__all__ = ["FORMAT", "SCHEMA_NAME", "latest_text", "read_latest", "schema_text"]

FORMAT: Final = "kflare-latest/1"
"""Grows when a reader of the old form would read something wrong; new keys alone do not change it."""
SCHEMA_NAME: Final = "latest.schema.json"


def latest_text(current: Forecast | Outage) -> str:
    """The newest forecast as JSON of the schema `schema_text`, with what follows from it: mark, class, age of the data.

    An outage has no probabilities at all: `kind` tells which it is.
    """
    content: dict[str, Any] = {"$schema": SCHEMA_NAME, "format": FORMAT}
    if isinstance(current, Outage):
        content |= {"kind": "outage", "issue": utc_text(current.issue), "outage": current.as_json()}
    else:
        age = current.data_age
        content |= {
            "kind": "forecast",
            "issue": utc_text(current.issue),
            "mark": current.mark,
            "forecast_class": forecast_class(current.full_disk),
            "data_age_hours": None if age is None else round(age.total_seconds() / 3600, 3),
            "forecast": current.as_json(),
        }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_latest(text: str) -> Forecast | Outage:
    """The forecast or outage of a `latest.json`.

    Raises
    ------
    DataError
        It is none, or of another format.
    """
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
    return (files("kflare.operations.publish") / "templates" / SCHEMA_NAME).read_text(encoding="utf-8")
