"""From what was measured at each time to one region table: identities, changes, X-rays and flare history.

The parts are read in order of time and never all at once: tracking needs the regions' boxes only, changes the last day.
Which features look how far back is in the feature table; how near to that time a measurement must be is reconstruction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY, add_changes, add_history
from kflare.datasets.region_features import with_changes
from kflare.datasets.region_parts import Part, read_part
from kflare.datasets.region_table import region_flares_by_noaa
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import require_covered
from kflare.io.atomic import temporary_file, writing
from kflare.regions.extraction import REGION_COLUMNS, reasons_text
from kflare.regions.feature_table import SETS, Feature, feature_set
from kflare.regions.numbers import noaa_numbers
from kflare.regions.tracking import Tracker, TrackEvent
from kflare.regions.xray_features import xray_features
from kflare.xray.flux import XrayFlux

__all__ = ["TOLERANCES", "RunTable", "complete_run", "table_columns"]

#: Minutes by which the earlier measurement of a change over so many hours may be off. R.
TOLERANCES: Final = {2: 30.0, 12: 60.0, 24: 60.0}
_CHUNK: Final = 24  # times whose rows are completed and written together
_DEFN79: Final = feature_set("defn79")
_HISTORY: Final = (*REGION_HISTORY, *DISK_HISTORY)
_UNITS: Final = {
    "lon": "degree", "lat": "degree", "lon_min": "degree", "lon_max": "degree", "lat_min": "degree",
    "lat_max": "degree", "x0": "pixel", "y0": "pixel", "x1": "pixel", "y1": "pixel", "area_uhem": "uHem",
    "flux_mx": "Mx",
}  # fmt: skip


@dataclass
class RunTable:
    """What came of a run.

    Attributes
    ----------
    rows, forecast : int
        Rows of the table, and those of them whose status is "forecast".
    regions : int
        Identities.
    outcomes : pandas.DataFrame
        One row per time: `time`, `status` ("regions", "no sunspot", "no data"), `regions`, `limb` (how many of them
        cross the limb), `magnetogram`, `reason`.
    events : list of TrackEvent
        Merges and splits.
    """

    rows: int = 0
    forecast: int = 0
    regions: int = 0
    outcomes: pd.DataFrame = field(default_factory=pd.DataFrame)
    events: list[TrackEvent] = field(default_factory=list)


def table_columns() -> dict[str, Feature | None]:
    """Columns of the region table in order: keys (None), then the features of all sets, each once."""
    first = ("time", "region", "harpnum", "noaa", "noaas", "lon", "lat", "quality", "status")
    rest = tuple(name for name in REGION_COLUMNS if name not in (*first, "limb"))
    columns: dict[str, Feature | None] = dict.fromkeys((*first, *rest, "missing"))
    for name in reversed(SETS):
        for feature in feature_set(name):
            columns.setdefault(feature.name, feature)
    return columns


def complete_run(
    parts: Sequence[Path],
    target: Path,
    *,
    xray: XrayFlux | None = None,
    flares: FlareList | None = None,
    srs: pd.DataFrame | None = None,
    done: Callable[[], object] = lambda: None,
) -> RunTable:
    """Write the region table of all parts as Parquet, units in the schema's metadata.

    Parameters
    ----------
    parts : sequence of Path
        As `region_parts.write_part` makes them.
    target : Path
        The table; replaced at the end.
    xray : XrayFlux, optional
        GOES flux; without it the X-ray features are NaN.
    flares : FlareList, optional
        For the flare history; without it NaN.
    srs : DataFrame, optional
        NOAA's regions as from `read_srs`; without it no row has a NOAA number, nor a flare history.
    done : callable
        Called after each part, such as to move a progress bar.

    Returns
    -------
    RunTable
        Counts and outcomes.

    Raises
    ------
    DataError
        A part is damaged, two are of one time, or the flare list does not cover the times.
    SettingError
        The table cannot be written.
    """
    run = RunTable()
    index = _followed(parts, srs, run)
    history = _history(index, flares, has_numbers=srs is not None)
    own = dict(iter(index.groupby("path", sort=False)))
    with writing(target), _table_writer(target) as write:
        past = pd.DataFrame()
        waiting: list[pd.DataFrame] = []
        for count, path in enumerate(parts, 1):
            part = read_part(path)
            if len(part.rows):
                keys = own[str(path)]
                waiting.append(_rows(part, keys, history.loc[keys.index], xray))
            done()
            if waiting and (count % _CHUNK == 0 or count == len(parts)):
                now = pd.concat(waiting, ignore_index=True)
                rows = _changed(past, now)
                run.rows += len(rows)
                run.forecast += int((rows["status"] == "forecast").sum())
                write(_explained(rows))
                past, waiting = pd.concat([past, now]) if len(past) else now, []
                past = past[past["time"] > past["time"].max() - pd.Timedelta(hours=26)]
    return run


def _followed(parts: Sequence[Path], srs: pd.DataFrame | None, run: RunTable) -> pd.DataFrame:
    """Identity and NOAA numbers of every row: `path`, `time`, `region`, `noaa`, `noaas`."""
    tracker = Tracker()
    rows: list[dict[str, object]] = []
    outcomes = []
    for path in parts:
        part = read_part(path, columns=REGION_COLUMNS)
        found = part.detection
        limb = 0 if found is None else sum(region.limb for region in found.regions)
        outcomes.append({
            "time": part.time, "status": part.status, "regions": 0 if found is None else len(found.regions),
            "limb": limb, "magnetogram": part.magnetogram, "reason": part.reason,
        })  # fmt: skip
        if found is None:
            continue
        names = tracker.update(found)
        numbers = noaa_numbers(found, srs) if srs is not None else [()] * len(names)
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


def _history(index: pd.DataFrame, flares: FlareList | None, *, has_numbers: bool) -> pd.DataFrame:
    """Flare history of every row; NaN without a flare list, that of regions also without NOAA numbers."""
    if flares is None or index.empty:
        return pd.DataFrame(np.nan, index=index.index, columns=list(_HISTORY))
    # A list that ends before the observations would make histories that are silently too quiet.
    require_covered(index["time"], flares, window_hours=0)
    history = add_history(index, region_flares_by_noaa(index, flares.table), flares)[list(_HISTORY)]
    return history if has_numbers else history.assign(**dict.fromkeys(REGION_HISTORY, np.nan))


def _rows(part: Part, keys: pd.DataFrame, history: pd.DataFrame, xray: XrayFlux | None) -> pd.DataFrame:
    """Rows of a time with all but the changes."""
    values, reasons = xray_features(xray, part.time)
    untold = dict.fromkeys(history.columns[history.isna().all()], "no flare list or no NOAA numbers given")
    notes = [reasons_text(reasons), reasons_text(untold)]
    missing = ["; ".join(text for text in (own, *notes) if text) for own in part.rows["missing"]]
    rows = part.rows.drop(columns=["limb"]).assign(missing=missing, **values)
    given = keys[["time", "region", "noaa", "noaas"]].reset_index(drop=True)
    return pd.concat([given, rows.reset_index(drop=True), history.reset_index(drop=True)], axis=1)


def _changed(past: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Rows of now with the changes since their past."""
    together = pd.concat([past, now], ignore_index=True) if len(past) else now
    for hours, tolerance in TOLERANCES.items():
        prefix = f"dt{hours:02d}"
        bases = [feature.name.removeprefix(prefix) for feature in _DEFN79 if feature.name.startswith(prefix)]
        together = add_changes(together, bases, hours=hours, tolerance_minutes=tolerance)
    together = with_changes(together)
    return together.iloc[len(together) - len(now) :].reset_index(drop=True)


