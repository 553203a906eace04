"""The daily SHARP table of NOAA regions (alciomarhollanda/DATA-SET-FOR-SOLAR-FLARE-PREDICTION), for its parameters.

Its positions have **no sign** (no E/W, no N/S) and are valid at 00 UT of the record's day where its label is 0 and of
the next day where it is 1, so it cannot place a region. It is also chosen by the future: a record at 23:48 where no ≥M
flare follows, 24 h before the flare where one does.
"""

from pathlib import Path

import pandas as pd

from kflare.errors import DataError
from kflare.io.table_file import numbers, read_table, whole_numbers
from kflare.sharp.keywords import GRADIENTS, PIXELS_PER_MM, SHARP_KEYWORDS, read_sharp_table, tai_times


def read_sharp_daily(path: str | Path) -> pd.DataFrame:
    """Read the daily SHARP table of NOAA regions.

    It is a `;`-separated CSV with `T_REC` (TAI), `NOAA_AR` and SHARP keywords, or what `read_sharp_table` reads.
    Of it come `time` (datetime64[us, UTC]), `noaa` (Int64) and the 16 parameters in the units of
    `kflare.sharp.keywords.UNITS` (the gradients converted from G/pixel to G/Mm), sorted by time. DataError if there is
    no such file, or a column is missing or unreadable.
    """
    path = Path(path)
    if path.suffix == ".parquet" and path.is_file():
        return read_sharp_table(path)
    seen = read_table(path, "table of SHARP parameters", sep=";")
    if {"T_REC", "HARPNUM"} <= set(",".join(map(str, seen)).split(",")):
        return read_sharp_table(path)
    if absent := [name for name in ("T_REC", "NOAA_AR", *SHARP_KEYWORDS) if name not in seen]:
        raise DataError(f"{path} lacks the column `{'`, `'.join(absent)}`: give the daily table of SHARP parameters")
    time = tai_times(seen["T_REC"])
    if time.isna().any():
        raise DataError(f"{path}: `T_REC` must be a time, got {seen['T_REC'][time.isna()].iloc[0]!r}")
    table = pd.DataFrame({"time": time, "noaa": whole_numbers(seen["NOAA_AR"], str(path), most=99_999)})
    for name in SHARP_KEYWORDS:
        table[name] = numbers(seen[name]) * (PIXELS_PER_MM if name in GRADIENTS else 1.0)
    return table.sort_values("time", kind="stable", ignore_index=True)
