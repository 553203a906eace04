"""A forecast as CCMC's Flare Scoreboard takes it, before it becomes JSON, XML or text.

The three dialects say the same; what a class's probability is not known, is absent. CCMC's own JSON schema was not at
hand: the form is that of a producer and of a consumer of the scoreboard (docs/publishing.md), to be checked before the
first upload.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Self

from kflare.errors import DataError, SettingError
from kflare.operations.forecast import CLIMATOLOGY, EVENT_STATISTICS, Forecast, Probability

__all__ = ["MODES", "Submission", "SubmittedRegion", "short_time"]

MODES: Final = ("forecast", "historical", "nowcast", "simulated_realtime_forecast")
_SHORT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,15}")
# The text form has four decimals, and no forecast is a certainty.
_SMALLEST, _LARGEST = 0.0001, 0.9999


@dataclass(frozen=True)
class SubmittedRegion:
    """One region: its numbers, where and when it was seen, and the probabilities by class."""

    probability: Mapping[str, float]
    number: int | None = None
    noaa: tuple[int, ...] = ()
    harp: tuple[int, ...] = ()
    location: str = ""
    time: datetime | None = None


@dataclass(frozen=True)
class Submission:
    """What is sent to the scoreboard. Probabilities of a class mean "this class or above".

    Parameters
    ----------
    model : str
        Short name under which the method is registered, at most 16 characters.
    issue, start, end : datetime.datetime
        Issue time and prediction window, aware UTC.
    full_disk : mapping of class to float
        Such as {"C": 0.3, "M": 0.05}; a class that is not forecast is absent.
    regions : tuple of SubmittedRegion
        Regions with a forecast.
    input_data : str
        For the text form.
    spase_id : str or None
        Identity in CCMC's registry.
    mode : str
        One of `MODES`.
    """

    model: str
    issue: datetime
    start: datetime
    end: datetime
    full_disk: Mapping[str, float]
    regions: tuple[SubmittedRegion, ...] = ()
    input_data: str = field(default="", compare=False)
    spase_id: str | None = field(default=None, compare=False)
    mode: str = "forecast"

    @classmethod
    def of(
        cls,
        forecast: Forecast,
        *,
        model: str = "KFLARE",
        spase_id: str | None = None,
        mode: str = "forecast",
        value: Literal["calibrated", "network"] = "calibrated",
        local: bool = False,
    ) -> Self:
        """What of a forecast is sent: regions and full disk, one number for each class.

        Parameters
        ----------
        forecast : Forecast
            The forecast.
        model, spase_id, mode
            As above.
        value : str
            "calibrated", the probability that can be compared with other methods'; "network" for the network's output.
        local : bool
            Also take a forecast that must not be sent: on stale data, or not by the registered method.

        Raises
        ------
        SettingError
            `model` has more than 16 characters or others than letters, digits, "_", "." and "-"; an unknown `mode`.
        DataError
            The forecast rests on stale data or on statistics alone, or it has no `value` at all.
        """
        if not _SHORT_NAME.fullmatch(model):
            raise SettingError(
                f"CCMC's short name must have 1 to 16 letters, digits, '_', '.' or '-', got {model!r}: "
                "choose the name that was registered"
            )
        if mode not in MODES:
            raise SettingError(f"`mode` must be one of {', '.join(MODES)}, got {mode!r}")
        stale = [record.name for record in forecast.inputs if record.status == "stale"]
        if not local and (forecast.rung in (EVENT_STATISTICS, CLIMATOLOGY) or stale):
            reason = f"its input {stale[0]!r} is stale" if stale else f"it rests on {forecast.rung} alone"
            raise DataError(f"forecast {forecast.cycle_id} is not sent to CCMC: {reason}")
        regions = tuple(
            SubmittedRegion(
                probability=probability,
                number=region.number,
                noaa=region.noaa,
                harp=region.harp,
                location=region.location,
                time=short_time(forecast.data_time or forecast.issue),
            )
            for region in forecast.regions
            if (probability := _chosen(region.probability, value))
        )
        full_disk = _chosen(forecast.full_disk, value)
        if not full_disk:
            raise DataError(f"forecast {forecast.cycle_id} has no {value} probability of the full disk to send to CCMC")
        inputs = ", ".join(record.name for record in forecast.inputs if record.status != "missing")
        return cls(
            model=model,
            issue=short_time(forecast.issue),
            start=short_time(forecast.window_start),
            end=short_time(forecast.window_end),
            full_disk=full_disk,
            regions=regions,
            input_data=" ".join(inputs.split()),
            spase_id=spase_id,
            mode=mode,
        )

    @property
    def stem(self) -> str:
        """Name of the files without ending: model, window start and issue time."""
        return f"{self.model}.{self.start:%Y-%m-%dT%H%MZ}.{self.issue:%Y-%m-%dT%H%MZ}"


def short_time(time: datetime) -> datetime:
    """To the second, as all three dialects write it."""
    return time.replace(microsecond=0)


def _chosen(probabilities: Mapping[str, Probability], value: str) -> dict[str, float]:
    known = {name: getattr(probability, value) for name, probability in probabilities.items()}
    return {name: min(max(round(p, 4), _SMALLEST), _LARGEST) for name, p in sorted(known.items()) if p is not None}
