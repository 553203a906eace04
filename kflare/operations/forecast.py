"""What one cycle ends with: a `Forecast`, or an `Outage` that says why there is none.

Plain values only, so that a forecast goes through JSON, the ledger and every published format without loss. Two numbers
are given side by side and never mixed: the calibrated probability, an observed frequency, first; and the network's own
output, a score of 0 to 100 for the reader, which the prior-normalised loss stretches so that 50 is the climatological
rate. What is not known is absent; a probability of zero does not exist. Marks and classes: Nishizuka et al. 2021,
Earth, Planets and Space 73, 64.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import AfterValidator, Field, FiniteFloat, Strict, WithJsonSchema
from pydantic.dataclasses import dataclass

from kflare.errors import DataError
from kflare.io.percent import chance, score
from kflare.operations.records import CHECKED, CheckedRecord, Utc, utc_text

MARKS: Final = ("Danger flares", "Warning", "Quiet")
"""Of the full disk, highest first."""

FORECAST_CLASSES: Final = ("C", "M", "X")
"""Events forecast: at least one flare of this class or above. Of X the released models have no network."""

SMALLEST: Final = 1e-6
"""A network that underflows to 0 gives this: see `Probability.of`."""

# P_FD of regions at 0.5 and 0.6 is 0.8 on paper and a unit of the last place less in binary.
_ROUNDING = 1e-9

# Bounds for the JSON Schema; the class refuses in its own words.
_Positive = Annotated[float, Field(gt=0, le=1)]


@dataclasses.dataclass(frozen=True)
class Probability:
    """Probability of a flare of a class or above in the window.

    Each number lies in (0, 1]; 0.5 of the network is the climatological rate. At least one is known. The interval is of
    the calibration alone (`kflare.models.cross_fitting`), and known only with both ends around the calibrated value.
    """

    network: Annotated[_Positive | None, Field(description="The network's score / 100; null if none was asked.")]
    calibrated: Annotated[_Positive | None, Field(description="An observed frequency; null if not known.")] = None
    calibrated_lower: Annotated[_Positive | None, Field(description="Lower end of its 90 % interval, or null.")] = None
    calibrated_upper: Annotated[_Positive | None, Field(description="Upper end of its 90 % interval, or null.")] = None

    def __post_init__(self) -> None:
        if self.network is None and self.calibrated is None:
            raise DataError("a `Probability` must have a `network` or a `calibrated` value, got neither: leave it out")
        for name, value in vars(self).items():
            if value is not None and not 0 < value <= 1:  # NaN compares false
                raise DataError(f"`{name}` probability must lie in (0, 1], got {value}: what is unknown is left out")
        least, p, most = self.calibrated_lower, self.calibrated, self.calibrated_upper
        whole = least is not None and p is not None and most is not None and least <= p <= most
        if not whole and (least, most) != (None, None):
            raise DataError(f"the interval of a calibrated probability must lie around it, got {least}, {p}, {most}")

    @classmethod
    def of(cls, network: float | None, *calibrated: float | None) -> Self:
        """As a model answered: a zero, which only rounding can give, becomes the smallest probability given."""
        given = (network, *calibrated)
        return cls(*(max(float(p), SMALLEST) if p is not None and p >= 0 else p for p in given))

    @property
    def frequency(self) -> str:
        """The calibrated probability for the reader, with its interval: "12 % (7–19)"."""
        return chance(self.calibrated, self.calibrated_lower, self.calibrated_upper)

    @property
    def headline(self) -> str:
        """The calibrated probability first, then the score: "12 % (7–19), score 71.3"."""
        return f"{self.frequency}, {'no score' if self.network is None else f'score {score(self.network)}'}"

    @property
    def score(self) -> float | None:
        """The network's output on the reader's scale of 0 to 100."""
        return None if self.network is None else 100 * self.network

    @property
    def deciding(self) -> float:
        """The number that yes and no of the paper are decided on: the network's output, else the calibrated one."""
        value = self.calibrated if self.network is None else self.network
        assert value is not None
        return value


@dataclasses.dataclass(frozen=True)
class MarkBounds:
    """Where the marks begin, inclusive, for a flare of class M or above on the full disk.

    `danger` and `warning` are of the network's score / 100, as in the paper; `calibrated_danger` and
    `calibrated_warning` of the calibrated probability: both, or none where the paper's alone decide.
    """

    danger: float = 0.80
    warning: float = 0.50
    calibrated_danger: float | None = None
    calibrated_warning: float | None = None

    def __post_init__(self) -> None:
        for on, (danger, warning, _) in ((on, begins.values()) for on, begins in self.marks.items()):
            if not 0 < warning <= danger <= 1:
                of = "calibrated_" * (on == "calibrated")
                given = f"got {of}warning {warning}, {of}danger {danger}"
                raise DataError(f"`marks` must keep 0 < {of}warning <= {of}danger <= 1, {given}")

    @property
    def marks(self) -> dict[str, dict[str, float]]:
        """Where each mark begins, highest first, by what decides: "calibrated" if it has bounds, "score"."""
        on = {"score": (self.danger, self.warning)}
        if (office := (self.calibrated_danger, self.calibrated_warning)) != (None, None):
            on = {"calibrated": (office[0] or 0.0, office[1] or 0.0)} | on
        return {number: dict(zip(MARKS, (*least, 0.0), strict=True)) for number, least in on.items()}