def _explained(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose `missing` also tells of changes that could not be taken though there is a value now."""
    notes = pd.Series([[] for _ in range(len(rows))], dtype=object)
    for hours in TOLERANCES:
        prefix = f"dt{hours:02d}"
        names = [name for name in table_columns() if name.startswith(prefix)]
        bases = [name.removeprefix(prefix).removeprefix("log") for name in names]
        empty = rows[names].isna().to_numpy()
        lost = empty & rows[bases].notna().to_numpy()
        for row in np.flatnonzero(lost.any(axis=1)):
            which = f"{prefix}*" if empty[row].all() else " ".join(np.array(names)[lost[row]])
            notes[row].append(f"{which}: not measured {hours} h before")
    text = ["; ".join(part for part in (own, *more) if part) for own, more in zip(rows["missing"], notes, strict=True)]
    return rows.assign(missing=text)


@contextmanager
def _table_writer(target: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Append rows to a Parquet file that grows in constant memory and takes its place when it is whole."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        "time": pa.timestamp("us", tz="UTC"), "region": pa.string(), "harpnum": pa.int64(), "noaa": pa.int64(),
        "noaas": pa.string(), "quality": pa.int64(), "status": pa.string(), "missing": pa.string(),
    }  # fmt: skip
    kinds |= dict.fromkeys(("number", "x0", "y0", "x1", "y1"), pa.int64())
    fields = []
    for name, feature in table_columns().items():
        unit = _UNITS.get(name, "") if feature is None else feature.unit
        fields.append(pa.field(name, kinds.get(name, pa.float64()), metadata={"unit": unit} if unit else None))
    schema = pa.schema(fields)
    whole = {"harpnum": "Int64", "noaa": "Int64", "quality": "Int64"}
    # With pandas' own notes, so that pandas reads numbers back as whole ones although some are empty.
    schema = pa.Table.from_pandas(schema.empty_table().to_pandas().astype(whole), schema, preserve_index=False).schema
    with temporary_file(target) as part, parquet.ParquetWriter(part, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pandas(rows[schema.names], schema, preserve_index=False))
