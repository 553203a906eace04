"""The formats of flare lists: each becomes one table of text columns with the same names.

What the text says is judged and repaired in `kflare.flares.repairing`, which lists them; here it is only found. The
format is told by the content, never by the suffix; those of NOAA's archives are in `kflare.flares.archived`.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from kflare.errors import DataError
from kflare.flares.archived import is_yearly_report, summary_rows, yearly_report_rows
from kflare.io.catalogue_file import MAX_RECORDS, MAX_TEXT_BYTES, is_json, json_records
from kflare.io.payload import decoding, format_of, read_payload
from kflare.io.stored_table import stored_rows
from kflare.sun.goes_scale import FluxScale

# The names under which the known dialects hold each column, in order of preference: plain lists, the HEK,
# SWPC's edited_events.json, SWPC's xray-flares-7-day.json, DONKI, sunpy's lists of SWPC's events.
_SYNONYMS: Final = {row["column"]: row["names"].split() for row in stored_rows("kflare.flares", "columns.csv")}
# Names of the class that only SWPC (edited events, flares of 7 days), the HEK and DONKI use.
_OPERATIONAL: Final = ("particulars1", "max_class", "fl_goescls", "classtype")
_REQUIRED: Final = ("start", "peak", "end", "goes_class")

_HEADER_BYTES: Final = 1 << 16
_MOST_COLUMNS: Final = 500
_EVENT_HEAD: Final = re.compile(rb"^(?::Product:|:Date:|#Event\s|.{0,40}Edited Events)", re.MULTILINE)
_DATES: Final = (
    (re.compile(r":Date:\s*([0-9]{4})\s+([0-9]{1,2})\s+([0-9]{1,2})\b"), "%Y %m %d"),
    (re.compile(r"Edited Events for\s+([0-9]{4})\s+([A-Za-z]{3})[a-z]*\s+([0-9]{1,2})\b"), "%Y %b %d"),
)
_NAME_DATE: Final = re.compile(r"(?<![0-9])([0-9]{8})(?![0-9])")
# "B" before, "A" after, "U" uncertain: the clock time is the first, last or best that was seen.
_CLOCK: Final = re.compile(r"([A-Z]?)([0-9]{4})")
LOCATION: Final = re.compile(r"([NS])([0-9]{2})([EW])([0-9]{2,3})")
_REGION: Final = re.compile(r"[0-9]{1,5}")
# "X 20" of an event text; a region's number has four digits or five, a fluence its exponent.
_LETTERS: Final = ("A", "B", "C", "M", "X")
_NUMBER_OF_CLASS: Final = re.compile(r"[0-9]{1,2}(?:\.[0-9]*)?\+?")


@dataclass(frozen=True)
class FlareColumns:
    """Text columns of a flare list, as they stand in the file.

    Columns of the table are `start`, `peak`, `end`, `goes_class` and, where the format has them, `noaa`, `lon`, `lat`,
    `satellite`, `flare_scale` and `method` (the HEK's `frm_name`), "" where unknown; a `peak` or `end` of four digits
    is a time of day. The counts are of what was left out or read with a qualifier, by the names of `FlareList.repairs`;
    `scale` is that of the producer, None where it is unknown.
    """

    table: pd.DataFrame
    counts: Mapping[str, int]
    scale: FluxScale | None = "operational"


def read_flare_columns(path: Path) -> FlareColumns:
    """Find the columns of a flare list in a file of any of the formats, at most 32 MiB, or in a folder of SWPC's texts.

    DataError if it cannot be read, is of none of the formats, or a needed column is missing.
    """
    if path.is_dir():
        return _joined_events(path)
    what = "a flare list in CSV, JSON, netCDF or a text of SWPC or NGDC"
    payload = read_payload(path, limit=MAX_TEXT_BYTES, what=what, kinds=())
    if format_of(payload) == "netCDF-4":
        return FlareColumns(summary_rows(path), {}, "irradiance")
    if is_json(payload):
        records, skipped = json_records(payload, str(path))
        found = columns_of_records(records, str(path))
        return replace(found, counts={**found.counts, "records_skipped": skipped})
    if payload.lstrip()[:1] == b"<":
        raise DataError(f"`{path}` is an HTML or XML page, no flare list; download it again")
    if is_yearly_report(payload):
        return FlareColumns(*yearly_report_rows(payload.decode("utf-8-sig", "replace"), path))
    if _EVENT_HEAD.search(payload[:4096]):
        return _event_columns(payload.decode("ascii", "replace"), path)
    return _csv_columns(payload, path)


def columns_of_records(records: Sequence[Mapping[str, object]], source: str) -> FlareColumns:
    """Find the columns of a flare list in records of one of the JSON dialects, the HEK's included.

    Of SWPC's edited events only those of type XRA are flares in X-rays; an optical flare (FLA) of the same event gives
    its position to them. Of the HEK's flares only those with a GOES class are; its position 0, 0 means unknown. No
    records give no rows; DataError if no record has a needed column.
    """
    if not records:
        return FlareColumns(pd.DataFrame({name: pd.Series(dtype="str") for name in _REQUIRED}), {})
    keys = list(dict.fromkeys(str(key) for record in records for key in record))
    chosen = _chosen(keys, source)
    rows = [{column: _text(record.get(key)) for column, key in chosen.items()} for record in records]
    counts: dict[str, int] = {}
    if chosen["goes_class"] == "particulars1":
        rows = _xray_events(records, rows)
    elif chosen["goes_class"] == "fl_goescls":
        rows, counts = _goes_flares(rows)
    columns = [*chosen, *(name for name in ("lon", "lat") if rows and name in rows[0] and name not in chosen)]
    return FlareColumns(pd.DataFrame(rows, columns=columns, dtype="str").fillna(""), counts, _scale_of(chosen))


def _chosen(names: Sequence[str], source: str) -> dict[str, str]:
    """Which of a file's columns holds which of ours; DataError names a missing one and those seen."""
    by_name = {name.strip().lower(): name for name in reversed(names)}
    chosen = {}
    for column, synonyms in _SYNONYMS.items():
        if (found := next((by_name[name] for name in synonyms if name in by_name), None)) is not None:
            chosen[column] = found
        elif column in _REQUIRED:
            seen = ", ".join(" ".join(name.split())[:40] for name in names[:30])
            fault = f"`{source}`: a flare list needs the column `{column}` (or {', '.join(synonyms[1:])})"
            raise DataError(f"{fault}; its columns are {seen}")
    return chosen


def _scale_of(chosen: Mapping[str, str]) -> FluxScale | None:
    """The scale of a table by the producer whose name of the class it has; None where that tells nothing."""
    return "operational" if chosen["goes_class"].strip().lower() in _OPERATIONAL else None


def _text(value: object) -> str:
    if isinstance(value, str):
        # A lone surrogate is valid JSON but no text.
        return value.strip().encode("utf-8", "replace").decode()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _xray_events(records: Sequence[Mapping[str, object]], rows: list[dict[str, str]]) -> list[dict[str, str]]:
    positions: dict[tuple[str, str], tuple[str, str]] = {}
    flares = []
    for record, row in zip(records, rows, strict=True):
        kind = _text(record.get("type"))
        # Event numbers (`bin`) are reused within the year, so an event is its number and day.
        event = (_text(record.get("bin")), row["start"][:10])
        if kind in {"FLA", "XFL"} and event[0]:
            if position := _position(_text(record.get("location"))):
                positions.setdefault(event, position)
        elif kind == "XRA":
            flares.append((event, row))
    for event, row in flares:
        row["lon"], row["lat"] = positions.get(event, ("", ""))
    return [row for _, row in flares]


def _goes_flares(rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, int]]:
    kept = [row for row in rows if row["goes_class"]]
    for row in kept:
        place = [row.get(name, "") for name in ("lon", "lat")]
        if all(text.replace(".", "", 1).strip("+-0") == "" and "0" in text for text in place):
            row.update({name: "" for name in ("lon", "lat") if name in row})
    return kept, {"not_goes": len(rows) - len(kept)}


