"""One cycle: observe, detect, measure, ask, write into the ledger. Nishizuka et al. 2021, sections 2 and 3.

Nothing is written to the ledger before the one transaction at the end; killed before it, a cycle has not been, and is
run again with the files that are there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd

from kflare import __version__
from kflare.errors import DataError, KflareError
from kflare.flares.catalogue import FlareList
from kflare.operations.event_log import EventLog
from kflare.operations.fallback import rung_of_features, statistics, worse
from kflare.operations.flare_records import flare_texts
from kflare.operations.forecast import (
    MAGNETOGRAM_ONLY,
    Forecast,
    InputRecord,
    MarkBounds,
    ModelUse,
    Outage,
    Probability,
    RegionForecast,
    RegionStatus,
    Rung,
    combine,
    cycle_name,
    utc_text,
)
from kflare.operations.inputs import Observed, flares_for, observe, take_flares, tidy
from kflare.operations.ledger import Ledger
from kflare.operations.marks import THRESHOLDS
from kflare.operations.measurement import Seen, see
from kflare.operations.publish.pictures import keep_pictures
from kflare.operations.questions import Answers, ask_disk, ask_regions, connect, silent_server, wanted_features
from kflare.operations.schedule import next_issue
from kflare.operations.settings import ForecastSettings
from kflare.regions.feature_table import SETS, feature_set
from kflare.sun.geometry import Box

__all__ = ["run_cycle"]

_WINDOW: Final = timedelta(hours=24)


@dataclass
class _Made:
    """A forecast in the making."""

    rung: Rung
    reasons: list[str]
    full_disk: Mapping[str, Probability]
    regions: tuple[RegionForecast, ...] = ()
    models: list[ModelUse] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def run_cycle(
    issue: datetime, settings: ForecastSettings, *, ledger: Ledger, log: EventLog, now: datetime
) -> Forecast | Outage:
    """Run the cycle of an issue time, or give what the ledger holds of it already.

    Parameters
    ----------
    issue, now : datetime.datetime
        Issue time and the present, aware UTC.
    settings : ForecastSettings
        See `kflare.toml`.
    ledger : Ledger
        Where the forecast goes, in one transaction.
    log : EventLog
        Takes what happens; its cycle id is that of the issue.

    Returns
    -------
    Forecast or Outage
        As recorded.

    Raises
    ------
    SettingError
        The ledger or a folder cannot be used. Inputs and models that fail do not raise: they cost a rung.
    """
    recorded = ledger.cycle(issue)
    if recorded is not None:
        log("recorded before")
        return recorded
    log("begun", issue=utc_text(issue), now=utc_text(now), software=__version__)
    with log.timed("observed") as told:
        observed, found = observe(issue, settings, now=now)
        told["missing"] = [record.name for record in observed.records if record.status == "missing"]
    with log.timed("flares taken") as told:
        told.update(take_flares(found, settings, ledger, now=now))
    cycle, features, tracker = _conclude(issue, settings, observed, ledger, log)
    written = ledger.record(cycle, features=features, tracker=tracker, recorded=now)
    if not written:  # another process was faster
        first = ledger.cycle(issue)
        assert first is not None
        log("recorded by another process")
        return first
    if isinstance(cycle, Forecast):
        log("forecast", rung=cycle.rung, reason=cycle.rung_reason, regions=len(cycle.regions), mark=cycle.mark)
    else:
        log("outage", reason=cycle.reason)
    for folder in tidy(settings, now=now):
        log("deleted", folder=str(folder))
    return cycle


def _conclude(
    issue: datetime, settings: ForecastSettings, observed: Observed, ledger: Ledger, log: EventLog
) -> tuple[Forecast | Outage, pd.DataFrame | None, dict[str, Any] | None]:
    flares = _past_flares(issue, settings, ledger, log)
    seen, reasons = _seen(observed, flares, settings, ledger, log)
    disk = Answers()
    made: _Made | None = None
    why: list[str] = []
    if seen is not None:
        with log.timed("asked") as told:
            made, disk, silent, why = _of_networks(seen, flares, settings)
            told["failures"] = silent
        # The page tells who was silent; the servers' own words, with their addresses, are for the log.
        why += [f"{model} did not answer" for model in silent]
        reasons += why
        keep_pictures(
            settings.data.issue_folder(issue) / "pictures",
            seen.measured.magnetogram,
            observed.files,
            disk.grad_cam,
            log,
        )
    if made is None:
        made = _of_statistics(issue, flares, settings, seen, reasons)
    else:
        made.remarks += why
        _complete(made, issue, flares, settings)
    following = next_issue(settings.schedule.hours, issue)
    features = None if seen is None else _features(seen)
    tracker = None if seen is None else seen.tracker
    if made is None:
        reason = "no data: " + "; ".join(dict.fromkeys(reasons))
        return Outage(cycle_name(issue), issue, reason, observed.records, following, __version__), features, tracker
    forecast = Forecast(
        cycle_id=cycle_name(issue),
        issue=issue,
        inputs=observed.records,
        software=__version__,
        data_time=None if seen is None else seen.measured.time,
        window_start=issue,
        window_end=issue + _WINDOW,
        next_issue=following,
        rung=made.rung,
        rung_reason="; ".join(dict.fromkeys(made.reasons)),
        regions=made.regions,
        full_disk=made.full_disk,
        cnn={name: answers[0] for name, answers in disk.probability.items()},
        models=(*made.models, *disk.models),
        remarks=(*made.remarks, *_age_remarks(issue, seen), *(seen.remarks if seen else ())),
        bounds=MarkBounds(settings.marks.danger, settings.marks.warning),
    )
    return forecast, features, tracker


def _past_flares(issue: datetime, settings: ForecastSettings, ledger: Ledger, log: EventLog) -> FlareList | None:
    try:
        return flares_for(issue, settings, ledger)
    except KflareError as error:
        log("no flare list", reason=str(error))
        return None


def _seen(
    observed: Observed, flares: FlareList | None, settings: ForecastSettings, ledger: Ledger, log: EventLog
) -> tuple[Seen | None, list[str]]:
    """The disk, or why it was not seen."""
    if observed.observations is None:
        return None, [_why_missing(observed.records, "magnetogram")]
    try:
        with log.timed("measured") as told:
            seen = see(observed, flares, ledger, settings)
            told["regions"] = len(seen.table)
    except DataError as error:
        return None, [f"the magnetogram cannot be used: {error}"]
    return seen, []


def _of_networks(
    seen: Seen, flares: FlareList | None, settings: ForecastSettings
) -> tuple[_Made | None, Answers, dict[str, str], list[str]]:
    """What the served models say; None for the forecast if they cannot carry it. Who was silent, and other reasons."""
    server, label = settings.server, settings.server.version_label
    with connect(server) as client:
        away = silent_server(client, (*server.region_models, *server.disk_models))
        disk_models = [name for name in server.disk_models if name not in away]
        disk = ask_disk(client, seen.measured.magnetogram, disk_models, attribution=server.attribution, label=label)
        disk.failures |= {name: why for name, why in away.items() if name in server.disk_models}
        if not seen.measured.detection.regions:
            return _no_sunspot(settings), disk, disk.failures, []
        usable = seen.table["status"].eq("forecast") & seen.table["USflux"].notna()
        if not usable.any():
            return None, disk, disk.failures, ["no region on the disk can be forecast (limb, or not measured)"]
        region_models = [name for name in server.region_models if name not in away]
        features, silent = wanted_features(client, region_models, label=label)
        silent |= away
        table = seen.table[usable].reset_index(drop=True)
        known = {model: names for model, names in features.items() if set(names) <= set(table)}
        unknown = [
            f"{model} asks for features that kflare does not measure: {', '.join(sorted(set(names) - set(table)))}"
            for model, names in features.items()
            if model not in known
        ]
        answers = ask_regions(client, table, known, label=label) if known else Answers()
    silent |= answers.failures | disk.failures
    if not answers.models:
        return None, disk, silent, unknown
    wanted = sorted({name for use in answers.models for name in known[use.name]})
    rung, why = rung_of_features(table, wanted)
    regions = _regions(seen, usable, answers, flares)
    if rung not in settings.rungs:
        return None, disk, silent, [*unknown, f"{rung} is not allowed: {why}"]
    full_disk = combine(regions)
    return _Made(rung, [why] if why else [], full_disk, regions, answers.models), disk, silent, unknown


def _complete(made: _Made, issue: datetime, flares: FlareList | None, settings: ForecastSettings) -> None:
    """A class whose model did not answer is forecast for the disk from the next rung that holds."""
    absent = [name for name in THRESHOLDS if name not in made.full_disk]
    if not absent:
        return
    standing, why = statistics(issue, flares, settings.rungs)
    if standing is None:
        made.remarks += [f"no forecast of class {name} and above: no model for it answered" for name in absent]
        made.remarks += why
        return
    made.full_disk = {**made.full_disk, **{name: standing.probability[name] for name in absent}}
    made.rung = worse(made.rung, standing.rung)
    made.reasons.append(f"class {', '.join(absent)} and above is from {standing.rung}: no model for it answered")


def _no_sunspot(settings: ForecastSettings) -> _Made:
    """No region above 140 G: "no flare" at 1 % (paper 2, section 3.2)."""
    small = Probability(settings.marks.no_sunspot, settings.marks.no_sunspot)
    reason = "no active region on the disk, so there is nothing to measure"
    return _Made(MAGNETOGRAM_ONLY, [reason], dict.fromkeys(THRESHOLDS, small), remarks=["no sunspot"])


def _of_statistics(
    issue: datetime, flares: FlareList | None, settings: ForecastSettings, seen: Seen | None, reasons: list[str]
) -> _Made | None:
    standing, why = statistics(issue, flares, settings.rungs)
    if standing is None:
        reasons += why
        return None
    regions = () if seen is None else _regions(seen, pd.Series(data=False, index=seen.table.index), Answers(), flares)
    return _Made(
        standing.rung, [*reasons, standing.reason] if standing.reason else reasons, standing.probability, regions
    )


def _regions(seen: Seen, usable: pd.Series, answers: Answers, flares: FlareList | None) -> tuple[RegionForecast, ...]:
    """Every region on the disk, forecast or not and why."""
    size = seen.measured.magnetogram.data.shape[0]
    rows = {index: place for place, index in enumerate(seen.table.index[usable])}
    found = []
    for index, region in enumerate(seen.measured.detection.regions):
        row = seen.table.loc[index]
        place = rows.get(index)
        probability = {} if place is None else {name: of[place] for name, of in answers.probability.items()}
        remarks = []
        status: RegionStatus
        if region.limb:
            status = "limb"
        elif place is None and pd.isna(row["USflux"]):
            status = "no data"
        else:
            status = "forecast" if probability else "no answer"
        imputed = answers.imputed[place] if probability and answers.imputed and place is not None else None
        if imputed:
            remarks.append(f"{imputed} features imputed")
        if not row["noaas"]:
            remarks.append("no NOAA number")
        found.append(
            RegionForecast(
                number=region.number,
                region=str(row["region"]),
                noaa=row["noaas"],
                harp=() if pd.isna(row["harpnum"]) else (int(row["harpnum"]),),
                lon=region.lon,
                lat=region.lat,
                box=_fractions(region.box, size),
                status=status,
                probability=probability,
                imputed=imputed,
                remarks=tuple(remarks),
                recent_flares=_recent(row["noaas"], seen.measured.time, flares),
            )
        )
    return tuple(found)


def _recent(numbers: tuple[int, ...], time: datetime, flares: FlareList | None) -> tuple[str, ...]:
    """Flares of class C and above of the last 24 h."""
    if flares is None or not numbers:
        return ()
    table = flares.table
    own = table[table["noaa"].isin(numbers) & (table["start"] > time - _WINDOW) & (table["start"] <= time)]
    return flare_texts(own)


def _fractions(box: Box, size: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (min(max(edge / size, 0.0), 1.0) for edge in box)
    return x0, y0, x1, y1


def _features(seen: Seen) -> pd.DataFrame | None:
    """What goes into the ledger: the features of the regions by number."""
    if seen.table.empty:
        return None
    known = dict.fromkeys(feature.name for set_ in SETS for feature in feature_set(set_))
    names = [name for name in known if name in seen.table]
    return seen.table[names].astype(float).set_axis(seen.table["number"].astype(int), axis=0)


def _age_remarks(issue: datetime, seen: Seen | None) -> list[str]:
    """Paper 2, section 3.2: with older data the horizon grows."""
    if seen is None:
        return ["no image of the Sun was used"]
    hours = (issue - seen.measured.time).total_seconds() / 3600
    return [f"observed {hours:.1f} h before issue: the forecast reaches {24 + hours:.0f} h from the observation"]


def _why_missing(records: tuple[InputRecord, ...], name: str) -> str:
    record = next(record for record in records if record.name == name)
    return f"no {name}: {record.note or record.status}"
