"""The scale of GOES soft X-rays (0.1-0.8 nm, 1-8 Å): which satellites' published fluxes and classes carry a factor.

Operational fluxes of GOES-1 to GOES-15, and the flare classes in every list made of them at the time, are 0.7 of the
irradiance: SWPC kept the scale of GOES-7. Those of GOES-16 and later are irradiance, so today's M1.0 is the old M0.7
(C7.0), and a class of before counts for 1.43 times as much today. What is known of each list, and from where, stands in
docs/flare_scale.md: the date is of SWPC's table of primary satellites, and SWPC's lists agree with it.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import pandas as pd

    from kflare.io.arrays import BoolArray

#: "irradiance" is today's scale, "operational" what SWPC published at the time, with the factor up to GOES-15.
FluxScale = Literal["irradiance", "operational"]

#: Operational flux over irradiance in 0.1-0.8 nm, GOES-15 and before.
SWPC_FACTOR: Final = 0.7
#: From when on SWPC's lists are of GOES-16, without the factor.
GOES_16_PRIMARY: Final = datetime(2019, 12, 9, 17, 30, tzinfo=UTC)
_LAST_SCALED: Final = 15


def carries_factor(satellite: "pd.Series", time: "pd.Series") -> "BoolArray":
    """Whether operational values carry the factor, bool (N,), by GOES number (Int64), else by `time` (aware)."""
    return (satellite <= _LAST_SCALED).fillna(time < GOES_16_PRIMARY).to_numpy(dtype=bool)
