"""The full-disk probability of several regions."""

from collections.abc import Mapping

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import ArrayLike, Float64Array


def full_disk_probability(p: ArrayLike) -> float:
    """Probability of at least one flare on the disk from those of its regions, (N,) in [0, 1], taken as independent.

    P_FD = 1 − Π(1 − P_i) (Nishizuka et al. 2021, Earth, Planets and Space 73, 64, section 3), as −expm1(Σ log1p(−P_i)),
    which keeps small probabilities exact; exactly 1.0 if any region's is.

    DataError: a value is NaN or outside [0, 1], as leaving a region out would make the disk look quieter than it is; or
    there is no region: the caller must say what a disk without regions means.
    """
    values = np.asarray(p, dtype=np.float64).ravel()
    if values.size == 0:
        raise DataError("no regions, so no full-disk probability: no forecast is not a forecast of zero")
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))  # NaN compares false
    if bad.size:
        raise DataError(f"`p` must lie in [0, 1] for every region, got {values[bad[0]]} at index {bad[0]}")
    with np.errstate(divide="ignore"):  # log1p(-1) is -inf, which is right
        return float(-np.expm1(np.log1p(-values).sum()))


def held_to_regions(told: Mapping[str, ArrayLike], likeliest: Mapping[str, ArrayLike]) -> dict[str, Float64Array]:
    """P_FD as `told` by its own calibration, and the ends of its interval, none below the `likeliest` region's."""
    least = likeliest["calibrated"]
    return {name: np.maximum(np.asarray(p, np.float64), likeliest.get(name, least)) for name, p in told.items()}
