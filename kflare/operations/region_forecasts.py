"""Every region on the disk, forecast or not and why."""

from datetime import datetime, timedelta

import pandas as pd

from kflare.flares.catalogue import FlareList
from kflare.operations.flare_records import flare_texts
from kflare.operations.forecast import RegionForecast, RegionStatus
from kflare.operations.measurement import MeasuredDisk
from kflare.operations.questions import Answers

__all__ = ["region_forecasts"]


def region_forecasts(
    disk: MeasuredDisk, usable: pd.Series | None, answers: Answers, flares: FlareList | None
) -> tuple[RegionForecast, ...]:
    """The regions of a disk with what the models answered, and their flares of the last 24 h.

    `usable` (bool) are the rows of the disk's table that the models were asked about, None if they were not asked;
    `answers` hold one answer per usable row, in order.
    """
    size = disk.measured.magnetogram.data.shape[0]
    asked = [] if usable is None else list(disk.table.index[usable])
    found = []
    for index, region in enumerate(disk.measured.detection.regions):
        row = disk.table.loc[index]
        noaa = tuple(map(int, row["noaas"].split()))
        place = asked.index(index) if index in asked else None
        probability = {} if place is None else {name: one[place] for name, one in answers.probability.items()}
        imputed = answers.imputed[place] if probability and answers.imputed and place is not None else None
        status: RegionStatus
        if region.limb:
            status = "limb"
        elif place is None and pd.isna(row["USflux"]):
            status = "no data"
        else:
            status = "forecast" if probability else "no answer"
        found.append(
            RegionForecast(
                number=region.number,
                region=str(row["region"]),
                noaa=noaa,
                harp=() if pd.isna(row["harpnum"]) else (int(row["harpnum"]),),
                lon=region.lon,
                lat=region.lat,
                box=tuple(min(max(edge / size, 0.0), 1.0) for edge in region.box),
                status=status,
                probability=probability,
                imputed=imputed,
                remarks=(
                    *([f"{imputed} features imputed"] if imputed else ()),
                    *(["no NOAA number"] if not noaa else ()),
                ),
                recent_flares=_recent(noaa, disk.measured.time, flares),
            )
        )
    return tuple(found)


def _recent(numbers: tuple[int, ...], time: datetime, flares: FlareList | None) -> tuple[str, ...]:
    """Flares of class C and above of the last 24 h."""
    if flares is None or not numbers:
        return ()
    table = flares.table
    own = table[table["noaa"].isin(numbers) & (table["start"] > time - timedelta(hours=24)) & (table["start"] <= time)]
    return flare_texts(own)
