"""Write docs/papers.md: what the two papers state, where kflare does it, what to type, and the tests that show it.

All of it stands in tools/papers.toml; tests/test_papers_page.py holds that table to the code.
"""

import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "papers.md"
PAPERS = {
    1: "Yi et al. (2021), [ApJ 910, 8](https://doi.org/10.3847/1538-4357/abdebe)",
    2: "Nishizuka et al. (2021), [Earth, Planets and Space 73, 64](https://doi.org/10.1186/s40623-021-01381-9)",
}
STATES = {"works": "works", "differs": "differs", "cannot": "cannot be shown here"}


def statements() -> list[dict[str, Any]]:
    """The rows of tools/papers.toml."""
    found = tomllib.loads((ROOT / "tools" / "papers.toml").read_text(encoding="utf-8"))["statements"]
    return [{"command": "", "why": "", **row} for row in found]


def page() -> str:
    """The page as Markdown."""
    rows = statements()
    lines = [
        "# The papers, statement by statement",
        "",
        "What can be checked of the two papers' text, equations, tables and figures. *Works*: kflare does it, and a",
        "test shows it. *Differs*: it is done otherwise, or the figure is another, or the paper contradicts itself.",
        "*Cannot be shown here*: the data are not to be had. The commands are to be typed with files of your own;",
        "[reproduce.md](reproduce.md) runs each paper as a whole. This page is made of `tools/papers.toml` by",
        "`python tools/papers_page.py`; a test holds every module, command and test that it names.",
        "",
        "| | statements | " + " | ".join(STATES.values()) + " |",
        "| --- | --- | --- | --- | --- |",
    ]
    for paper in PAPERS:
        count = Counter(row["state"] for row in rows if row["paper"] == paper)
        lines.append(f"| paper {paper} | {count.total()} | " + " | ".join(str(count[state]) for state in STATES) + " |")
    for paper, title in PAPERS.items():
        lines += ["", f"## Paper {paper}: {title}", ""]
        lines += ["| | the paper | place | state | where, and what to type | shown by |", "| --- " * 6 + "|"]
        of_paper = (row for row in rows if row["paper"] == paper)
        lines += [f"| {paper}.{number} | {_cells(row)} |" for number, row in enumerate(of_paper, start=1)]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> str:
    state = ": ".join(filter(None, [STATES[row["state"]], row["why"]]))
    where = ", ".join(f"`{place}`" for place in row["where"])
    command = f"<br>`{row['command']}`" if row["command"] else ""
    tests: dict[str, list[str]] = {}
    for test in row["tests"]:
        file, _, name = test.partition("::")
        tests.setdefault(file, []).append(name)
    shown = "<br>".join(f"`{file}`: {', '.join(f'`{name}`' for name in names)}" for file, names in tests.items())
    cells = row["says"], row["place"], state, where + command, shown
    return " | ".join(cell.replace("|", "\\|") for cell in cells)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
