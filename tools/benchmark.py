"""What a row of `tools/bench` is, and the process of its own in which one variant of it is measured.

A variant is kflare, or a peer that gives the same numbers. Its process answers each line that it is sent with the times
of one run, so that variants take turns and what else the machine does falls on all of them.
"""

import hashlib
import inspect
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

OURS = "kflare"


@dataclass(frozen=True)
class Timed:
    """What is timed, made by a variant's setup."""

    run: Callable[[], Any]  # its numbers, if it gives any, are held against those of the other variants
    per: float = 1.0  # units of the row in one run: times are told of one
    before: Callable[[], Any] | None = None  # done before each run and not timed
    answer: Callable[[], Any] | None = None  # the numbers, where they are not what `run` gives
    apart: Collection[int] = ()  # processes that it started and that do not count
    note: str = ""  # what else it found


Setup = Callable[[Path], Timed]


@dataclass(frozen=True)
class Row:
    """One row of the table with its peers. `Setup` gets the folder that `prepare`, if there is one, has filled."""

    name: str  # BENCH/WHAT
    what: str  # one line
    ours: Setup
    unit: str = "run"
    peers: Mapping[str, Setup] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None  # writes a synthetic set, once; always by the present source
    tolerance: float = 1e-5  # by which a peer's numbers may differ; one beyond is refused
    rounds: int = 5  # with 1, the first run counts; else one warms up and tells the numbers
    threads: int = 0  # of each library; 0: as many as there are cores

    @property
    def setups(self) -> dict[str, Setup]:
        """By variant."""
        return {OURS: self.ours, **self.peers}

    def sets(self, cache: Path) -> Path:
        """Folder of its synthetic set: another one when what writes it changes."""
        module = inspect.getmodule(self.prepare)
        if self.prepare is None or module is None:
            return cache
        named = f"{self.prepare.__name__}{inspect.getsource(module)}"
        return cache / f"{module.__name__}-{hashlib.sha256(named.encode()).hexdigest()[:10]}"

    def environment(self) -> dict[str, str]:
        """The threads that libraries take, as they read them when they are imported."""
        count = str(self.threads or os.cpu_count())
        names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"]
        one = {"TF_NUM_INTEROP_THREADS": "1"} if self.threads == 1 else {}
        return dict.fromkeys(names, count) | one


def kept(folder: Path, *rooms: str) -> Path:
    """Folder in `folder` of what kflare itself made: another for each state of its source, or of some rooms."""
    import kflare

    root = Path(kflare.__file__).parent
    files = [path for room in rooms or ("",) for path in (root / room).rglob("*") if path.suffix in {".py", ".csv"}]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:10]
    (folder / f"by-{key}").mkdir(exist_ok=True)
    return folder / f"by-{key}"


def threads() -> int:
    """Of this process, for runtimes that want to be told."""
    return int(os.environ["OMP_NUM_THREADS"])


def serve(row: Row, variant: str, cache: Path, answers: Path) -> None:
    """Set a variant up, then time one run for each line of the input; replies are lines of JSON."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed goes where messages go

    def reply(**told: Any) -> None:
        print(json.dumps(told), file=replies, flush=True)

    folder = row.sets(cache)
    if variant == "prepare":
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        part.mkdir(parents=True)
        assert row.prepare is not None
        row.prepare(part)
        try:
            part.rename(folder)
        except OSError:  # another run was as fast
            shutil.rmtree(part)
        return reply(ready=True)
    try:
        timed = row.setups[variant](folder)
    except ModuleNotFoundError as error:
        if variant == OURS:
            raise
        return reply(missing=str(error.name))
    if row.rounds > 1:
        (timed.before or int)()
        numbers = timed.run()
        numbers = numbers if timed.answer is None else timed.answer()
        if numbers is not None:
            np.save(answers, np.asarray(numbers, dtype=np.float64))
    reply(ready=True, note=timed.note)
    for _ in sys.stdin:
        (timed.before or int)()
        wall, processor = time.perf_counter(), processor_seconds(timed.apart)
        timed.run()
        wall, processor = time.perf_counter() - wall, processor_seconds(timed.apart) - processor
        reply(wall=wall / timed.per, processor=processor / timed.per, peak_mb=peak_mb(timed.apart))
    return None


def processor_seconds(apart: Collection[int] = ()) -> float:
    """Of this process and of those that it started, whether they still run or not."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = sum(
        int(one) for child in _children(apart) for one in _read(child, "stat").rpartition(")")[2].split()[11:15]
    )
    return time.process_time() + ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def peak_mb(apart: Collection[int] = ()) -> float:
    """Largest resident memory of this process, or of one that it started."""
    # Of this process `ru_maxrss` would begin with that of the process that started it.
    status = [_read(process, "status") for process in ("self", *_children(apart))]
    alive = [int(one.split("VmHWM:")[1].split()[0]) for one in status if "VmHWM:" in one]
    return max(*alive, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 0) / 1024


def _children(apart: Collection[int]) -> list[str]:
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            found += (task / "children").read_text(encoding="ascii").split()
    return [child for child in found if int(child) not in apart]


def _read(process: str, name: str) -> str:
    try:
        return Path("/proc", process, name).read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile
        return ") " + "0 " * 20
