"""What the site shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kflare.errors import DataError
from kflare.operations.forecast import FORECAST_CLASSES, Forecast, Outage
from kflare.operations.publish.pictures import DiskPicture

__all__ = ["Figure", "PastCycle", "Section", "SiteData", "WindowOutcome"]


@dataclass(frozen=True)
class WindowOutcome:
    """What happened in a forecast's window."""

    observed: Mapping[str, bool] = field(default_factory=dict)
    """Whether there was a flare of the class or above; absent while the flare list does not cover the window."""
    flares: tuple[str, ...] = ()
    """The flares of class C and above, for the reader: "M1.0 05:04 UT, AR 12740"."""


@dataclass(frozen=True)
class PastCycle:
    """A forecast or outage of the past, with what happened if that is known."""

    forecast: Forecast | Outage
    outcome: WindowOutcome | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of the verification page: PNG, with a text for readers who cannot see it."""

    name: str
    data: bytes
    alt: str

    def __post_init__(self) -> None:
        DiskPicture(self.name, self.name, self.data)  # the same rules for name and data
        if not self.alt:
            raise DataError(f"figure {self.name} must have an `alt` text")


@dataclass(frozen=True)
class Section:
    """A section of the verification page: text, a table, figures."""

    title: str
    text: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class SiteData:
    """Everything that a cycle publishes on the site."""

    current: Forecast | Outage
    pictures: Sequence[DiskPicture] = ()
    """Of `current`; the first image is shown first."""
    past: Sequence[PastCycle] = ()
    """Former forecasts and outages in any order, without `current`; their days in the archive are written again."""
    verification: Sequence[Section] = ()
    title: str = "Solar flare forecast"
    recent_days: float = 7.0
    """How far back the page of the last days reaches."""

    def __post_init__(self) -> None:
        names = [picture.name for picture in self.pictures]
        if len(set(names)) < len(names):
            raise DataError(f"pictures of the site must have different names, got {', '.join(names)}")
        for past in self.past:
            unknown = [name for name in (past.outcome.observed if past.outcome else ()) if name not in FORECAST_CLASSES]
            if unknown:
                raise DataError(f"an outcome must be of classes {', '.join(FORECAST_CLASSES)}, got {unknown[0]!r}")
