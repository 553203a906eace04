"""The size of the Sun, its distance, and the units of area that follow from them."""

import math
from typing import Final

#: RSUN_REF of HMI and MDI, to which JSOC's RSUN_OBS and R_SUN refer: metres, cm and Mm.
SOLAR_RADIUS_M: Final = 6.96e8
SOLAR_RADIUS_CM: Final = 6.96e10
SOLAR_RADIUS_MM: Final = 696.0
#: Its angle as seen from 1 au, in arcsec.
SOLAR_RADIUS_ARCSEC: Final = 959.63
#: A millionth of the solar hemisphere (µHem, MSH) in cm²: 3.04e16.
MICROHEMISPHERE_CM2: Final = 2e-6 * math.pi * SOLAR_RADIUS_CM**2
#: Astronomical unit in metres.
AU_M: Final = 1.495978707e11
