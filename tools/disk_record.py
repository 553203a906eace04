"""What followed full-disk forecasts by networks that had not seen those days, for a released model's metadata.

The page that explains the marks shows it (`kflare.operations.publish.verification.record_sections`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kflare.datasets.history import DISK_HISTORY, disk_history
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches
from kflare.io.arrays import Float32Array
from kflare.models.cross_fitting import OutOfSample
from kflare.models.disk_calibration import calibrate_disk
from kflare.serving import full_disk_probability
from kflare.serving.forecasts.full_disk import held_to_regions
from kflare.verification.probabilistic import brier_skill_score


def disk_times(rows: pd.DataFrame, event: str, flares: Mapping[str, FlareList]) -> pd.DataFrame:
    """The full disk at each time of out-of-sample region forecasts.

    `rows` have `time`, `fold`, `network` and `network, calibrated`; `flares` has the list of each fold. Columns of the
    result: `time`, `fold`, `score` and `combined`, those of the regions combined, `likeliest`, the greatest calibrated
    one, `DISK_HISTORY`, and `observed`, whether a flare of the `event` or above came anywhere on the disk.
    """
    named = {"network": "score", "network, calibrated": "combined"}
    by_time = rows.rename(columns=named).groupby(["fold", "time"])
    disk = by_time[list(named.values())].agg(full_disk_probability).assign(likeliest=by_time["combined"].max())
    disk = disk.reset_index()
    parts = []
    for fold, part in disk.groupby("fold"):
        before = disk_history(part["time"], flares[str(fold)])
        parts.append(part.join(before).assign(observed=reaches(disk_flux(part["time"], flares[str(fold)]), event)))
    return pd.concat(parts)


def years_of(disk: pd.DataFrame) -> OutOfSample:
    """P_FD of calibrated regions, to be calibrated itself over all years."""
    combined = disk["combined"].to_numpy(np.float32)
    return OutOfSample.of(disk["observed"].to_numpy(), combined, disk["time"], years=disk["fold"])


def yearly_calibrated(disk: pd.DataFrame, counts: Sequence[str] = DISK_HISTORY) -> Float32Array:
    """P_FD of each year as a client tells it, calibrated by all other years and the `counts` of flares before, (N,)."""
    calibrated = np.empty(len(disk), np.float32)
    for fold in disk["fold"].unique():
        own = (disk["fold"] == fold).to_numpy()
        fit = calibrate_disk(years_of(disk[~own]), disk.loc[~own, list(counts)], resamples=0)
        if fit is None:
            raise ValueError(f"the years beside {fold} have too few days with an event, or without")
        combined, before = disk["combined"].to_numpy(np.float32)[own], disk.loc[own, list(counts)]
        told = fit.of(combined, {name: before[name].to_numpy(np.float32) for name in before})["calibrated"]
        calibrated[own] = held_to_regions({"": told}, {"calibrated": disk["likeliest"].to_numpy()[own]})[""]
    return calibrated


def _compared(disk: pd.DataFrame, days: pd.DataFrame) -> dict[str, float]:
    """BSS on the `days` of P_FD calibrated, as `disk` has it, and, held to no region, by itself and by flares alone."""
    free = disk.assign(likeliest=0.0)
    methods = {
        "regions and flares before": disk["calibrated"],
        "regions alone": pd.Series(yearly_calibrated(free, ()), disk.index),
        "flares before alone": pd.Series(yearly_calibrated(free.assign(combined=np.float32(0.5))), disk.index),
    }
    observed = days["observed"].to_numpy(bool)
    return {name: round(float(brier_skill_score(observed, p[days.index])), 4) for name, p in methods.items()}


def disk_record(disk: pd.DataFrame) -> dict[str, Any]:
    """`full_disk_record` of the metadata, from the first forecast of each day, with `calibrated` in its column.

    By "score" and by "calibrated", lists of one number for each whole percent, rounded down: `days`, `events` among
    them, and the sum of `calibrated`.
    """
    disk = disk.sort_values("time", ignore_index=True)
    days = disk.loc[disk.groupby(disk["time"].dt.floor("D")).head(1).index]
    record: dict[str, Any] = {
        "about": f"The first forecast of each of {len(days)} days of {', '.join(disk['fold'].unique())}, by networks "
        "of this recipe that had not seen those days, calibrated by the other years; flares anywhere on the disk in "
        "24 h. Intervals take the days as independent, which they are not wholly."
    }
    record["bss"] = _compared(disk, days)
    for on in ("score", "calibrated"):
        percent = np.clip(np.floor(100 * (days[on].to_numpy(np.float64) + 1e-9)), 0, 99).astype(int)
        weights = {"days": np.ones(len(days)), "events": days["observed"], "calibrated": days["calibrated"]}
        counts = {name: np.bincount(percent, weight, minlength=100) for name, weight in weights.items()}
        record[on] = {
            name: [round(float(value), 4) if name == "calibrated" else int(value) for value in values]
            for name, values in counts.items()
        }
    return record
