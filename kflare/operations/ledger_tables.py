"""What the ledger holds, as tables: the methods of `Ledger` give them how to `ask`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd
from sqlalchemy import Row, Select, Table, func, select, true

from kflare.operations import schema
from kflare.operations.packing import unpack_features
from kflare.sun.disk import FULL_DISK

_Ask = Callable[["Select[*tuple[Any, ...]]"], "Sequence[Row[*tuple[Any, ...]]]"]
_METHODS: Final = {FULL_DISK: "kflare", "cnn": "cnn", "swpc": "SWPC", "region": "kflare"}
"""Who gave a probability, by its source in the ledger, in the order of a forecast."""


def features_table(ask: _Ask, since: datetime, until: datetime) -> pd.DataFrame:
    """See `Ledger.features`."""
    cycles, regions, measured = schema.cycles, schema.regions, schema.measured

    def of(table: Table, *columns: Any) -> "Sequence[Row[*tuple[Any, ...]]]":
        asked = select(table.c.cycle_id, *columns).join(cycles, cycles.c.cycle_id == table.c.cycle_id)
        return ask(asked.where(cycles.c.data_time.between(since, until)).order_by(cycles.c.data_time, cycles.c.issue))

    key_of = {
        (row.cycle_id, row.number): (row.data_time, row.region, _numbers(row.noaa))
        for row in of(regions, cycles.c.data_time, *regions.c["number", "region", "noaa"])
    }
    packed = map(tuple, of(measured, measured.c.features))
    wide = pd.concat({"": pd.DataFrame()} | {cycle: unpack_features(content) for cycle, content in packed})
    wide = wide[sorted(wide.columns)]
    keys = pd.DataFrame([key_of[key] for key in wide.index], wide.index, ["time", "region", "noaa"])
    keys["time"] = pd.to_datetime(keys["time"], utc=True)
    # Two cycles that fell back to the same observation measured it twice, alike.
    wide = pd.concat([keys, wide], axis=1)[~keys.duplicated()]
    return wide.sort_values(["time", "region"], ignore_index=True)


def probabilities_table(ask: _Ask, since: datetime, until: datetime, *, regions: bool) -> pd.DataFrame:
    """`Ledger.probabilities`."""
    cycles, given, of = schema.cycles, schema.probabilities, schema.regions
    issued = [cycles.c.issue >= since, cycles.c.issue < until]
    asked = select(*cycles.c["cycle_id", "issue", "window_start", "window_end"]).where(*issued)
    times = pd.DataFrame(map(tuple, ask(asked)), columns=["cycle_id", "time", "window_start", "window_end"])
    asked = (
        select(*given.c["cycle_id", "source", "number", "threshold", "network", "calibrated"], of.c.region)
        .join(cycles, cycles.c.cycle_id == given.c.cycle_id)
        .outerjoin(of, (of.c.cycle_id == given.c.cycle_id) & (of.c.number == given.c.number))
        .where(*issued, true() if regions else given.c.number == 0)
    )
    columns = ["cycle_id", "method", "number", "threshold", "network", "calibrated", "region"]
    table = pd.DataFrame(map(tuple, ask(asked)), columns=columns).merge(times, on="cycle_id")
    for name in ("time", "window_start", "window_end"):
        table[name] = pd.to_datetime(table[name], utc=True)
    table[["network", "calibrated"]] = table[["network", "calibrated"]].astype(float)
    source, table["probability"] = table["method"], table["network"].fillna(table["calibrated"])
    table["region"] = table["region"].where(source == "region", FULL_DISK)
    table = table.assign(method=source.map(_METHODS), rank=source.map(list(_METHODS).index))
    return table.sort_values(["time", "rank", "number", "threshold"], ignore_index=True)


def noaa_numbers_table(ask: _Ask, until: datetime | None, named: Sequence[str] | None) -> pd.DataFrame:
    """`Ledger.noaa_numbers`."""
    cycles, regions = schema.cycles, schema.regions
    first = func.min(cycles.c.data_time)
    asked = (
        select(first, regions.c.region, regions.c.noaa)
        .join(cycles, regions.c.cycle_id == cycles.c.cycle_id)
        .group_by(regions.c.region, regions.c.noaa)
    )
    if until is not None:
        asked = asked.where(cycles.c.data_time <= until)
    if named is not None:
        asked = asked.where(regions.c.region.in_(named))
    rows = [(time, region, number) for time, region, noaa in ask(asked) for number in _numbers(noaa)]
    table = pd.DataFrame(rows, columns=["time", "region", "noaa"]).astype({"noaa": "Int64"})
    return table.assign(time=pd.to_datetime(table["time"], utc=True).astype("datetime64[us, UTC]"))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
