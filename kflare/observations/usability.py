"""What a magnetogram must be to forecast from: of nothing seen, a forecast must not say "quiet".

The exported graphs hold requests to the same limits, which are our choice; readers have stricter ones of quality.
"""

from typing import Final

import numpy as np

from kflare.errors import DataError
from kflare.observations.magnetogram import Magnetogram

__all__ = ["LARGEST_FIELD", "LEAST_COVERAGE", "LEAST_SIDE", "MOST_BEYOND", "require_usable"]

LEAST_SIDE: Final = 32
"""Pixels a side; on fewer no region of the Sun is more than a pixel."""

LARGEST_FIELD: Final = 10_000.0
"""Gauss; sunspots reach 6,000. What is beyond counts as not measured: a fill value, or a cosmic ray."""

MOST_BEYOND: Final = 1e-3
"""Share of the pixels beyond `LARGEST_FIELD` up to which the others are believed to be gauss."""

LEAST_COVERAGE: Final = 0.25
"""Share of the pixels that must have been measured: half of a disk whose radius is 0.4 of the width."""


def require_usable(image: Magnetogram) -> None:
    """Refuse a magnetogram that no forecast can be made of: `DataError` names the file, the limit and what was seen."""
    side, strength = image.data.shape[0], np.abs(image.data)
    beyond = float(np.mean(strength > LARGEST_FIELD))
    measured = float(np.mean(strength <= LARGEST_FIELD))
    for good, rule, seen in (
        (side >= LEAST_SIDE, f"be at least {LEAST_SIDE} pixels wide", f"{side}"),
        (
            beyond <= MOST_BEYOND,
            f"hold gauss, at most {LARGEST_FIELD:,.0f} in strength, and NaN where nothing was measured",
            f"{np.nanmax(strength, initial=0):g} G, and {beyond:.1%} of the pixels beyond",
        ),
        (measured >= LEAST_COVERAGE, f"have measured at least {LEAST_COVERAGE:.0%} of its pixels", f"{measured:.1%}"),
    ):
        if not good:
            raise DataError(f"`{image.source}`: a magnetogram to forecast from must {rule}, got {seen}")
