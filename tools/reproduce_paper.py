"""Reproduce a paper from a recipe: fetch, train, and make every table, step by step.

A recipe (tools/recipes/*.toml) names settings and steps; each step is one command of kflare, or a program of tools/,
run in the work folder; what it prints goes to WORK/tables/STEP.txt. A step that is finished is not run again, and an
interrupted one goes on where its command can: start the same line again. Without WORK, or with --estimate, nothing is
run: it is estimated from the unit costs that the recipe holds, or those of a work folder of this machine (--costs).
"""

import argparse
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_KEYS = {
    *("name", "command", "each", "per", "bytes_per", "lack", "clear", "makes"),
    *("requests", "seconds", "bytes", "restart"),
}
_TRIES = 3  # of a download that says that another run may fetch more
Setting = str | float | list[str]


class RecipeError(Exception):
    """What is wrong with a recipe, a setting or a step, in one line."""


@dataclass(frozen=True)
class Step:
    """One command of a recipe, over its whole span or a part of it."""

    name: str
    part: str  # "" or the year
    command: (
        str  # of kflare, or tools/PROGRAM.py, words as on a command line; those with * name files of the work folder
    )
    amount: float  # of work, in the units that its seconds are per
    room: float  # likewise of its bytes
    of: Mapping[str, Any]  # the recipe's table

    @property
    def line(self) -> str:
        """The command as it is told."""
        return f"{'python' if self.command.startswith('tools/') else 'kflare'} {self.command}"

    @property
    def key(self) -> str:
        """The name in the state and of the file with what was printed."""
        return f"{self.name}-{self.part}" if self.part else self.name


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/reproduce_paper", description=__doc__)
    parser.add_argument("recipe", type=Path, help="such as tools/recipes/paper1.toml")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for everything that is fetched and made")
    parser.add_argument("--estimate", action="store_true", help="print disk, hours and restart points of each step")
    parser.add_argument("--costs", type=Path, metavar="DIR", help="estimate from the costs of this work folder")
    parser.add_argument("--from", dest="since", metavar="DATE", help="setting `from`: begin of the archive")
    parser.add_argument("--until", metavar="DATE", help="setting `until`: its end, exclusive")
    parser.add_argument(
        "--archive", metavar="URL", help="one server in place of all archives (tools/synthetic_archive.py)"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the recipe")
    args = parser.parse_args()
    try:
        recipe = read_recipe(args.recipe)
        given = {"from": args.since, "until": args.until}
        settings = settings_of(recipe, [*args.set, *(f"{name}={value}" for name, value in given.items() if value)])
        servers = {
            name: f"{server['option']} {args.archive.rstrip('/')}{server['path']}" if args.archive else ""
            for name, server in recipe["servers"].items()
        }
        steps = list(steps_of(recipe, settings, servers))
        if args.estimate or args.work is None:
            print(estimate(recipe, steps, None if args.costs is None else state_of(args.costs)["steps"]))
            return 0
        return reproduce(steps, args.work.resolve(), {"recipe": args.recipe.name, **settings})
    except RecipeError as error:
        print(f"tools/reproduce_paper: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tools/reproduce_paper: interrupted; start the same line again to go on", file=sys.stderr)
        return 130


def read_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"`{path}` is no recipe: {error}") from error
    for name in ("title", "settings", "servers", "line", "steps"):
        if name not in recipe:
            raise RecipeError(f"`{path}` lacks `{name}`: see tools/recipes for recipes that have it")
    for step in recipe["steps"]:
        if unknown := sorted(set(step) - _KEYS):
            known = ", ".join(sorted(_KEYS))
            raise RecipeError(f"`{path}`: step `{step.get('name')}` has `{unknown[0]}`; known are {known}")
    return recipe


def settings_of(recipe: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Setting]:
    """The recipe's settings, changed, and `after`, the day after `until`: flares follow the last image.

    Likewise `operate_after` of a recipe that has `operate_until`.
    """
    settings: dict[str, Setting] = dict(recipe["settings"])
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or name not in settings:
            raise RecipeError(f"`{change}` must be NAME=VALUE with one of {', '.join(settings)}")
        try:
            known = settings[name]
            settings[name] = text.split(",") if isinstance(known, list) else type(known)(text)
        except ValueError as error:
            raise RecipeError(f"setting `{name}` must be a number, got {text!r}") from error
    ends = [name for name in ("until", "operate_until") if name in settings]
    for name in ends:
        begin = name.replace("until", "from")
        if _date(settings, begin) >= _date(settings, name):
            raise RecipeError(f"`{name}` must be later than `{begin}`, got {settings[begin]} to {settings[name]}")
    days = {name.replace("until", "after"): str(_date(settings, name) + timedelta(days=1)) for name in ends}
    return {**settings, **days}


