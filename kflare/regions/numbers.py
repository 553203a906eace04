"""Which NOAA and which HARP numbers a detected region has: by position, at the time of the image.

Neither catalogue has the same regions as the detection: one box may hold several numbers, or none.
"""

from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.regions.detection import Detection
from kflare.sun.geometry import common_area, rotated

__all__ = ["harp_numbers", "noaa_numbers"]

_HARP_BOX: Final = ["lon_min", "lon_max", "lat_min", "lat_max"]


def noaa_numbers(
    detection: Detection, srs: pd.DataFrame, *, tolerance_hours: float = 36.0, published: bool = False
) -> list[tuple[int, ...]]:
    """NOAA numbers of each detected region: those whose position, rotated to the time of the image, is in its box.

    Parameters
    ----------
    detection : Detection
        N regions.
    srs : DataFrame
        As from `kflare.flares.srs.read_srs`. The latest report of positions at or before the time of the image is used.
    tolerance_hours : float
        An older report is not used.
    published : bool
        Whether the report must also have been issued by the time of the image, half an hour after it is valid.

    Returns
    -------
    list of N tuples of int
        The region with the largest spots first; empty where no NOAA region is in the box.
    """
    now = pd.Timestamp(detection.time)
    known = srs["issued" if published and "issued" in srs else "time"] <= now
    past = srs["time"][known & (srs["time"] >= now - pd.Timedelta(hours=tolerance_hours))]
    if past.empty or not detection.regions:
        return [()] * len(detection.regions)
    report = srs[srs["time"] == past.max()].sort_values(["area_uhem", "noaa"], ascending=[False, True])
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
