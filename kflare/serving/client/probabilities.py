"""What may be believed of a reply, and the full-disk probability of several regions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError, ServingError

__all__ = ["PROBABILITY_OUTPUTS", "check_probabilities", "full_disk_probability"]

PROBABILITY_OUTPUTS = ("probability", "probabilities", "scores", "calibrated")
"""Outputs of kflare's signatures that are probabilities: finite and within [0, 1]."""

_ROUNDING = 1e-6  # a softmax in float32 may end a few units of the last place above 1


def check_probabilities(
    outputs: Mapping[str, npt.NDArray[Any]], *, model: str, version: int, rows: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Refuse a reply whose probabilities are none; everything else passes as it is.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        A reply's outputs by name.
    model, version
        Who answered, for the message.
    rows : int, optional
        How many magnetograms or regions were asked about; there must be as many probabilities.

    Returns
    -------
    dict of str to ndarray
        The outputs; probabilities that leave [0, 1] by rounding alone are put back on its edge.

    Raises
    ------
    ServingError
        Names model, version, output, index and value of the first NaN or number outside [0, 1], or the wrong number
        of rows.
    """
    checked = dict(outputs)
    for name in PROBABILITY_OUTPUTS:
        values = checked.get(name)
        if values is None:
            continue
        if rows is not None and values.shape[:1] != (rows,):
            raise ServingError(
                f"`{name}` of {model} version {version} must have {rows} rows, as many as were asked for, got shape "
                f"{values.shape}: the reply is not used; serve another version of the model"
            )
        if values.dtype.kind not in "fiu":
            raise ServingError(f"`{name}` of {model} version {version} must be numbers, got {values.dtype}")
        good = (values >= -_ROUNDING) & (values <= 1 + _ROUNDING)  # NaN compares false
        if not good.all():
            index = tuple(int(i) for i in np.argwhere(~good)[0])
            raise ServingError(
                f"`{name}` of {model} version {version} must lie in [0, 1], got {values[index]} at index "
                f"{list(index)}: the reply is not used; serve another version of the model"
            )
        checked[name] = np.clip(values, 0, 1)
    return checked


def full_disk_probability(p: npt.ArrayLike) -> float:
    """Probability of at least one flare on the disk from those of its regions, taken as independent.

    P_FD = 1 − Π(1 − P_i), as −expm1(Σ log1p(−P_i)), which keeps small probabilities exact.

    Parameters
    ----------
    p : array_like, shape (N,)
        Probability of each region, in [0, 1].

    Returns
    -------
    float
        In [0, 1]; exactly 1.0 if any region's is.

    Raises
    ------
    DataError
        A value is NaN or outside [0, 1]: leaving a region out would make the disk look quieter than it is. Or there is
        no region at all: no forecast is never a zero forecast, so the caller must say what a disk without regions
        means.

    References
    ----------
    Nishizuka et al. 2021, Earth, Planets and Space 73, 64, section 3.
    """
    values = np.asarray(p, dtype=np.float64).ravel()
    if values.size == 0:
        raise DataError("no regions, so no full-disk probability: no forecast is not a forecast of zero")
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))  # NaN compares false
    if bad.size:
        raise DataError(f"`p` must lie in [0, 1] for every region, got {values[bad[0]]} at index {bad[0]}")
    with np.errstate(divide="ignore"):  # log1p(-1) is -inf, which is right
        return float(-np.expm1(np.log1p(-values).sum()))
