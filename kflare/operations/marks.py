"""What a probability means to a forecaster: the risk mark of the disk and the forecast class.

Nishizuka et al. 2021, Earth, Planets and Space 73, 64.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import Field

from kflare.errors import DataError

__all__ = ["FORECAST_CLASSES", "MarkBounds", "Probability", "forecast_class", "risk_mark"]

FORECAST_CLASSES: Final = ("C", "M")
"""Events forecast: at least one flare of this class or above."""

SMALLEST: Final = 1e-6
"""A network that underflows to 0 gives this: see `Probability.of`."""

# P_FD of regions at 0.5 and 0.6 is 0.8 on paper and a unit of the last place less in binary.
_ROUNDING = 1e-9

# Bounds for the JSON Schema; the class refuses in its own words.
_Fraction = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Probability:
    """Probability of a flare of a class or above in the window.

    Each number lies in (0, 1]; 0.5 of the network is the climatological rate. At least one is known.
    """

    network: Annotated[_Fraction | None, Field(description="The network's own output; null if none was asked.")]
    calibrated: Annotated[_Fraction | None, Field(description="An observed frequency; null if not known.")] = None

    def __post_init__(self) -> None:
        if self.network is None and self.calibrated is None:
            raise DataError("a `Probability` must have a `network` or a `calibrated` value, got neither: leave it out")
        for name, value in (("network", self.network), ("calibrated", self.calibrated)):
            if value is not None and not 0 < value <= 1:  # NaN compares false
                raise DataError(f"`{name}` probability must lie in (0, 1], got {value}: what is unknown is left out")

    @classmethod
    def of(cls, network: float | None, calibrated: float | None = None) -> Self:
        """As a model answered: a zero, which only rounding can give, becomes the smallest probability given."""
        given = (network, calibrated)
        return cls(*(max(float(p), SMALLEST) if p is not None and p >= 0 else p for p in given))

    @property
    def deciding(self) -> float:
        """The number that marks and classes are decided on: the network's output, else the calibrated probability."""
        value = self.calibrated if self.network is None else self.network
        assert value is not None
        return value


@dataclass(frozen=True)
class MarkBounds:
    """Full-disk probabilities of a flare of class M or above at which the marks begin, inclusive."""

    danger: float = 0.80
    warning: float = 0.50

    def __post_init__(self) -> None:
        if not 0 < self.warning <= self.danger <= 1:
            raise DataError(
                f"mark bounds must be 0 < `warning` <= `danger` <= 1, got warning {self.warning}, danger {self.danger}"
            )


def risk_mark(p: float, bounds: MarkBounds | None = None) -> str:
    """The mark of a full-disk probability: "Danger flares", "Warning" or "Quiet" (section 3.1: at 80 % and 50 %)."""
    bounds = bounds or MarkBounds()
    if p >= bounds.danger - _ROUNDING:
        return "Danger flares"
    return "Warning" if p >= bounds.warning - _ROUNDING else "Quiet"


def forecast_class(probability: Mapping[str, Probability]) -> str | None:
    """The forecast maximum class: "M", "C" or "below C"; None if nothing is forecast.

    Each model says yes where it holds the event for likelier than not (argmax of its two outputs); the highest class
    that is said yes to is the forecast (eq. 2 and section 3.2).
    """
    if not probability:
        return None
    for name in reversed(FORECAST_CLASSES):
        if name in probability and probability[name].deciding >= 0.5 - _ROUNDING:
            return name
    return f"below {FORECAST_CLASSES[0]}"
