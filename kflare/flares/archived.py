"""Flare lists of NOAA's archives: NGDC's yearly reports in fixed columns, and NCEI's flare summaries in netCDF."""

import re
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.io.hdf5_series import read_hdf5_series
from kflare.io.table_file import sound_rows
from kflare.sun.times import times_since

_YEARLY: Final = re.compile(rb"^\s*31[0-9]{3}[0-9]{6}[ *0-9]", re.MULTILINE)
# First and last column of each field, counted from 1: `xray.fmt.rev` of NGDC. Of a clock's field the last is a letter
# where the time is the first or last that was seen, or uncertain.
_FIELDS: Final = {
    "code": (1, 5), "year": (6, 7), "month": (8, 9), "day": (10, 11), "start": (14, 17), "end": (19, 22),
    "peak": (24, 27), "lat": (29, 31), "lon": (32, 34), "letter": (60, 60), "tenths": (61, 64), "satellite": (68, 71),
    "noaa": (80, 85),
}  # fmt: skip
_QUALIFIERS: Final = (18, 23, 28)
_NAMES: Final = ("time", "status", "flare_class", "flare_id")


def is_yearly_report(payload: bytes) -> bool:
    """Whether a file is NGDC's yearly report of GOES flares, which may begin with a title."""
    return _YEARLY.search(payload[:4096]) is not None


def yearly_report_rows(text: str, path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Text columns of NGDC's yearly report (`goes-xrs-report_2014.txt`), and how many times are qualified.

    The class has no point: "M 10" is M1.0. A flare without a region has none; peak and end are times of day.
    """
    lines = pd.Series(text.splitlines(), dtype="str", name="line")
    lines = lines[lines.str.strip() != ""].reset_index(drop=True)
    row = pd.DataFrame({name: lines.str[first - 1 : last].str.strip() for name, (first, last) in _FIELDS.items()})
    good = row["code"].str.fullmatch("31[0-9]{3}") & row["letter"].str.fullmatch("[ABCMX]")
    tenths = pd.to_numeric(row["tenths"], errors="coerce")
    keep, _ = sound_rows(str(path), (lines, good & tenths.notna(), "a line of NGDC's report, with class and intensity"))
    row, tenths = row[keep], tenths[keep]
    # X-rays are reported from 1975 on.
    century = np.where(pd.to_numeric(row["year"], errors="coerce") >= 70, "19", "20")
    table = pd.DataFrame({name: row[name] for name in ("peak", "end", "noaa", "satellite")})
    day = century + row["year"] + "-" + row["month"] + "-" + row["day"]
    # The clock 2400 is the end of the day.
    late = row["start"].eq("2400")
    parsed = pd.to_datetime(day, format="%Y-%m-%d", errors="coerce")
    day = day.where(~late, (parsed + pd.Timedelta(days=1)).dt.strftime("%Y-%m-%d"))
    clock = row["start"].where(~late, "0000")
    table["start"] = day + " " + clock.str[:2] + ":" + clock.str[2:]
    pointed = row["tenths"].str.contains(".", regex=False)
    table["goes_class"] = row["letter"] + (tenths / 10).where(~pointed, tenths).map("{:.1f}".format)
    for name, minus, limit in (("lat", "S", 90), ("lon", "E", 180)):
        degrees = pd.to_numeric(row[name].str[1:], errors="coerce")
        degrees = degrees.where(degrees <= limit) * np.where(row[name].str[:1] == minus, -1, 1)
        table[name] = degrees.map("{:g}".format).replace("nan", "")
    qualified = sum(lines[keep].str[place - 1 : place].str.fullmatch("[A-Z]").sum() for place in _QUALIFIERS)
    return table.reset_index(drop=True), {"times_qualified": int(qualified)}


def summary_rows(path: Path) -> pd.DataFrame:
    """Text columns of NCEI's flare summary (netCDF-4: a record for a flare's begin, peak and end), else DataError."""
    series, _ = read_hdf5_series(path, _NAMES, ("units", "_FillValue"))
    if absent := [name for name in _NAMES if name not in series]:
        fault = f"`{path}` is netCDF, but no flare summary: it lacks `{'`, `'.join(absent)}`"
        raise DataError(f"{fault}; X-ray flux is given as `--xrays` (`read_xray_flux`)")
    columns = {name: found.values for name, found in series.items()}  # noqa: PD011 - of no pandas object
    if len({len(values) for values in columns.values()}) > 1:
        raise DataError(f"`{path}`: `time`, `status`, `flare_class` and `flare_id` must be of one length")
    records = pd.DataFrame(columns)
    time = times_since(records["time"].to_numpy(np.float64), series["time"].attributes.get("units"), str(path))
    records["time"] = pd.to_datetime(pd.Series(time), unit="us", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    rows = {"start": "EVENT_START", "peak": "EVENT_PEAK", "end": "EVENT_END"}
    flares = pd.DataFrame(index=pd.Index(records["flare_id"].unique()))
    for name, status in rows.items():
        flares[name] = records[records["status"] == status].groupby("flare_id")["time"].first()
    flares["goes_class"] = records[records["flare_class"] != ""].groupby("flare_id")["flare_class"].first()
    return flares.fillna("").astype("str").reset_index(drop=True)
