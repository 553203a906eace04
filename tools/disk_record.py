"""What followed full-disk forecasts by networks that had not seen those days, for a released model's metadata.

The page that explains the marks shows it (`kflare.operations.publish.verification.record_sections`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches
from kflare.io.arrays import Float32Array
from kflare.models.cross_fitting import OutOfSample, cross_fitted
from kflare.serving import full_disk_probability


def disk_times(rows: pd.DataFrame, event: str, flares: Mapping[str, FlareList]) -> pd.DataFrame:
    """The full disk at each time of out-of-sample region forecasts.

    `rows` have `time`, `fold`, `network` and `network, calibrated`; `flares` has the list of each fold. Columns of the
    result: `time`, `fold`, `score` and `combined`, those of the regions combined, and `observed`, whether a flare of
    the `event` or above came anywhere on the disk.
    """
    named = {"network": "score", "network, calibrated": "combined"}
    disk = rows.rename(columns=named).groupby(["fold", "time"])[list(named.values())].agg(full_disk_probability)
    disk = disk.reset_index()
    observed = [reaches(disk_flux(part["time"], flares[fold]), event) for fold, part in disk.groupby("fold")]
    return disk.assign(observed=np.concatenate(observed))


def years_of(disk: pd.DataFrame) -> OutOfSample:
    """P_FD of calibrated regions, to be calibrated itself over all years."""
    combined = disk["combined"].to_numpy(np.float32)
    return OutOfSample.of(disk["observed"].to_numpy(), combined, disk["time"], years=disk["fold"])


def yearly_calibrated(disk: pd.DataFrame) -> Float32Array:
    """P_FD of each year, calibrated by all other years, shape (N,)."""
    calibrated = np.empty(len(disk), np.float32)
    for fold in disk["fold"].unique():
        own = (disk["fold"] == fold).to_numpy()
        calibrated[own] = cross_fitted(years_of(disk[~own]), resamples=0)(disk["combined"].to_numpy(np.float32)[own])
    return calibrated


def disk_record(disk: pd.DataFrame) -> dict[str, Any]:
    """`full_disk_record` of the metadata, from the first forecast of each day, with `calibrated` in its column.

    By "score" and by "calibrated", lists of one number for each whole percent, rounded down: `days`, `events` among
    them, and the sum of `calibrated`.
    """
    days = disk.sort_values("time").groupby(disk["time"].dt.floor("D")).first()
    record: dict[str, Any] = {
        "about": f"The first forecast of each of {len(days)} days of {', '.join(disk['fold'].unique())}, by networks "
        "of this recipe that had not seen those days, calibrated by the other years; flares anywhere on the disk in "
        "24 h. Intervals take the days as independent, which they are not wholly."
    }
    for on in ("score", "calibrated"):
        percent = np.clip(np.floor(100 * (days[on].to_numpy(np.float64) + 1e-9)), 0, 99).astype(int)
        weights = {"days": np.ones(len(days)), "events": days["observed"], "calibrated": days["calibrated"]}
        counts = {name: np.bincount(percent, weight, minlength=100) for name, weight in weights.items()}
        record[on] = {
            name: [round(float(value), 4) if name == "calibrated" else int(value) for value in values]
            for name, values in counts.items()
        }
    return record
