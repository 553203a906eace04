"""Regions of one cycle: found, recognised, numbered, measured, and completed with what the ledger knows of before."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY, add_changes, add_history
from kflare.datasets.region_features import with_changes
from kflare.datasets.region_run import TOLERANCES
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.operations.inputs import Inputs
from kflare.operations.ledger import Ledger
from kflare.operations.settings import ForecastSettings
from kflare.regions.extraction import Extraction, Measured, measure
from kflare.regions.feature_table import feature_set
from kflare.regions.numbers import noaa_numbers
from kflare.regions.tracking import Tracker, TrackingOptions
from kflare.regions.xray_features import xray_features

__all__ = ["MeasuredDisk", "measure_disk"]

# Changes look back 24 h; the earlier measurement may be off by an hour.
_PAST: Final = timedelta(hours=25.5)
_DEFN: Final = tuple(feature.name for feature in feature_set("defn79"))
_SHARP: Final = tuple(feature.name for feature in feature_set("sharp") if feature.group == "SHARP")


@dataclass(frozen=True)
class MeasuredDisk:
    """The disk of one cycle.

    Parameters
    ----------
    measured : Measured
        Regions and magnetogram.
    table : DataFrame
        One row per region in the order of `measured.detection.regions`, index 0 .. n - 1: `time`, `region`, `noaas`
        (tuple of int), `missing`, and every known feature (float64, NaN = not measured).
    tracker : dict
        State of the tracker after this disk.
    remarks : tuple of str
        What the reader should know.
    """

    measured: Measured
    table: pd.DataFrame
    tracker: dict[str, Any]
    remarks: tuple[str, ...]


def measure_disk(inputs: Inputs, flares: FlareList | None, ledger: Ledger, settings: ForecastSettings) -> MeasuredDisk:
    """Find and measure the regions of a cycle.

    Parameters
    ----------
    inputs : Inputs
        With a magnetogram.
    flares : FlareList or None
        For the flare history; None = not known.
    ledger : Ledger
        Tracker and features of the cycles before.
    settings : ForecastSettings
        Quality policy, NOAA's regions, schedule.

    Raises
    ------
    DataError
        The magnetogram cannot be used.
    """
    assert inputs.observations is not None
    measured = measure(inputs.observations, options=Extraction(policy=settings.data.quality))
    remarks: list[str] = []
    tracker = _tracker(ledger, measured, settings)
    try:
        names = tracker.update(measured.detection)
    except DataError:  # an older image than that of the cycle before
        tracker = Tracker(tracker.options)
        names = tracker.update(measured.detection)
        remarks.append("the magnetogram is older than that of the forecast before")
    numbers: list[tuple[int, ...]] = [()] * len(names)
    if inputs.srs is not None:
        numbers = noaa_numbers(measured.detection, inputs.srs)
    rows = measured.rows.assign(
        time=pd.Series(pd.Timestamp(measured.time), index=measured.rows.index, dtype="datetime64[us, UTC]"),
        region=pd.Series(names, index=measured.rows.index, dtype=object),
        noaas=pd.Series(numbers, index=measured.rows.index, dtype=object),
    )
    if len(rows):
        rows = _with_changes(rows, ledger.features(measured.time - _PAST, measured.time - timedelta(minutes=1)))
        rows = _with_fluxes(rows, inputs, flares)
    return MeasuredDisk(measured, rows, tracker.state(), tuple(remarks))


def _tracker(ledger: Ledger, measured: Measured, settings: ForecastSettings) -> Tracker:
    hours = settings.schedule.hours
    cadence = 24 / len(hours)
    # A region is recognised over one cycle that failed and one whose data were old.
    options = TrackingOptions(max_gap_hours=max(6.0, 2 * cadence + settings.schedule.data_age_last_hours))
    state = ledger.tracker(measured.time + timedelta(hours=settings.schedule.data_age_last_hours + 1))
    if state is None:
        return Tracker(options)
    try:
        return Tracker.from_state({**state, "options": vars(options)})
    except DataError:
        return Tracker(options)


def _with_changes(rows: pd.DataFrame, past: pd.DataFrame) -> pd.DataFrame:
    """The changes since 2, 12 and 24 h before, from the tables of former cycles."""
    bases = {
        hours: [name.removeprefix(f"dt{hours:02d}") for name in _DEFN if name.startswith(f"dt{hours:02d}")]
        for hours in TOLERANCES
    }
    columns = sorted({*_SHARP, *(name for names in bases.values() for name in names)})
    past = past.assign(time=past["time"].astype("datetime64[us, UTC]")).reindex(columns=["time", "region", *columns])
    now = rows[["time", "region", *columns]]
    together = pd.concat([past, now], ignore_index=True) if len(past) else now
    together = with_changes(together)
    for hours, tolerance in TOLERANCES.items():
        together = add_changes(together, bases[hours], hours=hours, tolerance_minutes=tolerance)
    changes = together.iloc[-len(rows) :].drop(columns=now.columns).set_axis(rows.index)
    return pd.concat([rows, changes], axis=1)


def _with_fluxes(rows: pd.DataFrame, inputs: Inputs, flares: FlareList | None) -> pd.DataFrame:
    """X-ray flux and flare history; NaN where there is no source."""
    time = rows["time"].iloc[0].to_pydatetime()
    values, _ = xray_features(inputs.xray, time)
    names = (*REGION_HISTORY, *DISK_HISTORY)
    fluxes = pd.DataFrame(values, index=rows.index)
    if flares is None:
        return pd.concat([rows, fluxes, pd.DataFrame(np.nan, index=rows.index, columns=list(names))], axis=1)
    history = add_history(rows[["time", "region"]], _own_flares(rows, flares), flares)
    unnumbered = ~rows["noaas"].map(bool)
    # Without a NOAA number nothing is known of a region's flares; that is not the same as none.
    history.loc[unnumbered, list(REGION_HISTORY)] = np.nan
    return pd.concat([rows, fluxes, history[list(names)]], axis=1)


def _own_flares(rows: pd.DataFrame, flares: FlareList) -> pd.DataFrame:
    pairs = rows[["region", "noaas"]].explode("noaas").dropna().rename(columns={"noaas": "noaa"})
    pairs = pairs.astype({"noaa": "Int64"})
    return pairs.merge(flares.table[["noaa", "start", "peak", "flux"]], on="noaa")[["region", "start", "peak", "flux"]]
