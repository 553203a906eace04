"""How a probability is written for a reader: a forecast never rounded up over a mark or to a certainty."""

import math


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


def score(p: float | None) -> str:
    """A network's output on the scale where 50 is the climatological rate, as `percent` without the sign: "79.9"."""
    return percent(p).removesuffix(" %")


def chance(p: float | None, lower: float | None = None, upper: float | None = None) -> str:
    """An observed frequency as an office shows it: "12 % (7–19)", "1.9 % (<1–5)", "< 1 % (up to 3)", "> 99 %".

    No calibration resolves more than a percent at the ends, or more than two digits between. A `lower` end that does
    not lie below the point says that the calibration cannot tell less: "< 2 %". Ends are rounded outwards.
    """
    if p is None or math.isnan(p):
        return "–"
    least, most = (None if end is None or math.isnan(end) else end for end in (lower, upper))
    low = "" if least is None else f"{math.floor(100 * least + 1e-7)}" if least >= 0.01 else "<1"
    high = "" if most is None else f"{math.ceil(100 * most - 1e-7)}" if most <= 0.99 else ">99"
    if p < 0.01 or (least is not None and p <= min(least, 0.5)):
        bound = max(math.ceil(100 * p - 1e-7), 1)
        return f"< {bound} %" + (f" (up to {high})" if most is not None and most > bound / 100 else "")
    if p > 0.99 or (most is not None and p >= max(most, 0.5)):
        bound = min(math.floor(100 * p + 1e-7), 99)
        return f"> {bound} %" + (f" (from {low})" if least is not None and least < bound / 100 else "")
    point = f"{100 * rounded(p, 3):.1f} %" if p < 0.1 else f"{100 * rounded(p, 2):.0f} %"
    return point + (f" ({low}–{high})" if low and high else "")


def rate(p: float | None, lower: float = math.nan, upper: float = math.nan) -> str:
    """A mean, or how often something came, to the nearest tenth of a percent, as no mark begins at it: "14.8 %"."""
    if p is None or math.isnan(p):
        return "–"
    return f"{100 * p:.1f} %" + ("" if math.isnan(lower) else f" ({100 * lower:.1f}–{100 * upper:.1f})")
