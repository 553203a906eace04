"""One cycle: observe, detect, measure, ask the models, write into the ledger. Nishizuka et al. 2021, sections 2 and 3.

Nothing is written to the ledger before the one transaction at the end: a cycle that is killed before leaves no trace
there, and is run again with the files that it fetched.

Where inputs or models fail the forecast rests on less, best first: networks on all their features, then with missing
ones imputed, then on what a magnetogram alone gives, then statistics of the flares before, then climatology. Each is
named in the forecast with the reason why it is no better one; which may be used is configuration. Below the last there
is no forecast: an outage, never a zero.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pandas as pd

from kflare import __version__
from kflare.errors import DataError, KflareError, LedgerError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import week_told
from kflare.flares.region_numbers import unassigned_note
from kflare.models.baselines import disk_climatology
from kflare.models.event_statistics import event_statistics, probability_of_larger
from kflare.operations.clock import clock_behind, clock_doubt, late_remark, next_issue, record_missed
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import (
    CLIMATOLOGY,
    EVENT_STATISTICS,
    FORECAST_CLASSES,
    MAGNETOGRAM_ONLY,
    RUNGS,
    Cycle,
    Forecast,
    ModelUse,
    Outage,
    Probability,
    RegionForecast,
    Rung,
    cycle_name,
)
from kflare.operations.inputs import (
    CycleInputs,
    delete_old_inputs,
    fetch_inputs,
    newest_measurement,
    past_flares,
    record_feed_flares,
)
from kflare.operations.ledger import UNDATED, Ledger
from kflare.operations.measurement import FEATURES, MeasuredDisk, measure_disk, region_forecasts, rung_of_features
from kflare.operations.publish.pictures import keep_pictures
from kflare.operations.questions import Answers, ask_disk, ask_regions, unreachable_models, wanted_features
from kflare.operations.records import utc_text
from kflare.operations.settings import ForecastSettings
from kflare.operations.unrecorded import keep_cycle, kept_cycle


@dataclass
class _Draft:
    """What becomes a forecast."""

    rung: Rung
    reasons: list[str]
    full_disk: Mapping[str, Probability]
    regions: tuple[RegionForecast, ...] = ()
    models: list[ModelUse] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def run_cycle(
    issue: datetime, settings: ForecastSettings, *, ledger: Ledger, log: EventLog, now: datetime, past: bool = False,
    observe: Callable[..., CycleInputs] | None = None
) -> Cycle:  # fmt: skip
    """Run the cycle of an issue time (aware UTC, as `now`), or give what the ledger holds of it already.

    An issue time that was missed is run. A ledger that cannot take the cycle: it is kept (`unrecorded`). What was seen
    or recorded after `now` is an error, unless the `past` is meant; then the forecast says that it was made up for.
    Another Sun than ours is seen by `observe`, as by `fetch_inputs`, and no archive is asked.

    SettingError: the ledger cannot be read, or a folder not be used. DataError: the clock cannot be right. Inputs and
    models that fail do not raise: the forecast rests on less.
    """
    last, proven = ledger.last_run(), ledger.last_observed()
    newest = newest_measurement(settings) if observe is None else None
    if not past and (behind := clock_behind(now, settings, newest=newest, last=last)):
        raise DataError(behind)
    recorded = ledger.cycle(issue) if ledger.was_run(issue) else kept_cycle(settings, issue)
    if recorded is not None:
        log("recorded before")
        return recorded
    log("begun", issue=utc_text(issue), now=utc_text(now), software=__version__)
    with log.timed("observed") as values:
        # Data are at most a week old, and the changes of regions over a day.
        measured_before = ledger.data_times(issue - timedelta(days=9), issue)
        inputs = (observe or fetch_inputs)(issue, settings, now=now, measured=measured_before)
        values["missing"] = [record.name for record in inputs.records if record.status == "missing"]
    seen = [newest, *(one.time for one in inputs.records if one.name not in UNDATED)]
    newest = max((time for time in seen if time is not None), default=None)
    if doubt := clock_doubt(now, settings, newest=newest, last=last):
        # When that time comes, today's feeds must not be taken for its own.
        shutil.rmtree(settings.data.issue_folder(issue), ignore_errors=True)
        raise DataError(doubt)
    try:
        if newest is not None:
            record_missed(settings, ledger=ledger, log=log, now=min(now, newest, issue))
        with log.timed("flares taken") as values:
            values.update(record_feed_flares(inputs, settings, ledger, now=now))
    except LedgerError as error:  # the next cycle has them too
        log("flares not taken", reason=str(error))
    cycle, disk = _forecast(issue, settings, inputs, ledger, log)
    if isinstance(cycle, Forecast):
        late = late_remark(issue, settings, (now, newest, proven))
        cycle = replace(cycle, remarks=(*cycle.remarks, *late))
    measured = {} if disk is None else {"features": _features(disk), "tracker": disk.tracker}
    try:
        if not ledger.record(cycle, **measured, recorded=now):
            first = ledger.cycle(issue)
            assert first is not None
            log("recorded by another process")
            return first
        chain = ledger.newest_link()
    except LedgerError as error:
        log("kept", file=str(keep_cycle(settings, cycle, **measured)), reason=str(error))
        chain = None
    if isinstance(cycle, Forecast):
        found = {"rung": cycle.rung, "reason": cycle.rung_reason, "regions": len(cycle.regions), "mark": cycle.mark}
        log("forecast", **found, details=cycle.details, chain=chain)
    else:
        log("outage", reason=cycle.reason, details=cycle.details, chain=chain)
    for folder in delete_old_inputs(settings, now=now):
        log("deleted", folder=str(folder))
    return cycle


def _forecast(
    issue: datetime, settings: ForecastSettings, inputs: CycleInputs, ledger: Ledger, log: EventLog
) -> tuple[Cycle, MeasuredDisk | None]:
    flares = None
    try:
        flares = past_flares(issue, settings, ledger)
    except KflareError as error:
        log("no flare list", reason=str(error))
    disk, reasons = _measured(inputs, flares, settings, ledger, log)
    answers = Answers()
    draft: _Draft | None = None
    if disk is not None:
        with log.timed("asked") as values:
            draft, answers, failures, remarks = _ask_networks(disk, flares, settings)
            values["failures"] = failures
        # The page names the models that failed; the servers' own words, with their addresses, are for the log.
        remarks += [f"{model} did not answer" for model in failures]
        if flares is None or not week_told(pd.Series([issue]), flares).all():
            remarks.append("past flares are not known, as no list tells of the last week")
        if draft is not None:
            draft.remarks += remarks
            _complete(draft, issue, flares, settings)
        reasons += remarks
        folder = settings.data.issue_folder(issue) / "pictures"
        keep_pictures(folder, disk.measured, inputs.files, answers.maps, log)
    if draft is None:
        draft = _ask_statistics(issue, flares, settings, disk, reasons)
    following = next_issue(settings.schedule.hours, issue)
    if draft is None:
        told, details = _in_public(reasons)
        reason = f"no data: {'; '.join(told)}"
        return Outage(cycle_name(issue), issue, reason, inputs.records, following, __version__, details), disk
    (told, details), (remarked, more) = _in_public(draft.reasons), _in_public(draft.remarks)
    forecast = Forecast(
        cycle_id=cycle_name(issue), issue=issue, inputs=inputs.records, software=__version__,
        data_time=None if disk is None else disk.measured.time, window_start=issue,
        window_end=issue + timedelta(hours=24), next_issue=following, rung=draft.rung, rung_reason="; ".join(told),
        regions=draft.regions, full_disk=draft.full_disk,
        cnn={name: one[0] for name, one in answers.probability.items()},
        swpc={} if inputs.swpc is None else inputs.swpc.of_window(issue, issue + timedelta(hours=24)),
        models=(*draft.models, *answers.models),
        remarks=(*remarked, *_age_remarks(issue, disk), *(disk.remarks if disk else ())), bounds=settings.marks.bounds,
        details=(*details, *more),
    )  # fmt: skip
    return forecast, disk


def _in_public(reasons: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reasons up to their first colon, for everybody; and whole, for the office, those that name files or settings."""
    told = dict.fromkeys(reason.partition(": ")[0] for reason in reasons)
    return tuple(told), tuple(dict.fromkeys(reason for reason in reasons if ": " in reason))


