"""A region table completed with what can be derived from it and a flare list: 24 h changes and flare history."""

import pandas as pd

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY, add_changes, add_history
from kflare.datasets.region_table import KEY_COLUMNS
from kflare.errors import DataError
from kflare.observations.flares import FlareList
from kflare.regions.feature_table import Feature, check_columns, feature_set, features_named

__all__ = ["complete", "features_of"]

_CHANGE = "dt24"


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
    changes = [
        feature.name.removeprefix(_CHANGE)
        for feature in feature_set("sharp")
        if feature.name.startswith(_CHANGE)
        and feature.name not in table
        and feature.name.removeprefix(_CHANGE) in table
    ]
    check_columns(table, features_named(changes), source="the region table")
    out = add_changes(table, changes) if changes else table.copy()
    missing = [name for name in (*REGION_HISTORY, *DISK_HISTORY) if name not in table]
    return out.assign(**add_history(table, region_flares, flares)[missing]) if missing else out


def features_of(table: pd.DataFrame, names: list[str] | None, *, source: str) -> tuple[Feature, ...]:
    """The features of a region table that a model shall use, checked: those named, or all that it has.

    Raises
    ------
    DataError
        A named feature is missing, a column is neither a key nor a known feature, or a column is not numeric.
    """
    known = {feature.name for feature in feature_set("sharp")}
    unknown = [str(name) for name in table.columns if name not in known and name not in KEY_COLUMNS]
    if unknown:
        raise DataError(
            f"{source} has the unknown feature `{'`, `'.join(unknown)}`: rename or drop the column; "
            f"known are {', '.join(sorted(known))}"
        )
    chosen = features_named(names or [feature.name for feature in feature_set("sharp") if feature.name in table])
    if not chosen:
        raise DataError(f"{source} has no feature column: known are {', '.join(sorted(known))}")
    check_columns(table, chosen, source=source)
    return chosen
