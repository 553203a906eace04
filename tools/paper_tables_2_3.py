r"""Write Tables 2 and 3 of Nishizuka et al. (2021), of its forecasts in operation, with ours below its rows.

Each RESULT is the verification.json of `kflare.verify --ledger URL --class C` (or M): the forecasts of the full disk at
each probability threshold that it has.

    python tools/paper_tables_2_3.py reports/operation-m/verification.json reports/operation-c/verification.json
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kflare.errors import DataError, KflareError
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import aligned_columns

__all__ = ["main", "rows_of"]

PUBLISHED = Path(__file__).with_name("nishizuka_2021_tables_2_3.csv")
HEAD = ("Forecasts", "Class", "Threshold", "Hits", "False alarms", "Misses", "Quiet", "Accuracy", "TSS", "FAR", "HSS")
_COUNTS = ("tp", "fp", "fn", "tn")
_SCORES = ("accuracy", "tss", "far", "hss")


def rows_of(path: Path) -> Iterator[tuple[str, ...]]:
    """The rows of a result, scores to two decimals, "..." where undefined; `DataError` if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        letter = {f"≥{one}1.0 flares": one for one in "CMX"}[content["event"]]
        for found in content["contingency"]:
            counts = [found[name] for name in _COUNTS]
            scores = ContingencyTable(*counts).scores()
            told = ("..." if scores[name] != scores[name] else f"{scores[name]:.2f}" for name in _SCORES)
            yield found["method"], f"≥{letter}", f"{100 * found['decides_at']:g} %", *map(str, counts), *told
    except (OSError, ValueError, KeyError, TypeError) as error:
        wanted = "give the verification.json of `kflare verify --ledger URL --class C`"
        raise DataError(f"{path} is no verification of a ledger ({error!r}): {wanted}") from error


def tables(ours: Sequence[tuple[str, ...]]) -> str:
    """Both tables as one, in Markdown: the paper's rows as printed, and ours; "..." is not known or undefined."""
    rows = [HEAD]
    with PUBLISHED.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cells = (row[name] or "..." for name in (*_COUNTS, *_SCORES))
            rows.append(("paper, January 2019 to June 2020", f"≥{row['class']}", f"{row['threshold']} %", *cells))
    lines = ["# Nishizuka et al. (2021), Tables 2 and 3, and ours", ""]
    lines += [*aligned_columns([*rows, *ours], left=2, markdown=True), ""]
    note = (
        "The counts of the paper's first row cannot be read in the copy at hand. Times and samples differ: no ranking."
    )
    return "\n".join([*lines, note]) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Print the tables; exit status 1 where a result cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, metavar="RESULT", help="without any, the paper's alone")
    args = parser.parse_args(argv)
    try:
        print(tables([row for path in args.results for row in rows_of(path)]), end="")
    except KflareError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
