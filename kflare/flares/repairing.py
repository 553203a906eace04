"""Reading GOES flare lists: the formats' columns of text become one table, with every repair counted."""

import functools
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FLUX_SCALES, REPAIRS, TIME_DTYPE, FlareList, class_fluxes
from kflare.flares.labels import merged_spans
from kflare.flares.merging import merge_flares
from kflare.flares.reading import FlareColumns, read_flare_columns
from kflare.flares.region_numbers import full_region_numbers
from kflare.io.table_file import by_distinct, sound_rows
from kflare.sun.goes_scale import GOES_16_PRIMARY, FluxScale

AskedScale = Literal["irradiance", "as listed"]

# X-rays of the Sun are watched since SOLRAD; a flare outside this span is a mistake of the list.
_FIRST, _LAST = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")

# A class as catalogues write it: "M3.1", "X28+" (at least), "X>17", "X 20", "X17.2/4B" (with the class in Hα).
_CLASS_AS_WRITTEN: Final = (
    r"^\s*(?P<above>[>≥~]?)\s*(?P<letter>[ABCMX])\s*(?P<over>[>≥~]?)\s*"
    r"(?P<number>[0-9]*[.,]?[0-9]*)\s*(?P<more>\+?)\s*(?:/.*)?$"
)
_DAY: Final = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_NAMED_MONTH: Final = re.compile(r"^([0-9]{1,2})[- ]([A-Za-z]{3})[- ]([0-9]{4}|[0-9]{2}\b)")
_CLOCK: Final = r"^\s*([01]?[0-9]|2[0-4]):?([0-5][0-9])(?::?([0-5][0-9](?:\.[0-9]+)?))?\s*$"

# "G15", "GO8", "GOES-16", "12": but "SDO", "COM" and "////" are no GOES.
_SATELLITE: Final = r"^(?:G(?:O(?:ES)?)?[- ]?)?0?([1-9][0-9]?)(?:\.0)?$"
_LOG = logging.getLogger(__name__)

# The HEK's sources of GOES flares, most authoritative first; all others follow.
_METHODS: Final = ("SWPC", "SEC standard", "SSW Latest Events")


def read_flares(path: str | Path, *, scale: AskedScale = "irradiance") -> FlareList:
    """Read a GOES flare list, repair the known defects and count them.

    The format is told by the content: CSV by its header, in any order, with the names of kflare, the HEK or others;
    SWPC's daily event texts, or a folder of them; SWPC's and DONKI's JSON; the HEK's answers; NGDC's yearly reports;
    NCEI's netCDF of flare summaries (docs/formats.md).

    Times are UTC; those of a CSV may stand in two columns (`date` and `start_time`, clock times of `peak` and `end`).
    Classes may be written X28+, X>17, "X 20" or X17.2/4B. Rows with equal start, peak and class, or with equal start
    and end, are one flare seen twice, unless they name two regions: of them the row with a region, the larger class and
    the earliest end is kept. Of rows without a readable start or class it is logged how many are left out, which first
    and why. The same flare reported to the HEK by several methods is merged by the rule of `kflare.flares.merging`.

    Classes are brought to today's scale (`FlareList.as_irradiance`), each list by what it is (`kflare.sun.goes_scale`):
    SWPC's, NGDC's, the HEK's and DONKI's, and a CSV or JSON with a column `satellite`, `goes_sat`, `obs`, `observatory`
    or `source` that names the GOES, are of SWPC's scale of the time; NCEI's summaries are irradiance; kflare's own CSV
    says it in `flare_scale`. A list that names neither satellite nor scale is taken as SWPC's of the time; it is logged
    and counted (`scale_assumed`) for how many flares that matters.

    A file has at most 32 MiB, or `path` is a folder of such, with 1,000,000 flares at most. The `scale` "as listed"
    leaves the classes alone, to compare with papers and forecasts that were made on them. Gives the list with `repairs`
    counted by name; one without flares is empty. DataError: the file cannot be read, a needed column is missing, no row
    is readable, or `flare_scale` holds something else or several; SettingError: another `scale`.
    """
    path = Path(path)
    return flares_of_columns(read_flare_columns(path), path.name, scale=scale)