def _position(location: str) -> tuple[str, str] | None:
    """Longitude (west positive) and latitude, as text, of a location such as N19W66."""
    match = LOCATION.fullmatch(location)
    if match is None:
        return None
    north, latitude, west, longitude = match.groups()
    return ("" if west == "W" else "-") + longitude, ("" if north == "N" else "-") + latitude


def _event_columns(text: str, path: Path) -> FlareColumns:
    rows: list[dict[str, str]] = []
    events: list[tuple[date, str]] = []
    positions: dict[tuple[date, str], tuple[str, str]] = {}
    qualified = 0
    day = _date_of("".join(_NAME_DATE.findall(path.name)[:1]), "%Y%m%d")
    for line in io.StringIO(text):
        if line.isspace():
            continue
        if line.startswith((":", "#")):
            for pattern, layout in _DATES:
                if (match := pattern.search(line)) is not None:
                    day = _date_of(" ".join(match.groups()), layout) or day
            continue
        fields = [field for field in line.split() if field != "+"]
        kind = next((name for name in ("XRA", "FLA", "XFL") if name in fields[4:8]), None)
        if kind is None or not fields[0].isdigit():
            continue
        if day is None:
            fault = f"`{path}`: the day must stand in a `:Date:` line or in the name"
            raise DataError(f"{fault}; call it YYYYMMDDevents.txt")
        event = (day, fields[0])
        rest = fields[fields.index(kind, 4) + 1 :]
        if kind == "XRA":
            clocks = [_CLOCK.fullmatch(field) for field in fields[1:4]]
            qualified += sum(clock is not None and clock[1] != "" for clock in clocks)
            row = _xray_row(day, [clock[2] if clock else "" for clock in clocks], rest[1:])
            rows.append({**row, "satellite": fields[4]})
            events.append(event)
            if len(rows) > MAX_RECORDS:
                raise DataError(f"`{path}` must have at most {MAX_RECORDS} flares; split it")
        elif rest and (position := _position(rest[0])):
            positions.setdefault(event, position)
    for row, event in zip(rows, events, strict=True):
        row["lon"], row["lat"] = positions.get(event, ("", ""))
    names = ["start", "peak", "end", "goes_class", "noaa", "lon", "lat", "satellite"]
    table = pd.DataFrame(rows, columns=names, dtype="str")
    return FlareColumns(table, {"times_qualified": qualified})


