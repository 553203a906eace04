"""A flare list read, repaired and merged with another, against pandas alone, which repairs and checks nothing.

The lists are made up: flares minutes to hours apart with class, region and position. pandas parses the same file with
its times and turns classes into fluxes by a loop in Python, as scripts do. Smallest of the rounds, processor seconds.
"""

import argparse
import io
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kflare.flares.catalogue import CLASS_THRESHOLDS
from kflare.flares.merging import merge_flares
from kflare.flares.repairing import read_flares

SCALES = {"B": 1e-7, **CLASS_THRESHOLDS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench lists", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000], help="default: 20000 200000")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # that a list names no satellite
    print(f"{'rows':>9}{'read (s)':>10}{'pandas (s)':>12}{'ratio':>8}{'merge (s)':>11}{'µs per row':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for rows in args.rows:
            path = Path(folder) / "flares.csv"
            text = made_up(rows)
            path.write_text(text, encoding="utf-8")
            read, flares = fastest(lambda path=path: read_flares(path), args.rounds)
            plain, table = fastest(lambda text=text: by_pandas(text), args.rounds)
            merge, _ = fastest(lambda flares=flares: merge_flares(flares, flares), args.rounds)
            if not (flares.table["start"] == table["start"]).all():
                raise SystemExit("the two read different times")
            each = 1e6 * read / rows
            print(f"{rows:9d}{read:10.2f}{plain:12.2f}{read / plain:8.2f}{merge:11.2f}{each:12.2f}", flush=True)
    return 0


def made_up(rows: int) -> str:
    random = np.random.default_rng(1)
    start = pd.Timestamp("1980-01-01") + pd.to_timedelta(np.cumsum(random.integers(5, 100, rows)), unit="min")
    classes = zip(random.choice(list("BCMX"), rows, p=[0.3, 0.6, 0.09, 0.01]), random.random(rows), strict=True)
    columns = {name: start + pd.Timedelta(minutes=after) for name, after in (("start", 0), ("peak", 7), ("end", 15))}
    table = pd.DataFrame(columns | {"goes_class": [f"{letter}{1 + 8.9 * number:.1f}" for letter, number in classes]})
    table["noaa"] = pd.Series(random.integers(9000, 13999, rows), dtype="Int64").where(random.random(rows) < 0.7)
    table["lon"], table["lat"] = random.integers(-90, 90, rows), random.integers(-30, 30, rows)
    return table.to_csv(index=False, date_format="%Y-%m-%d %H:%M")


def by_pandas(text: str) -> pd.DataFrame:
    table = pd.read_csv(io.StringIO(text))
    for name in ("start", "peak", "end"):
        table[name] = pd.to_datetime(table[name], utc=True)
    table["flux"] = [SCALES[one[0]] * float(one[1:]) for one in table["goes_class"]]
    return table


def fastest(run: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        found = run()
        times.append(time.process_time() - begin)
    return min(times), found


if __name__ == "__main__":
    sys.exit(main())
