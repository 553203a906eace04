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


def _calibrated(by: pd.DataFrame, disk: pd.DataFrame, counts: Sequence[str] = DISK_HISTORY) -> Float32Array:
    """P_FD as a client tells it, calibrated by the forecasts `by` and the `counts` of flares before, (N,)."""
    fit = calibrate_disk(years_of(by), by[list(counts)], resamples=0)
    if fit is None:
        raise ValueError(f"{', '.join(by['fold'].unique())}: too few days with an event, or without")
    before = {name: disk[name].to_numpy(np.float32) for name in counts}
    told = fit.of(disk["combined"].to_numpy(np.float32), before)["calibrated"]
    return held_to_regions({"": told}, {"calibrated": disk["likeliest"].to_numpy()})[""].astype(np.float32)


def yearly_calibrated(disk: pd.DataFrame, counts: Sequence[str] = DISK_HISTORY) -> Float32Array:
    """`_calibrated` of each year by all other years."""
    calibrated = np.empty(len(disk), np.float32)
    for fold in disk["fold"].unique():
        own = (disk["fold"] == fold).to_numpy()
        calibrated[own] = _calibrated(disk[~own], disk[own], counts)
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


def by_percent(days: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """By "score" and by "calibrated", lists of one number for each whole percent, rounded down.

    They are `days`, `events` among them, and the sums of `score` and `calibrated`.
    """
    columns = {"days": np.ones(len(days)), "events": days["observed"], "score": days["score"]}
    columns["calibrated"] = days["calibrated"]
    counted = {}
    for on in ("score", "calibrated"):
        percent = np.clip(np.floor(100 * (days[on].to_numpy(np.float64) + 1e-9)), 0, 99).astype(int)
        counts = {name: np.bincount(percent, weight, minlength=100) for name, weight in columns.items()}
        counted[on] = {
            name: [round(float(value), 4) if name in ("score", "calibrated") else int(value) for value in values]
            for name, values in counts.items()
        }
    return counted


def first_of_days(disk: pd.DataFrame) -> pd.DataFrame:
    """The first forecast of each day."""
    disk = disk.sort_values("time", ignore_index=True)
    return disk.loc[disk.groupby(disk["time"].dt.floor("D")).head(1).index]


def disk_record(disk: pd.DataFrame, others: pd.DataFrame | None = None) -> dict[str, Any]:
    """`full_disk_record` of the metadata, from the first forecast of each day, with `calibrated` in its column.

    Lists of `by_percent`; under `beside` those of P_FD as earlier versions had it, and of `others`, forecasts of the
    networks of another archive, calibrated by the years of `disk` from 2012 on, which are not of their archive.
    """
    disk = disk.sort_values("time", ignore_index=True)
    days = first_of_days(disk)
    record: dict[str, Any] = {
        "about": f"The first forecast of each of {len(days)} days of {', '.join(disk['fold'].unique())}, by networks "
        "of this recipe that had not seen those days, calibrated by the other years; flares anywhere on the disk in "
        "24 h. Intervals take the days as independent, which they are not wholly."
    }
    record["bss"] = _compared(disk, days)
    record |= by_percent(days)
    alone = disk.assign(calibrated=yearly_calibrated(disk.assign(likeliest=0.0), ()))
    record["beside"] = {
        "The same days before, as version 6 calibrated P_FD, by itself alone": by_percent(first_of_days(alone)),
        "The same days before that, P_FD = 1 − Π(1 − p) of the calibrated regions, up to version 5": by_percent(
            days.assign(calibrated=days["combined"])
        ),
    }
    if others is not None:
        late = (disk["fold"].astype(int) >= 2012).to_numpy()
        told = _calibrated(disk[late], others)
        days = first_of_days(others.assign(calibrated=told))
        title = f"{len(days)} days of {days['time'].min():%Y} to {days['time'].max():%Y}, by networks and calibrations"
        record["beside"][f"{title} of the other archive, which knew none of its days"] = by_percent(days)
    return record
