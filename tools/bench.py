"""One table of what kflare costs beside what one would use instead, and beside an earlier kflare.

Each variant runs in a process of its own; the variants of a row take turns, round by round, and ratios are those of
the rounds, by processor time: that is what a shared machine leaves honest. Peers that are not installed are told
(`tools/environment bench` installs them); one whose numbers differ is refused.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[1]

from benchmark import OURS, Row, serve  # noqa: E402 - found beside this file

LIMIT = 600.0
"""Seconds that the rounds of a row may take by the clock; what then still runs is ended, and told. To make ready what
is kept for later may take three times as long."""
PEERS = ("tensorflow", "torch", "onnxruntime", "openvino", "captum", "tf-keras-vis", "scikit-learn", "scores")
ONE_IN_ALL = ("memory",)
"""Benchmarks that only their name runs."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="rows to run, whole benchmarks or patterns (default: all but memory)")
    parser.add_argument("--all", action="store_true", help="run all, as without a name")
    parser.add_argument("--list", action="store_true", help="say which rows there are, and run nothing")
    parser.add_argument("--quick", action="store_true", help="one round of each row; ratios then have no range")
    parser.add_argument("--rounds", type=int, help="of each row (default: the row's own, 3 to 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument(
        "--compare", metavar="REV", help="beside kflare of this git revision, A B A B, instead of peers"
    )
    parser.add_argument("--chart", type=Path, metavar="PNG", help="draw the ratios, or the memory, there")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".cache" / "bench", help="keeps sets (default: .cache/bench)"
    )
    parser.add_argument("--rows", type=Path, default=Path(__file__).parent, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, metavar=("ROW", "VARIANT", "ANSWERS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.cache, args.rows = args.cache.resolve(), args.rows.resolve()
    if args.measure:
        name, variant, answers = args.measure
        serve(next(row for row in all_rows(args.rows, name) if row.name == name), variant, args.cache, Path(answers))
        return 0
    rows = chosen(all_rows(args.rows), args.names)
    if args.list:
        for row in rows:
            beside = f"; beside {', '.join(row.peers)}" * bool(row.peers)
            print(f"{row.name:28} {row.what}{beside}")
        return 0
    args.cache.mkdir(parents=True, exist_ok=True)
    other = revision(args.compare, args.cache) if args.compare else None
    print(
        f"{machine()}\nof one unit: median (least–most) of the rounds; ratio: processor time of kflare ÷ of the other"
    )
    print(f"{'':32}{'clock (ms)':>26}{'processor (ms)':>26}{'MB':>7}{'load':>6}{'ratio':>21}  differs", flush=True)
    told: list[dict[str, Any]] = []
    for row in rows:
        rounds = 1 if args.quick else args.rounds or row.rounds
        told += show(row, list(measured(row, rounds, args, other)))
        if args.json:  # after each row: a run that is ended keeps what it has
            args.json.write_text(json.dumps({"machine": machine(), "rows": told}, indent=1), encoding="utf-8")
    if args.chart:
        from benchmark_chart import draw

        draw(told, args.chart)
    return int(any(one["error"] and not one["missing"] for one in told))


def all_rows(folder: Path, name: str = "") -> list[Row]:
    """Of all benchmarks in a folder, `bench_NAME.py`, or of that of a row."""
    rows: list[Row] = []
    for path in sorted(folder.glob(f"bench_{name.partition('/')[0] or '*'}.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        rows += getattr(module, "ROWS", [])  # none: a command of its own
    return rows


def chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Those of which a name is the benchmark, the row, or a pattern."""
    for name in names:
        if not any(_named(row, name) for row in rows):
            known = ", ".join(dict.fromkeys(row.name.partition("/")[0] for row in rows))
            raise SystemExit(f'no benchmark "{name}": choose of {known}, or a row of tools/bench --list')
    if names:
        return [row for row in rows if any(_named(row, name) for name in names)]
    return [row for row in rows if row.name.partition("/")[0] not in ONE_IN_ALL]


def _named(row: Row, name: str) -> bool:
    return row.name.partition("/")[0] == name or fnmatch(row.name, name)


def revision(name: str, cache: Path) -> Path:
    """Unpack a git revision once; the folder holds its `kflare`, `savedmodels` and `requirements`."""
    line = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    found = subprocess.run(line, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"--compare {name}: no such revision of {ROOT}")
    folder = cache / "revisions" / found.stdout.strip()
    if not folder.exists():
        packed = subprocess.run(
            ["git", "-C", str(ROOT), "archive", folder.name], capture_output=True, check=True
        ).stdout
        with tempfile.TemporaryDirectory(dir=cache) as part, tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(part, filter="data")
            folder.parent.mkdir(exist_ok=True)
            Path(part, "whole").mkdir()
            for path in Path(part).iterdir():
                if path.name != "whole":
                    path.rename(Path(part, "whole", path.name))
            Path(part, "whole").rename(folder)
    return folder


def interpreter(root: Path) -> str:
    """Return this Python, or where a revision asks for other versions, one that has them."""
    pins = Path("requirements", "run.txt")
    if root == ROOT or (root / pins).read_bytes() == (ROOT / pins).read_bytes():
        return sys.executable
    python = root / ".venv" / "bin" / "python"
    if not python.exists():
        print(f"installing what {root.name[:10]} asks for ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(root / ".venv")], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", root / pins], check=True)
    return str(python)


@dataclass
class Variant:
    """A process that measures, and what it measured."""

    label: str
    process: Any
    answers: Path
    said: Path
    rounds: list[dict[str, float]] = field(default_factory=list)
    error: str = ""
    missing: bool = False
    note: str = ""

    @classmethod
    def start(cls, row: Row, variant: str, label: str, root: Path, args: argparse.Namespace, scratch: Path) -> Self:
        """Start the process; `ask` waits for it."""
        place = scratch / label.replace("/", "-").replace(" ", "-")
        line = [interpreter(root), __file__, "--cache", str(args.cache), "--rows", str(args.rows)]
        line += ["--measure", row.name, variant]
        environment = os.environ | row.environment() | {"PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["PYTHONWARNINGS"] = "ignore"
        with place.with_suffix(".log").open("w") as log:
            process = subprocess.Popen(
                [*line, f"{place}.npy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=environment, cwd=root, start_new_session=True,
            )  # fmt: skip
        return cls(label, process, Path(f"{place}.npy"), place.with_suffix(".log"))

    def reply(self) -> dict[str, Any]:
        """The next line, {} if it ended: `error` then says how."""
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        lines = self.said.read_text(errors="replace").strip().splitlines()
        self.error = "stopped, as it took too long" if code == -9 else (lines or [f"ended with {code}"])[-1]
        return {}

    def ready(self) -> bool:
        """Wait until it is set up."""
        told = self.reply()
        if "missing" in told:
            self.error, self.missing = f"not installed: {told['missing']}", True
        self.note = told.get("note", "")
        return bool(told.get("ready"))

    def ask(self) -> None:
        """Run once."""
        with suppress(BrokenPipeError):
            print(file=self.process.stdin, flush=True)
        if told := self.reply():
            self.rounds.append(told)

    def end(self) -> None:
        """Let the process go."""
        with suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            kill(self.process)


def kill(process: Any) -> None:
    """End a process and those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, 9)


def measured(row: Row, rounds: int, args: argparse.Namespace, other: Path | None) -> Iterator[dict[str, Any]]:
    """Run all variants of a row in turn; yields what the table tells of each."""
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started: list[Variant] = []

        def stop() -> None:
            for one in started:
                kill(one.process)

        def start(variant: str, label: str, root: Path = ROOT) -> Variant:
            started.append(Variant.start(row, variant, label, root, args, scratch))
            return started[-1]

        def watch(seconds: float) -> threading.Timer:
            timer = threading.Timer(seconds, stop)
            stack.callback(timer.cancel)
            timer.start()
            return timer

        stack.callback(stop)
        setting_up = watch(3 * LIMIT)
        if row.prepare and not row.sets(args.cache).exists():
            writer = start("prepare", "set")
            if not writer.ready():
                yield {"row": row.name, "unit": row.unit, "variant": OURS, "load": load, "error": writer.error,
                       "missing": False}  # fmt: skip
                return
            writer.end()
        if other is None:
            variants = [start(variant, variant) for variant in row.setups]
        else:
            variants = [start(OURS, OURS), start(OURS, f"kflare of {args.compare}", other)]
        ours, *others = variants
        alive = [one for one in variants if one.ready()]
        for one in others:
            if other is None and one in alive and (apart := difference(ours, one)) > row.tolerance:
                one.error = f"refused: its numbers differ by {apart:.1e}, more than {row.tolerance:g}"
                alive.remove(one)
        setting_up.cancel()
        watch(LIMIT)
        begun = time.monotonic()
        for turn in range(rounds):
            for one in alive:
                one.ask()
            spent = time.monotonic() - begun
            if spent * (turn + 2) / (turn + 1) > LIMIT:
                break
        for one in alive:
            one.end()
        for one in variants:
            yield {"row": row.name, "unit": row.unit, "load": load, **summary(one, ours)}


def difference(ours: Variant, other: Variant) -> float:
    """Largest between the numbers of two variants; NaN where they give none."""
    if not (ours.answers.exists() and other.answers.exists()):
        return float("nan")
    one, two = np.load(ours.answers), np.load(other.answers)
    if one.shape != two.shape:
        return float("inf")
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    apart = np.abs(np.where(same, 0.0, one - two))
    return float(np.where(np.isnan(apart), np.inf, apart).max(initial=0.0))


def summary(one: Variant, ours: Variant) -> dict[str, Any]:
    """What the table and the JSON tell of a variant."""
    told: dict[str, Any] = {
        "rounds": len(one.rounds),
        "variant": one.label,
        "error": one.error,
        "missing": one.missing,
        "note": one.note,
    }
    if one.rounds:
        told |= {name: spread([each[name] for each in one.rounds]) for name in ("wall", "processor")}
        told["peak_mb"] = max(each["peak_mb"] for each in one.rounds)
    if one is not ours and one.rounds and ours.rounds:
        pairs = list(zip(ours.rounds, one.rounds, strict=False))
        for name, key in (("ratio", "processor"), ("wall_ratio", "wall")):
            told[name] = spread([a[key] / b[key] if b[key] else float("nan") for a, b in pairs])
    apart = difference(ours, one) if one is not ours else float("nan")
    return told | {"difference": None if np.isnan(apart) else apart}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


def show(row: Row, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print the lines of a row."""
    print(f"{row.name}, of one {row.unit}: {row.what}")
    for one in told:
        label = f"  {one['variant']}"
        if "wall" in one:
            times = "".join(f"{several(one[name], 1000):>26}" for name in ("wall", "processor"))
            ratio = several(one["ratio"], 1, 2) if "ratio" in one else ""
            apart = "" if one["difference"] is None else f"{one['difference']:.0e}"
            line = f"{label:32}{times}{one['peak_mb']:7.0f}{one['load']:6.1f}{ratio:>21}  {apart}"
            print("  ".join(filter(None, [line.rstrip(), one["error"], one["note"]])), flush=True)
        else:
            print(f"{label:32}  {one['error']}", flush=True)
    return told


def several(values: dict[str, float], scale: float, digits: int | None = None) -> str:
    """The middle with its range."""
    middle, low, high = (scale * values[name] for name in ("median", "min", "max"))
    if middle and middle < 0.1:
        return f"{middle:.2g} ({low:.2g}–{high:.2g})"
    if digits is None:
        digits = 0 if middle >= 1000 else 1 if middle >= 10 else 3
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def machine() -> str:
    """Processor, cores, and versions."""
    names = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    found = []
    for package in PEERS:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(found)}"


if __name__ == "__main__":
    sys.exit(main())
