"""Records that are checked when they are made: a fault is one of kflare's errors, in one line.

`pydantic` holds types and bounds of each field, reads and writes JSON, and gives the JSON Schema; a description of a
field in the schema is the text below it here.
"""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Annotated, Any, Final, Self

import pydantic
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from kflare.errors import DataError, KflareError

# Rules of pydantic in the words of kflare, with the values that they carry.
_RULES: Final = dict(csv.reader(files("kflare.operations").joinpath("rules.csv").read_text("utf-8").splitlines()))


def utc_text(time: datetime) -> str:
    """ISO 8601 with Z, to the second, and to the microsecond only if there are any: "2026-01-01T03:00:00Z"."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _utc(time: object) -> object:
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
        time = time if time.tzinfo is None else time.astimezone(UTC)
    if isinstance(time, datetime) and time.utcoffset() != timedelta(0):
        raise ValueError("an aware time in UTC")
    return time


_SCHEMA: Final = pydantic.WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"})
Utc = Annotated[datetime, pydantic.BeforeValidator(_utc), pydantic.PlainSerializer(utc_text, return_type=str), _SCHEMA]
"""A time that must be aware and UTC; in JSON as `utc_text` writes it."""


CHECKED: Final = pydantic.ConfigDict(extra="forbid", strict=True, defer_build=True)
"""For `pydantic.dataclasses.dataclass`."""


@dataclass(frozen=True, config=CHECKED)
class CheckedRecord:
    """A record that goes through JSON without loss."""

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _checked(cls, given: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(given)
        except ValidationError as error:
            raise cls._refusal(error) from error

    @classmethod
    def _refusal(cls, error: ValidationError) -> KflareError:
        return DataError(first_fault(error, list(cls.__dataclass_fields__), of=f" of {cls.__name__}"))

    def as_json(self) -> dict[str, Any]:
        """Plain data, times as `utc_text`; `from_json` gives the same record back."""
        plain: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record that `as_json` wrote; DataError if a field is missing, unknown or impossible."""
        record: Self = _adapter(cls).validate_json(json.dumps(values))
        return record


_ADAPTERS: Final[dict[type, pydantic.TypeAdapter[Any]]] = {}


def _adapter(of: type) -> pydantic.TypeAdapter[Any]:
    """Made once: a publication reads hundreds of records."""
    if of not in _ADAPTERS:
        _ADAPTERS[of] = pydantic.TypeAdapter(of)
    return _ADAPTERS[of]


def first_fault(error: ValidationError, keys: list[str], *, prefix: str = "", of: str = "", hide: bool = False) -> str:
    """The first fault of a record in one line: field, rule, value seen unless it is secret."""
    first = error.errors(include_url=False)[0]
    place = [keys[part] if isinstance(part, int) and not n else part for n, part in enumerate(first["loc"])]
    name = f"`{prefix}{place[0]}`{of}" if place else f"`{prefix.rstrip('.')}`{of}"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{name} is unknown: the keys here are {', '.join(keys)}"
    if first["type"] == "missing":
        return f"{name} is missing"
    context = first.get("ctx", {})
    if "expected" in context:
        context["expected"] = context["expected"].replace("'", "").replace(" or ", ", ")
    rule = context.get("error") or _RULES.get(first["type"], f"valid ({first['msg']})").format(**context)
    return f"{name} must be {rule}" + (", which it is not" if hide else f", got {first['input']!r:.200}")
