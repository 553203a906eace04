"""Regions of one cycle: found, recognised, numbered, measured with what the ledger knows of before, and forecast."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pandas as pd

from kflare.datasets.region_features import LOOK_BACK, RegionHistory, complete_rows
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.region_numbers import unassigned_rows
from kflare.operations.flare_records import flare_texts
from kflare.operations.forecast import FULL, IMPUTED, MAGNETOGRAM_ONLY, RegionForecast, RegionStatus, Rung
from kflare.operations.inputs import CycleInputs
from kflare.operations.ledger import Ledger
from kflare.operations.questions import Answers
from kflare.operations.settings import ForecastSettings
from kflare.regions.extraction import Extraction, Measured, measure
from kflare.regions.feature_table import SETS, feature_set, features_named
from kflare.regions.tracking import Tracker, TrackingOptions, noaa_numbers

# What a magnetogram and the list of flares give.
_MAGNETOGRAM = ("HMI LOS", "flare list")

FEATURES: Final = list(dict.fromkeys(feature.name for name in SETS for feature in feature_set(name)))


@dataclass(frozen=True)
class MeasuredDisk:
    """The disk of one cycle."""

    measured: Measured
    table: pd.DataFrame
    """One row per region in the order of `measured.detection.regions`, index 0 .. n - 1: `time`, `region`, `missing`,
    `noaas` (NOAA numbers with blanks between them), and every known feature (float64, NaN = not measured)."""
    tracker: dict[str, Any]
    """State of the tracker after this disk."""
    remarks: tuple[str, ...]


def measure_disk(
    inputs: CycleInputs, flares: FlareList | None, ledger: Ledger, settings: ForecastSettings
) -> MeasuredDisk:
    """Find and measure the regions on the magnetogram of a cycle; DataError if it cannot be used.

    The tracker and the features of the cycles before are the ledger's; `flares` None: no flare history is known.
    """
    assert inputs.observations is not None
    options = Extraction(policy=settings.data.quality)
    measured = measure(inputs.observations, options=options, drawn=True)
    remarks = ["made up: the Sun of this magnetogram is not ours"] * (measured.magnetogram.instrument == "synthetic")
    tracker = _tracker(ledger, measured, settings)
    try:
        names = tracker.update(measured.detection)
    except DataError:  # an older image than that of the cycle before
        tracker = Tracker(tracker.options)
        names = tracker.update(measured.detection)
        remarks.append("the magnetogram is older than that of the forecast before")
    numbers: list[tuple[int, ...]] = [()] * len(names)
    if inputs.srs is not None:
        numbers = noaa_numbers(measured.detection, inputs.srs, published=True)
    rows = measured.rows.assign(
        time=pd.Series(pd.Timestamp(measured.time), index=measured.rows.index, dtype="datetime64[us, UTC]"),
        region=pd.Series(names, index=measured.rows.index, dtype=object),
        noaas=pd.Series([" ".join(map(str, own)) for own in numbers], index=measured.rows.index, dtype=object),
    )
    if len(rows):
        before = measured.time - timedelta(minutes=1)
        known = [ledger.features(measured.time - LOOK_BACK, before)]
        known += _measured_before(inputs, measured, names, options)
        earlier = pd.concat([one for one in known if len(one)] or known[:1], ignore_index=True)
        past = RegionHistory(earlier, ledger.noaa_numbers(before, regions=names))
        rows = complete_rows(rows, past, flares=flares, xray=inputs.xray)
        if flares is not None and unassigned_rows(rows["time"], flares).any():
            remarks.append("the list of flares does not tell of which regions they are: their history is not known")
        rows = rows.reindex(columns=list(dict.fromkeys([*rows.columns, *FEATURES])))
    tracker.events.clear()  # nobody asks for them here, and they would grow with the ledger's age
    return MeasuredDisk(measured, rows, tracker.state(), tuple(remarks))


def _measured_before(
    inputs: CycleInputs, measured: Measured, names: Sequence[str], options: Extraction
) -> Iterator[pd.DataFrame]:
    """The regions of now, by their `names`, as they were at the times that no cycle has measured.

    They are followed by themselves: the ledger's tracker may be further than these times.
    """
    tracker, disks = Tracker(TrackingOptions(max_gap_hours=LOOK_BACK / pd.Timedelta(hours=1))), []
    for observations in inputs.earlier:
        with suppress(DataError):  # then the changes since are not known
            disk = measure(observations, options=options)
            disks.append((disk, tracker.update(disk.detection)))
    now = dict(zip(tracker.update(measured.detection), names, strict=True))
    for disk, before in disks:
        rows = disk.rows.assign(time=pd.Timestamp(disk.time).as_unit("us"), region=[now.get(name) for name in before])
        yield rows[rows["region"].notna()]


def _tracker(ledger: Ledger, measured: Measured, settings: ForecastSettings) -> Tracker:
    cadence = 24 / len(settings.schedule.hours)
    options = TrackingOptions.of_cadence(cadence, late=settings.schedule.data_age_last_hours)
    state = ledger.tracker(measured.time + timedelta(hours=settings.schedule.data_age_last_hours + 1))
    if state is not None:
        with suppress(DataError):
            return Tracker.from_state({**state, "options": vars(options)})
    return Tracker(options)


def rung_of_features(table: pd.DataFrame, wanted: Sequence[str]) -> tuple[Rung, str]:
    """What a forecast rests on, and why on nothing better ("" on the best).

    `table` has a row per region that is forecast; `wanted` are its columns that the models ask for, NaN = not measured.
    Each observation is of the whole disk: what it lacks, every region lacks. What only some lack is not to be had of
    them (the change over a day of one that is younger, the mean over azimuths of which none is sure, the flares of one
    without a NOAA number); it is filled in as in training, and told with the region.
    """
    missing = [name for name in wanted if table[name].isna().all()]
    if not missing:
        return FULL, ""
    features = {feature.name: feature for feature in features_named(wanted)}
    measured = [name for name in wanted if name not in missing]
    others = [name for name in missing if not features[name].observation.startswith(_MAGNETOGRAM)]
    only = all(features[name].observation.startswith(_MAGNETOGRAM) for name in measured)
    few = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
    reason = f"{len(missing)} of {len(wanted)} features were not measured in any region: {few}"
    return (MAGNETOGRAM_ONLY if others and only else IMPUTED), reason


def region_forecasts(
    disk: MeasuredDisk, usable: pd.Series | None, answers: Answers, flares: FlareList | None
) -> tuple[RegionForecast, ...]:
    """The regions of a disk with what the models answered, and their flares of the last 24 h.

    `usable` (bool) are the rows of the disk's table that the models were asked about, None if they were not asked;
    `answers` hold one answer per usable row, in order.
    """
    size = disk.measured.magnetogram.data.shape[0]
    asked = [] if usable is None else list(disk.table.index[usable])
    recent = None
    if flares is not None:
        before = disk.measured.time - timedelta(hours=24)
        recent = flares.table[flares.table["start"].between(before, disk.measured.time, inclusive="right")]
    found = []
    for index, region in enumerate(disk.measured.detection.regions):
        row = disk.table.loc[index]
        noaa = tuple(map(int, row["noaas"].split()))
        place = asked.index(index) if index in asked else None
        probability = {} if place is None else {name: one[place] for name, one in answers.probability.items()}
        imputed = answers.imputed[place] if probability and answers.imputed and place is not None else None
        status: RegionStatus
        if region.limb:
            status = "limb"
        elif place is None and pd.isna(row["USflux"]):
            status = "no data"
        else:
            status = "forecast" if probability else "no answer"
        harp = () if pd.isna(row["harpnum"]) else (int(row["harpnum"]),)
        box = tuple(min(max(edge / size, 0.0), 1.0) for edge in region.box)
        where = region.number, str(row["region"]), noaa, harp, region.lon, region.lat, box
        remarks = *([f"{imputed} features filled in"] if imputed else ()), *(["no NOAA number"] if not noaa else ())
        flared = () if recent is None else flare_texts(recent[recent["noaa"].isin(noaa)])
        found.append(RegionForecast(*where, status, probability, imputed, remarks, flared))
    return tuple(found)
