"""A flare list read, repaired and merged with another, against pandas alone, which repairs and checks nothing.

The lists are made up: flares minutes to hours apart with class, region and position. pandas parses the same file with
its times and turns classes into fluxes by a loop in Python, as scripts do. Starts and fluxes are compared.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmark import Row, Timed

COUNTS = (20_000, 200_000)


def prepare(folder: Path) -> None:
    for rows in COUNTS:
        (folder / f"{rows}.csv").write_text(made_up(rows), encoding="utf-8")


def made_up(rows: int) -> str:
    random = np.random.default_rng(1)
    start = pd.Timestamp("1980-01-01") + pd.to_timedelta(np.cumsum(random.integers(5, 100, rows)), unit="min")
    classes = zip(random.choice(list("BCMX"), rows, p=[0.3, 0.6, 0.09, 0.01]), random.random(rows), strict=True)
    columns = {name: start + pd.Timedelta(minutes=after) for name, after in (("start", 0), ("peak", 7), ("end", 15))}
    table = pd.DataFrame(columns | {"goes_class": [f"{letter}{1 + 8.9 * number:.1f}" for letter, number in classes]})
    table["noaa"] = pd.Series(random.integers(9000, 13999, rows), dtype="Int64").where(random.random(rows) < 0.7)
    table["lon"], table["lat"] = random.integers(-90, 90, rows), random.integers(-30, 30, rows)
    table["flare_scale"] = "irradiance"
    return table.to_csv(index=False, date_format="%Y-%m-%d %H:%M")


def read(folder: Path, rows: int) -> Timed:
    from kflare.flares.repairing import read_flares

    logging.disable(logging.WARNING)  # that a list names no satellite
    return Timed(lambda: numbers(read_flares(folder / f"{rows}.csv").table), per=rows / 1000)


def by_pandas(folder: Path, rows: int) -> Timed:
    scales = {"B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}

    def run() -> Any:
        table = pd.read_csv(folder / f"{rows}.csv")
        for name in ("start", "peak", "end"):
            table[name] = pd.to_datetime(table[name], utc=True)
        table["flux"] = [scales[one[0]] * float(one[1:]) for one in table["goes_class"]]
        return numbers(table)

    return Timed(run, per=rows / 1000)


def numbers(table: pd.DataFrame) -> Any:
    """Days since 1970, and fluxes in units of class C."""
    return np.stack([table["start"].dt.as_unit("s").astype("int64") / 86400, table["flux"] / 1e-6])


def merge(folder: Path, rows: int) -> Timed:
    from kflare.flares.merging import merge_flares
    from kflare.flares.repairing import read_flares

    logging.disable(logging.WARNING)
    flares = read_flares(folder / f"{rows}.csv")
    return Timed(lambda: numbers(merge_flares(flares, flares).table), per=rows / 1000)


ROWS = [
    *(Row(f"lists/read-{rows}", f"a list of {rows} flares read, repaired", partial(read, rows=rows), "thousand flares",
          {"bare pandas": partial(by_pandas, rows=rows)}, prepare, threads=1) for rows in COUNTS),
    Row("lists/merge-200000", "two lists of 200000 flares merged", partial(merge, rows=200_000), "thousand flares",
        prepare=prepare, threads=1),
]  # fmt: skip