def _measured(
    inputs: CycleInputs, flares: FlareList | None, settings: ForecastSettings, ledger: Ledger, log: EventLog
) -> tuple[MeasuredDisk | None, list[str]]:
    """The disk, or why it could not be measured."""
    if inputs.observations is None:
        record = next(record for record in inputs.records if record.name == "magnetogram")
        return None, [f"no magnetogram: {record.note or record.status}"]
    try:
        with log.timed("measured") as values:
            disk = measure_disk(inputs, flares, ledger, settings)
            values["regions"] = len(disk.table)
            if flares is not None and len(disk.table) and (note := unassigned_note(disk.table["time"], flares)):
                values["flares"] = note
    except DataError as error:
        return None, [f"the magnetogram cannot be used: {error}"]
    return disk, []


def _ask_networks(
    disk: MeasuredDisk, flares: FlareList | None, settings: ForecastSettings
) -> tuple[_Draft | None, Answers, dict[str, str], list[str]]:
    """A draft by the region models, None if they give none; the full-disk models; models that failed; other remarks."""
    server, label = settings.server, settings.server.version_label
    with server.client() as client:
        failures = unreachable_models(client, (*server.region_models, *server.disk_models))
        disk_models = [name for name in server.disk_models if name not in failures]
        cnn = ask_disk(client, disk.measured.magnetogram, disk_models, attribution=server.attribution, label=label)
        cnn.failures |= {name: why for name, why in failures.items() if name in server.disk_models}
        if not disk.measured.detection.regions:
            return _no_sunspot(settings), cnn, cnn.failures, []
        usable = disk.table["status"].eq("forecast") & disk.table["USflux"].notna()
        if not usable.any():
            return None, cnn, cnn.failures, ["no region on the disk can be forecast (limb, or not measured)"]
        region_models = [name for name in server.region_models if name not in failures]
        features, undescribed = wanted_features(client, region_models, label=label)
        failures |= undescribed
        table = disk.table[usable].reset_index(drop=True)
        known = {model: names for model, names in features.items() if set(names) <= set(table)}
        unknown = [
            f"{model} asks for features that kflare does not measure: {', '.join(sorted(set(names) - set(table)))}"
            for model, names in features.items()
            if model not in known
        ]
        answers = ask_regions(client, table, known, label=label) if known else Answers()
    failures |= answers.failures | cnn.failures
    if not answers.models:
        return None, cnn, failures, unknown
    wanted = sorted({name for use in answers.models for name in known[use.name]})
    rung, why = rung_of_features(table, wanted)
    if rung not in settings.rungs:
        return None, cnn, failures, [*unknown, f"{rung} is not allowed: {why}"]
    regions = region_forecasts(disk, usable, answers, flares)
    full_disk = dict(sorted(answers.full_disk.items()))
    return _Draft(rung, [why] if why else [], full_disk, regions, answers.models), cnn, failures, unknown


