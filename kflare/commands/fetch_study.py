"""`kflare.fetch study`: other fetches, those of `study.toml`, into the folder that `kflare.fit --study` takes."""

import argparse
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from kflare.errors import DataError
from kflare.io.atomic import make_folder, write_whole

Told = tuple[str, dict[str, Any], str]
"""Of a fetch: what it tells, the same as JSON, and what is missing that another run may get, or ""."""
_DAY: Final = timedelta(days=1)


def fetch_study(args: argparse.Namespace, fetch: Callable[[Sequence[str]], Told]) -> None:
    """Fetch the parts that the options name, by the words of each fetch, and make their tables and the README.md."""
    from kflare.archives.web import NoAnswerError, NotFoundError
    from kflare.datasets.study import make_tables

    sources = args.output / "sources"
    make_folder(sources)
    table = tomllib.loads(files("kflare.commands").joinpath("study.toml").read_text(encoding="utf-8"))
    told: dict[str, list[Any]] = {}
    failures: list[str] = []
    for part in dict.fromkeys(args.parts):
        lines = []
        for words, kept in _asked(part, args, table["steps"]):
            try:
                text, one, failure = (f"already there {kept}", {"path": str(kept)}, "") if kept else fetch(words)
            except NotFoundError as error:
                text, one, failure = f"missing       {error}", {}, ""
            except (DataError, NoAnswerError) as error:
                text, one, failure = "", {}, str(error)
            failures += [failure] * bool(failure)
            if not told and re.search("(?i)name resolution|name or service|name of the server|unreachable", failure):
                raise DataError(f"{failure} Nothing was fetched")
            if text:
                told.setdefault(part, []).append(one)
            lines += ["", f"$ kflare fetch {shlex.join(words)}", text or f"no answer: {failure}"]
        if part in told:
            head = f"{part}, {args.since:%FT%H:%MZ} to {args.until:%FT%H:%MZ}, asked at {datetime.now(UTC):%FT%H:%MZ}"
            lines = [head, *make_tables(args.output, part), *lines]
            write_whole(sources / f"{part}.txt", "\n".join(lines))
            print(*([] if args.json else [*lines, "", ""]), sep="\n", end="")
    if not told:
        raise DataError(f"nothing was fetched: {[*failures, 'the archives hold nothing of the span'][0]}")
    texts = [path.read_text(encoding="utf-8") for path in sorted(sources.glob("*.txt"))]
    page = table["readme"].lstrip() + "".join(f"\n```\n{text}\n```\n" for text in texts)
    write_whole(args.output / "README.md", page)
    print(json.dumps(told, indent=2) if args.json else f"{args.output / 'README.md'} tells what is there")
    if failures:
        raise DataError(f"{len(failures)} fetches lack something, run the same command again: {failures[0]}")


def _asked(
    part: str, args: argparse.Namespace, steps: Sequence[dict[str, Any]]
) -> Iterator[tuple[list[str], Path | None]]:
    """The words of each fetch of a part, and where its answer is if it was kept."""
    from kflare.flares.region_numbers import PASSAGE_DAYS

    mirrors = {"soho": "--url", "hek": "--url", "noaa": "--noaa", "jsoc": "--jsoc"}
    values = {name: shlex.join([to, url]) if (url := getattr(args, name)) else "" for name, to in mirrors.items()}
    values |= {"cadence": f"{args.cadence.total_seconds() / 3600:g}h", "connections": args.connections}
    for step in (one for one in steps if one["part"] == part and one.get("images", args.images) == args.images):
        since, until = max(args.since, step.get("since", args.since)), min(args.until, step.get("until", args.until))
        if step.get("wide"):
            midnight = since.replace(hour=0, minute=0, second=0)
            since, until = midnight - PASSAGE_DAYS * _DAY, min(until + _DAY, datetime.now(UTC))
        folder, calendar = args.output / step["folder"].format(**values), step.get("cut", "")
        while since < until:
            end = since + _DAY
            while end < until and end.strftime(calendar) == since.strftime(calendar):
                end += _DAY
            end = min(end, until)
            span = ["--from", f"{since:%FT%H:%M}", "--until", f"{end:%FT%H:%M}", "--output", str(folder)]
            there = folder.glob(f"*_{since:%Y%m%d}*_{end:%Y%m%d}*") if "cut" in step else ()
            over = [path for path in there if path.stat().st_mtime > end.timestamp()]
            yield [*shlex.split(step["words"].format(**values)), *span], over[0] if over else None
            since = end
