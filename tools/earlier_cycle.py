"""SMARP samples (SOHO/MDI, 1996 to 2010) as further training data for models of SHARP samples.

MDI and HMI measure the same quantities on different scales (resolution, calibration of the field). Here each parameter
of MDI is shifted and stretched so that its mean and standard deviation are those of HMI's *training* samples: moments,
since the two archives do not overlap. What this cannot tell from the instrument is the difference of the two cycles.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.datasets.history import region_history
from kflare.datasets.region_features import complete_rows
from kflare.datasets.region_samples import RegionSamples
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.sharp.samples import COMMON_PARAMETERS
from kflare.sharp.smarp import read_smarp_samples

__all__ = ["matched", "samples_of_smarp"]

_LOGARITHMIC = ("AREA", "USFLUX")


def samples_of_smarp(folder: Path, flares: FlareList, *, reference: pd.DataFrame) -> RegionSamples:
    """SMARP samples of a folder (`smarp_0.csv` …) on their restored grid and HMI's scale, with changes and history.

    `flares` are GOES flares of 1996 to 2010; `reference` is a region table of HMI with `COMMON_PARAMETERS`: training
    rows. The regions have no NOAA numbers; the history of each is of the flares that the samples' own lists say are
    its, before its first sample by numbers that only later samples tell: a look into the future that these data do not
    let us mend.
    """
    samples, own = read_smarp_samples(folder, flares=flares)
    table = matched(samples.table, reference)
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