def _complete(draft: _Draft, issue: datetime, flares: FlareList | None, settings: ForecastSettings) -> None:
    """A class whose model did not answer, and X, which has none, are forecast for the disk from statistics."""
    absent = [name for name in FORECAST_CLASSES if name not in draft.full_disk]
    if not absent:
        return
    rung, probability, why = _fallback(issue, flares, settings.rungs)
    rare = "no network is taught so rare an event"
    if rung is None:
        untold = {name: rare if name == "X" else "no model for it answered" for name in absent}
        draft.remarks += [f"no forecast of class {name} and above, as {reason}" for name, reason in untold.items()]
        draft.remarks += why
        return
    draft.full_disk = {**draft.full_disk, **{name: probability[name] for name in absent}}
    draft.remarks += [f"class X and above is from {rung}, as {rare}"] * ("X" in absent)
    if "X" in absent and rung == EVENT_STATISTICS and flares is not None and draft.regions:
        index = event_statistics(flares, issue, "X").index
        draft.regions = tuple(replace(one, probability=_with_x(one.probability, index)) for one in draft.regions)
        known = [draft.full_disk["X"], *(one.probability["X"] for one in draft.regions if "X" in one.probability)]
        draft.full_disk = {**draft.full_disk, "X": max(known, key=lambda one: one.deciding)}
        draft.remarks.append("class X and above of a region is statistics too, from its class M and the year's flares")
    if silent := [name for name in absent if name != "X"]:
        draft.rung = max(draft.rung, rung, key=RUNGS.index)
        draft.reasons.append(f"class {', '.join(silent)} and above is from {rung}, as no model for it answered")


