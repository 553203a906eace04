"""SMARP samples of SOHO/MDI, 1996 to 2010: the solar cycle before SHARP, on the same restored grid.

TARP numbers have no table of NOAA numbers. But each sample lists the classes of the flares that its region has in the
next 24 h, and a flare of the list stands in (almost) all of the region's samples of the day before it: that tells whose
it was. The NOAA numbers of these flares lead to those before the region's first sample.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.flares.catalogue import FlareList, class_fluxes
from kflare.flares.labels import in_seconds, reaches, region_flux
from kflare.sharp.samples import SharpSamples, read_folder, read_sharp_samples
from kflare.sun.goes_scale import FluxScale
from kflare.sun.times import DAY_SECONDS

__all__ = ["read_smarp_samples"]

_PRESENT = 0.9
"""Share of a region's samples of the day before a flare that must list its class."""

_VOTES = (2, 0.25)
"""A NOAA number is a region's if at least so many, and this share, of its numbered flares bear it."""


def read_smarp_samples(folder: str | Path, *, flares: FlareList) -> tuple[SharpSamples, pd.DataFrame]:
    """Read SMARP samples, label the restored rows, and find the regions' flares.

    Parameters
    ----------
    folder : str or pathlib.Path
        Holds `smarp_0.csv` …
    flares : FlareList
        GOES flares of 1996 to 2010, with NOAA numbers as far as known.

    Returns
    -------
    SharpSamples
        As from `read_sharp_samples`, with `flux24` of the restored rows from the flares that were found.
    DataFrame
        `region`, `start`, `peak` (UTC), `flux` (W m^-2) of every flare >= C1.0 that was found to be a region's.

    Raises
    ------
    DataError
        As `read_sharp_samples`.
    """
    samples = read_sharp_samples(folder, flares=flares, harp_noaa=None)
    own = _flares_of_regions(_lists(Path(folder), flares.scale), flares.table)
    table = samples.table.copy()
    table["flux24"] = table["flux24"].where(~table["restored"], region_flux(table, own))
    own = pd.concat([own, _earlier(own, flares.table, table.groupby("region")["time"].min())], ignore_index=True)
    own = own.sort_values(["region", "start"], kind="stable", ignore_index=True)
    notes = (*samples.notes[:-1], f"{len(own)} flares of the list found to be a region's by the samples' own lists")
    return replace(samples, table=table, notes=notes), own[["region", "start", "peak", "flux"]]


def _lists(folder: Path, scale: FluxScale) -> pd.DataFrame:
    """`region`, `seconds`, `flares` ("C3.1|C1.6", empty = none) of every distributed sample."""
    rows = read_folder(folder, scale)
    region = rows["prefix"] + " " + rows["harpnum"].astype("str")
    return pd.DataFrame({"region": region, "seconds": in_seconds(rows["time"]), "flares": rows["flares"]})


def _flares_of_regions(lists: pd.DataFrame, flares: pd.DataFrame) -> pd.DataFrame:
    """Rows of `flares` with the `region` whose samples list them; the columns of the list beside."""
    listed = lists[lists["flares"] != ""].assign(goes_class=lambda rows: rows["flares"].str.split("|"))
    listed = listed.explode("goes_class", ignore_index=True)
    listed["key"] = _tenths(class_fluxes(listed["goes_class"]))
    listed = listed[listed["key"] > 0].drop_duplicates(["region", "seconds", "key"])
    known = flares[reaches(flares["flux"], "C")].reset_index(drop=True)
    known = known.assign(seconds=in_seconds(known["start"]), key=_tenths(known["flux"]), number=known.index)
    # A window of 24 h touches two days: the flare's day is that of the sample or the next one.
    day = listed["seconds"] // DAY_SECONDS
    both = pd.concat([listed.assign(day=day), listed.assign(day=day + 1)])
    pairs = both.merge(known.assign(day=known["seconds"] // DAY_SECONDS), on=["day", "key"], suffixes=("", "_flare"))
    ahead = pairs["seconds_flare"] - pairs["seconds"]
    pairs = pairs[(ahead >= 0) & (ahead < DAY_SECONDS)]
    found = pairs.groupby(["region", "number"]).size().rename("listing").reset_index()
    start = known["seconds"].to_numpy()[found["number"]]
    before = np.empty(len(found), np.int64)
    times = {region: np.sort(rows.to_numpy()) for region, rows in lists.groupby("region")["seconds"]}
    for row, (region, begin) in enumerate(zip(found["region"], start, strict=True)):
        # Samples at t with t <= start < t + 24 h.
        before[row] = np.diff(np.searchsorted(times[region], [begin - DAY_SECONDS, begin], side="right"))[0]
    found = found[found["listing"].to_numpy() >= _PRESENT * before]
    return known.loc[found["number"]].assign(region=found["region"].to_numpy()).reset_index(drop=True)


def _earlier(own: pd.DataFrame, flares: pd.DataFrame, first: pd.Series) -> pd.DataFrame:
    """Flares of the regions' NOAA numbers before their first samples."""
    votes = own.groupby(["region", "noaa"]).size().rename("votes").reset_index()
    share = votes["votes"] / votes.groupby("region")["votes"].transform("sum")
    votes = votes[(votes["votes"] >= _VOTES[0]) & (share >= _VOTES[1])]
    numbered = flares[flares["noaa"].notna() & reaches(flares["flux"], "C")]
    pairs = votes[["region", "noaa"]].merge(numbered, on="noaa")
    return pairs[pairs["start"] < pairs["region"].map(first)]


def _tenths(flux: pd.Series) -> npt.NDArray[np.int64]:
    """Class as a whole number, tenths of C1.0, in which equal classes are equal; 0 where unknown."""
    return np.rint(np.nan_to_num(flux.to_numpy(np.float64)) * 1e7).astype(np.int64)
