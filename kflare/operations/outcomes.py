"""Forecasts joined with what happened, as one table for `kflare.verification`, and features as training data."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.labels import LEAD_HOURS, reaches, window_flux, windows_told
from kflare.flares.region_numbers import PASSAGE_DAYS, outcome_assigned
from kflare.io.atomic import make_folder, write_whole
from kflare.operations.database import shown_url
from kflare.operations.flare_records import Current
from kflare.operations.ledger import Ledger
from kflare.sun.disk import FULL_DISK

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_COLUMNS: Final = [
    "time", "window_start", "window_end", "region", "method", "threshold", "probability", "calibrated", "observed",
]  # fmt: skip


def forecast_outcomes(
    ledger: Ledger, since: datetime, until: datetime, *, as_of: datetime | None = None, regions: bool = True
) -> pd.DataFrame:
    """Every probability of the forecasts issued in since <= issue < until, or without its `regions`, with its outcome.

    A full-disk event is a flare of the class or above that starts in the window, wherever on the Sun (paper 2, section
    3.2: flares of no region are missed by the forecast "but included in evaluations"). A region's event is one of a
    NOAA region that any forecast gave the region, whenever. The flare list is that known at `as_of`; by default now.

    Columns: `time` (issue), `window_start`, `window_end` (UTC), `region` ("full disk" or its persistent name), `method`
    ("kflare", of the regions, "cnn", or "SWPC", what it said of the window), `threshold` ("C", "M" or "X"),
    `probability` (network's output; the calibrated one where no network was asked), `calibrated`, `observed` (1.0, 0.0;
    NaN while the flare list does not cover the window, and for a region while a flare of no region could be its own:
    it has no NOAA number, or the list tells too rarely whose its flares are, see `outcome_assigned`).
    """
    table = ledger.probabilities(since, until, regions=regions)
    if table.empty:
        return table.reindex(columns=_COLUMNS)
    begin, end = table["window_start"].min().to_pydatetime(), table["window_end"].max().to_pydatetime()
    flares = ledger.flares(begin - timedelta(days=PASSAGE_DAYS), end, as_of=as_of)
    numbers = ledger.noaa_numbers() if regions else pd.DataFrame(columns=["region", "noaa"])
    observed = _observed(table, flares, numbers)
    covered = windows_told(table["window_start"], table["window_end"], flares.covered)
    return table.assign(observed=observed.where(covered))[_COLUMNS]


def table_to_verify(url: str, threshold: str, *, regions: bool) -> tuple[pd.DataFrame, str, str]:
    """The forecasts of a ledger whose outcome is known as `kflare.verification` takes them, their source, their event.

    Of the full disk or of `regions`; the calibrated probabilities are a method of their own. `DataError` if none.
    """
    where = shown_url(url)
    with Ledger(url, begin=False) as ledger:
        table = forecast_outcomes(ledger, _FIRST, _LAST, regions=regions)
    table = table[(table["threshold"] == threshold) & (table["region"].eq(FULL_DISK) != regions)]
    known = table[table["observed"].notna()]
    if known.empty:
        fault = f"`{where}` holds no forecast of class {threshold} and above whose outcome is known"
        raise DataError(f"{fault}: the flare list must cover the window; {len(table)} forecasts wait for that")
    columns = ["time", *(["region"] if regions else []), "method", "probability", "observed"]
    calibrated = (
        known[known["method"] != "SWPC"]
        .dropna(subset="calibrated")
        .assign(method=lambda rows: rows["method"] + " (calibrated)", probability=lambda rows: rows["calibrated"])
    )
    both = pd.concat([known[columns], calibrated[columns]], ignore_index=True)
    return both, f"ledger {where}", f"≥{threshold}1.0 flares"


def export_training_data(ledger: Ledger, folder: Path) -> str:
    """Write what `kflare.fit` takes as --regions and --flares; returns what was written, in a line.

    `regions.parquet` has the features of each region as a cycle measured them, of the times whose following 24 h the
    flare list covers; `flares.csv` has the flares as they are known now. DataError if there is no such time.
    """
    from kflare.operations.measurement import FEATURES

    features, known = ledger.features(_FIRST, _LAST), ledger.flares(_FIRST, _LAST)
    covered = windows_told(features["time"], features["time"] + pd.Timedelta(hours=LEAD_HOURS), known.covered)
    table = features.reindex(columns=["time", "region", "noaa", *FEATURES])
    table = table[table["USflux"].notna() & covered]
    if table.empty:
        why = f"of {len(features)} that were measured none has a flare list that covers the 24 h after it"
        raise DataError(f"the ledger holds no region whose outcome is known: {why}; run more cycles")
    flares, numbers = known.flare_list(), table["noaa"]
    table = table.assign(noaa=numbers.str[0].astype("Int64"), noaas=[" ".join(map(str, own)) for own in numbers])
    table.attrs = {"flare_scale": flares.scale}  # of the histories
    make_folder(folder)
    write_whole(folder / "regions.parquet", lambda file: table.to_parquet(file, index=False))
    flares.write_csv(folder / "flares.csv")
    span = f"{table['time'].min():%Y-%m-%d} to {table['time'].max():%Y-%m-%d}"
    return f"{len(table)} rows of {table['region'].nunique()} regions, {span}, and {len(flares)} flares in {folder}"


def _observed(table: pd.DataFrame, known: Current, numbers: pd.DataFrame) -> pd.Series:
    """1.0 or 0.0 as the label of each row's window would be; NaN where a region's flares are not known."""
    flares = known.table
    region_flares = numbers[["region", "noaa"]].drop_duplicates().merge(flares, on="noaa")
    windows = table[["window_start", "window_end", "region"]].set_axis(["begin", "end", "region"], axis=1)
    spans = windows[["begin", "end"]]
    disk, unassigned = window_flux(spans, flares), window_flux(spans, flares[flares["noaa"].isna()])
    flux = np.where(table["region"] == FULL_DISK, disk, window_flux(windows, region_flares))
    untold = ~table["region"].isin(numbers["region"]) | ~outcome_assigned(table["window_start"], known.flare_list())
    untold &= table["region"] != FULL_DISK
    observed = pd.Series(np.nan, index=table.index)
    for threshold in table["threshold"].unique():
        here = table["threshold"] == threshold
        yes, unknown = reaches(flux, threshold), reaches(unassigned, threshold) & untold
        observed[here] = np.where(yes, 1.0, np.where(unknown, np.nan, 0.0))[here]
    return observed
