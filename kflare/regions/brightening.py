"""Brightenings of the chromosphere and the corona in the frame of a region: CHArea, CHAll, CHMax, CRArea, CRAll, CRMax.

Deep Flare Net counts the pixels of AIA 1600 Å and 131 Å in the frame that are brighter than a threshold, adds them up
and takes the brightest. Its thresholds are not known (docs/science.md): those below are reconstructions.
"""

import math
from typing import Final

import numpy as np

from kflare.errors import SettingError
from kflare.io.arrays import FloatArray
from kflare.sun.geometry import Box

#: DN/s above which a pixel is bright, by prefix of the features. Reconstruction. CH, AIA 1600 Å: 300; the quiet Sun has
#: about 30 to 60, plage 100 to 250, flare ribbons 10³ and more. CR, AIA 131 Å: 100; the quiet Sun has about 5, active
#: regions 10 to 60, plasma of 10 MK (Fe XXI) more.
BRIGHT_ABOVE: Final = {"CH": 300.0, "CR": 100.0}


def brightening_features(image: FloatArray, box: Box, *, prefix: str) -> dict[str, float]:
    """Area, sum and maximum of what is brighter than `BRIGHT_ABOVE` (DN/s) in a frame.

    The image, of the full disk on the pixels that the box is given in, is in DN/s, row 0 = north, NaN where not
    measured. Of `prefix` "CH" (1600 Å) or "CR" (131 Å): `prefix` + "Area" (pixels), "All" (DN/s, 0 if nothing is
    bright) and "Max" (DN/s, the brightest pixel of the frame, bright or not); all NaN if nothing was measured.
    """
    if prefix not in BRIGHT_ABOVE:
        raise SettingError(f"`prefix` of a brightening must be one of {', '.join(BRIGHT_ABOVE)}, got {prefix!r}")
    x0, y0, x1, y1 = box
    frame = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    values = frame[np.isfinite(frame)].astype(np.float64)
    if not len(values):
        return {prefix + name: math.nan for name in ("Area", "All", "Max")}
    bright = values[values > BRIGHT_ABOVE[prefix]]
    return {prefix + "Area": float(len(bright)), prefix + "All": float(bright.sum()), prefix + "Max": values.max()}
