"""Forecasts joined with what happened, as one table for `kflare.verification`."""

from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd

from kflare.flares.catalogue import THRESHOLDS
from kflare.operations.flare_records import Current
from kflare.operations.forecast import Forecast
from kflare.operations.ledger import Ledger
from kflare.operations.marks import Probability

__all__ = ["FULL_DISK", "outcomes"]

FULL_DISK: Final = "full disk"
_COLUMNS: Final = (
    "time", "window_start", "window_end", "region", "method", "threshold", "probability", "calibrated", "observed",
)  # fmt: skip


def outcomes(ledger: Ledger, since: datetime, until: datetime, *, as_of: datetime | None = None) -> pd.DataFrame:
    """Every probability of the forecasts issued in since <= issue < until, with its outcome.

    A full-disk event is a flare of the class or above that starts in the window, wherever on the Sun (paper 2, section
    3.2: flares of no region are missed by the forecast "but included in evaluations"). A region's event is one of a
    NOAA region that any forecast gave the region, whenever.

    Parameters
    ----------
    ledger : Ledger
        Forecasts and flares.
    since, until : datetime.datetime
        Aware.
    as_of : datetime.datetime, optional
        Score against the flare list as it was known then; by default as it is known now.

    Returns
    -------
    DataFrame
        `time` (issue), `window_start`, `window_end` (UTC), `region` ("full disk" or its persistent name), `method`
        ("kflare", of the regions, or "cnn"), `threshold` ("C" or "M"), `probability` (network's output; the calibrated
        one where no network was asked), `calibrated`, `observed` (1.0, 0.0; NaN while the flare list does not cover the
        window, and for a region without a NOAA number while a flare without a region could be its own).
    """
    forecasts = [cycle for cycle in ledger.cycles(since, until) if isinstance(cycle, Forecast)]
    if not forecasts:
        return pd.DataFrame(columns=list(_COLUMNS))
    flares = ledger.flares(
        min(forecast.window_start for forecast in forecasts),
        max(forecast.window_end for forecast in forecasts),
        as_of=as_of,
    )
    numbers = ledger.noaa_numbers()
    rows = []
    for forecast in forecasts:
        span = (forecast.issue, forecast.window_start, forecast.window_end)
        inside = _inside(flares, forecast)
        for method, given in (("kflare", forecast.full_disk), ("cnn", forecast.cnn)):
            for threshold, probability in given.items():
                observed = np.nan if inside is None else float(_any(inside, threshold))
                rows.append((*span, FULL_DISK, method, threshold, *_pair(probability), observed))
        for region in forecast.regions:
            for threshold, probability in region.probability.items():
                observed = np.nan if inside is None else _of_region(inside, numbers[region.region], threshold)
                rows.append((*span, region.region, "kflare", threshold, *_pair(probability), observed))
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    for name in ("time", "window_start", "window_end"):
        table[name] = pd.to_datetime(table[name], utc=True)
    return table


def _inside(flares: Current, forecast: Forecast) -> pd.DataFrame | None:
    """The flares of a forecast's window; None while the list does not cover it."""
    if not flares.covers(forecast.window_start, forecast.window_end):
        return None
    start = flares.table["start"]
    return flares.table[(start >= forecast.window_start) & (start < forecast.window_end)]


def _any(flares: pd.DataFrame, threshold: str) -> bool:
    return bool((flares["flux"] >= THRESHOLDS[threshold]).any())


def _of_region(flares: pd.DataFrame, numbers: set[int], threshold: str) -> float:
    if _any(flares[flares["noaa"].isin(numbers)], threshold):
        return 1.0
    if not numbers and _any(flares[flares["noaa"].isna()], threshold):
        return float("nan")
    return 0.0


def _pair(probability: Probability) -> tuple[float, float | None]:
    return probability.deciding, probability.calibrated
