"""What was known at the time of the forecast: past flares and past values, never the future.

A flare counts from its *peak* on, since its class is known only then; a flare in progress is not history.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import in_seconds, keys, known_from, reaches, region_codes
from kflare.flares.region_numbers import PASSAGE_DAYS, flares_assigned
from kflare.io.arrays import Float64Array, IntArray
from kflare.sun.times import DAY_SECONDS

REGION_HISTORY = ("Chis", "Mhis", "Xhis", "Chis1d", "Mhis1d", "Xhis1d")
"""Flares of the region by class: since the start of the list, and in (t − 24 h, t]. The names are DeFN's."""

DISK_HISTORY = ("diskC1d", "diskM1d", "diskC7d", "diskM7d")
"""Flares of at least the class on the whole disk in the last 24 h and 7 days."""

_NEXT_CLASS: dict[str, str | float] = {"C": "M", "M": "X", "X": np.inf}


def region_history(samples: pd.DataFrame, region_flares: pd.DataFrame) -> pd.DataFrame:
    """Flare history of the region of each of N samples (`time`, `region`): float64 columns `REGION_HISTORY` (counts).

    `region_flares` has the columns `region`, `start` and `peak` (UTC), `flux` (W m^-2).
    """
    seconds = in_seconds(samples["time"])
    sample_code, flare_code = region_codes(samples["region"], region_flares["region"])
    sample = keys(seconds, sample_code)
    begin = keys(np.zeros_like(seconds), sample_code)
    peak, flux = keys(known_from(region_flares), flare_code), region_flares["flux"]
    out = pd.DataFrame(index=samples.index, columns=list(REGION_HISTORY), dtype=np.float64)
    for letter, above in _NEXT_CLASS.items():
        of_class = np.sort(peak[reaches(flux, letter) & ~reaches(flux, above)])
        out[f"{letter}his"] = _count(of_class, begin, sample)
        out[f"{letter}his1d"] = _count(of_class, sample - DAY_SECONDS, sample)
    return out


def numbered_history(samples: pd.DataFrame, numbers: pd.DataFrame, flares: FlareList) -> pd.DataFrame:
    """Flare history of each sample's region by the NOAA numbers that it had been given by then.

    `numbers` (`time`, `region`, `noaa`) tells which number a region was given, and when at the earliest. As
    `region_history`, but NaN for a region that had no number yet, whose flares are not known, and where the list does
    not tell whose the flares of a class are (`flares_assigned`, of the last 24 h or a passage of the disk).
    """
    given = numbers.groupby(["region", "noaa"], as_index=False)["time"].min().rename(columns={"time": "given"})
    rows = samples[["time", "region"]].reset_index(drop=True).reset_index(names="row")
    pairs = rows.astype({"region": object}).merge(given.astype({"region": object}), on="region")
    pairs = pairs[pairs["given"] <= pairs["time"]]
    numbered = flares.table.dropna(subset="noaa")
    counts = region_history(pairs.assign(region=pairs["noaa"]), numbered.assign(region=numbered["noaa"]))
    history = counts.groupby(pairs["row"]).sum().reindex(range(len(samples))).set_axis(samples.index)
    for letter, above in _NEXT_CLASS.items():
        for name, days in ((f"{letter}his", PASSAGE_DAYS), (f"{letter}his1d", 1.0)):
            known = flares_assigned(samples["time"], flares, days=days, lowest=letter, below=above)
            history[name] = history[name].where(known)
    return history


def disk_history(times: pd.Series, flares: FlareList) -> pd.DataFrame:
    """Flare history of the whole disk at each of N times (UTC): float64 columns `DISK_HISTORY` (counts)."""
    seconds, peak = in_seconds(times), known_from(flares.table)
    out = pd.DataFrame(index=times.index, columns=list(DISK_HISTORY), dtype=np.float64)
    for letter in "CM":
        of_class = np.sort(peak[reaches(flares.table["flux"], letter)])
        out[f"disk{letter}1d"] = _count(of_class, seconds - DAY_SECONDS, seconds)
        out[f"disk{letter}7d"] = _count(of_class, seconds - 7 * DAY_SECONDS, seconds)
    return out


def add_changes(
    samples: pd.DataFrame, columns: Sequence[str], *, hours: float = 24.0, tolerance_minutes: float = 60.0
) -> pd.DataFrame:
    """Append f(t) − f(t − hours) of each column, as `dt24AREA` (Nishizuka et al. 2021, section 2.2; DeFN's dt).

    The earlier value is that of the same region nearest to t − hours within the tolerance; without one the change is
    NaN ("not measured"). Rows need no order, no regular cadence. DataError: no column, or a region has a time twice.
    """
    if absent := [name for name in columns if name not in samples]:
        raise DataError(f"the region table lacks `{'`, `'.join(absent)}`: it has {', '.join(map(str, samples))}")
    (code,) = region_codes(samples["region"])
    key = keys(in_seconds(samples["time"]), code)
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    twice = np.flatnonzero(np.diff(ordered) == 0)
    if len(twice):
        row = samples.iloc[order[twice[0]]]
        raise DataError(f"`region` {row['region']} has two rows at {row['time']:%Y-%m-%dT%H:%MZ}: keep one")
    wanted = key - round(hours * 3600)
    right = np.clip(np.searchsorted(ordered, wanted), 0, len(ordered) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(ordered[left] - wanted) <= np.abs(ordered[right] - wanted), left, right)
    found = (np.abs(ordered[nearest] - wanted) <= tolerance_minutes * 60) & (ordered[nearest] < key)
    past = order[nearest]
    values = {name: samples[name].to_numpy(np.float64, na_value=np.nan) for name in columns}
    changes = {f"dt{hours:02.0f}{name}": np.where(found, of - of[past], np.nan) for name, of in values.items()}
    kept = samples.drop(columns=[name for name in changes if name in samples])
    return pd.concat([kept, pd.DataFrame(changes, index=samples.index)], axis=1)


def _count(event: IntArray, after: IntArray, until: IntArray) -> Float64Array:
    """Events in (after, until] of each sample."""
    upto = np.searchsorted(event, until, side="right") - np.searchsorted(event, after, side="right")
    return upto.astype(np.float64)
