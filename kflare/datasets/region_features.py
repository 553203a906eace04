"""Rows of regions completed with what follows from their past: changes, flare history and X-ray flux.

This is done here for every row that is: of an archive, of the operational cycle with its ledger, of a table from
elsewhere. They differ in where the past comes from, and in nothing else.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY, add_changes, disk_history, numbered_history
from kflare.datasets.region_table import KEY_COLUMNS, region_numbers
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import week_told
from kflare.flares.region_numbers import unassigned_rows
from kflare.io.arrays import Float64Array
from kflare.regions.feature_table import SETS, Feature, check_columns, feature_set, features_named, reasons_text
from kflare.regions.xray_features import XRAY_FEATURES, xray_features
from kflare.xray.flux import XrayFlux

TOLERANCES: Final = {2: 30.0, 12: 60.0, 24: 60.0}
"""Minutes by which the earlier measurement of a change over so many hours may be off. R."""

LOOK_BACK: Final = pd.Timedelta(hours=25)
"""How long before a row its past may matter to its changes."""

_GROWTH: Final = {"logAREA": ("AREA", 10.0), "logUSFLUX": ("USFLUX", 1e20)}
"""Logarithms whose 24 h change is a feature, of which column, and its floor: nothing smaller is a region's growth."""

_BASES: Final = {
    hours: list(dict.fromkeys(
        feature.name[4:] for name in SETS for feature in feature_set(name) if feature.name.startswith(f"dt{hours:02d}")
    ))
    for hours in TOLERANCES
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RegionHistory:
    """What is known of regions from before some rows."""

    rows: pd.DataFrame  # earlier rows of at least the last `LOOK_BACK`: `time`, `region` and what was measured
    numbers: pd.DataFrame  # `time`, `region`, `noaa`: the NOAA numbers given before, and when at the earliest


def complete_rows(
    rows: pd.DataFrame, past: RegionHistory | None = None, *, flares: FlareList | None = None,
    xray: XrayFlux | None = None
) -> pd.DataFrame:  # fmt: skip
    """Append the changes, the flare history and the X-ray features that rows lack; columns that they have stay.

    The rows have `time` (UTC), `region`, `noaa` or `noaas`, and what was measured; what is appended is float64, NaN =
    not known. If they have the column `missing`, it also says why a derived feature is. Without `flares` no history is
    appended, without `xray` no X-ray feature. A region's flares are those of the NOAA numbers that it had been given by
    the time of the row; before it has one its history is NaN, as is what the list does not tell (`flares_assigned`).
    Nothing later than a row enters it. `DataError`: a column is not numeric or infinite, or a region has a time twice.
    """
    derived = _changes(rows, past)
    if xray is not None:
        of_time = {time: xray_features(xray, time.to_pydatetime())[0] for time in rows["time"].unique()}
        derived |= {name: np.array([of_time[time][name] for time in rows["time"]]) for name in XRAY_FEATURES}
    if flares is not None and not {*REGION_HISTORY, *DISK_HISTORY}.issubset(rows):
        numbers = pd.concat([*([] if past is None else [past.numbers]), region_numbers(rows)])
        told = week_told(rows["time"], flares)
        for history in (numbered_history(rows, numbers, flares), disk_history(rows["time"], flares)):
            derived |= {name: np.where(told, history[name], np.nan) for name in history}
    lacking = {name: values for name, values in derived.items() if name not in rows}
    out = pd.concat([rows, pd.DataFrame(lacking, index=rows.index)], axis=1)
    return out if "missing" not in rows else out.assign(missing=_reasons(rows, out, flares, xray))


def _changes(rows: pd.DataFrame, past: RegionHistory | None) -> dict[str, Float64Array]:
    """The changes that the rows lack, and have the columns for."""
    wanted = {
        hours: [base for base in bases if f"dt{hours:02d}{base}" not in rows and _GROWTH.get(base, (base,))[0] in rows]
        for hours, bases in _BASES.items()
    }
    measured = list(dict.fromkeys(_GROWTH.get(base, (base,))[0] for bases in wanted.values() for base in bases))
    check_columns(rows, features_named(measured), source="the region table")
    columns, rows = ["time", "region", *measured], rows.astype(dict.fromkeys(measured, float))
    before = pd.DataFrame(columns=columns) if past is None else past.rows.reindex(columns=columns)
    together = pd.concat([before.astype(rows[columns].dtypes), rows[columns]]) if len(before) else rows[columns]
    together = together.assign(
        **{name: np.log10(together[of].clip(lower=floor)) for name, (of, floor) in _GROWTH.items() if of in measured}
    )
    for hours, tolerance in TOLERANCES.items():
        together = add_changes(together, wanted[hours], hours=hours, tolerance_minutes=tolerance)
    names = [f"dt{hours:02d}{base}" for hours, bases in wanted.items() for base in bases]
    return {name: together[name].to_numpy()[len(before) :] for name in names}


def _reasons(rows: pd.DataFrame, out: pd.DataFrame, flares: FlareList | None, xray: XrayFlux | None) -> list[str]:
    """What is missing of each row and why: what could not be measured, then what could not be derived here."""
    texts: list[list[str]] = [[own] for own in rows["missing"]]
    if not set(XRAY_FEATURES).issubset(rows):
        of_time = {time: reasons_text(xray_features(xray, time.to_pydatetime())[1]) for time in rows["time"].unique()}
        for text, time in zip(texts, rows["time"], strict=True):
            text.append(of_time[time])
    if not set(REGION_HISTORY).issubset(rows):
        columns = np.array([*REGION_HISTORY, *DISK_HISTORY])
        unknown, reasons = out.reindex(columns=columns).isna().to_numpy(), ["no flare list given"] * len(rows)
        if flares is not None:
            few, told = unassigned_rows(rows["time"], flares), week_told(rows["time"], flares)
            why = np.where(few, "few flares of the list have a NOAA number", "no NOAA number given")
            reasons = np.where(told, why, "the flare list does not tell of the week before").tolist()
        for text, lost, reason in zip(texts, unknown, reasons, strict=True):
            text.append(reasons_text(dict.fromkeys(columns[lost], reason)))
    for hours, bases in _BASES.items():
        names = [f"dt{hours:02d}{base}" for base in bases]
        names = [name for name in names if name in out and name not in rows]
        if not names:
            continue
        values = [_GROWTH.get(name[4:], (name[4:],))[0] for name in names]
        empty = out[names].isna().to_numpy()
        lost = empty & out[values].notna().to_numpy()
        for row in np.flatnonzero(lost.any(axis=1)):
            which = f"dt{hours:02d}*" if empty[row].all() else " ".join(np.array(names)[lost[row]])
            texts[row].append(f"{which}: not measured {hours} h before")
    return ["; ".join(part for part in text if part) for text in texts]


def features_of(table: pd.DataFrame, names: list[str] | None, *, source: str) -> tuple[Feature, ...]:
    """The features of a region table that a model uses, checked; `source` names the table in messages.

    `names` are features, one name of a set, or "measured": all known ones that are not empty. None: Deep Flare Net's 79
    where the table has any that only they hold, else those of the SHARP set that it has. A column that is neither a key
    nor a known feature raises `DataError`, and so does one of the 79 that lacks.
    """
    known = {feature.name for name in SETS for feature in feature_set(name)}
    own = {feature.name for feature in feature_set("defn79")} - {feature.name for feature in feature_set("sharp")}
    if unknown := [str(name) for name in table.columns if name not in known and name not in KEY_COLUMNS]:
        fault = f"{source} has the unknown feature `{'`, `'.join(unknown)}`: rename or drop the column"
        raise DataError(f"{fault}; known are {', '.join(sorted(known))}")
    if names is not None and len(names) == 1 and names[0] in SETS:
        chosen = feature_set(names[0])
    elif names == ["measured"]:
        chosen = features_named(name for name in table.columns if name in known and table[name].notna().any())
    elif names is not None:
        chosen = features_named(names)
    elif not own.isdisjoint(table):
        chosen = feature_set("defn79")
    else:
        chosen = tuple(feature for feature in feature_set("sharp") if feature.name in table)
    if not chosen:
        raise DataError(f"{source} has no feature column: known are {', '.join(sorted(known))}")
    check_columns(table, chosen, source=source)
    return chosen


def to_forecast(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that a forecast is made for: all, or where the table has the column `status`, those with "forecast"."""
    return table[table["status"] == "forecast"].reset_index(drop=True) if "status" in table else table
