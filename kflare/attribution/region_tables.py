"""Where the active regions were, and the SHARP parameters that they had: tables to relate attribution maps to.

NOAA's Solar Region Summary (SRS) is issued at 00:30 UT with positions valid at 00 UT of that day, the time of the
magnetograms of Yi et al. (2021). The daily SHARP table (`kflare.sharp.daily`) cannot place a region.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.srs import is_srs, read_srs
from kflare.io.payload import format_of
from kflare.io.table_file import numbers, whole_numbers
from kflare.sharp.keywords import HARP_BOX, SHARP_KEYWORDS, harp_box, read_sharp_header


def read_regions(path: str | Path) -> pd.DataFrame:
    """Read the positions of active regions: an SRS table or a folder of such, a region table, or a SHARP's FITS file.

    An SRS in any form that `kflare.flares.srs.read_srs` takes, or a region table (CSV or Parquet) with `time`,
    `region`, `lon`, `lat` and, where known, `noaa`, `AREA_ACR`, `lon_min`, `lon_max`, `lat_min`, `lat_max`. Columns of
    the result: `time` (datetime64[us, UTC], when the position was valid), `region`, `noaa` (Int64, <NA> = none), `lon`,
    `lat` (Stonyhurst degrees, west and north positive), and of the size `extent` and those named (NaN = unknown).
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no table of regions {path}: give an SRS table, a region table or the FITS file of a SHARP")
    begin = b""
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(4096)
    if format_of(begin) == "FITS":
        return _complete(read_sharp_box(path), path)
    if path.is_dir() or is_srs(begin):
        srs = read_srs(path)
        return _complete(srs.assign(region="NOAA " + srs["noaa"].astype(str)), path)
    if b"Longitude;Latitude" in begin.partition(b"\n")[0]:
        fault = f"{path} holds positions without sign, which cannot place a region"
        raise DataError(f"{fault}: give an SRS or region table, and this file for the SHARP parameters (`--sharp`)")
    from kflare.datasets.region_table import read_region_table

    return _complete(read_region_table(path), path)


def read_sharp_box(path: str | Path) -> pd.DataFrame:
    """One-row region table of a SHARP's FITS file: box in Stonyhurst degrees, `lon`, `lat` its middle, not of flux."""
    table = read_sharp_header(path)
    box = harp_box(path)
    middle = {"lon": (box["lon_min"] + box["lon_max"]) / 2, "lat": (box["lat_min"] + box["lat_max"]) / 2}
    return table.assign(**box, **middle)


def _complete(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if absent := [name for name in ("lon", "lat") if name not in table]:
        seen = ", ".join(map(str, table.columns))
        fault = f"{path} lacks the column `{'`, `'.join(absent)}`: a region's position in Stonyhurst degrees"
        raise DataError(f"{fault}; it has {seen}")
    for name in ("extent", "AREA_ACR", *HARP_BOX):
        if name not in table:
            table[name] = np.nan
    if "noaa" not in table:
        table["noaa"] = pd.array([pd.NA] * len(table), "Int64")
    table["noaa"] = whole_numbers(table["noaa"], str(path), most=99_999).replace(0, pd.NA)
    for name, limit in (("lon", 180), ("lat", 90)):
        table[name] = numbers(table[name])
        if (wrong := ~table[name].abs().le(limit)).any():
            seen = f"got {table[name][wrong].iloc[0]} in row {wrong.to_numpy().argmax()}"
            raise DataError(f"`{path}`: `{name}` must lie in [-{limit}, {limit}] degrees, {seen}")
    return table.sort_values("time", kind="stable", ignore_index=True)


def with_sharp(regions: pd.DataFrame, sharp: pd.DataFrame, *, tolerance_hours: float = 12.0) -> pd.DataFrame:
    """Add to each region the SHARP parameters (NaN = no record) of its record nearest in time, and `sharp_hours`.

    `sharp_hours` is record minus region time. With the daily table a tight tolerance leaves out just the regions that
    are about to flare: their records stand 24 h before the flare, at any hour.
    """
    left = regions.reset_index(drop=True).drop(columns=[*SHARP_KEYWORDS], errors="ignore")
    key = left.assign(_row=np.arange(len(left)), _noaa=left["noaa"].fillna(-1).astype("int64"))
    key = key[["_row", "_noaa", "time"]].sort_values("time", kind="stable")
    right = sharp[sharp["noaa"].notna()].assign(_noaa=lambda table: table["noaa"].astype("int64"))
    right = right.assign(_record=right["time"])[["time", "_noaa", "_record", *SHARP_KEYWORDS]]
    left_on = key.assign(time=key["time"].astype("datetime64[us, UTC]"))
    options = {"direction": "nearest", "tolerance": pd.Timedelta(hours=tolerance_hours)}
    found = pd.merge_asof(left_on, right.sort_values("time", kind="stable"), on="time", by="_noaa", **options)
    found = found.sort_values("_row", ignore_index=True)
    hours = (found["_record"] - found["time"]).dt.total_seconds() / 3600
    return left.assign(sharp_hours=hours, **{name: found[name] for name in SHARP_KEYWORDS})
