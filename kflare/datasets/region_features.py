"""A region table completed with what can be derived from it and a flare list: 24 h changes and flare history."""

import numpy as np
import pandas as pd

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY, add_changes, add_history
from kflare.datasets.region_table import KEY_COLUMNS
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.regions.feature_table import SETS, Feature, check_columns, feature_set, features_named

__all__ = ["complete", "features_of", "to_forecast", "with_changes"]

_CHANGE = "dt24"
_GROWTH = {"logAREA": ("AREA", 10.0), "logUSFLUX": ("USFLUX", 1e20)}
"""Logarithms whose 24 h change is a feature, of which column, and its floor: nothing smaller is a region's growth."""


def complete(table: pd.DataFrame, region_flares: pd.DataFrame, flares: FlareList) -> pd.DataFrame:
    """Append the 24 h changes and the flare history that a table lacks; columns that it has are left as they are.

    Parameters
    ----------
    table : DataFrame
        A region table with the SHARP columns in their units; NaN = not measured.
    region_flares : DataFrame
        `region`, `start` and `peak` (UTC), `flux` (W m^-2): which flares are whose.
    flares : FlareList
        All flares of the disk.

    Raises
    ------
    DataError
        A SHARP column is not numeric or infinite, or a region has two rows at one time.
    """
    out = with_changes(table)
    missing = [name for name in (*REGION_HISTORY, *DISK_HISTORY) if name not in table]
    return out.assign(**add_history(table, region_flares, flares)[missing]) if missing else out


def with_changes(table: pd.DataFrame) -> pd.DataFrame:
    """Append the 24 h changes of the SHARP set that a table lacks, and has the column for."""
    logarithms = {name: of for name, of in _GROWTH.items() if of[0] in table and f"{_CHANGE}{name}" not in table}
    changes = [
        name
        for name in (feature.name.removeprefix(_CHANGE) for feature in feature_set("sharp") if _is_change(feature))
        if f"{_CHANGE}{name}" not in table and name in table
    ]
    measured = dict.fromkeys([*changes, *(column for column, _ in logarithms.values())])
    check_columns(table, features_named(measured), source="the region table")
    values = table.assign(**{name: np.log10(table[of].clip(lower=floor)) for name, (of, floor) in logarithms.items()})
    return add_changes(values, [*changes, *logarithms]).drop(columns=list(logarithms))


def _is_change(feature: Feature) -> bool:
    return feature.name.startswith(_CHANGE)


def features_of(table: pd.DataFrame, names: list[str] | None, *, source: str) -> tuple[Feature, ...]:
    """The features of a region table that a model shall use, checked.

    Parameters
    ----------
    table : DataFrame
        A region table.
    names : list of str or None
        Features, or one name of a set. None: Deep Flare Net's 79 where the table has them all, else those of the SHARP
        set that it has.
    source : str
        Name of the table, for messages.

    Raises
    ------
    DataError
        A named feature is missing, a column is neither a key nor a known feature, or a column is not numeric.
    """
    known = {feature.name for name in SETS for feature in feature_set(name)}
    unknown = [str(name) for name in table.columns if name not in known and name not in KEY_COLUMNS]
    if unknown:
        raise DataError(
            f"{source} has the unknown feature `{'`, `'.join(unknown)}`: rename or drop the column; "
            f"known are {', '.join(sorted(known))}"
        )
    if names is not None and len(names) == 1 and names[0] in SETS:
        chosen = feature_set(names[0])
    elif names is not None:
        chosen = features_named(names)
    elif all(feature.name in table for feature in feature_set("defn79")):
        chosen = feature_set("defn79")
    else:
        chosen = tuple(feature for feature in feature_set("sharp") if feature.name in table)
    if not chosen:
        raise DataError(f"{source} has no feature column: known are {', '.join(sorted(known))}")
    check_columns(table, chosen, source=source)
    return chosen


def to_forecast(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that a forecast is made for: all, or where the table has the column `status`, those with "forecast"."""
    if "status" not in table:
        return table
    return table[table["status"] == "forecast"].reset_index(drop=True)
