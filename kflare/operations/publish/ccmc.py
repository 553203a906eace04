"""The three files of CCMC's Flare Scoreboard, JSON, XML and text, written from one forecast.

They have the same content; a class or region whose probability is not known is absent. CCMC's own JSON schema was not
at hand: the form is that of a producer and of a consumer of the scoreboard (docs/publishing.md), to be checked before
the first upload.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from kflare.errors import DataError, SettingError
from kflare.io.atomic import write_whole
from kflare.io.percent import rounded
from kflare.operations.forecast import CLIMATOLOGY, EVENT_STATISTICS, Forecast, Probability, utc_text
from kflare.operations.publish.pages import render
from kflare.operations.publish.publication import Publication

__all__ = [
    "Submission",
    "SubmittedRegion",
    "json_text",
    "plain_text",
    "publish_ccmc",
    "text_name",
    "write_ccmc",
    "xml_text",
]

_SHORT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,15}")
_DIGITS: Final = 4  # of the text form
# In the text form a cell that is not known is dashes, so that no column can slip.
_UNKNOWN: Final = "----"
_TEXT_CLASSES: Final = ("X", "M", "C")


@dataclass(frozen=True)
class SubmittedRegion:
    """One region: its numbers, where and when it was observed, and the probabilities by class."""

    probability: Mapping[str, float]
    number: int | None = None
    noaa: tuple[int, ...] = ()
    harp: tuple[int, ...] = ()
    location: str = ""
    time: datetime | None = None

    @property
    def ids(self) -> list[tuple[str, int]]:
        """Its numbers with the scheme that each is of, as XML names it."""
        numbers = (("NOAA_AR", self.noaa), ("HARP", self.harp))
        return [(scheme, number) for scheme, given in numbers for number in given]


@dataclass(frozen=True)
class Submission:
    """What is sent to the scoreboard. Times are aware UTC, to the second."""

    model: str
    """Short name under which the method is registered, at most 16 characters."""
    issue: datetime
    start: datetime
    end: datetime
    full_disk: Mapping[str, float]
    """By class, this or above, such as {"C": 0.3, "M": 0.05}; a class that is not forecast is absent."""
    regions: tuple[SubmittedRegion, ...] = ()
    """Those with a forecast."""
    input_data: str = field(default="", compare=False)  # for the text form

    @classmethod
    def of(cls, forecast: Forecast, *, model: str = "KFLARE") -> Self:
        """What of a forecast is sent: the calibrated probabilities, which can be compared with other methods'.

        DataError if it must not be sent: stale data, statistics alone, or no calibrated probability.
        """
        if not _SHORT_NAME.fullmatch(model):
            raise SettingError(
                f"CCMC's short name must have 1 to 16 letters, digits, '_', '.' or '-', got {model!r}: "
                "choose the name that was registered"
            )
        stale = [record.name for record in forecast.inputs if record.status == "stale"]
        if forecast.rung in (EVENT_STATISTICS, CLIMATOLOGY) or stale:
            reason = f"its input {stale[0]!r} is stale" if stale else f"it rests on {forecast.rung} alone"
            raise DataError(f"forecast {forecast.cycle_id} is not sent to CCMC: {reason}")
        regions = tuple(
            SubmittedRegion(
                probability=probability,
                number=region.number,
                noaa=region.noaa,
                harp=region.harp,
                location=region.location,
                time=_short(forecast.data_time or forecast.issue),
            )
            for region in forecast.regions
            if (probability := _calibrated(region.probability))
        )
        full_disk = _calibrated(forecast.full_disk)
        if not full_disk:
            raise DataError(f"forecast {forecast.cycle_id} has no calibrated probability of the full disk for CCMC")
        inputs = ", ".join(record.name for record in forecast.inputs if record.status != "missing")
        return cls(
            model=model,
            issue=_short(forecast.issue),
            start=_short(forecast.window_start),
            end=_short(forecast.window_end),
            full_disk=full_disk,
            regions=regions,
            input_data=" ".join(inputs.split()),
        )


def publish_ccmc(publication: Publication, folder: Path) -> None:
    """The publisher: a forecast that must not be compared under the network's name is not written, and logged."""
    if isinstance(publication.cycle, Forecast):
        try:
            write_ccmc(publication.cycle, folder, model=publication.settings.site.ccmc_model)
        except DataError as error:
            publication.log("not sent", what="ccmc", reason=str(error))


def write_ccmc(forecast: Forecast, folder: Path, *, model: str = "KFLARE") -> list[Path]:
    """Write a forecast, if it may be sent, as JSON, XML and text, named by model, window and issue time."""
    submission = Submission.of(forecast, model=model)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{model}.{submission.start:%Y-%m-%dT%H%MZ}.{submission.issue:%Y-%m-%dT%H%MZ}"
    files = {
        f"{stem}.json": json_text(submission),
        f"{stem}.xml": xml_text(submission),
        text_name(submission): plain_text(submission),
    }
    return [write_whole(folder / name, text) for name, text in files.items()]


def json_text(submission: Submission) -> str:
    """The submission as JSON; classes as "M+", "M and above"."""
    window = {"start_time": utc_text(submission.start), "end_time": utc_text(submission.end)}

    def block(probability: Mapping[str, float]) -> dict[str, Any]:
        classes = [{"class": f"{name}+", "probability": p} for name, p in probability.items()]
        return {"prediction_window": window, "flare_probabilities": classes}

    def ids(region: SubmittedRegion) -> list[dict[str, str]]:
        return [{"type": kind.partition("_")[0], "number": str(number)} for kind, number in region.ids]

    content = {
        "model": {"short_name": submission.model},
        "issue_time": utc_text(submission.issue),
        "mode": "forecast",
        "full_disk_forecasts": [block(submission.full_disk)],
        "region_forecasts": [{"region_ids": ids(region), **block(region.probability)} for region in submission.regions],
    }
    return json.dumps({"forecast_submission": content}, indent=2) + "\n"


def xml_text(submission: Submission) -> str:
    """The submission as XML in the manner of ISES: a group for the full disk, and one that holds a group per region."""
    return render("ccmc.xml", sent=submission) + "\n"


def text_name(submission: Submission) -> str:
    """File name that the scoreboard asks for: Flare_Forecast_modelname_yyyymmdd_hhmm.txt."""
    return f"Flare_Forecast_{submission.model}_{submission.issue:%Y%m%d_%H%M}.txt"


def plain_text(submission: Submission) -> str:
    """The submission as a text table; of several NOAA numbers of a region it takes the first."""
    hours = (submission.end - submission.start).total_seconds() / 3600
    classes = sorted(set(submission.full_disk).union(*(region.probability for region in submission.regions)))
    return render("ccmc.txt", sent=submission, hours=hours, classes=classes, unknown=_UNKNOWN, cells=_cells)


def _short(time: datetime) -> datetime:
    """To the second, as all three forms write it."""
    return time.replace(microsecond=0)


def _calibrated(probabilities: Mapping[str, Probability]) -> dict[str, float]:
    known = {name: one.calibrated for name, one in sorted(probabilities.items()) if one.calibrated is not None}
    return {name: rounded(p, _DIGITS) for name, p in known.items()}


def _cells(probability: Mapping[str, float]) -> str:
    known = (f"{probability[name]:.4f}" if name in probability else _UNKNOWN for name in _TEXT_CLASSES)
    return " ".join(f"{p} {_UNKNOWN} {_UNKNOWN}" for p in known)