def flares_of_columns(columns: FlareColumns, source: str, *, scale: AskedScale = "irradiance") -> FlareList:
    """Repair a flare list's text columns, count the repairs; DataError of `source` if no row of it is readable."""
    if scale not in {"irradiance", "as listed"}:
        raise SettingError(f"`scale` of a flare list to read must be irradiance or as listed, got {scale!r}")
    several = "method" in columns.table and len(columns.table["method"].unique()) > 1
    flares = _merge_methods(columns, source) if several else _one_list(columns, source, alone=True)
    if assumed := flares.repairs.get("scale_assumed"):
        told = "divided by 0.7 to today's scale" if scale == "irradiance" else "left as they are"
        _LOG.warning(
            "`%s` names neither satellite nor scale: classes of %d flares before %s are taken as SWPC's of the time, "
            "%s; where they are irradiance, say so in a column `flare_scale`", source, assumed, f"{GOES_16_PRIMARY:%F}",
            told,
        )  # fmt: skip
    return flares.as_irradiance() if scale == "irradiance" else flares


def _one_list(columns: FlareColumns, source: str, *, alone: bool) -> FlareList:
    rows, repairs = _repaired(columns.table, source, alone=alone)
    counts = {key: count for key, count in columns.counts.items() if count}
    scale = columns.scale
    if "flare_scale" in columns.table:
        scale = _stated_scale(columns.table["flare_scale"], source)
    elif scale is None:
        early = int((rows["start"] < GOES_16_PRIMARY).sum())
        # A list that names the satellite of some flares is an operational one; its others go by their dates.
        counts |= {"scale_assumed": early} if early and rows["satellite"].isna().all() else {}
    return FlareList(rows, source, {**counts, **repairs}, scale or "operational", _stated_spans(columns.table, source))


def _stated_spans(raw: pd.DataFrame, source: str) -> tuple[tuple[datetime, datetime], ...]:
    cells = raw.reindex(columns=["told_from", "told_until"], fill_value="").drop_duplicates()
    cells = cells[(cells != "").any(axis=1)]
    since, until = (_times(cells[name]) for name in cells)
    if not (since < until).all():
        seen = ", ".join(repr(cell) for cell in cells[~(since < until)].iloc[0])
        raise DataError(f"`{source}`: `told_from` and `told_until` must be a time and a later one, got {seen}")
    return merged_spans(zip(since, until.clip(upper=datetime.now(UTC)), strict=True))  # nobody knows what comes


def _stated_scale(stated: pd.Series, source: str) -> FluxScale:
    seen = sorted(stated.str.strip().unique()) or ["operational"]
    for scale in FLUX_SCALES:
        if seen == [scale]:
            return scale
    rule = f"`{source}`: `flare_scale` must be irradiance in all rows or operational in all"
    raise DataError(f"{rule}, got {', '.join(seen[:4])!r}")


