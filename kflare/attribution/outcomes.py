"""What came after the forecasts of an export: flares of the disk and of each region, and the outcome of each image."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.flares.catalogue import FlareList
from kflare.flares.labels import LEAD_HOURS, disk_flux, reaches, region_flux, windows_told
from kflare.flares.region_numbers import outcome_assigned
from kflare.io.arrays import ArrayLike, Float64Array
from kflare.sun.disk import FULL_DISK

OUTCOMES: Final = ("hit", "miss", "false alarm", "null")
"""Of a full-disk forecast, in the order of Table 2 of Yi et al. (2021)."""


def named_outcomes(probability: ArrayLike, event: ArrayLike, *, threshold: float = 0.5) -> npt.NDArray[np.str_]:
    """The outcome of each forecast, of `OUTCOMES`; 0.5: the higher score decides (Yi et al. 2021, section 3.1)."""
    yes, occurred = np.asarray(probability) >= threshold, np.asarray(event, dtype=bool)
    return np.select([yes & occurred, ~yes & occurred, yes], OUTCOMES[:3], OUTCOMES[3])


def flux_of_regions(times: pd.Series, noaa: pd.Series, flares: FlareList) -> Float64Array:
    """Peak flux (W m^-2, 0 = none) of each region's largest flare within 24 h; NaN where it is not known."""
    flux = np.full(len(noaa), np.nan)
    if (numbered := noaa.notna().to_numpy() & outcome_assigned(times, flares)).any():
        samples = pd.DataFrame({"time": times[numbered], "region": noaa[numbered].astype("Int64")})
        known = flares.table.dropna(subset="noaa").rename(columns={"noaa": "region"})
        flux[numbered] = region_flux(samples, known[["region", "start", "flux"]])
    return flux


@dataclass(frozen=True)
class ExportOutcomes:
    """Compares the forecasts of an export with a flare list."""

    flares: FlareList  # an image whose 24 h it does not cover gets no outcome
    event: str  # class that the model forecasts: "C" or "M"
    threshold: float  # probability from which the forecast is "yes"

    def of(self, rows: pd.DataFrame) -> tuple[Float64Array, npt.NDArray[np.object_]]:
        """`flux24` and `outcome` of each row of a table with the columns of `value_table.ValueTable`."""
        times = rows["forecast_time"]
        covered = windows_told(times, times + pd.Timedelta(hours=LEAD_HOURS), self.flares.told)
        largest = np.full(len(rows), np.nan)
        flux = largest.copy()
        if covered.any():
            largest[covered] = disk_flux(times[covered], self.flares)
            flux[covered] = flux_of_regions(times[covered], rows["noaa"][covered], self.flares)
        names = named_outcomes(rows["probability"], reaches(largest, self.event), threshold=self.threshold)
        own = np.where(rows["region"] == FULL_DISK, largest, flux)
        return own, np.where(covered, names.astype(object), np.array(None))
