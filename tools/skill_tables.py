"""Puts the score tables of the released models into docs/skill_cnn.md, from the metadata that their training kept.

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

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "docs" / "skill_cnn.md"
TABLE = re.compile(r"(<!-- (scores|reading) of (cnn-[cm]) -->\n).*?(?=<!-- end -->)", re.DOTALL)


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
        scores = metadata(name)["cross_validation"]
        reading = ", ".join(f"{value:.3f}" for value in scores["correlation_of_reading_and_measure"])
        body = score_table(scores) if what == "scores" else f"`{name}` by block: {reading}."
        return f"{mark}{body}\n"

    return TABLE.sub(one, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a table is an old one")
    args = parser.parse_args()
    text = DOC.read_text()
    new = filled(text)
    if args.check:
        return int(new != text)
    DOC.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
