"""The reference of skill scores: the event rate of the last 120 days, as it was known at the time."""

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError, SettingError
from kflare.verification.samples import check_outcomes

__all__ = ["trailing_climatology"]


def trailing_climatology(
    time: npt.ArrayLike,
    history_time: npt.ArrayLike,
    history_observed: npt.ArrayLike,
    *,
    days: int = 120,
    window_hours: float = 24.0,
) -> npt.NDArray[np.float64]:
    """Event rate of the preceding days, as it could have been forecast at the time.

    c(t) = mean outcome of the history samples of [t - days, t - window]: only those whose window had closed at t. With
    one outcome of the full disk a day this is the 120-day climatology CLIM120 of Leka et al. 2019 [M]: the `days` days
    before t. For regions the history holds their samples, so that the rate is one of samples.

    Parameters
    ----------
    time : datetime64 array of shape (N,)
        Issue times to forecast for, UTC.
    history_time : datetime64 array of shape (M,)
        Begin of the window of each past outcome, UTC, in any order; times after t are never used for t.
    history_observed : bool or 0/1 array of shape (M,)
        Whether an event was observed in that window.
    days : int
        Length of the climatology.
    window_hours : float
        Length of the forecast window.

    Returns
    -------
    float64 array of shape (N,)
        0 to 1; NaN where the history does not reach back `days` days or holds no outcome in them, for a climatology of
        a few days would be an easy reference.

    Raises
    ------
    DataError, SettingError
        Times that are not datetime64 or NaT, a history that is empty or of unequal lengths; `days` within the window.
    """
    if not days * 24 > window_hours > 0:
        raise SettingError(f"`days` must be longer than `window_hours` > 0, got {days} d and {window_hours} h")
    issued, begun = _times(time, "time"), _times(history_time, "history_time")
    outcomes = check_outcomes(history_observed, name="history_observed")
    if len(begun) != len(outcomes):
        raise DataError(f"`history_time` must match `history_observed`, got {len(begun)} for {len(outcomes)}")
    order = np.argsort(begun, kind="stable")
    begun, total = begun[order], np.append(0, np.cumsum(outcomes[order]))
    oldest = issued - np.timedelta64(days, "D")
    first = np.searchsorted(begun, oldest, side="left")
    last = np.searchsorted(begun, issued - np.timedelta64(round(window_hours * 3600), "s"), side="right")
    known = (begun[0] <= oldest) & (last > first)
    return np.where(known, (total[last] - total[first]) / np.where(known, last - first, 1), np.nan)


def _times(values: npt.ArrayLike, name: str) -> npt.NDArray[np.datetime64]:
    times = np.asarray(values)
    if times.dtype.kind != "M":
        raise DataError(f"`{name}` must be datetime64 in UTC, got {times.dtype}: convert and drop the time zone")
    if np.isnat(times).any():
        raise DataError(f"`{name}` must not hold NaT, got {int(np.isnat(times).sum())}")
    return times.astype("datetime64[s]")
