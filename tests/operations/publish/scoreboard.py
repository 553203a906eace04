"""Readers of the three forms of CCMC's Flare Scoreboard, for round trips; they also take what other producers write."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from xml.etree import ElementTree as ET

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kflare.errors import DataError

# 2016-03-22T08:59:56Z, without seconds, with hyphens in the clock (Met Office), with "UT" for the zone (Solar Monitor).
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)[:-](\d\d)(?:[:-](\d\d)(?:\.\d*)?)?(?:Z|UT|UTC)?")
_UNKNOWN = "----"
_REGION_COLUMNS = 4
_NOAA, _HARP = "NOAA_AR_numbering_scheme", "HARP_numbering_scheme"


@dataclass(frozen=True)
class SubmittedRegion:
    """One region as it is read: its numbers, where and when it was observed, and the probabilities by class."""

    probability: Mapping[str, float]
    number: int | None = None
    noaa: tuple[int, ...] = ()
    harp: tuple[int, ...] = ()
    location: str = ""
    time: datetime | None = None


@dataclass(frozen=True)
class Submission:
    """What the scoreboard reads; `sent` is what `kflare.operations.publish.ccmc` made it of."""

    model: str
    issue: datetime
    start: datetime
    end: datetime
    full_disk: Mapping[str, float]
    regions: tuple[SubmittedRegion, ...] = ()
    input_data: str = field(default="", compare=False)  # of the text form
    sent: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, sent: Mapping[str, Any]) -> Self:
        def region(one: Mapping[str, Any]) -> SubmittedRegion:
            noaa, harp = (
                tuple(number for scheme, number in one["ids"] if scheme == name) for name in ("NOAA_AR", "HARP")
            )
            seen = read_time(sent["seen"])
            return SubmittedRegion(one["probability"], one["number"], noaa, harp, one["location"], seen)

        times = (read_time(sent[name]) for name in ("issue", "start", "end"))
        return cls(sent["model"], *times, sent["full_disk"], tuple(map(region, sent["regions"])), sent["inputs"], sent)


def read_time(text: str) -> datetime:
    """UTC of a time as submissions write it; DataError if it is none."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise DataError(f"a time in a submission must look like 2026-01-01T03:00:00Z, got {text!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise DataError(f"{text!r} in a submission is no time: {error}") from error


def read_class(text: str) -> str:
    """The flare class of "M" or "M+"; DataError for what is none, as the empty class of a misspelt key."""
    name = text.strip().upper().removesuffix("+")
    if name not in ("A", "B", "C", "M", "X"):
        raise DataError(f"a flare class in a submission must be like M or M+, got {text!r}")
    return name


def read_probability(value: str | float | None) -> float | None:
    """A probability, or None for what is not known: null, empty, dashes, NaN and the fill value -1.

    Raises
    ------
    DataError
        It is neither.
    """
    text = "" if value is None else str(value).strip()
    if not text.strip("-") or text.lower() in ("nan", "null", "na"):
        return None
    try:
        p = float(text)
    except ValueError as error:
        raise DataError(f"a probability in a submission must be a number, got {text!r}") from error
    if p == -1:
        return None
    if not 0 <= p <= 1:
        raise DataError(f"a probability in a submission must lie in [0, 1], got {text}")
    return p


def read_json(text: str) -> Submission:
    """Read a submission in JSON; regions have no place in this dialect.

    Raises
    ------
    DataError
        It is none; names what is missing.
    """
    try:
        content = json.loads(text)["forecast_submission"]
        disk = content["full_disk_forecasts"][0]
        window = disk["prediction_window"]
        start, end = read_time(window["start_time"]), read_time(window["end_time"])
        return Submission(
            model=content["model"]["short_name"],
            issue=read_time(content["issue_time"]),
            start=start,
            end=end,
            full_disk=_json_probabilities(disk),
            regions=tuple(_json_region(region, (start, end)) for region in content.get("region_forecasts", [])),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"no forecast submission in CCMC's JSON: {type(error).__name__} {error}") from error


def _json_region(content: Mapping[str, Any], window: tuple[datetime, datetime]) -> SubmittedRegion:
    times = content.get("prediction_window") or {}
    own = tuple(read_time(times[name]) for name in ("start_time", "end_time") if name in times)
    if own not in ((), window):
        raise DataError(f"all regions must have the full disk's prediction window, got {own}")

    def numbers(kind: str) -> tuple[int, ...]:
        return tuple(int(one["number"]) for one in content["region_ids"] if one["type"] == kind)

    return SubmittedRegion(_json_probabilities(content), noaa=numbers("NOAA"), harp=numbers("HARP"))


def _json_probabilities(content: Mapping[str, Any]) -> dict[str, float]:
    read = {
        read_class(one["class"]): read_probability(one.get("probability")) for one in content["flare_probabilities"]
    }
    return {name: p for name, p in read.items() if p is not None}


def read_xml(text: str) -> Submission:
    """Read a submission in XML, also as the Met Office and SIDC write it (`begin`/`end`, `endttime`, "M" for "M+").

    Raises
    ------
    DataError
        It is none, or it brings entities or a document type.
    """
    try:
        root = fromstring(text.encode(), forbid_dtd=True)
    except (ET.ParseError, DefusedXmlException) as error:
        raise DataError(f"no forecast submission in XML: {type(error).__name__} {error}") from error
    forecast = root if root.tag == "forecast" else root.find("forecast")
    if forecast is None:
        raise DataError(f"a submission in XML must hold a `forecast`, got <{root.tag}> without one")
    disk: dict[str, float] = {}
    regions = []
    for group in forecast.iterfind("group"):
        if (group.findtext("forecasttype") or "").strip().lower() == "region":
            regions += [_xml_region(one) for one in group.findall("group") or [group]]
        else:
            disk |= _xml_probabilities(group)
    return Submission(
        model=_found(forecast, "method"),
        issue=read_time(_found(forecast, "issuetime")),
        start=read_time(_found(forecast, "predictionwindow/starttime", "predictionwindow/begin")),
        end=read_time(
            # "endttime" is what Met Office and Solar Monitor have written.
            _found(forecast, "predictionwindow/endtime", "predictionwindow/end", "predictionwindow/endttime")
        ),
        full_disk=disk,
        regions=tuple(regions),
    )


def _found(element: ET.Element, *paths: str) -> str:
    for path in paths:
        text = (element.findtext(path) or "").strip()
        if text:
            return text
    raise DataError(f"a submission in XML must hold `{paths[0]}`, found none")


def _xml_region(group: ET.Element) -> SubmittedRegion:
    numbers: dict[str, list[int]] = {_NOAA: [], _HARP: []}
    for one in group.iterfind("sourceregion/id"):
        if (one.get("scheme") or "") in numbers and (one.text or "").strip().isdigit():
            numbers[one.get("scheme") or ""].append(int(one.text or ""))
    place = group.find("sourceregion/location")
    seen = None if place is None else place.get("time")
    return SubmittedRegion(
        _xml_probabilities(group),
        noaa=tuple(numbers[_NOAA]),
        harp=tuple(numbers[_HARP]),
        location="" if place is None else (place.text or "").strip(),
        time=None if seen is None else read_time(seen),
    )


def _xml_probabilities(group: ET.Element) -> dict[str, float]:
    read = {}
    for entry in group.iterfind("entry"):
        flux = entry.find("fluxbin")
        p = read_probability(entry.findtext("probability/value") or entry.findtext("value"))
        if flux is not None and p is not None:
            read[read_class(flux.get("name") or "")] = p
    return read


def read_text(text: str) -> Submission:
    """Read a submission in text; XML under a text file's name is read as what it is.

    Raises
    ------
    DataError
        It is none; names the line.
    """
    if text.lstrip().startswith("<"):
        return read_xml(text)
    head = {
        match[1].strip().lower(): match[2].strip()
        for match in re.finditer(r"(?m)^#?\s*([A-Za-z ()]+):[ \t]*(.*)$", text)
    }
    blocks = re.split(r"(?mi)^#?[ \t]*(full disk forecast|region forecast)[ \t]*$", text)
    tables = {name.lower(): rows.strip().splitlines() for name, rows in zip(blocks[1::2], blocks[2::2], strict=True)}
    try:
        disk = tables["full disk forecast"]
        columns, rows = disk[0].lstrip("# ").split(), disk[1:]
        # The first line is the header, with its "#" or without.
        found = tables.get("region forecast", [])[1:]
        return Submission(
            model=head["forecasting method"],
            issue=read_time(head["issue time"]),
            start=read_time(head["prediction window start time"]),
            end=read_time(head["prediction window end time"]),
            full_disk=_read_cells(columns, rows[0]),
            regions=tuple(_text_region(columns, row) for row in found if row.strip() and not row.startswith("#")),
            input_data=head.get("input data", ""),
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"no forecast submission in CCMC's text form: it lacks {error}") from error


def _read_cells(columns: list[str], row: str) -> dict[str, float]:
    cells = row.split()
    if len(cells) != len(columns):
        raise DataError(f"a row of a submission must have {len(columns)} cells, got {len(cells)}: {row!r}")
    read = {
        name.removesuffix("_prob").upper(): read_probability(cell)
        for name, cell in zip(columns, cells, strict=True)
        if name.endswith("_prob")
    }
    return {name: read[name] for name in sorted(read) if read[name] is not None}  # type: ignore[misc]


def _text_region(columns: list[str], row: str) -> SubmittedRegion:
    cells = row.split()
    if len(cells) < _REGION_COLUMNS or not cells[0].isdigit():
        raise DataError(f"a region's row must begin with number, time, location and NOAA number, got {row!r}")
    number, time, location, noaa = cells[:_REGION_COLUMNS]
    return SubmittedRegion(
        _read_cells(columns, " ".join(cells[_REGION_COLUMNS:])),
        number=int(number),
        noaa=(int(noaa),) if noaa.isdigit() else (),
        location="" if location == _UNKNOWN else location,
        time=None if time == _UNKNOWN else read_time(time),
    )
