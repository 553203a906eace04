"""Region tables on disk: one row per region and time, as Parquet or CSV.

Columns `time` (UTC) and `region`, optionally `harpnum`, `noaa`, `lon`, `lat`, `quality`, and the features by name.
"""

from pathlib import Path

import pandas as pd

from kflare.errors import DataError

__all__ = ["KEY_COLUMNS", "read_region_table", "region_flares_by_noaa"]

KEY_COLUMNS = ("time", "region", "harpnum", "noaa", "lon", "lat", "quality")
"""Columns that identify a row; every other column must be a feature."""


def read_region_table(path: Path) -> pd.DataFrame:
    """Read a region table.

    Parameters
    ----------
    path : Path
        A `.parquet` or `.csv` file.

    Returns
    -------
    DataFrame
        `time` as datetime64[us, UTC], `region` as text, the rest as stored.

    Raises
    ------
    DataError
        No such file, unreadable, empty, without `time` or `region`, or with times that cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no region table {path}: give a Parquet or CSV file")
    try:
        table = pd.read_parquet(path) if _is_parquet(path) else pd.read_csv(path)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path} cannot be read as a region table (Parquet or CSV): {str(error).splitlines()[0]}"
        ) from error
    for name in ("time", "region"):
        if name not in table:
            raise DataError(f"{path} lacks the column `{name}`: it has {', '.join(map(str, table.columns)) or 'none'}")
    if table.empty:
        raise DataError(f"{path} holds no rows")
    try:
        times = pd.to_datetime(table["time"], utc=True)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"`time` of {path} must be a UTC time such as 2014-03-18T12:00Z: {str(error).splitlines()[0]}"
        ) from error
    if times.isna().any():
        raise DataError(f"`time` of {path} is empty in row {int(times.isna().to_numpy().argmax())}")
    return table.assign(time=times.astype("datetime64[us, UTC]"), region=table["region"].astype(str))


def region_flares_by_noaa(table: pd.DataFrame, flares: pd.DataFrame) -> pd.DataFrame:
    """Assign flares to regions through the NOAA numbers of a region table.

    Parameters
    ----------
    table : DataFrame
        A region table with the column `noaa` (0 or empty where unknown).
    flares : DataFrame
        `FlareList.table`.

    Returns
    -------
    DataFrame
        `region`, `start`, `peak`, `flux` (W m^-2), one row per region and flare.
    """
    if "noaa" not in table:
        raise DataError("the region table lacks the column `noaa`, by which flares are assigned to regions")
    numbers = pd.to_numeric(table["noaa"], errors="coerce").astype("Int64")
    pairs = pd.DataFrame({"region": table["region"], "noaa": numbers})
    pairs = pairs[pairs["noaa"].fillna(0) > 0].drop_duplicates()
    return pairs.merge(flares[["noaa", "start", "peak", "flux"]], on="noaa")[["region", "start", "peak", "flux"]]


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"
