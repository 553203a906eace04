"""GOES flares of the Heliophysics Event Knowledgebase (HEK).

The HEK collects the reports of many methods. Flares with a GOES class are SWPC's and those of "SSW Latest Events",
which are the same flares with better positions; everything else (EUV detections, say) has no class and is left out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.reading import columns_of_records
from kflare.flares.repairing import AskedScale, flares_of_columns

_COLUMNS: Final = ("event_starttime", "event_peaktime", "event_endtime", "fl_goescls",
                   "ar_noaanum", "hgs_x", "hgs_y", "frm_name")  # fmt: skip


def flares_from_hek(table: Any, *, source: str = "HEK", scale: AskedScale = "irradiance") -> FlareList:
    """Flare list of an answer of the HEK: a table of sunpy (parsed, or its `raw` one), astropy or pandas, or records.

    It holds flares by the HEK's names: `event_starttime`, `event_peaktime`, `event_endtime`, `fl_goescls` and, where
    there, `ar_noaanum`, `hgs_x`, `hgs_y`, `frm_name`; `source` names it in messages. The HEK holds the classes that
    SWPC published at the time, for which `scale` is as of `kflare.flares.repairing.read_flares`.

    Rows without a GOES class are left out and counted (`not_goes`); the same flare of several methods is merged, SWPC's
    first (`kflare.flares.merging`); 4-digit region numbers are completed; a position of 0, 0 is unknown. DataError if a
    needed column is missing, or there are flares but none is readable.
    """
    return flares_of_columns(columns_of_records(_records(table), source), source, scale=scale)


def _records(table: Any) -> list[dict[str, object]]:
    raw = getattr(table, "raw", None)
    table = table if raw is None else raw
    if isinstance(table, pd.DataFrame):
        return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]
    if hasattr(table, "colnames"):
        names = [name for name in _COLUMNS if name in table.colnames] or list(table.colnames)
        return [{name: _plain(row[name]) for name in names} for row in table]
    if isinstance(table, Sequence) and all(isinstance(row, Mapping) for row in table):
        return [dict(row) for row in table]
    raise DataError(f"`table` must be a table of the HEK, a DataFrame or a list of records, got {type(table).__name__}")


def _plain(value: Any) -> object:
    """Text, number or None of a cell of an astropy table, which may be a time, a quantity or masked."""
    if value is None or getattr(value, "mask", False) is True or type(value).__name__ == "MaskedConstant":
        return None
    if hasattr(value, "isot"):  # astropy Time
        return None if bool(getattr(value, "masked", False)) else str(value.isot)
    if isinstance(value, datetime):
        return None if pd.isna(value) else value.isoformat()
    value = getattr(value, "value", value)  # astropy Quantity
    return value.item() if hasattr(value, "item") else value
