"""Same regions, same dates: a table of somebody else's forecasts beside ours, on the samples that both have."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.models.crossvalidation.folds import ENSEMBLE, NETWORK
from kflare.verification.tables import forecast_table, read_forecasts


def verifiable(rows: pd.DataFrame) -> pd.DataFrame:
    """Test rows in the long form of `kflare.verify`, each method also as "… calibrated" where the frequency differs.

    Of the rows of `cross_validate`, means over seeds alone: `time` (UTC), `region` of region models, `instrument` of
    images, `method` (the network's first), `probability` (0 to 1), `observed` (bool), `fold`, `threshold` (NaN of
    calibrated ones).
    """
    test = rows[(rows["span"] == "test") & (rows["seed"] == ENSEMBLE)]
    same = (test["output"] == test["probability"]).groupby(test["method"]).transform("all")
    calibrated = test[~same].assign(method=test["method"] + " calibrated", output=test["probability"], threshold=np.nan)
    both = pd.concat([test, calibrated], ignore_index=True)
    both = both.sort_values("method", key=lambda names: ~names.str.startswith(NETWORK), kind="stable")
    both["probability"] = both["output"]
    keys = [name for name in ("time", "region", "instrument") if name in both]
    return both[[*keys, "method", "probability", "observed", "fold", "threshold"]]


def read_other_forecasts(
    path: Path, *, by_region: bool, thresholds: Mapping[str, float] = MappingProxyType({})
) -> pd.DataFrame:
    """Read forecasts to compare with: CSV or Parquet with `time` (UTC), `probability`, optionally `method`.

    `by_region` is whether they are of regions, named in `region`, or of the full disk. A method forecasts a flare at
    and above its entry of `thresholds`, else the one number that it has in the column `threshold`, else the entry ""
    of `thresholds`, else 0.5.

    Returns the columns `time`, `region` of regions, `method` (by default the file's name), `probability`, `threshold`,
    and `observed` (bool) where the file has it. Forecasts that were not issued are left out, and with `observed` those
    without an outcome.
    """
    raw = read_forecasts(path)
    if by_region != ("region" in raw):
        need = "needs the column `region`" if by_region else "must not have the column `region`: full-disk forecasts"
        raise DataError(f"{path} {need}; it has {', '.join(map(str, raw.columns))}")
    raw["method"] = raw["method"].astype(str) if "method" in raw else path.stem
    parts = []
    for method, group in raw.groupby("method", sort=False):
        table = forecast_table(group if "observed" in raw else group.assign(observed=0))
        part = pd.DataFrame({"time": pd.DatetimeIndex(table.time).tz_localize("UTC")})
        if table.region is not None:
            part["region"] = table.region
        if "observed" in raw:
            part["observed"] = table.observed
        least = thresholds.get(method, _own_threshold(group, path, otherwise=thresholds.get("", 0.5)))
        if not 0 <= least <= 1:
            raise SettingError(f'the threshold of "{method}" must lie in [0, 1], got {least:g}')
        parts.append(part.assign(method=method, probability=next(iter(table.probability.values())), threshold=least))
    return pd.concat(parts, ignore_index=True)


def read_others(paths: Iterable[Path], *, by_region: bool, thresholds: Mapping[str, float]) -> list[pd.DataFrame]:
    """`read_other_forecasts` of each path; `SettingError` where one of `thresholds` is of no method in them."""
    tables = [read_other_forecasts(path, by_region=by_region, thresholds=thresholds) for path in paths]
    names = list(dict.fromkeys(name for table in tables for name in table["method"]))
    if unknown := sorted(set(thresholds) - {"", *names}):
        raise SettingError(f'there is no method "{unknown[0]}" for a threshold: the files hold {", ".join(names)}')
    return tables


def _own_threshold(group: pd.DataFrame, path: Path, *, otherwise: float) -> float:
    if "threshold" not in group:
        return otherwise
    given = pd.to_numeric(group["threshold"], errors="coerce").unique()
    if len(given) > 1 or np.isnan(given[0]):
        seen = ", ".join(f"{value:g}" for value in given[:3])
        raise DataError(f'{path}: `threshold` of "{group["method"].iloc[0]}" must be one number, got {seen}')
    return float(given[0])


def compared(
    rows: pd.DataFrame, others: pd.DataFrame, *, tolerance_minutes: float
) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Our test forecasts of `cross_validate` and those of `read_other_forecasts`, on the samples that both have.

    Methods of `others` that share the same samples with ours come together. Yields the names of such methods, the rows
    of ours and theirs, and what was compared, in a sentence. The outcomes are theirs where they have them, which may be
    of another flare list or scale of classes, else ours. `DataError` as of `shared_samples`.
    """
    test = rows[(rows["span"] == "test") & (rows["seed"] == ENSEMBLE)]
    samples = test[test["method"] == test["method"].iloc[0]].sort_values("time").reset_index(drop=True)
    keys = [key for key in ("time", "region") if key in test]
    for chosen, methods in shared_samples(
        samples, others, ours=set(test["method"]), tolerance_minutes=tolerance_minutes
    ).items():
        taken = samples.loc[list(chosen)]
        names = [str(one["method"].iloc[0]) for one in methods]
        outcomes = methods[0].get("observed", taken["observed"]).to_numpy(bool)
        ours = rows[rows["span"] == "test"].merge(taken[keys].assign(outcome=outcomes), on=keys)
        columns, common = ["method", "probability", "threshold"], taken.assign(note="", outcome=outcomes)
        theirs = (common.assign(**{name: one[name].array for name in columns}) for one in methods)
        parts = [one.assign(output=one["probability"]) for one in theirs]
        both = pd.concat([ours, *parts], ignore_index=True)
        both["observed"] = both.pop("outcome").astype(bool)
        count = len(others[others["method"] == names[0]])
        whose = f"theirs, {int(np.sum(outcomes != taken['observed']))} of which differ from ours"
        told = (
            f"{len(taken)} of our {len(samples)} samples and of {count} forecasts by {', '.join(names)} are at most "
            f"{tolerance_minutes:g} minutes apart; the outcomes are {whose if 'observed' in others else 'ours'}"
        )
        # The same order for all, as the paired difference goes by rows.
        yield ", ".join(names), both.sort_values(["fold", *keys], kind="stable", ignore_index=True), told


def shared_samples(
    samples: pd.DataFrame, others: pd.DataFrame, *, tolerance_minutes: float, ours: Collection[str] = ()
) -> dict[tuple[int, ...], list[pd.DataFrame]]:
    """What `matched` gives of each method of `others`, by the rows of `samples` that they share with it.

    `DataError` if a method shares none or has a name of `ours`, or two disagree on the outcome of what they share.
    """
    groups: dict[tuple[int, ...], list[pd.DataFrame]] = {}
    for name, other in others.groupby("method", sort=False):
        if name in ours:
            raise DataError(f'the method "{name}" of the forecasts has the name of one of ours: rename it')
        found = matched(samples, other, tolerance_minutes=tolerance_minutes)
        alike = groups.setdefault(tuple(found["sample"]), [])
        if alike and "observed" in others and (found["observed"] != alike[0]["observed"]).any():
            names = f"{alike[0]['method'].iloc[0]}, {name}"
            raise DataError(f"`observed` differs between {names}: score all methods against one flare list")
        alike.append(found)
    return groups


def matched(samples: pd.DataFrame, other: pd.DataFrame, *, tolerance_minutes: float) -> pd.DataFrame:
    """Forecasts of one other method for our samples: its columns, with `sample`, the row of `samples`, rising.

    Each forecast is held against the sample of the same region (its name, or its NOAA number in `noaa`) that is nearest
    in time, at most `tolerance_minutes` apart; each sample is taken once. `DataError` if no sample is shared.
    """
    if not tolerance_minutes >= 0:
        raise SettingError(f"`tolerance_minutes` must be 0 or more, got {tolerance_minutes}")
    ours = samples.reset_index(drop=True)
    keyed = ours[["time"]].assign(sample=ours.index, key=_region_keys(ours, other))
    theirs = other.assign(key=other["region"].astype(str) if "region" in other else "")
    for frame in (keyed, theirs):
        frame["time"] = frame["time"].astype("datetime64[us, UTC]")
    met = pd.merge_asof(
        theirs.sort_values("time"), keyed.assign(sampled=keyed["time"]).sort_values("time"), on="time", by="key",
        direction="nearest", tolerance=pd.Timedelta(minutes=tolerance_minutes),
    ).dropna(subset="sample")  # fmt: skip
    if met.empty:
        spans = " and ".join(f"{of['time'].min():%Y-%m-%d} to {of['time'].max():%Y-%m-%d}" for of in (theirs, keyed))
        names = f", regions such as {theirs['key'].iloc[0]} and {keyed['key'].iloc[0]}" if "region" in other else ""
        raise DataError(
            f'"{other["method"].iloc[0]}" shares no sample with the test spans, to within {tolerance_minutes:g} '
            f"minutes: its forecasts and our samples are of {spans}{names}; give the same regions (HARP as ours, or "
            "NOAA numbers) and dates, or widen --tolerance"
        )
    met["distance"] = (met["time"] - met["sampled"]).abs()
    met = met.sort_values("distance", kind="stable").drop_duplicates("sample").astype({"sample": "int64"})
    return met.sort_values("sample", ignore_index=True).drop(columns=["key", "sampled", "distance"])


def _region_keys(samples: pd.DataFrame, other: pd.DataFrame) -> pd.Series:
    if "region" not in samples:
        return pd.Series("", index=samples.index)
    names = samples["region"].astype(str)
    if "noaa" in samples and not other["region"].isin(names).any():
        return samples["noaa"].astype("Int64").astype(str)
    return names
