"""Reading GOES flare lists: the formats' columns of text become one table, with every repair counted."""

import functools
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.catalogue import REPAIRS, TIME_DTYPE, FlareList, class_fluxes
from kflare.flares.merging import merge_flares
from kflare.flares.reading import FlareColumns, read_flare_columns
from kflare.flares.region_numbers import full_region_numbers

__all__ = ["flares_of_columns", "read_flares"]

# X-rays of the Sun are watched since SOLRAD; a flare outside this span is a mistake of the list.
_FIRST, _LAST = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")

# The HEK's sources of GOES flares, most authoritative first; all others follow.
_METHODS: Final = ("SWPC", "SEC standard", "SSW Latest Events")


def read_flares(path: str | Path) -> FlareList:
    """Read a GOES flare list, repair the known defects and count them.

    The format is told by the content:

    * CSV, by its header, in any order: `start` or `start_time`; `peak`, `peak_time` or `max_time`; `end` or `end_time`;
      `goes_class`, `fl_class` or `label`; and, where present, `noaa` or `noaa_ar`, `lon`, `lat`; or the names of the
      HEK (`event_starttime` … `fl_goescls`);
    * SWPC's daily event text (`20150301events.txt`): its XRA rows;
    * SWPC's `edited_events.json` (type XRA) and `xray-flares-7-day.json`;
    * JSON answers of the HEK. See `kflare.flares.hek` for its tables.

    Times are UTC. Rows with equal start, peak and class are one flare seen by two satellites, unless they name two
    regions: of them the row with a region and the earliest end is kept. The same flare reported to the HEK by several
    methods is merged by the rule of `kflare.flares.merging`.

    Classes are those of the list: operational ones, up to GOES-15 on SWPC's scale, which is 0.7 of the irradiance
    (`kflare.xray.flux`).

    Parameters
    ----------
    path : str or pathlib.Path
        At most 32 MiB and 1,000,000 flares.

    Returns
    -------
    FlareList
        With `repairs` counted by name. A list without flares is empty.

    Raises
    ------
    DataError
        If the file cannot be read, a needed column is missing, or no row is readable.
    """
    path = Path(path)
    return flares_of_columns(read_flare_columns(path), path.name)


def flares_of_columns(columns: FlareColumns, source: str) -> FlareList:
    """Repair the text columns of a flare list and count the repairs; `source` names it in messages.

    DataError if there are rows but none is readable.
    """
    raw = columns.table
    if "method" in raw and len(raw["method"].unique()) > 1:
        return _merge_methods(columns, source)
    rows, repairs = _repaired(raw)
    if len(raw) and rows.empty:
        raise DataError(
            f"`{source}`: none of {len(raw)} rows has a readable start and class; the first has "
            f"`start` {raw['start'].iloc[0][:40]!r} and `goes_class` {raw['goes_class'].iloc[0][:40]!r}; "
            "give times as YYYY-MM-DD HH:MM:SS and classes as M3.1"
        )
    counts = {key: count for key, count in columns.counts.items() if count}
    return FlareList(rows, source, {**counts, **repairs})


