"""What one cycle ends with: a `Forecast`, or an `Outage` that says why there is none.

Plain values only, so that a forecast goes through JSON, the ledger and every published format without loss. Two numbers
stand side by side and are never mixed: the network's own output, which the prior-normalised loss stretches so that 0.5
is the climatological rate, and the calibrated probability, an observed frequency. What is not known is absent; a
probability of zero does not exist.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self

from kflare.errors import DataError
from kflare.operations.marks import THRESHOLDS, MarkBounds, Probability, forecast_class, risk_mark
from kflare.operations.provenance import (
    INPUT_STATUSES,
    InputRecord,
    ModelUse,
    check_choice,
    check_times,
    read_utc,
    utc_text,
)
from kflare.serving.client.probabilities import full_disk_probability

__all__ = [
    "CLIMATOLOGY",
    "EVENT_STATISTICS",
    "FULL",
    "IMPUTED",
    "INPUT_STATUSES",
    "MAGNETOGRAM_ONLY",
    "REGION_STATUSES",
    "RUNGS",
    "THRESHOLDS",
    "Forecast",
    "InputRecord",
    "MarkBounds",
    "ModelUse",
    "Outage",
    "Probability",
    "RegionForecast",
    "combine",
    "forecast_class",
    "risk_mark",
    "utc_text",
]

FULL: Final = "all features"
IMPUTED: Final = "imputed"
MAGNETOGRAM_ONLY: Final = "magnetogram only"
EVENT_STATISTICS: Final = "event statistics"
CLIMATOLOGY: Final = "climatology"
RUNGS: Final = (FULL, IMPUTED, MAGNETOGRAM_ONLY, EVENT_STATISTICS, CLIMATOLOGY)
"""The ladder, best first: on what the forecast rests."""

REGION_STATUSES: Final = ("forecast", "limb", "no data", "no answer")
"""Forecast; not forecast since too near the limb, since it could not be measured, since no model answered."""


@dataclass(frozen=True)
class RegionForecast:
    """One active region on the disk, forecast or not.

    Parameters
    ----------
    number : int
        On the picture of this forecast, from 1.
    region : str
        Persistent name, such as "HARP 4321".
    noaa, harp : tuple of int
        NOAA (five digits) and HARP numbers within it; none if it has none yet.
    lon, lat : float
        Degrees from the central meridian (west positive) and of latitude.
    box : (x0, y0, x1, y1) or None
        Edges in the full-disk picture as fractions from its left (east) and top (north) edge.
    status : str
        One of `REGION_STATUSES`; only "forecast" has probabilities.
    probability : mapping of "C" and "M" to Probability
        What is not known is absent.
    imputed : int or None
        How many features were not measured and filled in.
    remarks, recent_flares : tuple of str
        For the reader.

    Raises
    ------
    DataError
        An unknown status, a probability without a forecast or a forecast without one, a box or place off the disk.
    """

    number: int
    region: str
    noaa: tuple[int, ...]
    harp: tuple[int, ...]
    lon: float
    lat: float
    box: tuple[float, float, float, float] | None
    status: str = "forecast"
    probability: Mapping[str, Probability] = field(default_factory=dict)
    imputed: int | None = None
    remarks: tuple[str, ...] = ()
    recent_flares: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        name = f"region {self.region!r}"
        check_choice("status", self.status, REGION_STATUSES, of=name)
        _check_thresholds(self.probability, of=name)
        if (self.status == "forecast") != bool(self.probability):
            raise DataError(
                f"{name} must have probabilities if and only if its `status` is forecast, got status "
                f"{self.status!r} and {len(self.probability)} probabilities"
            )
        if not -90 <= self.lat <= 90 or not -180 <= self.lon <= 180:
            raise DataError(f"{name} must lie at `lon` -180 to 180 and `lat` -90 to 90, got {self.lon}, {self.lat}")
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
                raise DataError(f"`box` of {name} must be 0 <= x0 < x1 <= 1, 0 <= y0 < y1 <= 1, got {self.box}")

    @property
    def location(self) -> str:
        """Heliographic place as forecasters write it: "N15E06"."""
        north, west = round(self.lat), round(self.lon)
        return f"{'N' if north >= 0 else 'S'}{abs(north):02d}{'W' if west >= 0 else 'E'}{abs(west):02d}"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The region that `Forecast.as_json` wrote."""
        box = values["box"]
        return cls(
            **{
                **values,
                **{name: tuple(values[name]) for name in ("noaa", "harp", "remarks", "recent_flares")},
                "box": None if box is None else tuple(box),
                "probability": _probabilities(values["probability"]),
            }
        )