def risk_mark(p: float, bounds: MarkBounds | None = None, *, on: str = "score") -> str:
    """The mark of a full-disk probability: "Danger flares", "Warning" or "Quiet" (section 3.1: at 80 % and 50 %).

    `on` says what `p` is, a key of `MarkBounds.marks`.
    """
    begins = (bounds or MarkBounds()).marks[on].items()
    return next(mark for mark, least in begins if p >= least - _ROUNDING)


def forecast_class(probability: Mapping[str, Probability], *, calibrated: bool = False) -> str | None:
    """The forecast maximum class: "X", "M", "C" or "below C"; None if nothing is forecast.

    Each model says yes where it holds the event for likelier than not (argmax of its two outputs); the highest class
    that is said yes to is the forecast (eq. 2 and section 3.2). With `calibrated` the highest that is likelier than
    not by its calibrated probability, where it is known: a network says yes from the climatological rate on.
    """
    if not probability:
        return None
    told = {name: (one.calibrated if calibrated else None) or one.deciding for name, one in probability.items()}
    for name in reversed(FORECAST_CLASSES):
        if told.get(name, 0.0) >= 0.5 - _ROUNDING:
            return name
    return f"below {FORECAST_CLASSES[0]}"


Rung = Literal["all features", "imputed", "magnetogram only", "event statistics", "climatology"]
RUNGS: Final[tuple[Rung, ...]] = get_args(Rung)
"""What a forecast rests on, best first."""
FULL, IMPUTED, MAGNETOGRAM_ONLY, EVENT_STATISTICS, CLIMATOLOGY = RUNGS

InputStatus = Literal["ok", "degraded", "stale", "missing"]
RegionStatus = Literal["forecast", "limb", "no data", "no answer"]


def _known(name: str) -> str:
    if name not in FORECAST_CLASSES:
        raise ValueError(f"of classes {', '.join(FORECAST_CLASSES)}")
    return name


_Class = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(FORECAST_CLASSES)})]
_Probabilities = Mapping[_Class, Probability]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Box = Annotated[tuple[_Fraction, _Fraction, _Fraction, _Fraction], Strict(False)]
_Numbers = Annotated[tuple[int, ...], Strict(False)]
_Texts = Annotated[tuple[str, ...], Strict(False)]


@dataclass(frozen=True, config=CHECKED)
class ModelUse(CheckedRecord):
    """A model that answered, and its version."""

    name: str
    version: int


@dataclass(frozen=True, config=CHECKED)
class InputRecord(CheckedRecord):
    """One input of the cycle and what became of it."""

    name: str
    """Such as "magnetogram" or "goes_flares"."""
    record: str
    """What was used: a JSOC series, a URL, a file; "" if nothing was."""
    time: Utc | None
    """Time of observation."""
    age_hours: FiniteFloat | None
    """Issue time minus `time`."""
    quality: int | None
    """QUALITY as an unsigned 32-bit mask."""
    note: str
    """For the reader: why it is degraded or missing."""
    status: InputStatus


@dataclass(frozen=True, config=CHECKED)
class RegionForecast(CheckedRecord):
    """One active region on the disk, forecast or not."""

    number: int
    """On the picture of this forecast, from 1."""
    region: str
    """Persistent name."""
    noaa: _Numbers
    """NOAA numbers (five digits) within it; none if it has none yet."""
    harp: _Numbers
    """HARP numbers within it."""
    lon: float
    """Degrees from the central meridian, west positive."""
    lat: float
    """Degrees, north positive."""
    box: _Box | None
    """x0, y0, x1, y1 as fractions of the full-disk picture from its left (east) and top (north) edge."""
    status: RegionStatus = "forecast"
    """Only "forecast" has probabilities; else too near the limb, not measured, or no model answered."""
    probability: _Probabilities = field(default_factory=dict)
    """By class; a class that is not forecast is absent."""
    imputed: int | None = None
    """Features that were not measured and filled in."""
    remarks: _Texts = ()
    recent_flares: _Texts = ()

    def __post_init__(self) -> None:
        name = f"region {self.region!r}"
        if (self.status == "forecast") != bool(self.probability):
            rule = f"{name} must have probabilities if and only if its `status` is forecast"
            raise DataError(f"{rule}, got status {self.status!r} and {len(self.probability)} probabilities")
        if not -90 <= self.lat <= 90 or not -180 <= self.lon <= 180:
            raise DataError(f"{name} must lie at `lon` -180 to 180 and `lat` -90 to 90, got {self.lon}, {self.lat}")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise DataError(f"`box` of {name} must be 0 <= x0 < x1 <= 1, 0 <= y0 < y1 <= 1, got {self.box}")

    @property
    def location(self) -> str:
        """Heliographic place as forecasters write it: "N15E06"."""
        north, west = round(self.lat), round(self.lon)
        return f"{'N' if north >= 0 else 'S'}{abs(north):02d}{'W' if west >= 0 else 'E'}{abs(west):02d}"


