"""From what was measured at each time to one region table: identities, changes, X-rays and flare history.

The parts are read in order of time and never all at once: tracking needs the regions' boxes only, changes the last day.
Which features look how far back is in the feature table; how near to that time a measurement must be is reconstruction.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from kflare.datasets.region_features import LOOK_BACK, RegionHistory, complete_rows
from kflare.datasets.region_parts import read_part
from kflare.datasets.region_table import KEYS, region_numbers
from kflare.flares.catalogue import FlareList
from kflare.flares.region_numbers import unassigned_note
from kflare.io.parquet_writer import parquet_writer
from kflare.regions.extraction import REGION_COLUMNS
from kflare.regions.feature_table import SETS, Feature, feature_set
from kflare.regions.tracking import Tracker, TrackEvent, TrackingOptions, noaa_numbers
from kflare.xray.flux import XrayFlux

_LOG: Final = logging.getLogger(__name__)
_CHUNK: Final = 24  # times whose rows are completed and written together


@dataclass
class RunTable:
    """What came of a run."""

    rows: int = 0
    forecast: int = 0  # rows whose status is "forecast"
    regions: int = 0  # identities
    outcomes: pd.DataFrame = field(default_factory=pd.DataFrame)
    """One row per time: `time`, `status` ("regions", "no sunspot", "no data"), `regions`, `limb` (how many of them
    cross the limb), `magnetogram`, `reason`."""
    events: list[TrackEvent] = field(default_factory=list)  # merges and splits


def table_columns() -> dict[str, Feature | None]:
    """Columns of the region table in order: keys (None), then the features of all sets, each once."""
    columns: dict[str, Feature | None] = dict.fromkeys(KEYS)
    for name in reversed(SETS):
        for feature in feature_set(name):
            columns.setdefault(feature.name, feature)
    return columns


def complete_run(
    parts: Sequence[Path], target: Path, *, xray: XrayFlux | None = None, flares: FlareList | None = None,
    srs: pd.DataFrame | None = None, done: Callable[[], object] = lambda: None
) -> RunTable:  # fmt: skip
    """Write the region table of all parts (of `write_part`) as Parquet, units in the schema's metadata.

    Without `xray` the X-ray features are NaN, without `flares` or `srs` (NOAA's regions, of `read_srs`) the flare
    history; `done` is called after each part. `DataError`: two parts are of one time, or the flares do not cover it.
    """
    run = RunTable()
    index = _followed(parts, srs, run)
    if flares is not None and len(index) and (note := unassigned_note(index["time"], flares)):
        _LOG.warning("%s", note)
    numbers = region_numbers(index)
    own = dict(iter(index.groupby("path", sort=False)))
    units = {name: feature.unit for name, feature in table_columns().items() if feature is not None}
    columns = KEYS | {name: ("float64", unit) for name, unit in units.items()}
    attrs = {"flare_scale": None if flares is None else flares.scale}  # of the histories
    with parquet_writer(target, columns, whole=["harpnum", "noaa", "quality"], attrs=attrs) as write:
        past = pd.DataFrame(columns=["time", "region"])
        waiting: list[pd.DataFrame] = []
        for count, path in enumerate(parts, 1):
            part = read_part(path)
            if len(part.rows):
                keys = own[str(path)][["time", "region", "noaa", "noaas"]].reset_index(drop=True)
                waiting.append(pd.concat([keys, part.rows.drop(columns=["limb"]).reset_index(drop=True)], axis=1))
            done()
            if waiting and (count % _CHUNK == 0 or count == len(parts)):
                now = pd.concat(waiting, ignore_index=True)
                before = RegionHistory(past, numbers[numbers["time"] < now["time"].min()])
                rows = complete_rows(now, before, flares=flares, xray=xray)
                run.rows += len(rows)
                run.forecast += int((rows["status"] == "forecast").sum())
                write(rows)
                past, waiting = pd.concat([past, now]) if len(past) else now, []
                past = past[past["time"] >= past["time"].max() - LOOK_BACK]
    return run


def _followed(parts: Sequence[Path], srs: pd.DataFrame | None, run: RunTable) -> pd.DataFrame:
    """Identity and NOAA numbers of every row: `path`, `time`, `region`, `noaa`, `noaas`."""
    cadence = pd.Series(pd.to_datetime([path.stem for path in parts], format="ISO8601")).diff().median()
    tracker = Tracker(None if pd.isna(cadence) else TrackingOptions.of_cadence(cadence / pd.Timedelta(hours=1)))
    rows: list[dict[str, object]] = []
    outcomes = []
    for path in parts:
        part = read_part(path, columns=REGION_COLUMNS)
        found = part.detection
        limb = 0 if found is None else sum(region.limb for region in found.regions)
        outcomes.append({
            "time": part.time, "status": part.status, "regions": 0 if found is None else len(found.regions),
            "limb": limb, "magnetogram": part.files[0], "reason": part.reason,
        })  # fmt: skip
        if found is None:
            continue
        names = tracker.update(found)
        numbers = noaa_numbers(found, srs, published=True) if srs is not None else [()] * len(names)
        for name, own in zip(names, numbers, strict=True):
            rows.append({
                "path": str(path), "time": part.time, "region": name, "noaa": own[0] if own else None,
                "noaas": " ".join(map(str, own)),
            })  # fmt: skip
    run.outcomes, run.events = pd.DataFrame(outcomes), tracker.events
    index = pd.DataFrame(rows, columns=["path", "time", "region", "noaa", "noaas"])
    run.regions = index["region"].nunique()
    times = pd.to_datetime(index["time"], utc=True).astype("datetime64[us, UTC]")
    return index.assign(time=times).astype({"noaa": "Int64", "region": "str", "noaas": "str"})
