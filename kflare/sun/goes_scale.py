"""The scale of GOES soft X-rays (0.1-0.8 nm, 1-8 Å): which satellites' published fluxes and classes carry a factor.

Operational fluxes of GOES-1 to GOES-15, and the flare classes in every list made of them at the time, are 0.7 of the
irradiance: SWPC kept the scale of GOES-7. Those of GOES-16 and later are irradiance, so today's M1.0 is the old M0.7
(C7.0), and a class of before counts for 1.43 times as much today. What is known of each list, and from where:

* NOAA, readme of the operational netCDF (`NOAA_scaling_factors`: "divide … the long channel fluxes (B_FLUX) by 0.7")
  and users' guides of the GOES 8-15 and GOES-R XRS products: the factor, and that GOES-16 and later have none. NCEI's
  reprocessed ("science quality") fluxes and flare summaries hold irradiance for every satellite.
* SWPC's table of primary and secondary satellites (K. Moreland, 5 September 2024; reference data of the program
  fetchsep, github ktindiana/fetchsep @594cf9e): GOES-15 was primary for X-rays until 2019-12-09 17:30 UT, GOES-16 from
  then on. SWPC's event lists agree: their last flare of GOES-15 in that time is of 2 December, the first of GOES-16 of
  13 December 2019. Two of GOES-15 follow on 24 and 25 January 2020: where a list names the satellite, that decides.
* NGDC's yearly reports (1975-2017) and the HEK's flares of SWPC and of SSW Latest Events repeat SWPC's classes of
  their time. So does DONKI as far as we know; of its flares before 2019-12-09 we found no statement.
* We found no operational list of before GOES-16 that was issued anew on today's scale.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import pandas as pd

    from kflare.io.arrays import BoolArray

__all__ = ["GOES_16_PRIMARY", "SWPC_FACTOR", "FluxScale", "carries_factor"]

#: "irradiance" is today's scale, "operational" what SWPC published at the time, with the factor up to GOES-15.
FluxScale = Literal["irradiance", "operational"]

#: Operational flux over irradiance in 0.1-0.8 nm, GOES-15 and before.
SWPC_FACTOR: Final = 0.7
#: From when on SWPC's lists are of GOES-16, without the factor.
GOES_16_PRIMARY: Final = datetime(2019, 12, 9, 17, 30, tzinfo=UTC)
_LAST_SCALED: Final = 15


def carries_factor(satellite: "pd.Series", time: "pd.Series | None" = None) -> "BoolArray":
    """Whether operational values carry the factor, bool of shape (N,).

    `satellite` are GOES numbers (Int64); where one is unknown, the `time` (aware) decides, without which it is False.
    """
    scaled = satellite <= _LAST_SCALED
    scaled = scaled.fillna(value=False) if time is None else scaled.fillna(time < GOES_16_PRIMARY)
    return scaled.to_numpy(dtype=bool)