def _repaired(raw: pd.DataFrame, source: str, *, alone: bool) -> tuple[pd.DataFrame, dict[str, int]]:
    repairs = dict.fromkeys(REPAIRS, 0)
    rows = pd.DataFrame(index=raw.index)
    rows["start"] = _starts(raw, source)
    written = _classes(raw["goes_class"])
    rows["goes_class"] = written.pop("goes_class")
    rows["flux"] = class_fluxes(rows["goes_class"])

    good_start, good_class = rows["start"].notna(), rows["flux"].notna()
    repairs["unreadable_start"] = int((~good_start).sum())
    repairs["unreadable_class"] = int((good_start & ~good_class).sum())
    keep, _ = sound_rows(
        source,
        (raw["start"], good_start, "a time such as 2013-10-23 20:41"),
        (raw["goes_class"], good_class, "a class such as M3.1"),
    )
    rows, raw = rows[keep].copy(), raw[keep]
    repairs.update({str(name): int(count) for name, count in written[keep].sum().items()})

    for name in ("end", "peak"):
        plural, clock = name + "s", _clock(raw[name])
        undated = clock.notna()
        completed = rows["start"].dt.normalize() + clock
        times = _times(raw[name].where(~undated, "")).where(~undated, completed.astype(TIME_DTYPE))
        over, far = times < rows["start"], times > rows["start"] + pd.Timedelta(days=2)  # a slip in the date
        # Only a time of the same day was left behind by midnight; anything earlier is a different mistake.
        same_day = times.dt.normalize() == rows["start"].dt.normalize()
        rows[name] = times.where(~over, times + pd.Timedelta(days=1)).where(~far & (~over | same_day))
        repairs[f"{plural}_completed"] = int(undated.sum())
        repairs[f"{plural}_over_midnight"] = int((over & same_day).sum())
        repairs[f"unreadable_{plural}"] = int(rows[name].isna().sum())
    late = rows["peak"] > rows["end"]
    # The class of a flare is known from its peak on; who may not look ahead is safe with the latest possible peak.
    rows["peak"] = rows["peak"].where(rows["peak"].notna() & ~late, rows["end"])
    repairs["peaks_after_end"] = int(late.sum())

    _add_region_and_position(rows, raw, repairs)
    named = raw["satellite"].str.upper().str.extract(_SATELLITE)[0] if "satellite" in raw else pd.NA
    rows["satellite"] = pd.Series(pd.to_numeric(named), rows.index, dtype="Int64")
    # Order decides which of two equal rows stays: known region first, then the larger class, then the earliest end.
    rows = rows.assign(below=-rows["flux"]).sort_values(["start", "noaa", "below", "end"], kind="stable")
    for key in (["start", "peak", "flux"], ["start", "end"])[: 2 if alone else 1]:
        twice = rows.duplicated([*key, "noaa"]) | (rows["noaa"].isna() & rows.duplicated(key))
        twice &= rows["end"].notna() | (key[-1] == "flux")
        repairs["duplicates"] += int(twice.sum())
        rows = rows[~twice]
    rows = rows.drop(columns="below").sort_values(["start", "peak", "flux", "noaa", "end"], kind="stable")
    return rows, {key: count for key, count in repairs.items() if count}


def _add_region_and_position(rows: pd.DataFrame, raw: pd.DataFrame, repairs: dict[str, int]) -> None:
    number = by_distinct(functools.partial(pd.to_numeric, errors="coerce"))
    if "noaa" in raw:
        rows["noaa"] = full_region_numbers(raw["noaa"], rows["start"])
        repairs["regions_completed"] = int((rows["noaa"] > number(raw["noaa"])).sum())
    else:
        rows["noaa"] = pd.array([pd.NA] * len(rows), dtype="Int64")
    for name, limit in (("lon", 180), ("lat", 90)):
        degrees = number(raw[name]) if name in raw else pd.Series(np.nan, rows.index)
        inside = degrees.abs() <= limit
        rows[name] = degrees.where(inside).astype("float64")
        repairs["positions_dropped"] += int((degrees.notna() & ~inside).sum())


@by_distinct
def _classes(text: pd.Series) -> pd.DataFrame:
    """Classes as "M3.1", "" where they are none, and by name of the repair whether it was needed."""
    parts = text.str.upper().str.extract(_CLASS_AS_WRITTEN)
    number, letter = parts["number"], parts["letter"]
    bare = number.eq("")
    # "X17." and "C8" are cut off by columns of fixed width; they keep the precision that is left.
    digits = number.str.replace(",", ".", regex=False).where(~bare, "1.0")
    digits = digits.str.replace(r"^([0-9]+)\.?$", r"\1.0", regex=True)
    # NGDC leaves the point out: who can tell M10 from M1.0? An X20 is what it says, since nothing is above X.
    pointless = number.str.fullmatch("[0-9]{2,}").fillna(value=False) & letter.ne("X")
    limit = parts[["above", "over", "more"]].fillna("").ne("").any(axis=1)
    goes_class = (letter + digits).where(~pointless, "").fillna("")
    commas = number.str.contains(",", regex=False).fillna(value=False)
    written = {"goes_class": goes_class, "decimal_commas": commas, "classes_without_number": bare}
    return pd.DataFrame(written | {"lower_limits": limit & letter.notna()})


