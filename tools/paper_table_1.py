r"""Write Table 1 of Yi et al. (2021), with what does not add up in it, and our models below its rows.

Each RESULT is the summary.json of `kflare.fit`, the scores.json of `kflare.crossvalidate` or the verification.json of
`kflare.verify`: every method that it scores becomes a row, of the contingency table of the test span, of all folds
counted together, or of the first threshold. The paper's event is a flare >= C1.0: give those of `cnn-c` and `defn-c`.

    python tools/paper_table_1.py runs/cnn-c/summary.json runs/crossvalidate-defn-c/scores.json --output table1.md
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from kflare.errors import DataError, KflareError
from kflare.io.atomic import write_whole
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import aligned_columns

PUBLISHED = Path(__file__).with_name("yi_2021_table_1.csv")
HEAD = ("Model", "Event Definition", "Operationally Evaluated", "ACC", "HSS", "ApSS", "TSS", "FB", "Event Rate")


class Row(NamedTuple):
    """A row of ours; "operationally evaluated" is taken for tested after all that was trained on."""

    name: str
    definition: str
    evaluated: str
    table: ContingencyTable


def rows_of(path: Path) -> list[Row]:
    """The rows of a result; `DataError` if it is of none of the three commands."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if "contingency" in found:
            event, tables = found["event"], found["contingency"]
            kind, least = "Full-disk" if found["regions"] is None else "AR", tables[0]["threshold"]
            at = [(one, 100 * one.get("decides_at", least)) for one in tables if one["threshold"] == least]
            return [Row(f"{event}, {one['method']} at {own:g} %", kind, "...", _table(one)) for one, own in at]
        model, kind = found["model"], "Full-disk" if found["model"].startswith("cnn") else "AR"
        if "all samples" in found:
            future = "no" if any("NOT met" in line for line in found["criteria"]) else "yes"
            folds = {name: one["tables"]["validation"] for name, one in found["all samples"]["methods"].items()}
            return [Row(f"{model}, {name}, cross-validated", kind, future, _table(*of)) for name, of in folds.items()]
        scores = [(one, seed["seed"]) for seed in found["seeds"] for one in seed["scores"] if one["span"] == "test"]
        return [Row(f"{model}, {one['method']}, seed {seed}", kind, "yes", _table(one)) for one, seed in scores]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = "give summary.json of kflare.fit, scores.json of kflare.crossvalidate or verification.json"
        raise DataError(f"{path} is no result that has contingency tables ({error!r}): {wanted}") from error


def _table(*parts: dict[str, Any]) -> ContingencyTable:
    tables = (ContingencyTable(*(counts[name] for name in ("tp", "fp", "fn", "tn"))) for counts in parts)
    return sum(tables, ContingencyTable())


def table_1(ours: list[Row]) -> str:
    """The table as Markdown: the paper's rows as printed, and ours to two decimals; "..." is not known or undefined."""
    rows, notes = [HEAD], []
    with PUBLISHED.open(encoding="utf-8") as file:
        for name, *cells, note in list(csv.reader(file))[1:]:
            notes += [note] if note else []
            rows.append((f"{name} [{len(notes)}]" if note else name, *cells))
    for *about, table in ours:
        rows.append((*about, *("..." if value != value else f"{value:.2f}" for _, value in table.table_1())))
    lines = ["# Yi et al. (2021), Table 1, and ours", "", *aligned_columns(rows, left=3, markdown=True), ""]
    lines += [f"[{number}] {note}." for number, note in enumerate(notes, 1)]
    differ = "Samples and times differ between the rows, and so may the scale of the flare classes"
    lines += ["", f"{differ}: the paper's are as listed at the time. It is no ranking."]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write or print the table; exit status 1 where a result cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, metavar="RESULT", help="without any, the paper's table alone")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: print it")
    args = parser.parse_args(argv)
    try:
        text = table_1([row for path in args.results for row in rows_of(path)])
        if args.output is None:
            print(text, end="")
        else:
            write_whole(args.output, text)
    except KflareError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
