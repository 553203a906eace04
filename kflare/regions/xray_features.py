"""What GOES saw before a time: largest and mean X-ray flux of the hours before.

Names and spans are Deep Flare Net's (docs/science.md). How much of a span must be measured is reconstruction: in the
other half a flare may hide, so nothing is said of it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.io.arrays import Float64Array
from kflare.xray.flux import XrayFlux

#: Share of the minutes of a span that must be measured. R.
LEAST_MEASURED: Final = 0.5

_MAXIMUM, _MEAN, _LOG_MAXIMUM = "maximum", "mean", "log10 of the maximum"
# What is taken over which hours before the time: from the first to the second.
_SPANS = {"Xmax1d": (_MAXIMUM, 24, 0), "Xflux1h": (_MEAN, 1, 0), "Xflux4h": (_MEAN, 4, 0)}
_SPANS |= {"Xmax1h": (_LOG_MAXIMUM, 1, 0), "Xmax1m1": (_LOG_MAXIMUM, 2, 1), "Xmax1m2": (_LOG_MAXIMUM, 3, 2)}
XRAY_FEATURES: Final = tuple(_SPANS)
"""Names, in the order of the feature table's groups."""


def xray_features(xray: XrayFlux | None, time: datetime) -> tuple[dict[str, float], dict[str, str]]:
    """Xmax1d, Xflux1h, Xflux4h, and Xmax1h with its values one and two hours earlier; and why a value is NaN.

    W m^-2, the last three log10(W m^-2) + 6 (C1.0 = 0); NaN where less than half of the span was measured, or `xray` is
    None. Minutes that end by `time` (aware) count, later ones never.
    """
    if time.utcoffset() is None:
        raise DataError(f"`time` must carry a time zone (UTC), got {time!r}")
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, (what, first, last) in _SPANS.items():
        flux = np.empty(0)
        if xray is not None:
            flux = _between(xray, time - timedelta(hours=first), time - timedelta(hours=last))
        measured, minutes = int(np.isfinite(flux).sum()), 60 * (first - last)
        if xray is None or measured < LEAST_MEASURED * minutes:
            values[name] = np.nan
            reasons[name] = "no GOES flux given" if xray is None else f"{measured} of {minutes} min measured by GOES"
        elif what == _MEAN:
            values[name] = float(np.nanmean(flux))
        else:
            largest = float(np.nanmax(flux))
            values[name] = float(np.log10(largest)) + 6 if what == _LOG_MAXIMUM else largest
    return values, reasons


def joined(parts: Sequence[XrayFlux]) -> XrayFlux:
    """One series of several of one scale, gap-free; of a minute that more than one has, the first measured value."""
    if not parts:
        raise DataError("give at least one file of GOES X-ray flux")
    scales = sorted({part.scale for part in parts})
    if len(scales) > 1:
        raise DataError(f"X-ray fluxes must be of one `scale`, got {' and '.join(scales)}")
    if len(parts) == 1:
        return parts[0]
    rows = pd.concat([part.table[part.table["flux"].notna()] for part in parts]).drop_duplicates("time")
    minutes = pd.date_range(rows["time"].min(), rows["time"].max(), freq="min", unit="us", name="time")
    table = rows.set_index("time").reindex(minutes).reset_index()
    return XrayFlux(table, parts[0].scale, ", ".join(part.source for part in parts))


def _between(xray: XrayFlux, begin: datetime, end: datetime) -> Float64Array:
    """Flux of the minutes that lie in [begin, end]; the table is gap-free, so its rows are found by counting."""
    if not len(xray):
        return np.empty(0)
    minute, origin = pd.Timedelta(minutes=1), xray.table["time"].iloc[0]
    first = -((origin - pd.Timestamp(begin)) // minute)
    last = (pd.Timestamp(end) - origin) // minute
    return xray.table["flux"].to_numpy(np.float64)[max(0, first) : max(0, last)]
