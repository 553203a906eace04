"""Same regions, same dates: a table of somebody else's forecasts beside ours, on the samples that both have."""

from pathlib import Path

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.models.crossvalidation.folds import ENSEMBLE, NETWORK
from kflare.verification.tables import forecast_table, read_forecasts

__all__ = ["compared", "read_other_forecasts", "verifiable"]


def verifiable(rows: pd.DataFrame) -> pd.DataFrame:
    """Test rows in the long form of `kflare.verify`, each method also as "… calibrated" where the frequency differs.

    Of the rows of `cross_validate`, means over seeds alone: `time` (UTC), `region` of region models, `method` (the
    network's first), `probability` (0 to 1), `observed` (bool), `fold`, `threshold` (NaN of calibrated ones).
    """
    test = rows[(rows["span"] == "test") & (rows["seed"] == ENSEMBLE)]
    same = (test["output"] == test["probability"]).groupby(test["method"]).transform("all")
    calibrated = test[~same].assign(method=test["method"] + " calibrated", output=test["probability"], threshold=np.nan)
    both = pd.concat([test, calibrated], ignore_index=True)
    both = both.sort_values("method", key=lambda names: ~names.str.startswith(NETWORK), kind="stable")
    both["probability"] = both["output"]
    keys = [name for name in ("time", "region") if name in both]
    return both[[*keys, "method", "probability", "observed", "fold", "threshold"]]


def read_other_forecasts(path: Path, *, by_region: bool) -> pd.DataFrame:
    """Read forecasts to compare with: CSV or Parquet with `time` (UTC), `probability`, optionally `method`.

    `by_region` is whether they are of regions, named in `region`, or of the full disk. Forecasts that were not issued
    are left out; the method is named after the file by default.
    """
    raw = read_forecasts(path)
    if by_region != ("region" in raw):
        need = "needs the column `region`" if by_region else "must not have the column `region`: full-disk forecasts"
        raise DataError(f"{path} {need}; it has {', '.join(map(str, raw.columns))}")
    raw["method"] = raw["method"].astype(str) if "method" in raw else path.stem
    parts = []
    for method, group in raw.groupby("method", sort=False):
        # The outcomes are ours: those of the table, if any, may be of other windows.
        table = forecast_table(group.assign(observed=0))
        part = pd.DataFrame({"time": pd.DatetimeIndex(table.time).tz_localize("UTC")})
        if table.region is not None:
            part["region"] = table.region
        part["probability"] = next(iter(table.probability.values()))
        parts.append(part.assign(method=method))
    return pd.concat(parts, ignore_index=True)


def compared(
    rows: pd.DataFrame, other: pd.DataFrame, *, tolerance_minutes: float, threshold: float = 0.5
) -> pd.DataFrame:
    """Our test forecasts of `cross_validate` and those of another method, on the samples that both have.

    Each forecast of the other is held against the sample of ours of the same region (its name, or its NOAA number) that
    is nearest in time, at most `tolerance_minutes` apart; each sample is taken once, with our outcome. The other method
    forecasts a flare at and above `threshold`. `DataError` if no sample is shared, or the other's name is one of ours.
    """
    if not tolerance_minutes >= 0:
        raise SettingError(f"`tolerance_minutes` must be 0 or more, got {tolerance_minutes}")
    if not 0 <= threshold <= 1:
        raise SettingError(f"`threshold` must lie in [0, 1], got {threshold}")
    name = str(other["method"].iloc[0])
    test = rows[(rows["span"] == "test") & (rows["seed"] == ENSEMBLE)]
    if name in set(test["method"]):
        raise DataError(f'the method "{name}" of the forecasts has the name of one of ours: rename it')
    samples = test[test["method"] == test["method"].iloc[0]].sort_values("time").reset_index(drop=True)
    found = _nearest(samples, other, tolerance_minutes)
    if found.empty:
        raise DataError(
            f'"{name}" shares no sample with the test spans, to within {tolerance_minutes:g} minutes: give the same '
            "regions (HARP as ours, or NOAA numbers) and dates, or widen --tolerance"
        )
    taken = samples.loc[found["sample"]].assign(
        method=name, output=found["probability"].to_numpy(), probability=found["probability"].to_numpy(),
        threshold=threshold, note="",
    )  # fmt: skip
    keys = [key for key in ("time", "region") if key in test]
    shared = pd.MultiIndex.from_frame(taken[keys])
    ours = rows[(rows["span"] == "test") & pd.MultiIndex.from_frame(rows[keys]).isin(shared)]
    # The same order for all, as the paired difference goes by rows.
    return pd.concat([ours, taken], ignore_index=True).sort_values(["fold", *keys], kind="stable", ignore_index=True)


def _nearest(samples: pd.DataFrame, other: pd.DataFrame, tolerance_minutes: float) -> pd.DataFrame:
    """Columns `sample` (row of `samples`) and `probability`, the nearest forecast of each sample that has one."""
    keyed = samples[["time"]].assign(sample=samples.index, region=_region_keys(samples, other))
    theirs = other[["time", "probability"]].assign(region=other["region"].astype(str) if "region" in other else "")
    for frame in (keyed, theirs):
        frame["time"] = frame["time"].astype("datetime64[us, UTC]")
    theirs = theirs.assign(forecast=np.arange(len(theirs)), issued=theirs["time"]).sort_values("time")
    met = pd.merge_asof(
        theirs, keyed.assign(sampled=keyed["time"]).sort_values("time"), on="time", by="region", direction="nearest",
        tolerance=pd.Timedelta(minutes=tolerance_minutes),
    ).dropna(subset="sample")  # fmt: skip
    met["distance"] = (met["issued"] - met["sampled"]).abs()
    met = met.sort_values("distance", kind="stable").drop_duplicates("sample")
    return met.astype({"sample": "int64"}).sort_values("sample")[["sample", "probability"]]


def _region_keys(samples: pd.DataFrame, other: pd.DataFrame) -> pd.Series:
    if "region" not in samples:
        return pd.Series("", index=samples.index)
    names = samples["region"].astype(str)
    if "noaa" in samples and not other["region"].isin(names).any():
        return samples["noaa"].astype("Int64").astype(str)
    return names