def _starts(raw: pd.DataFrame, source: str) -> pd.Series:
    """Starts, which may stand in two columns, of days and of clocks."""
    times, clock = _times(raw["start"]), _clock(raw["start"])
    if "date" in raw:
        days = _times(raw["date"])
        clock = clock.where(clock.notna(), _clock(raw["clock"])) if "clock" in raw else clock
        times = times.where(clock.isna(), (days.dt.normalize() + clock).astype(TIME_DTYPE))
    if len(raw) and raw["start"].str.fullmatch(_DAY).all():
        if "clock" not in raw or _clock(raw["clock"]).isna().any():
            raise DataError(
                f"`{source}`: `start` must be a time such as 2013-10-23 20:41, it holds days alone, such as "
                f"{raw['start'].iloc[0]!r}; give the clock in the same column, or in one named start_time"
            )
        times = (times + _clock(raw["clock"])).astype(TIME_DTYPE)
    return times


def _clock(text: pd.Series) -> pd.Series:
    """Time since midnight of "0105", "01:05" or "01:05:30"; NaT where it is none. 2400 is the next midnight."""
    return _clock_as_written(text[~text.str.match(_DAY)]).reindex(text.index)


@by_distinct
def _clock_as_written(text: pd.Series) -> pd.Series:
    parts = text.str.extract(_CLOCK).apply(pd.to_numeric)
    return pd.to_timedelta(3600 * parts[0] + 60 * parts[1] + parts[2].fillna(0), unit="s")


def _iso_date(match: re.Match[str]) -> str:
    month = "janfebmaraprmayjunjulaugsepoctnovdec".find(match[2].lower()) // 3 + 1
    year = match[3] if len(match[3]) == 4 else ("19" if match[3] >= "70" else "20") + match[3]
    return f"{year}-{month:02d}-{match[1]:0>2}"


def _times(text: pd.Series) -> pd.Series:
    """UTC of ISO 8601, with "-" or "/" and with or without a zone, and of 23-Oct-2013 20:41 (SolarSoft); else NaT."""
    times = _iso_times(text)
    odd = times.isna()  # of most lists none
    dated = text[odd].str.replace(_NAMED_MONTH, _iso_date, regex=True).str.replace("/", "-", regex=False)
    times[odd] = _iso_times(dated.str.replace(r"\s*UTC?\s*$", "Z", regex=True))
    return times.where((times >= _FIRST) & (times < _LAST))


def _iso_times(text: pd.Series) -> pd.Series:
    dated = text.where(text.str.match(_DAY), "")
    return pd.to_datetime(dated, format="ISO8601", utc=True, errors="coerce").astype(TIME_DTYPE)


def _merge_methods(columns: FlareColumns, source: str) -> FlareList:
    """Merge what several methods of the HEK report: SWPC's flares first, others fill in and add."""
    methods = columns.table["method"]
    groups = [methods == name for name in _METHODS]
    # All others together: there may be any number of them.
    groups.append(~methods.isin(_METHODS))
    lists: list[FlareList] = []
    refused: DataError | None = None
    for rows in groups:
        if rows.any():
            table = columns.table[rows].drop(columns="method").reset_index(drop=True)
            try:
                # What is there twice is decided by the first list, where the second holds a flare of its times.
                own = replace(columns, table=table, counts={} if lists else columns.counts)
                lists.append(_one_list(own, source, alone=False))
            except DataError as error:
                refused = error
    if not lists:
        raise refused or DataError(f"`{source}` holds no flare of any method")
    return functools.reduce(merge_flares, lists)
