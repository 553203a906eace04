"""Puts the score tables of the released models into docs/skill.md and skill_cnn.md, from what their training kept.

    python tools/skill_tables.py [--check]

With --check nothing is written; the status is 1 if a table is not that of the newest version.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from model_card import score_table

from kflare.models.publish import versions
from kflare.operations.publish.verification import RECORD_HEAD, what_followed
from kflare.operations.settings import MarksSettings

ROOT = Path(__file__).resolve().parents[1]
DOCS = [ROOT / "docs" / name for name in ("skill.md", "skill_cnn.md")]
TABLE = re.compile(r"(<!-- (scores|reading|tests) of (cnn-[cm]|defn-\*) -->\n).*?(?=<!-- end -->)", re.DOTALL)
EVENTS = {"defn-m": "≥M1.0", "defn-c": "≥C1.0"}
LEAST_DAYS = 30  # of a mark, for its mean to be judged
TESTS = {
    "2013 to 2017, by years": None,
    "2017 to 2020, the released models": "2017 to 2020",
    "2018 to 2020, the released models": "2018 to 2020",
    "SMARP 1999 to 2007 by SHARP": "SMARP by SHARP",
    "SHARP 2013 to 2020 by SMARP": "SHARP by SMARP",
}
"""Headings, and where the metadata keep a test: None for the cross-validation, else in `further_tests`."""


def metadata(name: str) -> dict[str, Any]:
    """What the newest released version of a model says of itself."""
    place = ROOT / "savedmodels" / name
    text = (place / str(versions(place)[-1]) / "assets.extra" / "kflare.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def filled(text: str) -> str:
    """The page with the tables of today's models between its marks."""

    def one(match: re.Match[str]) -> str:
        mark, what, name = match.groups()
        if what == "tests":
            return f"{mark}\n{region_tests()}\n"
        scores = metadata(name)["cross_validation"]
        reading = ", ".join(f"{value:.3f}" for value in scores["correlation_of_reading_and_measure"])
        body = score_table(scores) if what == "scores" else f"`{name}` by block: {reading}."
        return f"{mark}{body}\n"

    return TABLE.sub(one, text)


def region_tests() -> str:
    """All tests of `defn-m` and `defn-c`: scores of all methods, of each year, and what followed each mark."""
    kept = {name: metadata(name) for name in EVENTS}
    parts = []
    for heading, key in TESTS.items():
        every = {name: of["cross_validation"] if key is None else of["further_tests"][key] for name, of in kept.items()}
        about = {scores["about"].rstrip(".") for scores in every.values()}
        parts += [f"### {heading}", f"{about.pop()}."]
        for name, scores in every.items():
            event, years = EVENTS[name], scores["network"]["by_year"]
            parts.append("\n".join(score_table(scores).splitlines()[2:]).replace("| method |", f"| {event} |", 1))
            if set(years) == {"all"}:
                one = years["all"]
                counts = f"{one['samples']:,} samples, {one['events']} with an event"
                parts.append(f"{counts}, of {one['event_regions']} regions.")
                continue
            head = f"| {event}, year | samples | events (regions) | network's TSS | BSS |\n|" + " --- |" * 5
            rows = (
                f"| {year} | {one['samples']:,} | {one['events']} ({one['event_regions']}) "
                f"| {one['tss']:.2f} | {one['bss']:.2f} |"
                for year, one in years.items()
            )
            parts.append("\n".join([head, *rows]))
    parts += ["### What followed each mark", kept["defn-m"]["full_disk_record"]["about"]]
    for title in ("", *kept["defn-m"]["full_disk_record"]["beside"]):
        if title:
            parts.append(f"{title}:")
        for name, event in EVENTS.items():
            record = kept[name]["full_disk_record"]
            rows = list(what_followed(record["beside"][title] if title else record, MarksSettings().bounds))
            head = f"| {event} | {' | '.join(RECORD_HEAD[1:])} |\n|" + " --- |" * len(RECORD_HEAD)
            parts.append("\n".join([head, *(f"| {' | '.join(marked(row))} |" for row in rows)]))
    parts.append(f"In **bold**: a mean calibrated probability outside the interval, of {LEAST_DAYS} days or more.")
    parts.append("P_FD's Brier skill score on these days, by what it is calibrated:")
    scores = {event: kept[name]["full_disk_record"]["bss"] for name, event in EVENTS.items()}
    rows = [f"| {by} | {' | '.join(f'{one[by]:.3f}' for one in scores.values())} |" for by in scores[EVENTS["defn-m"]]]
    parts.append("\n".join([f"| by | {' | '.join(scores)} |", "| --- |" + " --- |" * len(scores), *rows]))
    return "\n\n".join(parts)


def marked(row: tuple[str, ...]) -> tuple[str, ...]:
    """A row of `what_followed`, its mean in bold where it is outside the interval of what followed, as written."""
    lower, upper, mean = map(float, re.findall(r"[\d.]+(?=[–)]| %$)", f"{row[4]} {row[-1]}"))
    outside = int(row[3]) >= LEAST_DAYS and not lower <= mean <= upper
    return (*row[:-1], f"**{row[-1]}**" if outside else row[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a table is an old one")
    args = parser.parse_args()
    old = 0
    for page in DOCS:
        text = page.read_text()
        new = filled(text)
        old |= new != text
        if not args.check:
            page.write_text(new)
    return int(old) if args.check else 0


if __name__ == "__main__":
    sys.exit(main())
