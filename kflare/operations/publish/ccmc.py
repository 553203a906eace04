"""The three files of CCMC's Flare Scoreboard, JSON, XML and text, written from one forecast.

They have the same content; a class or region whose probability is not known is absent. CCMC's own JSON schema was not
at hand: the form is that of a producer and of a consumer of the scoreboard (docs/publishing.md), to be checked first.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kflare.errors import DataError
from kflare.io.atomic import write_whole
from kflare.io.percent import rounded
from kflare.operations.forecast import CLIMATOLOGY, EVENT_STATISTICS, Forecast, Probability
from kflare.operations.publish.pages import render
from kflare.operations.publish.publication import Publication
from kflare.operations.records import utc_text


def submission(forecast: Forecast, *, model: str = "KFLARE") -> dict[str, Any]:
    """What of a forecast is sent: the calibrated probabilities, which can be compared with other methods'.

    `model` is the short name under which the method is registered (`site.ccmc_model`). The result has it, the times
    `issue`, `start`, `end` and `seen` to the second, the window's `hours`, the names of the `inputs`, the `classes`
    that are forecast, `full_disk` by class or above, and the `regions` with a forecast, with their `ids` by scheme. The
    `ends` of full disk and regions are those of the 90 % intervals of their calibration by class, where known.

    DataError if it must not be sent: stale data, statistics alone, or no calibrated probability.
    """
    stale = [record.name for record in forecast.inputs if record.status == "stale"]
    if forecast.rung in (EVENT_STATISTICS, CLIMATOLOGY) or stale:
        reason = f"its input {stale[0]!r} is stale" if stale else f"it rests on {forecast.rung} alone"
        raise DataError(f"forecast {forecast.cycle_id} is not sent to CCMC: {reason}")
    full_disk, ends = _calibrated(forecast.full_disk), _ends(forecast.full_disk)
    if not full_disk:
        raise DataError(f"forecast {forecast.cycle_id} has no calibrated probability of the full disk for CCMC")
    regions: list[dict[str, Any]] = []
    for region in forecast.regions:
        if probability := _calibrated(region.probability):
            ids = [*(("NOAA_AR", number) for number in region.noaa), *(("HARP", number) for number in region.harp)]
            own = {"number": region.number, "ids": ids, "location": region.location, "probability": probability}
            regions.append(own | {"ends": _ends(region.probability)})
    times = {"issue": forecast.issue, "start": forecast.window_start, "end": forecast.window_end}
    times["seen"] = forecast.data_time or forecast.issue
    classes = sorted({*full_disk, *(name for region in regions for name in region["probability"])})
    hours = (forecast.window_end - forecast.window_start).total_seconds() / 3600
    inputs = " ".join(", ".join(one.name for one in forecast.inputs if one.status != "missing").split())
    sent = {"model": model, "full_disk": full_disk, "ends": ends, "regions": regions, "classes": classes}
    texts = {name: utc_text(time.replace(microsecond=0)) for name, time in times.items()}
    return {**sent, "hours": hours, "inputs": inputs, **texts}


def publish_ccmc(publication: Publication, folder: Path) -> None:
    """The publisher: a forecast that must not be compared under the network's name is not written, and logged."""
    if isinstance(publication.cycle, Forecast):
        try:
            write_ccmc(publication.cycle, folder, model=publication.settings.site.ccmc_model)
        except DataError as error:
            publication.log("not sent", what="ccmc", reason=str(error))


def write_ccmc(forecast: Forecast, folder: Path, *, model: str = "KFLARE") -> list[Path]:
    """Write a forecast, if it may be sent, as JSON, XML and text, named by model, window and issue time."""
    sent = submission(forecast, model=model)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{model}.{forecast.window_start:%Y-%m-%dT%H%MZ}.{forecast.issue:%Y-%m-%dT%H%MZ}"
    files = {
        f"{stem}.json": json_text(sent),
        f"{stem}.xml": xml_text(sent),
        f"Flare_Forecast_{model}_{forecast.issue:%Y%m%d_%H%M}.txt": plain_text(sent),  # as the scoreboard asks for it
    }
    return [write_whole(folder / name, text) for name, text in files.items()]


def json_text(sent: Mapping[str, Any]) -> str:
    """A submission as JSON; classes as "M+", "M and above"."""

    def block(probability: Mapping[str, float], ends: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        classes = [{"class": f"{name}+", "probability": p, **ends.get(name, {})} for name, p in probability.items()]
        window = {"start_time": sent["start"], "end_time": sent["end"]}
        return {"prediction_window": window, "flare_probabilities": classes}

    def region(one: Mapping[str, Any]) -> dict[str, Any]:
        ids = [{"type": scheme.partition("_")[0], "number": str(number)} for scheme, number in one["ids"]]
        return {"region_ids": ids, **block(one["probability"], one["ends"])}

    content: dict[str, Any] = {"model": {"short_name": sent["model"]}, "issue_time": sent["issue"], "mode": "forecast"}
    content["full_disk_forecasts"] = [block(sent["full_disk"], sent["ends"])]
    content["region_forecasts"] = [region(one) for one in sent["regions"]]
    return json.dumps({"forecast_submission": content}, indent=2) + "\n"


def xml_text(sent: Mapping[str, Any]) -> str:
    """A submission as XML in the manner of ISES: a group for the full disk, and one that holds a group per region."""
    return render("ccmc.xml", sent) + "\n"


def plain_text(sent: Mapping[str, Any]) -> str:
    """A submission as a text table; of several NOAA numbers of a region it takes the first."""
    return render("ccmc.txt", sent)


def _calibrated(probabilities: Mapping[str, Probability]) -> dict[str, float]:
    known = {name: one.calibrated for name, one in sorted(probabilities.items()) if one.calibrated is not None}
    return {name: rounded(p, 4) for name, p in known.items()}


def _ends(probabilities: Mapping[str, Probability]) -> dict[str, dict[str, float]]:
    """The interval by class in the scoreboard's keys, rounded outwards."""
    found = {}
    for name, one in probabilities.items():
        if one.calibrated_lower is not None and one.calibrated_upper is not None:
            high = rounded(min(one.calibrated_upper + 1e-4, 1.0), 4)
            found[name] = {"uncertainty_low": rounded(one.calibrated_lower, 4), "uncertainty_high": high}
    return found