def _with_x(known: Mapping[str, Probability], index: float) -> Mapping[str, Probability]:
    """With a region's X from its calibrated P(≥ M), by the power law that the disk's X has; unknown without that."""
    if (one := known.get("M")) is None or one.calibrated is None:
        return known
    ends = (one.calibrated, one.calibrated_lower, one.calibrated_upper)
    found = [None if p is None else probability_of_larger(p, index, ratio=10) for p in ends]
    return {**known, "X": Probability.of(None, *found)}


def _fallback(
    issue: datetime, flares: FlareList | None, allowed: Sequence[str]
) -> tuple[Rung | None, dict[str, Probability], list[str]]:
    """The best of the rungs `allowed` that needs neither image nor network, or None; its full disk; why none better."""
    methods: tuple[tuple[Rung, Callable[[FlareList, datetime, str], float]], ...] = (
        (EVENT_STATISTICS, lambda *given: event_statistics(*given).probability),
        (CLIMATOLOGY, disk_climatology),
    )
    reasons = []
    for rung, method in methods:
        if rung not in allowed:
            reasons.append(f"{rung} is not allowed")
        elif flares is None:
            reasons.append(f"{rung} needs a list of the flares of the past: set `data.flares`")
        else:
            try:
                probability = {name: Probability.of(None, method(flares, issue, name)) for name in FORECAST_CLASSES}
            except KflareError as error:
                reasons.append(f"{rung} cannot be told: {error}")
                continue
            return rung, probability, reasons
    return None, {}, reasons


def _no_sunspot(settings: ForecastSettings) -> _Draft:
    """No region above 140 G: "no flare" at 1 % (paper 2, section 3.2)."""
    small = Probability(settings.marks.no_sunspot, settings.marks.no_sunspot)
    reason = "no active region on the disk, so there is nothing to measure"
    return _Draft(MAGNETOGRAM_ONLY, [reason], dict.fromkeys(FORECAST_CLASSES, small), remarks=["no sunspot"])


def _ask_statistics(
    issue: datetime, flares: FlareList | None, settings: ForecastSettings, disk: MeasuredDisk | None, reasons: list[str]
) -> _Draft | None:
    rung, probability, why = _fallback(issue, flares, settings.rungs)
    reasons += why
    if rung is None:
        return None
    regions = () if disk is None else region_forecasts(disk, None, Answers(), flares)
    return _Draft(rung, reasons, probability, regions)


def _features(disk: MeasuredDisk) -> pd.DataFrame | None:
    """What goes into the ledger: the features of the regions by number."""
    if disk.table.empty:
        return None
    return disk.table[FEATURES].astype(float).set_axis(disk.table["number"].astype(int), axis=0)


def _age_remarks(issue: datetime, disk: MeasuredDisk | None) -> list[str]:
    """Paper 2, section 3.2: with older data the horizon grows."""
    if disk is None:
        return ["no image of the Sun was used"]
    hours = (issue - disk.measured.time).total_seconds() / 3600
    return [f"observed {hours:.1f} h before issue: the forecast reaches {24 + hours:.0f} h from the observation"]
