"""SMARP samples (SOHO/MDI, 1996 to 2010) as further training data for models of SHARP samples.

MDI and HMI measure the same quantities on different scales (resolution, calibration of the field). Here each parameter
of MDI is shifted and stretched so that its mean and standard deviation are those of HMI's *training* samples: moments,
since the two archives do not overlap. What this cannot tell from the instrument is the difference of the two cycles.

TARP numbers have no table of NOAA numbers. But each sample lists the classes of the flares that its region has in the
next 24 h, and a flare of the list stands in (almost) all of the region's samples of the day before it: that tells whose
it was. The NOAA numbers of these flares lead to those before the region's first sample.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.datasets.history import region_history
from kflare.datasets.region_features import complete_rows
from kflare.datasets.region_samples import RegionSamples
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList, class_fluxes
from kflare.flares.labels import in_seconds, reaches, region_flux
from kflare.sharp.samples import COMMON_PARAMETERS, SharpSamples, read_folder, read_sharp_samples
from kflare.sun.goes_scale import FluxScale
from kflare.sun.times import DAY_SECONDS

__all__ = ["matched", "read_smarp_samples", "samples_of_smarp"]

_LOGARITHMIC = ("AREA", "USFLUX")

_PRESENT = 0.9
"""Share of a region's samples of the day before a flare that must list its class."""

_VOTES = (2, 0.25)
"""A NOAA number is a region's if at least so many, and this share, of its numbered flares bear it."""


def samples_of_smarp(folder: Path, flares: FlareList, *, reference: pd.DataFrame | None) -> RegionSamples:
    """SMARP samples of a folder (`smarp_0.csv` …) on their restored grid, with changes and history.

    `flares` are GOES flares of 1996 to 2010; `reference` is a region table of HMI with `COMMON_PARAMETERS`, training
    rows, to whose scale they are brought; None leaves them on MDI's. The regions have no NOAA numbers; the history of
    each is of the flares that the samples' own lists say are its, before its first sample by numbers that only later
    samples tell: a look into the future that these data do not let us mend.
    """
    samples, own = read_smarp_samples(folder, flares=flares)
    table = samples.table if reference is None else matched(samples.table, reference)
    table = complete_rows(table.join(region_history(table, own)), flares=flares)
    notes = (f"{folder}: {'; '.join(samples.notes)}",)
    flux = table["flux24"].to_numpy(np.float64)
    return RegionSamples(table.drop(columns=["flux24", "restored"]), flux, own, notes)


def matched(table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """A region table whose `COMMON_PARAMETERS` have the mean and standard deviation of those of another.

    AREA and USFLUX are matched in their logarithms. R_VALUE is matched where it is above 0; 0 stays 0, since it means
    that there is no strong polarity inversion line. A parameter that does not vary raises `DataError`.
    """
    out = table.copy()
    for name in COMMON_PARAMETERS:
        values, wanted = _scaled(table[name], name), _scaled(reference[name], name)
        # No region has a negative mean gradient; of R_VALUE and the logarithms 0 stands for "nothing there".
        present, model = values > 0, wanted[wanted > 0]
        if not (present.any() and np.std(values[present]) > 0 and np.std(model) > 0):
            raise DataError(f"`{name}` does not vary in one of the two tables, so their scales cannot be compared")
        slope = np.std(model) / np.std(values[present])
        shifted = np.mean(model) + slope * (values - np.mean(values[present]))
        out[name] = np.where(present, 10.0**shifted if name in _LOGARITHMIC else shifted, table[name])
    return out


def _scaled(column: pd.Series, name: str) -> npt.NDArray[np.float64]:
    values = column.to_numpy(np.float64)
    return np.log10(np.maximum(values, 1.0)) if name in _LOGARITHMIC else values


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
