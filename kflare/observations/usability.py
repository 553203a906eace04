"""What an image must be to measure and forecast from: of nothing seen, a forecast must not say "quiet".

The exported graphs hold requests to the same limits, which are our choice; readers have stricter ones of quality.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import Float32Array
from kflare.observations.magnetogram import Magnetogram

LEAST_SIDE: Final = 32
"""Pixels a side; on fewer no region of the Sun is more than a pixel."""

LARGEST_FIELD: Final = 10_000.0
"""Gauss; sunspots reach 6,000. What is beyond counts as not measured: a fill value, or a cosmic ray."""

MOST_BEYOND: Final = 1e-3
"""Share of the pixels beyond `LARGEST_FIELD` up to which the others are believed to be gauss."""

LEAST_COVERAGE: Final = 0.25
"""Share of the pixels that must have been measured: half of a disk whose radius is 0.4 of the width."""

# DN of a pixel: AIA's converter ends at 16,383, which flat field and lost sensitivity may raise a few times, HMI adds
# exposures. Dark noise is a few DN: what is far below 0 is a fill value as well.
_COUNTS: Final = (-500.0, 65_534.0)
_HMI_COUNTS: Final = (-500.0, 1e6)


def require_usable(image: Magnetogram) -> Magnetogram:
    """The magnetogram with NaN for what is beyond `LARGEST_FIELD`.

    `DataError` names the file, the limit and what was seen, if no forecast can be made of it.
    """
    side, strength = image.data.shape[0], np.abs(image.data)
    beyond = float(np.mean(strength > LARGEST_FIELD))
    measured = float(np.mean(strength <= LARGEST_FIELD))
    low, high = np.nanmin(image.data, initial=np.inf), np.nanmax(image.data, initial=-np.inf)
    gauss = f"hold gauss, at most {LARGEST_FIELD:,.0f} in strength, and NaN where nothing was measured"
    strongest = f"{np.nanmax(strength, initial=0):g} G, and {beyond:.1%} of the pixels beyond"
    for good, rule, seen in (
        (side >= LEAST_SIDE, f"be at least {LEAST_SIDE} pixels wide", f"{side}"),
        (beyond <= MOST_BEYOND, gauss, strongest),
        (measured >= LEAST_COVERAGE, f"have measured at least {LEAST_COVERAGE:.0%} of its pixels", f"{measured:.1%}"),
        (low < 0 < high, "hold field of both polarities", f"{low:g} to {high:g} G"),
    ):
        if not good:
            raise DataError(f"`{image.source}`: a magnetogram to forecast from must {rule}, got {seen}")
    return replace(image, data=np.where(strength > LARGEST_FIELD, np.float32(np.nan), image.data)) if beyond else image


def measured_counts(
    data: Float32Array, source: str, *, seconds: float, hmi: bool = False, some: bool = True
) -> Float32Array:
    """An image in DN/s, or rows of it, with NaN for what AIA, or HMI, cannot have counted in so many seconds.

    `DataError` names the file, if nothing is left and `some` must be.
    """
    low, high = _HMI_COUNTS if hmi else _COUNTS
    sound = (data >= low / seconds) & (data <= high / seconds)  # neither NaN nor infinite
    if some and not sound.any():
        raise DataError(f"`{source}` holds no measured value from {low:g} to {high:g} DN; give another image")
    return data if sound.all() else np.where(sound, data, np.float32(np.nan))
