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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kflare.errors import DataError, KflareError
from kflare.io.atomic import write_whole
from kflare.verification.contingency import ContingencyTable
from kflare.verification.evaluation import aligned_columns

__all__ = ["Row", "main", "rows_of", "table_1"]

PUBLISHED = Path(__file__).with_name("yi_2021_table_1.csv")
HEAD = ("Model", "Event Definition", "Operationally Evaluated", "ACC", "HSS", "ApSS", "TSS", "FB", "Event Rate")


class Row(NamedTuple):
    """A row of ours."""

    name: str
    full_disk: bool | None  # None: not known
    chronological: bool | None  # tested after all that was trained on: what "operationally evaluated" is taken for
    table: ContingencyTable


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a result; `DataError` if it is of none of the three commands."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if "contingency" in content:
            yield from _of_verification(content)
        elif "all samples" in content:
            yield from _of_crossvalidation(content)
        else:
            yield from _of_fit(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = "give summary.json of kflare.fit, scores.json of kflare.crossvalidate or verification.json"
        raise DataError(f"{path} is no result that has contingency tables ({error!r}): {wanted}") from error


def _table(counts: dict[str, Any]) -> ContingencyTable:
    return ContingencyTable(*(counts[name] for name in ("tp", "fp", "fn", "tn")))


def _of_fit(summary: dict[str, Any]) -> Iterator[Row]:
    for seed in summary["seeds"]:
        for score in seed["scores"]:
            if score["span"] == "test":
                name = f"{summary['model']}, {score['method']}, seed {seed['seed']}"
                yield Row(name, summary["model"].startswith("cnn"), True, _table(score))


def _of_crossvalidation(scores: dict[str, Any]) -> Iterator[Row]:
    future = not any("NOT met" in line for line in scores["criteria"])
    for method, found in scores["all samples"]["methods"].items():
        table = sum(map(_table, found["tables"]["validation"]), ContingencyTable())
        yield Row(f"{scores['model']}, {method}, cross-validated", scores["model"].startswith("cnn"), future, table)


def _of_verification(content: dict[str, Any]) -> Iterator[Row]:
    first = content["contingency"][0]["threshold"]
    for found in content["contingency"]:
        if found["threshold"] == first:
            at = f"{100 * found.get('decides_at', first):g} %"
            yield Row(f"{content['event']}, {found['method']} at {at}", content["regions"] is None, None, _table(found))


def table_1(ours: list[Row]) -> str:
    """The table as Markdown: the paper's rows as printed, and ours to two decimals; "..." is not known or undefined."""
    rows, notes = [HEAD], []
    with PUBLISHED.open(encoding="utf-8") as file:
        for name, *cells, note in list(csv.reader(file))[1:]:
            notes += [note] if note else []
            rows.append((f"{name} [{len(notes)}]" if note else name, *cells))
    for row in ours:
        definition = "..." if row.full_disk is None else "Full-disk" if row.full_disk else "AR"
        future = "..." if row.chronological is None else "yes" if row.chronological else "no"
        scores = ("..." if value != value else f"{value:.2f}" for _, value in row.table.table_1())
        rows.append((row.name, definition, future, *scores))
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
