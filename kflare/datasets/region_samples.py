"""Region samples for training: all derived features, the flare that followed each row, and whose it was."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kflare.datasets.region_features import RegionHistory, complete_rows, to_forecast
from kflare.datasets.region_table import read_region_table, region_flares_by_noaa
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import region_flux, require_covered
from kflare.flares.region_numbers import outcome_assigned, require_assigned, unassigned_note
from kflare.io.arrays import Float64Array
from kflare.sharp.samples import read_sharp_samples, region_flares


@dataclass(frozen=True)
class RegionSamples:
    """N labelled samples of active regions."""

    table: pd.DataFrame  # region table of N rows, with 24 h changes and flare history
    flux: Float64Array  # largest peak flux (W m^-2, 0 = none) of its region's flares in the 24 h after each
    region_flares: pd.DataFrame  # `region`, `start`, `peak`, `flux` of every flare of these regions
    notes: tuple[str, ...]  # what a user should know, one line each


def samples_of_region_table(path: Path, flares: FlareList) -> RegionSamples:
    """Label a region table by the NOAA numbers of its rows; rows whose label is unknown are left out.

    `DataError` if the flare list covers none of them, or names too few regions.
    """
    table = read_region_table(path)
    about = table.attrs
    require_assigned(table["time"], flares)
    own = region_flares_by_noaa(table, flares.table)
    whole = complete_rows(table, flares=flares)
    table = to_forecast(whole)
    # Flares are listed by NOAA number: of a region without one it is not known whether it flared.
    numbered = table["region"].isin(table["region"][table["noaa"].fillna(0) > 0]).to_numpy()
    covered = require_covered(table["time"], flares, some=True)
    told = covered & outcome_assigned(table["time"], flares)
    left_out = {
        "not to be forecast": len(whole) - len(table), "without NOAA number": int((~numbered).sum()),
        "whose 24 h the flare list does not cover": int((numbered & ~covered).sum()),
        "with few numbered flares in the 24 h after them": int((numbered & covered & ~told).sum()),
    }  # fmt: skip
    notes = [f"{path}: {rows} rows {why} left out" for why, rows in left_out.items() if rows]
    table = table[numbered & told].reset_index(drop=True)
    table.attrs = about
    notes += [note] if (note := unassigned_note(table["time"], flares)) else []
    return RegionSamples(table, region_flux(table, own), own, tuple(notes))


def samples_of_sharp(
    folder: Path, flares: FlareList, *, harp_noaa: Path, srs: pd.DataFrame | None = None
) -> RegionSamples:
    """Read SHARP samples on their restored grid; rows whose label is unknown are left out.

    The table `harp_noaa` does not tell when a region was given its number. With `srs`, NOAA's regions of `read_srs`, it
    has it from the first summary that lists it; a number that none lists, and all without `srs`, from the region's
    first row, so that its history there may hold what was known only days later.
    """
    samples = read_sharp_samples(folder, flares=flares, harp_noaa=harp_noaa)
    table = samples.table
    require_assigned(table["time"], flares)
    assert samples.harp_noaa is not None
    numbers = samples.harp_noaa.assign(region="HARP " + samples.harp_noaa["harpnum"].astype(str))
    listed = {} if srs is None else srs.groupby("noaa")["issued"].min().to_dict()

    def given(noaa: pd.Series) -> pd.Series:
        return pd.to_datetime(noaa.map(listed), utc=True).astype(table["time"].dtype)

    numbers["time"] = given(numbers["noaa"]).fillna(numbers["region"].map(table.groupby("region")["time"].min()))
    early = int((~numbers["noaa"].isin(list(listed))).sum())
    notes = [*samples.notes, f"{early} of {len(numbers)} NOAA numbers taken as known from a region's first row"]
    notes += [note] if (note := unassigned_note(table["time"], flares)) else []
    table["noaa"] = table["noaa"].where(~(given(table["noaa"]) > table["time"]))
    table = complete_rows(table, RegionHistory(table.iloc[:0], numbers), flares=flares)
    flux = table["flux24"].to_numpy(np.float64)
    labelled = np.isfinite(flux)
    table = table[labelled].drop(columns=["flux24", "restored"]).reset_index(drop=True)
    return RegionSamples(table, flux[labelled], region_flares(samples, flares), (f"{folder}: {'; '.join(notes)}",))
