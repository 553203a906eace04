"""How a probability is written for a reader: never rounded up over a mark, never to a certainty."""

import math

__all__ = ["percent", "rounded"]


def rounded(p: float, digits: int) -> float:
    """A probability with so many digits (at least 1) behind the point, rounded down, and never 0 or 1.

    Rounded to the nearest, 0.79996 would stand as 0.8, at which a mark begins that it does not reach. What is within
    1e-9 of the next digit counts as it: 0.5 and 0.6 combined are 0.8, but for the last place of binary numbers.
    """
    steps = 10**digits
    return min(max(math.floor(steps * (p + 1e-9)), 1), steps - 1) / steps


def percent(p: float | None) -> str:
    """A probability to a tenth of a percent, as `rounded`: "79.9 %", "< 0.1 %", "> 99.9 %"; a dash for None and NaN."""
    if p is None or math.isnan(p):
        return "–"
    if p < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if p > 0.999 else f"{100 * rounded(p, 3):.1f} %"
