"""GOES flare lists: one table whatever the dialect of the file, with every repair counted.

The catalogues that people pass around carry the same defects: flares over midnight whose end (or peak) kept the date
of the start, decimal commas, times without a date, rows given twice. They are repaired here and nowhere else, and
:meth:`FlareList.report` says how often.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.reading import FlareColumns, read_flare_columns
from kflare.flares.region_numbers import full_region_numbers
from kflare.io.atomic import write_whole

__all__ = ["THRESHOLDS", "FlareList", "class_to_flux", "flux_to_class", "read_flares"]

#: Lowest peak flux of a GOES class in W m^-2 (1-8 Å): "≥ M" means flux >= THRESHOLDS["M"].
THRESHOLDS = {"C": 1e-6, "M": 1e-5, "X": 1e-4}

TIME_DTYPE: Final = "datetime64[us, UTC]"
COLUMNS = ("start", "peak", "end", "goes_class", "flux", "noaa", "lon", "lat")

# Written as exponents so that "M1.0" becomes exactly the float 1e-5, and `>= THRESHOLDS["M"]` holds for it.
_EXPONENT = {"A": "e-8", "B": "e-7", "C": "e-6", "M": "e-5", "X": "e-4"}
_CLASS = re.compile(r"([ABCMX])([0-9]+(?:\.[0-9]*)?)")
# The strongest flare since 1975 is X28; from X10000 on it is a slip of the pen.
_FLUX_LIMIT = 1.0

# X-rays of the Sun are watched since SOLRAD; a flare outside this span is a mistake of the list.
_FIRST, _LAST = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")

# What each repair did, for report().
_REPAIRS = {
    "unreadable_start": "dropped for an unreadable start",
    "unreadable_class": "dropped for an unreadable class",
    "duplicates": "duplicates dropped",
    "ends_over_midnight": "ends moved over midnight (+1 day)",
    "peaks_over_midnight": "peaks moved over midnight (+1 day)",
    "ends_completed": "ends without a date completed",
    "peaks_completed": "peaks without a date completed",
    "unreadable_ends": "ends unreadable, left open",
    "unreadable_peaks": "peaks unreadable, taken as the end",
    "peaks_after_end": "peaks later than the end, taken as the end",
    "decimal_commas": "decimal commas in the class",
    "classes_without_number": "classes without a number, taken as the lowest of the class",
    "regions_completed": "4-digit NOAA numbers completed (+10000)",
    "positions_dropped": "positions outside the disk's coordinates dropped",
    "records_skipped": "entries that are no records left out",
    "not_goes": "events without a GOES class left out",
    "times_qualified": "times marked as before (B), after (A) or uncertain (U), taken as they stand",
    "merged_duplicates": "flares of the second list known to the first",
    "regions_filled": "regions taken from the second list",
    "positions_filled": "positions taken from the second list",
    "times_filled": "peaks or ends taken from the second list",
    "regions_contradicted": "regions on which the second list disagrees, kept from the first",
}


def class_to_flux(goes_class: str) -> float:
    """Peak flux of a GOES class.

    Parameters
    ----------
    goes_class : str
        Letter A, B, C, M or X and a number, such as "M3.1" or "X20".

    Returns
    -------
    float
        1-8 Å peak flux in W m^-2; "M3.1" gives 3.1e-5.

    Raises
    ------
    DataError
        If it is no GOES class.
    """
    match = _CLASS.fullmatch(goes_class.strip().upper()) if isinstance(goes_class, str) else None
    flux = float(match[2] + _EXPONENT[match[1]]) if match else 0.0
    if not 0 < flux < _FLUX_LIMIT:
        raise DataError(
            "`goes_class` must be one of the letters A, B, C, M, X and a number above 0, such as M3.1; "
            f"got {goes_class!r}"
        )
    return flux


def flux_to_class(flux: float) -> str:
    """GOES class of a peak flux, with one decimal.

    The letter follows from the flux itself: 9.99e-6 is below M1.0 and is written "C9.9", never "M1.0".

    Parameters
    ----------
    flux : float
        1-8 Å peak flux in W m^-2, above 0.

    Returns
    -------
    str
        Such as "M3.1"; "A" also below 1e-8.

    Raises
    ------
    DataError
        If `flux` is not positive and finite.
    """
    if not (np.isfinite(flux) and flux > 0):
        raise DataError(f"`flux` must be a peak flux in W m^-2, finite and above 0; got {flux}")
    letter = "A"
    for candidate in "BCMX":
        # Half a unit in the last place and more: 10 * 1e-6 may fall just below 1e-5.
        if flux >= float("1" + _EXPONENT[candidate]) * (1 - 1e-12):
            letter = candidate
    value = round(flux / float("1" + _EXPONENT[letter]), 1)
    return f"{letter}{value if letter == 'X' else min(value, 9.9):.1f}"


@dataclass(frozen=True, eq=False)
class FlareList:
    """Flares in order of their start.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per flare. `start` and `goes_class` are needed; the other columns are filled in where absent:

        ============ ===================== ==========================================================
        start        datetime64[us, UTC]   begin of the flare
        peak, end    datetime64[us, UTC]   NaT = unknown
        goes_class   str                   such as "M3.1"
        flux         float64, W m^-2       peak flux, follows from `goes_class`
        noaa         Int64                 NOAA active region number, <NA> = none or unknown
        lon, lat     float64, degree       NaN = unknown
        ============ ===================== ==========================================================
    source : str
        File or simulation that it came from, for messages.
    repairs : dict of str to int
        How often each defect was repaired.

    Raises
    ------
    DataError
        If a needed column is missing, a start unknown or naive, or a class unreadable.
    """

    table: pd.DataFrame
    source: str
    repairs: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen = self.table
        for name in ("start", "goes_class"):
            if name not in seen.columns:
                raise DataError(f"`{self.source}`: a flare list needs the column `{name}`; it has {list(seen.columns)}")
        rows = pd.DataFrame(index=seen.index)
        for name in ("start", "peak", "end"):
            given = seen[name] if name in seen.columns else pd.Series(pd.NaT, seen.index)
            rows[name] = _as_utc(given, name, self.source)
        if rows["start"].isna().any():
            raise DataError(
                f"`{self.source}`: every flare needs a `start`; {int(rows['start'].isna().sum())} have none"
            )
        rows["goes_class"] = seen["goes_class"].astype("str")
        rows["flux"] = class_fluxes(rows["goes_class"])
        if rows["flux"].isna().any():
            value = rows["goes_class"][rows["flux"].isna()].iloc[0]
            raise DataError(f"`{self.source}`: `goes_class` must be like M3.1, got {value!r}")
        rows["noaa"] = (
            seen["noaa"].astype("Int64") if "noaa" in seen.columns else pd.array([pd.NA] * len(seen), "Int64")
        )
        for name in ("lon", "lat"):
            rows[name] = seen[name].astype("float64") if name in seen.columns else np.nan
        rows = rows.sort_values("start", kind="stable", ignore_index=True)
        object.__setattr__(self, "table", rows)
        object.__setattr__(self, "repairs", dict(self.repairs))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Start of the first and of the last flare, aware UTC. An empty list has none: DataError."""
        if self.table.empty:
            raise DataError(f"`{self.source}` holds no flare, so it covers no span of time")
        start = self.table["start"]
        return start.iloc[0].to_pydatetime(), start.iloc[-1].to_pydatetime()

    def of_region(self, noaa: int) -> "FlareList":
        """Flares of one NOAA active region, by its full number (11875, not 1875)."""
        return self._where(self.table["noaa"].eq(noaa).fillna(value=False).to_numpy(dtype=bool))

    def between(self, t0: datetime, t1: datetime) -> "FlareList":
        """Flares that start in [t0, t1); both must be aware."""
        for name, value in (("t0", t0), ("t1", t1)):
            if value.utcoffset() is None:
                raise DataError(f"`{name}` must carry a time zone (UTC), got {value!r}")
        start = self.table["start"]
        return self._where(((start >= t0) & (start < t1)).to_numpy(dtype=bool))

    def report(self) -> str:
        """One line: how many flares, from where, and what was repaired."""
        done = [f"{count} {_REPAIRS.get(key, key)}" for key, count in self.repairs.items() if count]
        return f"{len(self)} flares in `{self.source}`: {', '.join(done) or 'nothing to repair'}"

    def write_csv(self, path: Path) -> None:
        """Write kflare's plain CSV (start, peak, end, goes_class, noaa, lon, lat; times in UTC with Z)."""
        plain = self.table.drop(columns="flux")
        for name in ("start", "peak", "end"):
            plain[name] = plain[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        write_whole(path, plain.to_csv(index=False))

    def _where(self, keep: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "FlareList":
        return FlareList(self.table[keep], self.source, self.repairs)


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

    Raises
    ------
    DataError
        If there are rows but none is readable.
    """
    raw = columns.table
    if "method" in raw and len(raw["method"].unique()) > 1:
        from kflare.flares.merging import merge_methods

        return merge_methods(columns, source)
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
    repairs = dict.fromkeys(_REPAIRS, 0)
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


def class_fluxes(goes_class: pd.Series) -> pd.Series:
    """Peak fluxes in W m^-2, float64; NaN where the class is unreadable, 0, or X10000 and more."""
    parts = goes_class.str.extract(r"^([ABCMX])([0-9]+(?:\.[0-9]*)?)$")
    flux = pd.to_numeric(parts[1] + parts[0].map(_EXPONENT), errors="coerce").astype("float64")
    return flux.where((flux > 0) & (flux < _FLUX_LIMIT))


def _as_utc(times: pd.Series, name: str, source: str) -> pd.Series:
    if not isinstance(times.dtype, pd.DatetimeTZDtype) and times.notna().any():
        first = times.dropna().iloc[0]
        if getattr(first, "tzinfo", None) is None:
            raise DataError(f"`{source}`: `{name}` must hold times with a zone (UTC), got {first!r}")
    return pd.to_datetime(times, utc=True).astype(TIME_DTYPE)
