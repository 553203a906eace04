"""The table "where the embedded server differs, and why": differences.toml, checked and made a page of."""

import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

_LISTED = Path(__file__).parent / "differences.toml"
PAGE = Path(__file__).parents[3] / "docs" / "embedded_server.md"
_HEAD = """\
# Where the embedded server differs, and why

The embedded server (`python -m kflare.serve`) is asked what TensorFlow Serving's own code was asked, {asked:,} requests
in all (`tests/serving/real_answers`): {equal:,} answers are equal, numbers as float32 and messages apart from white
space. These differ, each for a reason. A test walks the tables and makes this page; it fails where another answer
differs, and where one that is listed no longer does.

| What | TensorFlow Serving | The embedded server | Why | Rows |
| --- | --- | --- | --- | --- |
"""
_TAIL = """
Beyond what the tables ask:

* A version is served only if it has its `MANIFEST.sha256` and matches it, and computes only: a graph may do whatever
  its operations can (`--allow-unpublished`, `--allow-any-operation`, `--trusted-key`).
* Work has bounds, whatever a few bytes stand for; beyond them a request is refused with `RESOURCE_EXHAUSTED` or 413
  (`--max-message-mib` and its neighbours). TensorFlow Serving takes 2 GiB a message.
* In place of a version that cannot be loaded the next older one answers, and it is tried again when its files change or
  after a minute, five times at most; a broken model holds up no other.
* What is there at the start is warmed up once it answers, which is some seconds earlier; a request of these seconds
  may take a second or two longer, and a version whose warm-up fails then gives way to the next older one. Versions
  that come later are warmed up before they answer, as TensorFlow Serving does with all.
* A batch waits for more rows only while another one runs; inputs of different shapes wait in different queues; of a
  batch that fails each request is run alone, so that only those at fault fail.
* Of a name that comes twice in a row of `instances` the first counts, as in every other object. By its sources
  TensorFlow Serving takes both, and tells the rows apart by their count: for the second row it then takes the first
  one's second value.
* Which flags it takes, and how it is run: [serving/README.md](../serving/README.md).
"""


def listed() -> dict[str, Any]:
    """`asked`, the number of rows by group, and the `difference`s."""
    return tomllib.loads(_LISTED.read_text(encoding="utf-8"))


def unlisted(group: str, asked: int, differing: list[tuple[str, str, str]]) -> list[str]:
    """What is wrong with the table for a group of rows, given those that differ: request, real answer and ours."""
    table, counts, wrong = listed(), Counter[str](), []
    for request, there, here in differing:
        for one in table["difference"]:
            if _is(one, request, there, here):
                counts[one["what"]] += 1
                break
        else:
            wrong.append(f"{request[:300]!r}\n    there {there[:400]}\n    here  {here[:400]}")
    for one in table["difference"]:
        found, rows = counts[one["what"]], one["rows"].get(group, 0)
        if found != rows:
            wrong.append(f"{one['what']}: {found} rows differ, listed are {rows}")
    if table["asked"].get(group) != asked:
        wrong.append(f"{asked} rows were asked, listed are {table['asked'].get(group)}")
    return wrong


def page() -> str:
    """The page of docs/ that shows the table."""
    table = listed()
    asked = sum(table["asked"].values())
    differ = sum(sum(one["rows"].values()) for one in table["difference"])
    rows = [
        f"| {one['what']} | {one['there']} | {one['here']} | {one['why']} | {sum(one['rows'].values())} |"
        for one in table["difference"]
    ]
    return _HEAD.format(asked=asked, equal=asked - differ) + "\n".join(rows) + "\n" + _TAIL


def _is(one: dict[str, Any], request: str, there: str, here: str) -> bool:
    if "adds" in one:  # words of ours without which it is the real one's answer
        ours = re.sub(one["adds"], "", here)
        return ours != here and "".join(ours.split()) == "".join(there.split())
    return bool(re.search(one.get("request", ""), request) and re.search(one.get("answer", ""), here))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} is written\n")