def _joined_events(folder: Path) -> FlareColumns:
    """The columns of all daily event texts of a folder, `YYYYMMDDevents.txt`, as `kflare.fetch flares` leaves them."""
    found = [read_flare_columns(path) for path in sorted(folder.glob("*events.txt"))]
    if not found or sum(len(one.table) for one in found) > MAX_RECORDS:
        raise DataError(f"`{folder}` must hold YYYYMMDDevents.txt, has {len(found)}; {MAX_RECORDS} flares at most")
    table = pd.concat([one.table for one in found], ignore_index=True)
    counts = {name: sum(one.counts.get(name, 0) for one in found) for one in found for name in one.counts}
    return FlareColumns(table, counts)


def _xray_row(day: date, clocks: Sequence[str], particulars: Sequence[str]) -> dict[str, str]:
    begin, peak, end = clocks
    # Class, fluence (1.9E-03) and region; the last two may be absent.
    split = particulars[0] in _LETTERS and _NUMBER_OF_CLASS.fullmatch(particulars[1]) if particulars[1:] else None
    if split:
        particulars = ["".join(particulars[:2]), *particulars[2:]]
    regions = [field for field in particulars[1:] if _REGION.fullmatch(field)]
    start, goes_class = f"{day} {begin[:2]}:{begin[2:]}" if begin else "", next(iter(particulars), "")
    noaa = regions[-1] if regions else ""
    return {"start": start, "peak": peak, "end": end, "goes_class": goes_class, "noaa": noaa}


def _date_of(text: str, layout: str) -> date | None:
    try:
        return datetime.strptime(text, layout).date()  # noqa: DTZ007 - a day, no moment
    except ValueError:
        return None


def _csv_columns(payload: bytes, path: Path) -> FlareColumns:
    header = re.split(rb"[\r\n]", payload[:_HEADER_BYTES], maxsplit=1)[0]
    if len(header) == _HEADER_BYTES or not header.strip(b"\xef\xbb\xbf,; \t") or header.count(b",") > _MOST_COLUMNS:
        rule = f"its first line must name the columns, at most {_MOST_COLUMNS} in {_HEADER_BYTES >> 10} KiB"
        raise DataError(f"`{path}` is no readable CSV flare list: {rule}")
    with decoding(str(path), "is no readable CSV flare list"):
        # Of a list with an unnamed index in its rows only, pandas takes the first field of each as the index.
        table = _plain_cells(payload)
        if table is None:
            table = pd.read_csv(
                io.BytesIO(payload), dtype=str, keep_default_na=False, encoding="utf-8-sig", nrows=MAX_RECORDS + 1
            )
        if table.index.nlevels > 1:
            raise ValueError(f"its rows have {table.index.nlevels} fields more than its header")
    if len(table) > MAX_RECORDS:
        raise DataError(f"`{path}` must have at most {MAX_RECORDS} rows; split it")
    chosen = _chosen(table.columns, str(path))
    table = table[list(chosen.values())].set_axis(list(chosen), axis=1).apply(lambda cells: cells.str.strip())
    table = table[(table != "").any(axis=1)].reset_index(drop=True)
    counts: dict[str, int] = {}
    if chosen["goes_class"] == "fl_goescls":
        rows, counts = _goes_flares(table.to_dict("records"))
        table = pd.DataFrame(rows, columns=list(chosen), dtype="str")
    return FlareColumns(table, counts, _scale_of(chosen))


def _plain_cells(payload: bytes) -> pd.DataFrame | None:
    """What `pandas.read_csv` makes of it, eight times as fast; None where a quote or a fault is left to it."""
    if b'"' in payload or b"\0" in payload:
        return None
    names = list(pd.read_csv(io.BytesIO(payload), nrows=0, encoding="utf-8-sig").columns)
    read, parse = csv.ReadOptions(column_names=names, skip_rows=1), csv.ParseOptions(quote_char=False)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    try:
        cells = csv.read_csv(io.BytesIO(payload), read, parse, convert)
    except pa.ArrowException:
        return None
    return cells.to_pandas()
