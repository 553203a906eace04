"""Region tables on disk: one row per region and time, as Parquet or CSV.

Columns `time` (UTC) and `region`, optionally `harpnum`, `noaa`, `lon`, `lat`, `quality`, and the features by name.
Tables of `kflare.features` tell more: `noaas` (all NOAA numbers in the box, with blanks between them), `status`
("forecast", or why not), the box, and `missing` (why which feature is empty).
"""

from pathlib import Path
from typing import Final

import pandas as pd

from kflare.errors import DataError
from kflare.io.stored_table import stored_rows
from kflare.io.table_file import read_table, whole_numbers

KEYS: Final = {row["name"]: (row["type"], row["unit"]) for row in stored_rows("kflare.datasets", "region_columns.csv")}
"""Columns that identify or describe a row, in order, with type and unit; every other column must be a feature."""

KEY_COLUMNS: Final = tuple(KEYS)


def read_region_table(path: Path) -> pd.DataFrame:
    """Read a region table from a `.parquet` or `.csv` file.

    Gives `time` as datetime64[us, UTC] (UTC where it has no zone), `region` as text, the rest as stored; rows numbered
    0 to N - 1. DataError: no such file, unreadable, empty, without `time` or `region`, with an empty `region`, or with
    times that are not of ISO 8601.
    """
    path = Path(path)
    table = read_table(path, "region table")
    table = table.reset_index(drop=True)
    for name in ("time", "region"):
        if name not in table:
            raise DataError(f"{path} lacks the column `{name}`: it has {', '.join(map(str, table.columns)) or 'none'}")
        if table.empty:
            raise DataError(f"{path} holds no rows")
        if table[name].isna().any():
            raise DataError(f"`{name}` of {path} is empty in row {int(table[name].isna().to_numpy().argmax())}")
    return table.assign(time=_utc_times(table["time"], path), region=table["region"].astype(str))


def region_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """NOAA numbers of regions, of `noaa` (0 or empty: none) or `noaas`: `time`, `region`, `noaa` (Int64) a row."""
    keys = table[[name for name in ("time", "region") if name in table]]
    found = []
    if "noaa" in table:
        found.append(keys.assign(noaa=_noaa_numbers(table["noaa"])))
    if "noaas" in table:
        cells = table["noaas"].astype("str").str.split(r"[\s,;]+").explode()
        found.append(keys.loc[cells.index].assign(noaa=_noaa_numbers(cells).array))
    if not found:
        raise DataError("the region table lacks the column `noaa`, by which flares are assigned to regions")
    pairs = pd.concat(found)
    return pairs[pairs["noaa"].fillna(0) > 0].drop_duplicates(ignore_index=True)


def region_flares_by_noaa(table: pd.DataFrame, flares: pd.DataFrame) -> pd.DataFrame:
    """Flares (`region`, `start`, `peak`, `flux`, W m^-2) of all numbers that regions ever have: labels, not history."""
    pairs = region_numbers(table)[["region", "noaa"]].drop_duplicates()
    return pairs.merge(flares[["noaa", "start", "peak", "flux"]], on="noaa")[["region", "start", "peak", "flux"]]


def _noaa_numbers(column: pd.Series) -> pd.Series:
    return whole_numbers(column, "region table", most=99_999, rule="be one NOAA region number (0 or empty = none)")


def _utc_times(times: pd.Series, path: Path) -> pd.Series:
    # pandas would take a bare number for a time since 1970, of a unit that changes with its version.
    bare = times.map(lambda one: isinstance(one, int | float)) if times.dtype == object else times.notna()
    if pd.api.types.is_numeric_dtype(times) or (times.dtype == object and bare.any()):
        rule = f"`time` of {path} must be a UTC time such as 2014-03-18T12:00Z"
        raise DataError(f"{rule}, got the number {times[bare].iloc[0]}")
    try:
        # A fixed format, since pandas would guess what 03/04/2014 means.
        return pd.to_datetime(times, utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    except (ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"`time` of {path} must be a UTC time such as 2014-03-18T12:00Z: {reason}") from error