def combine(regions: Sequence[RegionForecast]) -> dict[str, Probability]:
    """Full-disk probabilities, P_FD = 1 − Π(1 − P_i) over the regions that are forecast.

    A number, network or calibrated, that a forecast region lacks is unknown for the disk too: leaving the region out
    would make the disk look quieter than it is.

    Returns
    -------
    dict of "C" and "M" to Probability
        Empty if no region is forecast: no forecast is not a forecast of zero.
    """
    forecast = [region.probability for region in regions if region.status == "forecast"]
    disk = {}
    for name in THRESHOLDS:
        if not forecast or not all(name in probability for probability in forecast):
            continue
        network = _all([probability[name].network for probability in forecast])
        calibrated = _all([probability[name].calibrated for probability in forecast])
        if network is not None or calibrated is not None:
            disk[name] = Probability.of(network, calibrated)
    return disk


def _all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return full_disk_probability(known) if len(known) == len(values) else None


@dataclass(frozen=True)
class Forecast:
    """A whole forecast, as one cycle issues it. All times are aware UTC.

    Parameters
    ----------
    cycle_id : str
        Names the cycle in ledger, logs and files; the same for the same issue time.
    issue : datetime.datetime
        When it is issued.
    data_time : datetime.datetime or None
        Observation that it rests on; None if no image was used.
    window_start, window_end : datetime.datetime
        The time that it is for.
    next_issue : datetime.datetime
        When the next one is due.
    rung, rung_reason : str
        One of `RUNGS`, and why not a better one ("" on the best).
    regions : tuple of RegionForecast
        Every region on the disk, also those not forecast.
    full_disk : mapping of "C" and "M" to Probability
        `combine` of the regions, or what the rung gives; at least one.
    cnn : mapping of "C" and "M" to Probability
        Full-disk CNN beside it; empty if it did not answer.
    models : tuple of ModelUse
        Who answered.
    inputs : tuple of InputRecord
        What it was made from.
    remarks : tuple of str
        For the reader.
    software : str
        kflare's version.
    bounds : MarkBounds
        Where the marks begin.

    Raises
    ------
    DataError
        A naive time, times out of order, an unknown rung, no full-disk probability, or two regions of one number.
    """

    cycle_id: str
    issue: datetime
    data_time: datetime | None
    window_start: datetime
    window_end: datetime
    next_issue: datetime
    rung: str
    rung_reason: str
    regions: tuple[RegionForecast, ...]
    full_disk: Mapping[str, Probability]
    cnn: Mapping[str, Probability] = field(default_factory=dict)
    models: tuple[ModelUse, ...] = ()
    inputs: tuple[InputRecord, ...] = ()
    remarks: tuple[str, ...] = ()
    software: str = ""
    bounds: MarkBounds = field(default_factory=MarkBounds)

    def __post_init__(self) -> None:
        check_times(self, "issue", "data_time", "window_start", "window_end", "next_issue")
        check_choice("rung", self.rung, RUNGS, of=f"forecast {self.cycle_id}")
        _check_thresholds(self.full_disk, of="the full disk")
        _check_thresholds(self.cnn, of="the full-disk CNN")
        if not self.full_disk:
            raise DataError(f"forecast {self.cycle_id} has no `full_disk` probability: record an `Outage` instead")
        if not self.window_start < self.window_end:
            raise DataError(
                f"`window_end` must come after `window_start`, got {utc_text(self.window_start)} to "
                f"{utc_text(self.window_end)}"
            )
        if self.next_issue <= self.issue:
            raise DataError(f"`next_issue` must come after `issue` {utc_text(self.issue)}, got {self.next_issue}")
        numbers = [region.number for region in self.regions]
        if len(set(numbers)) < len(numbers):
            raise DataError(f"regions of one forecast must have different `number`s, got {numbers}")

    @property
    def mark(self) -> str | None:
        """Risk mark of the full disk, by its probability of class M or above; None if that is unknown."""
        return risk_mark(self.full_disk["M"].deciding, self.bounds) if "M" in self.full_disk else None

    @property
    def data_age(self) -> timedelta | None:
        """Age of the observation at the time of issue."""
        return None if self.data_time is None else self.issue - self.data_time

    @property
    def no_sunspot(self) -> bool:
        """Whether the disk was seen and no active region was on it (the paper's "no sunspot")."""
        return self.data_time is not None and not self.regions

    def as_json(self) -> dict[str, Any]:
        """Plain data, times as `utc_text`; `from_json` gives the same forecast back."""
        return _plain(asdict(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The forecast that `as_json` wrote.

        Raises
        ------
        DataError
            A field is missing, unknown or impossible.
        """
        try:
            times = ("issue", "data_time", "window_start", "window_end", "next_issue")
            return cls(
                **{
                    **values,
                    **{name: read_utc(values[name]) for name in times},
                    "regions": tuple(RegionForecast.from_json(region) for region in values["regions"]),
                    "full_disk": _probabilities(values["full_disk"]),
                    "cnn": _probabilities(values["cnn"]),
                    "models": tuple(ModelUse(**model) for model in values["models"]),
                    "inputs": tuple(InputRecord.from_json(record) for record in values["inputs"]),
                    "remarks": tuple(values["remarks"]),
                    "bounds": MarkBounds(**values["bounds"]),
                }
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"no forecast of this version of kflare: {type(error).__name__} {error}") from error


@dataclass(frozen=True)
class Outage:
    """No forecast ("no data"): skipped, recorded and shown. It says nothing about the Sun.

    Parameters
    ----------
    cycle_id, issue
        As in `Forecast`.
    reason : str
        For the reader: what failed.
    inputs : tuple of InputRecord
        What was looked for and what was found.
    next_issue : datetime.datetime or None
        When the next forecast is due.
    software : str
        kflare's version.
    """

    cycle_id: str
    issue: datetime
    reason: str
    inputs: tuple[InputRecord, ...] = ()
    next_issue: datetime | None = None
    software: str = ""

    def __post_init__(self) -> None:
        check_times(self, "issue", "next_issue")
        if not self.reason:
            raise DataError(f"outage {self.cycle_id} must have a `reason`, got none")

    def as_json(self) -> dict[str, Any]:
        """Plain data, times as `utc_text`; `from_json` gives the same outage back."""
        return _plain(asdict(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The outage that `as_json` wrote; DataError if it is none."""
        try:
            inputs = tuple(InputRecord.from_json(record) for record in values["inputs"])
            times = {name: read_utc(values[name]) for name in ("issue", "next_issue")}
            return cls(**{**values, **times, "inputs": inputs})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"no outage of this version of kflare: {type(error).__name__} {error}") from error


def _probabilities(values: Mapping[str, Mapping[str, float | None]]) -> dict[str, Probability]:
    return {name: Probability(**value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"a forecast must hold finite numbers, got {value}: leave out what is unknown")
    return value


def _check_thresholds(probability: Mapping[str, Probability], *, of: str) -> None:
    unknown = [name for name in probability if name not in THRESHOLDS]
    if unknown:
        raise DataError(f"probabilities of {of} must be of classes {', '.join(THRESHOLDS)}, got {unknown[0]!r}")
