"""CCMC Flare Scoreboard, JSON."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kflare.errors import DataError
from kflare.operations.forecast import utc_text
from kflare.operations.publish.ccmc_values import read_class, read_probability, read_time
from kflare.operations.publish.submission import Submission, SubmittedRegion

__all__ = ["json_text", "read_json"]


def json_text(submission: Submission, *, plus: bool = True) -> str:
    """The submission as JSON.

    Parameters
    ----------
    submission : Submission
        What is sent.
    plus : bool
        Write classes as "M+", "M and above"; False writes "M".
    """
    window = {"start_time": utc_text(submission.start), "end_time": utc_text(submission.end)}

    def block(probability: Mapping[str, float]) -> dict[str, Any]:
        return {
            "prediction_window": window,
            "flare_probabilities": [
                {"class": f"{name}+" if plus else name, "probability": p} for name, p in probability.items()
            ],
        }

    model = {"short_name": submission.model}
    if submission.spase_id is not None:
        model["spase_id"] = submission.spase_id
    content = {
        "model": model,
        "issue_time": utc_text(submission.issue),
        "mode": submission.mode,
        "full_disk_forecasts": [block(submission.full_disk)],
        "region_forecasts": [
            {"region_ids": _ids(region), **block(region.probability)} for region in submission.regions
        ],
    }
    return json.dumps({"forecast_submission": content}, indent=2) + "\n"


def read_json(text: str) -> Submission:
    """Read a submission in JSON; regions have no place in this dialect.

    Raises
    ------
    DataError
        It is none; names what is missing.
    """
    try:
        content = json.loads(text)["forecast_submission"]
        disk = content["full_disk_forecasts"][0]
        window = disk["prediction_window"]
        start, end = read_time(window["start_time"]), read_time(window["end_time"])
        return Submission(
            model=content["model"]["short_name"],
            issue=read_time(content["issue_time"]),
            start=start,
            end=end,
            full_disk=_probabilities(disk),
            regions=tuple(_region(region, (start, end)) for region in content.get("region_forecasts", [])),
            spase_id=content["model"].get("spase_id"),
            mode=content.get("mode", "forecast"),
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"no forecast submission in CCMC's JSON: {type(error).__name__} {error}") from error


def _ids(region: SubmittedRegion) -> list[dict[str, str]]:
    numbers = [("NOAA", number) for number in region.noaa] + [("HARP", number) for number in region.harp]
    return [{"type": kind, "number": str(number)} for kind, number in numbers]


def _region(content: Mapping[str, Any], window: tuple[datetime, datetime]) -> SubmittedRegion:
    times = content.get("prediction_window") or {}
    own = tuple(read_time(times[name]) for name in ("start_time", "end_time") if name in times)
    if own not in ((), window):
        raise DataError(f"all regions must have the full disk's prediction window, got {own}")

    def numbers(kind: str) -> tuple[int, ...]:
        return tuple(int(one["number"]) for one in content["region_ids"] if one["type"] == kind)

    return SubmittedRegion(_probabilities(content), noaa=numbers("NOAA"), harp=numbers("HARP"))


def _probabilities(content: Mapping[str, Any]) -> dict[str, float]:
    read = {
        read_class(one["class"]): read_probability(one.get("probability")) for one in content["flare_probabilities"]
    }
    return {name: p for name, p in read.items() if p is not None}