def _repaired(raw: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    repairs = dict.fromkeys(REPAIRS, 0)
    rows = pd.DataFrame(index=raw.index)
    rows["start"] = _times(raw["start"])

    goes_class = raw["goes_class"].str.upper()
    comma = goes_class.str.contains(",", regex=False)
    goes_class = goes_class.str.replace(",", ".", regex=False)
    bare = goes_class.str.fullmatch("[ABCMX]")
    goes_class = goes_class.where(~bare, goes_class + "1.0")
    # "X17." and "C8" are cut off by columns of fixed width; they keep the precision that is left.
    goes_class = goes_class.str.replace(r"^([ABCMX][0-9]+)\.?$", r"\1.0", regex=True)
    rows["goes_class"] = goes_class
    rows["flux"] = class_fluxes(goes_class)

    good_start, good_class = rows["start"].notna(), rows["flux"].notna()
    repairs["unreadable_start"] = int((~good_start).sum())
    repairs["unreadable_class"] = int((good_start & ~good_class).sum())
    keep = good_start & good_class
    rows, raw = rows[keep].copy(), raw[keep]
    repairs["decimal_commas"] = int(comma[keep].sum())
    repairs["classes_without_number"] = int(bare[keep].sum())

    for name in ("end", "peak"):
        text, plural = raw[name], name + "s"
        hhmm = text.str.fullmatch("([01][0-9]|2[0-3])[0-5][0-9]")
        times = _times(text.where(~hhmm, ""))
        minutes = 60 * pd.to_numeric(text.str[:2].where(hhmm)) + pd.to_numeric(text.str[2:].where(hhmm))
        completed = rows["start"].dt.normalize() + pd.to_timedelta(minutes, unit="min")
        times = times.where(~hhmm, completed.astype(TIME_DTYPE))
        over = times < rows["start"]
        # Only a time of the same day was left behind by midnight; anything earlier is a different mistake.
        same_day = times.dt.normalize() == rows["start"].dt.normalize()
        rows[name] = times.where(~over, times + pd.Timedelta(days=1)).where(~over | same_day)
        repairs[f"{plural}_completed"] = int(hhmm.sum())
        repairs[f"{plural}_over_midnight"] = int((over & same_day).sum())
        repairs[f"unreadable_{plural}"] = int(rows[name].isna().sum())
    late = rows["peak"] > rows["end"]
    # The class of a flare is known from its peak on; who may not look ahead is safe with the latest possible peak.
    rows["peak"] = rows["peak"].where(rows["peak"].notna() & ~late, rows["end"])
    repairs["peaks_after_end"] = int(late.sum())

    _add_region_and_position(rows, raw, repairs)
    # Order decides which of two equal rows stays: known region first, then the earliest end.
    rows = rows.sort_values(["start", "peak", "flux", "noaa", "end"], na_position="last", kind="stable")
    key = ["start", "peak", "flux"]
    twice = rows.duplicated([*key, "noaa"]) | (rows["noaa"].isna() & rows.duplicated(key))
    repairs["duplicates"] = int(twice.sum())
    return rows[~twice], {key: count for key, count in repairs.items() if count}


def _add_region_and_position(rows: pd.DataFrame, raw: pd.DataFrame, repairs: dict[str, int]) -> None:
    if "noaa" in raw:
        rows["noaa"] = full_region_numbers(raw["noaa"], rows["start"])
        repairs["regions_completed"] = int((rows["noaa"] > pd.to_numeric(raw["noaa"], errors="coerce")).sum())
    else:
        rows["noaa"] = pd.array([pd.NA] * len(rows), dtype="Int64")
    for name, limit in (("lon", 180), ("lat", 90)):
        degrees = pd.to_numeric(raw[name], errors="coerce") if name in raw else pd.Series(np.nan, rows.index)
        inside = degrees.abs() <= limit
        rows[name] = degrees.where(inside).astype("float64")
        repairs["positions_dropped"] += int((degrees.notna() & ~inside).sum())


def _times(text: pd.Series) -> pd.Series:
    """UTC times of ISO 8601 text, with "-" or "/" in the date and with or without a zone; NaT where unreadable."""
    dated = text.where(text.str.match(r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"), "").str.replace("/", "-", regex=False)
    times = pd.to_datetime(dated, format="ISO8601", utc=True, errors="coerce").astype(TIME_DTYPE)
    return times.where((times >= _FIRST) & (times < _LAST))


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
                lists.append(flares_of_columns(FlareColumns(table, {} if lists else columns.counts), source))
            except DataError as error:
                refused = error
    if not lists:
        raise refused or DataError(f"`{source}` holds no flare of any method")
    return functools.reduce(merge_flares, lists)
