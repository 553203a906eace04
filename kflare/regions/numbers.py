"""Which NOAA and which HARP numbers a detected region has: by position, at the time of the image.

Neither catalogue has the same regions as the detection: one box may hold several numbers, or none.
"""

import csv
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.regions.detection import Detection
from kflare.sun.geometry import common_area, rotated

__all__ = ["harp_numbers", "noaa_numbers", "read_srs"]

_SRS_COLUMNS: Final = ("ar_noaanum", "LOCATION", "AREA", "date")
_HARP_BOX: Final = ["lon_min", "lon_max", "lat_min", "lat_max"]


def read_srs(path: str | Path) -> pd.DataFrame:
    """Read NOAA's Solar Region Summary (SRS): a daily text of SWPC (`20131023SRS.txt`), or a table of many days.

    Parameters
    ----------
    path : str or pathlib.Path
        The text as SWPC issues it, or a CSV with the columns `ar_noaanum`, `LOCATION` ("N07E04"), `AREA` (µHem) and
        `date`.

    Returns
    -------
    DataFrame
        `time` (datetime64[us, UTC], 00 UT of the day of issue, for which the positions are valid), `noaa` (int64),
        `lon`, `lat` (Stonyhurst degrees, west and north positive), `area_uhem` (0 = plage without spots); sorted by
        time. Regions that are due to return are left out.

    Raises
    ------
    DataError
        No such file, another kind of file, or a row that cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no Solar Region Summary `{path}`: give SWPC's daily text or a CSV of many days")
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    table = _read_csv(path) if set(_SRS_COLUMNS) <= set(header) else _read_text(path)
    return table.sort_values("time", kind="stable", ignore_index=True)


def noaa_numbers(detection: Detection, srs: pd.DataFrame, *, tolerance_hours: float = 36.0) -> list[tuple[int, ...]]:
    """NOAA numbers of each detected region: those whose position, rotated to the time of the image, is in its box.

    Parameters
    ----------
    detection : Detection
        N regions.
    srs : DataFrame
        As from `read_srs`. The latest report of positions at or before the time of the image is used.
    tolerance_hours : float
        An older report is not used.

    Returns
    -------
    list of N tuples of int
        In order; empty where no NOAA region is in the box.
    """
    now = pd.Timestamp(detection.time)
    past = srs["time"][(srs["time"] <= now) & (srs["time"] >= now - pd.Timedelta(hours=tolerance_hours))]
    if past.empty or not detection.regions:
        return [()] * len(detection.regions)
    report = srs[srs["time"] == past.max()].sort_values("noaa")
    seconds = (now - past.max()).total_seconds()
    lon = rotated(report["lon"], report["lat"], seconds=seconds)
    x, y, visible = detection.geometry.pixel(lon, report["lat"])
    found = []
    for x0, y0, x1, y1 in detection.boxes():
        inside = visible & (x >= x0 - 0.5) & (x < x1 - 0.5) & (y >= y0 - 0.5) & (y < y1 - 0.5)
        found.append(tuple(int(number) for number in report["noaa"][inside]))
    return found


def harp_numbers(
    detection: Detection, harps: pd.DataFrame, *, tolerance_hours: float = 6.0, overlap: float = 0.5
) -> list[tuple[int, ...]]:
    """HARP numbers of each detected region: those whose box, rotated to the time of the image, overlaps enough with it.

    Parameters
    ----------
    detection : Detection
        N regions.
    harps : DataFrame
        `time` (UTC), `harpnum`, and the box `lon_min`, `lon_max`, `lat_min`, `lat_max` (LON_MIN, ... of the SHARP
        keywords; Stonyhurst degrees). Of each HARP the record nearest in time is used.
    tolerance_hours : float
        Records farther in time are not used.
    overlap : float
        Least share of the smaller of both boxes that both have in common. Reconstruction.

    Returns
    -------
    list of N tuples of int
        In order, the HARP with the largest common area first; empty where there is none.

    Raises
    ------
    DataError
        If a column is missing.
    """
    absent = [name for name in ("time", "harpnum", *_HARP_BOX) if name not in harps]
    if absent:
        raise DataError(f"the table of HARPs lacks the column `{'`, `'.join(absent)}`: give their boxes, LON_MIN, ...")
    away = (harps["time"] - pd.Timestamp(detection.time)).abs()
    near = harps[(away <= pd.Timedelta(hours=tolerance_hours)) & harps[_HARP_BOX].notna().all(axis=1)]
    near = near.loc[away[near.index].sort_values(kind="stable").index].drop_duplicates("harpnum")
    if near.empty or not detection.regions:
        return [()] * len(detection.regions)
    theirs = near[_HARP_BOX].to_numpy(np.float64, copy=True)
    middle, latitude = theirs[:, :2].mean(axis=1), theirs[:, 2:].mean(axis=1)
    seconds = (pd.Timestamp(detection.time) - near["time"]).dt.total_seconds()
    theirs[:, :2] += (rotated(middle, latitude, seconds=seconds) - middle)[:, np.newaxis]
    ours = np.array([[r.lon_min, r.lon_max, r.lat_min, r.lat_max] for r in detection.regions])
    common = common_area(ours, theirs)
    least = np.minimum(common_area(ours, ours).diagonal()[:, np.newaxis], common_area(theirs, theirs).diagonal())
    number = near["harpnum"].to_numpy(np.int64)
    enough = (common > 0) & (common >= overlap * least)
    return [
        tuple(int(number[i]) for i in np.argsort(-row, kind="stable") if good[i])
        for row, good in zip(common, enough, strict=True)
    ]


def _read_csv(path: Path) -> pd.DataFrame:
    seen = pd.read_csv(path, usecols=list(_SRS_COLUMNS), dtype=str)
    place = seen["LOCATION"].str.extract(r"^\s*([NS])(\d\d)([EW])(\d{2,3})\s*$")
    time = pd.to_datetime(seen["date"], format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")
    noaa, area = (pd.to_numeric(seen[name], errors="coerce") for name in ("ar_noaanum", "AREA"))
    bad = place.isna().any(axis=1) | time.isna() | noaa.isna()
    if bad.any():
        row = seen[bad].iloc[0]
        raise DataError(
            f"`{path}`: `LOCATION` must be like N07E04, `date` a time and `ar_noaanum` a number, got "
            f"{row['LOCATION']!r}, {row['date']!r} and {row['ar_noaanum']!r} in row {int(bad.to_numpy().argmax())}"
        )
    lon = place[3].astype("float64") * np.where(place[2] == "W", 1, -1)
    lat = place[1].astype("float64") * np.where(place[0] == "N", 1, -1)
    return _table(path, time, {"noaa": noaa, "lon": lon, "lat": lat, "area_uhem": area.fillna(0)})


def _read_text(path: Path) -> pd.DataFrame:
    from sunpy.io.special.srs import read_srs as read_text

    try:
        report = read_text(path)
        placed = report[[str(section) in {"I", "IA"} for section in report["ID"]]]
        columns = {
            name: pd.Series(np.ma.filled(np.ma.asarray(getattr(placed[key], "value", placed[key]), np.float64), 0.0))
            for name, key in (("noaa", "Number"), ("lon", "Longitude"), ("lat", "Latitude"), ("area_uhem", "Area"))
        }
        issued = pd.Timestamp(report.meta["issued"], tz="UTC")
    # sunpy's reader raises IndexError, KeyError, ValueError and astropy's errors on what is no report.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"`{path}` is no Solar Region Summary that can be read: {reason}") from error
    time = pd.Series([issued] * len(placed), dtype="datetime64[us, UTC]")
    return _table(path, time, columns)


def _table(path: Path, issued: "pd.Series[Any]", columns: dict[str, "pd.Series[Any]"]) -> pd.DataFrame:
    for name, limit in (("lon", 180), ("lat", 90)):
        wrong = ~columns[name].abs().le(limit)
        if wrong.any():
            raise DataError(
                f"`{path}`: `{name}` must lie in [-{limit}, {limit}] degrees, got {columns[name][wrong].iloc[0]} in "
                f"row {int(wrong.to_numpy().argmax())}"
            )
    # Issued at 00:30 UT or later, with positions valid at 00 UT of that day.
    table = pd.DataFrame({"time": issued.dt.normalize(), **columns})
    return table.astype({"noaa": "int64", "lon": "float64", "lat": "float64", "area_uhem": "float64"})