def steps_of(recipe: Mapping[str, Any], settings: Mapping[str, Setting], servers: Mapping[str, str]) -> Iterator[Step]:
    """The steps with their settings filled in; one with `each` is a step for each calendar year between its dates."""
    for step in recipe["steps"]:
        parts = [("", {})]
        if "each" in step:
            dates = [_date(settings, name) for name in step["each"]]
            spans = _years(list(zip(dates[::2], dates[1::2], strict=True)))
            parts = [(name, {"begin": str(a), "end": str(b)}) for name, (a, b) in spans.items()]
        for part, span in parts:
            values = {**settings, **span}
            words = {name: " ".join(map(str, v)) if isinstance(v, list) else v for name, v in values.items()}
            try:
                command = step["command"].format(**words, **servers)
                amounts = (_amount(step.get(key, step["per"]), values) for key in ("per", "bytes_per"))
                yield Step(step["name"], part, command, *amounts, step)
            except KeyError as error:
                raise RecipeError(f"step `{step['name']}` needs the setting {error}, which the recipe lacks") from error


def _years(spans: Sequence[tuple[date, date]]) -> dict[str, tuple[date, date]]:
    """Spans by calendar years, of what no span before holds; by year, or a second part of one by its first day."""
    parts: dict[str, tuple[date, date]] = {}
    reached = date.min
    for start, end in sorted(spans):
        begin = max(start, reached)
        cuts = [begin, *(date(year, 1, 1) for year in range(begin.year + 1, end.year + 1)), end]
        for a, b in ((a, b) for a, b in pairwise(cuts) if a < b):
            parts[f"{a:%Y%m%d}" if str(a.year) in parts else str(a.year)] = a, b
        reached = max(reached, end)
    return parts


def _date(settings: Mapping[str, Setting], name: str) -> date:
    try:
        return date.fromisoformat(str(settings[name]))
    except (KeyError, ValueError) as error:
        raise RecipeError(f"setting `{name}` must be a date such as 2010-05-01, got {settings.get(name)}") from error


def _amount(factors: Sequence[Any], settings: Mapping[str, Setting]) -> float:
    """Product of settings: numbers, how many a list holds, and the days between a pair of dates."""
    product = 1.0
    for factor in factors:
        if isinstance(factor, list):
            begin, end = (_date(settings, name) for name in factor)
            product *= max((end - begin) / timedelta(days=1), 0)
        else:
            value = settings[factor]
            product *= len(value) if isinstance(value, list) else float(value)
    return product


# -- running -----------------------------------------------------------------------------------------------------------


def reproduce(steps: Sequence[Step], work: Path, settings: Mapping[str, Setting]) -> int:
    (work / "tables").mkdir(parents=True, exist_ok=True)
    state = state_of(work) if (work / "state.json").exists() else {"settings": dict(settings), "steps": {}}
    changed = [name for name in settings if state["settings"].get(name) != settings[name]]
    if changed:
        before, now = state["settings"].get(changed[0]), settings[changed[0]]
        raise RecipeError(f"{work} was begun with `{changed[0]}` = {before}, not {now}: choose another --work")
    for number, step in enumerate(steps, start=1):
        done = state["steps"].get(step.key, {})
        if done.get("finished") and all((work / path).exists() for path in step.of["makes"]):
            continue
        print(f"[{number}/{len(steps)}] {step.key}: {step.line}", file=sys.stderr, flush=True)
        began, before = time.monotonic(), bytes_in(work, step)
        cpu = cpu_seconds()
        status, why = run(step, work)
        missing = [path for path in step.of["makes"] if not (work / path).exists()]
        if not why and missing:
            why = f"did not make {missing[0]}"
        state["steps"][step.key] = {
            "elapsed": round(done.get("elapsed", 0) + time.monotonic() - began, 1),
            "seconds": round(done.get("seconds", 0) + cpu_seconds() - cpu, 1),
            "bytes": done.get("bytes", 0) + bytes_in(work, step) - before,
            "amount": step.amount,
            "room": step.room,
            "finished": not why,
            "status": status,
        }
        write_state(work, state)
        if why:
            log = work / "logs" / f"{step.key}.txt"
            raise RecipeError(f"step `{step.key}` {why}: see {log}, then start the same line again")
    incomplete = [key for key, step in state["steps"].items() if step["status"]]
    hours = sum(step["elapsed"] for step in state["steps"].values()) / 3600
    size = tree_bytes(work) / 1e9
    print(f"done: {len(steps)} steps, {hours:.2f} h, {size:.2f} GB in {work}; tables in {work / 'tables'}")
    if incomplete:
        print(f"not everything was to be had for {', '.join(incomplete)}: see {work / 'logs'}")
    return 0