@dataclass(frozen=True, config=CHECKED)
class Forecast(CheckedRecord):
    """A whole forecast, as one cycle issues it."""

    cycle_id: str
    """Names the cycle in ledger, logs and files; the same for the same issue time."""
    issue: Utc
    data_time: Utc | None
    """Observation that it rests on; null if no image was used."""
    window_start: Utc
    window_end: Utc
    next_issue: Utc
    """When the next one is due."""
    rung: Rung
    """What it rests on."""
    rung_reason: str
    """Why on nothing better; "" on the best."""
    regions: Annotated[tuple[RegionForecast, ...], Strict(False)]
    """Every region on the disk, also those not forecast."""
    full_disk: _Probabilities
    """The regions combined, or what the rung gives; at least one class."""
    cnn: _Probabilities = field(default_factory=dict)
    """Full-disk CNN, beside the combined regions; empty if it did not answer."""
    swpc: _Probabilities = field(default_factory=dict)
    """What SWPC said of the same window, to compare with; empty if that was not known."""
    models: Annotated[tuple[ModelUse, ...], Strict(False)] = ()
    """Who answered."""
    inputs: Annotated[tuple[InputRecord, ...], Strict(False)] = ()
    """What it was made from."""
    remarks: _Texts = ()
    software: str = ""
    """kflare's version."""
    bounds: MarkBounds = field(default_factory=MarkBounds)
    """Where the marks begin, of score / 100 and calibrated probability."""
    details: _Texts = ()
    """For the office: reasons and remarks in full, with files and settings."""

    def __post_init__(self) -> None:
        if not self.full_disk:
            raise DataError(f"forecast {self.cycle_id} has no `full_disk` probability: record an `Outage` instead")
        if not self.window_start < self.window_end:
            raise DataError(f"`window_end` must come after `window_start` {self.window_start}, got {self.window_end}")
        if self.next_issue <= self.issue:
            raise DataError(f"`next_issue` must come after `issue` {utc_text(self.issue)}, got {self.next_issue}")
        numbers = [region.number for region in self.regions]
        if len(set(numbers)) < len(numbers):
            raise DataError(f"regions of one forecast must have different `number`s, got {numbers}")

    @property
    def mark(self) -> str | None:
        """Risk mark of the full disk by P(≥ M), None if that is unknown; the highest where X is forecast (ours).

        Of the calibrated probability where it has bounds, else the paper's, `score_mark`; without bounds or network, of
        the one number that there is.
        """
        calibrated = "calibrated" in self.bounds.marks
        if forecast_class(self.full_disk, calibrated=calibrated) == "X":
            return MARKS[0]
        if (one := self.full_disk.get("M")) is None:
            return None
        if calibrated and one.calibrated is not None:
            return risk_mark(one.calibrated, self.bounds, on="calibrated")
        return risk_mark(one.deciding, self.bounds)

    @property
    def score_mark(self) -> str | None:
        """The paper's mark, of the network's score for ≥ M alone; None without one."""
        one = self.full_disk.get("M")
        return None if one is None or one.network is None else risk_mark(one.network, self.bounds)

    @property
    def data_age(self) -> timedelta | None:
        """Age of the observation at the time of issue."""
        return None if self.data_time is None else self.issue - self.data_time

    @property
    def no_sunspot(self) -> bool:
        """Whether the disk was seen and no active region was on it (the paper's "no sunspot")."""
        return self.data_time is not None and not self.regions


@dataclass(frozen=True, config=CHECKED)
class Outage(CheckedRecord):
    """No forecast ("no data"): skipped, recorded and shown. It says nothing about the Sun."""

    cycle_id: str
    issue: Utc
    reason: Annotated[str, Field(min_length=1)]
    """For the reader: what failed."""
    inputs: Annotated[tuple[InputRecord, ...], Strict(False)] = ()
    """What was looked for and what was found."""
    next_issue: Utc | None = None
    """When the next forecast is due."""
    software: str = ""
    """kflare's version."""
    details: _Texts = ()
    """For the office: the reason in full, with files and settings."""


Cycle = Forecast | Outage


def cycle_name(issue: datetime) -> str:
    """The id of the cycle of an issue time: "20140108T0300Z"."""
    return f"{issue:%Y%m%dT%H%MZ}"
