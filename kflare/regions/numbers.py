"""Which NOAA and which HARP numbers a detected region has: by position, at the time of the image.

Neither catalogue has the same regions as the detection: one box may hold several numbers, or none.
"""

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.regions.detection import Detection
from kflare.sharp.keywords import HARP_BOX
from kflare.sun.geometry import in_box, overlapping, rotated

__all__ = ["harp_numbers", "noaa_numbers"]


def noaa_numbers(
    detection: Detection, srs: pd.DataFrame, *, tolerance_hours: float = 36.0, published: bool = False
) -> list[tuple[int, ...]]:
    """NOAA numbers of each detected region: those whose position, rotated to the time of the image, is in its box.

    Of `srs` (`kflare.flares.srs.read_srs`) the latest report of positions at or before the time of the image is used,
    if it is no older than `tolerance_hours`; if `published`, it must also have been issued by then, half an hour after
    it is valid. The region with the largest spots comes first.
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
    return [tuple(report["noaa"][visible & in_box(x, y, box)].tolist()) for box in detection.boxes()]


def harp_numbers(
    detection: Detection, harps: pd.DataFrame, *, tolerance_hours: float = 6.0, overlap: float = 0.5
) -> list[tuple[int, ...]]:
    """HARP numbers of each detected region: those whose box, rotated to the time of the image, overlaps enough with it.

    `harps` has `time` (UTC), `harpnum`, and the box `lon_min`, `lon_max`, `lat_min`, `lat_max` (LON_MIN, ... of the
    SHARP keywords; Stonyhurst degrees), else `DataError`; of each HARP the record nearest in time within the tolerance
    is used. `overlap` is the least share of the smaller of both boxes that both have in common; reconstruction. The
    HARP with the largest common area comes first.
    """
    absent = [name for name in ("time", "harpnum", *HARP_BOX) if name not in harps]
    if absent:
        raise DataError(f"the table of HARPs lacks the column `{'`, `'.join(absent)}`: give their boxes, LON_MIN, ...")
    away = (harps["time"] - pd.Timestamp(detection.time)).abs()
    near = harps[(away <= pd.Timedelta(hours=tolerance_hours)) & harps[list(HARP_BOX)].notna().all(axis=1)]
    near = near.loc[away[near.index].sort_values(kind="stable").index].drop_duplicates("harpnum")
    if near.empty or not detection.regions:
        return [()] * len(detection.regions)
    theirs = near[list(HARP_BOX)].to_numpy(np.float64)
    seconds = (pd.Timestamp(detection.time) - near["time"]).dt.total_seconds()
    ours = np.array([[r.lon_min, r.lon_max, r.lat_min, r.lat_max] for r in detection.regions])
    common, enough = overlapping(ours, theirs, seconds=seconds, share=overlap)
    number = near["harpnum"].to_numpy(np.int64)
    return [
        tuple(int(number[i]) for i in np.argsort(-row, kind="stable") if good[i])
        for row, good in zip(common, enough, strict=True)
    ]