def run(step: Step, work: Path) -> tuple[int, str]:
    """Run a step's command; its exit status, and why the step is not finished, "" if it is."""
    words = []
    for word in shlex.split(step.command):
        words += sorted(str(path.relative_to(work)) for path in work.glob(word)) if "*" in word else [word]
    for name in step.of.get("clear", []):  # commands that never overwrite would not begin again
        shutil.rmtree(work / name, ignore_errors=True)
    (work / "logs").mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    log = work / "logs" / f"{step.key}.txt"
    program = [str(ROOT / words.pop(0))] if step.command.startswith("tools/") else ["-m", "kflare"]
    line = [sys.executable, *program, *words]
    for _ in range(_TRIES if "lack" in step.of else 1):
        with log.open("a+", encoding="utf-8") as errors:
            print(f"{datetime.now(UTC):%FT%TZ} {step.line}", file=errors, flush=True)
            begin = errors.tell()
            done = subprocess.run(
                line, cwd=work, check=False, text=True, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
            errors.seek(begin)
            said = errors.read()
            print(f"{datetime.now(UTC):%FT%TZ} status {done.returncode}", file=errors)
        (work / "tables" / f"{step.key}.txt").write_text(done.stdout, encoding="utf-8")
        if done.returncode == 0:
            return 0, ""
    lacking = re.search(r"(\d+) of (\d+) were rejected or not answered for", said)
    if lacking and int(lacking[1]) <= step.of.get("lack", 0) * int(lacking[2]):
        return done.returncode, ""
    return done.returncode, f"ended with status {done.returncode}"


def cpu_seconds() -> float:
    """Processor time of all commands so far: on a machine that others use, too, the clock says nothing of a command."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def state_of(work: Path) -> dict[str, Any]:
    try:
        found = json.loads((work / "state.json").read_text(encoding="utf-8"))
        return {"settings": found["settings"], "steps": found["steps"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"`{work / 'state.json'}` cannot be read: {error}; is {work} of this program?") from error


def write_state(work: Path, state: Mapping[str, Any]) -> None:
    part = work / ".state.json.part"
    part.write_text(json.dumps(state, indent=2), encoding="utf-8")
    part.replace(work / "state.json")


def bytes_in(work: Path, step: Step) -> int:
    return sum(tree_bytes(work / path) for path in step.of["makes"])


def tree_bytes(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


# -- estimating --------------------------------------------------------------------------------------------------------


def estimate(recipe: Mapping[str, Any], steps: Sequence[Step], measured: Mapping[str, Any] | None) -> str:
    """A table of steps: disk, hours of one core and of the line, and where a restart begins."""
    line = recipe["line"]
    source = f"costs: {recipe['measured']}" if measured is None else "costs: those of the work folder"
    rows = [("step", "GB", "core hours", "line hours", "runs", "a restart begins")]
    totals = [0.0, 0.0, 0.0]
    for name in dict.fromkeys(step.name for step in steps):
        parts = [step for step in steps if step.name == name]
        of, amount = parts[0].of, sum(step.amount for step in parts)
        seconds, size = unit_costs(parts, measured)
        # What an archive sends is not measured on a toy of it.
        disk = sum(step.room for step in parts) * (of["bytes"] if "requests" in of else size)
        waited = amount * of.get("requests", 0) * line["seconds_per_request"] / line["connections"]
        sent = disk * 8e-6 / line["megabits_per_second"] if "requests" in of else 0
        numbers = disk / 1e9, amount * seconds / 3600, (waited + sent) / 3600
        totals = [sum(pair) for pair in zip(totals, numbers, strict=True)]
        rows.append((name, *(f"{number:.2f}" for number in numbers), str(len(parts)), of["restart"]))
    rows.append(("all", *(f"{number:.1f}" for number in totals), "", ""))
    assumed = ", ".join(f"{name} {value:g}" for name, value in line.items())
    body = "\n".join(f"{a:18}{b:>10}{c:>12}{d:>12}{e:>6}  {f}".rstrip() for a, b, c, d, e, f in rows)
    return f"{recipe['title']}\n{source}\nassumed of the line, not measured: {assumed}\n\n{body}"


def unit_costs(parts: Sequence[Step], measured: Mapping[str, Any] | None) -> tuple[float, float]:
    """Seconds and bytes per unit of a step: the recipe's, or of all its parts in a work folder."""
    name = parts[0].name
    if measured is None:
        return parts[0].of["seconds"], parts[0].of["bytes"]
    own = [step for key, step in measured.items() if step["finished"] and name in (key, key.rpartition("-")[0])]
    amount, room = (sum(step[what] for step in own) for what in ("amount", "room"))
    if not amount or not room:
        raise RecipeError(f"the work folder has no finished step `{name}`: run it there, or leave --costs out")
    return sum(step["seconds"] for step in own) / amount, sum(step["bytes"] for step in own) / room


if __name__ == "__main__":
    sys.exit(main())
