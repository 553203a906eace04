"""Read damaged files by the ten thousand: each must give its object or a KflareError, in bounded memory and time.

    .venv/bin/python tools/fuzz_readers.py --mutations 20000
    .venv/bin/python tools/fuzz_readers.py --kind FITS --mutations 40000 --seed 21

File N of a `--seed` is always the same (`--only N` reads it alone, and shows the traceback): an example of
`fuzz_targets.py`, if N is odd with other values in what it is made of (cards, fields, columns, boxes), if even with
other bytes (`fuzz_mutations.py`). Those of $KFLARE_DATA are damaged too where it is set. The reading is done by a child
process, so that a crash of a decoder in C is counted and does not end the run. Exit status 1 if anything but an object
or a KflareError came out, a file took more than 10 s, or reading took more than 1 GB of memory.
"""

import argparse
import json
import logging
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from fuzz_targets import SOURCES, Target

LIMIT_BYTES = 1 << 30
LIMIT_SECONDS = 10
_CHUNK = 5000


class TooLong(BaseException):
    """No Exception, so that no reader can take it for damage of the file."""


def targets_of(kind: str | None) -> list[Target]:
    """The targets of a kind, or all."""
    sources = [source for source, kinds in SOURCES.items() if kind is None or kind in kinds]
    if not sources:
        raise SystemExit(f"no kind {kind!r}: there are {', '.join(dict.fromkeys(sum(SOURCES.values(), ())))}")
    return [target for source in sources for target in source() if kind in (None, target.kind)]


def outcome(target: Target, payload: bytes, folder: Path) -> tuple[str, str]:
    """Return what reading gives: "read", the name of the KflareError, or "FAULT"; and what the fault was."""
    from kflare.errors import KflareError

    path = folder / f"hmi.M_20131023_000054{target.suffix}"
    path.write_bytes(payload)
    signal.alarm(LIMIT_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target.read(path)
    except KflareError as error:
        return ("FAULT", f"message of several lines: {error!r}") if "\n" in str(error) else (type(error).__name__, "")
    except (Exception, TooLong) as error:  # noqa: BLE001  counting them is the purpose
        where = traceback.extract_tb(error.__traceback__)
        own = next((frame for frame in reversed(where) if "kflare/" in frame.filename), where[-1])
        last = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (own, where[-1]))
        return "FAULT", f"{type(error).__name__}: {str(error)[:200]} at {last}"
    finally:
        signal.alarm(0)
    return "read", ""


def work(first: int, last: int, seed: int, kind: str | None) -> None:
    """Child: read files first .. last - 1, one line of JSON each, the largest memory last."""
    signal.signal(signal.SIGALRM, _alarm)
    logging.disable()  # of what was left out
    targets = targets_of(kind)
    with tempfile.TemporaryDirectory() as folder:
        for target in targets if first == 0 else ():
            result, fault = outcome(target, target.wrap(target.seed), Path(folder))
            if result != "read":
                print(json.dumps(f"{target.name}: the seed itself cannot be read: {result} {fault}"), flush=True)
        for number in range(first, last):
            target = targets[number // 2 % len(targets)]
            payload = target.damaged(seed, number)
            begin = time.monotonic()
            result, fault = outcome(target, payload, Path(folder))
            print(json.dumps([number, target.name, result, fault, time.monotonic() - begin]), flush=True)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024), flush=True)


def _alarm(*_: object) -> None:
    raise TooLong(f"more than {LIMIT_SECONDS} s")


def run(mutations: int, seed: int, kind: str | None) -> int:
    """Parent: hand out the numbers, start again after a crash, and report."""
    counts: dict[str, Counter[str]] = {}
    slowest: dict[str, float] = {}
    faults: list[str] = []
    peak, done = 0, 0
    while done < mutations:
        # A new child now and then, so that a leak would show in the memory of none.
        last = min(mutations, done + _CHUNK)
        command = [sys.executable, str(Path(__file__).resolve()), "--work", str(done), str(last), "--seed", str(seed)]
        command += ["--kind", kind] if kind else []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                entry = json.loads(line)
                if isinstance(entry, str):
                    faults.append(entry)
                    continue
                if isinstance(entry, int):
                    peak = max(peak, entry)
                    continue
                number, name, result, fault, seconds = entry
                slowest[name] = max(slowest.get(name, 0.0), seconds)
                counts.setdefault(name, Counter())[result] += 1
                done = number + 1
                if fault:
                    faults.append(f"{number} {name}: {fault}")
        if child.returncode and not counts:
            raise SystemExit("the targets cannot be made")
        if child.returncode:
            faults.append(f"{done}: the reader crashed with status {child.returncode}")
            counts.setdefault("crashed", Counter())["FAULT"] += 1
            done += 1
        print(f"{done} of {mutations}", file=sys.stderr)
    kinds = sorted({kind for counter in counts.values() for kind in counter})
    print(f"{'':34}{''.join(f'{kind:>14}' for kind in kinds)}{'slowest, s':>14}")
    for name, counter in counts.items():
        print(f"{name:34}{''.join(f'{counter[kind]:14d}' for kind in kinds)}{slowest.get(name, 0.0):14.2f}")
    total = sum(counts.values(), Counter())
    print(f"{'all':34}{''.join(f'{total[kind]:14d}' for kind in kinds)}")
    print(f"{sum(total.values())} files, {len(faults)} faults, at most {peak / 2**20:.0f} MiB of memory")
    print("\n".join(faults[:200]))
    return 1 if faults or peak > LIMIT_BYTES else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=20_000, help="files to read (default: 20000)")
    parser.add_argument("--kind", help="only this kind, such as FITS, SRS or settings (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other files")
    parser.add_argument("--only", type=int, metavar="N", help="read file N alone and show what happens")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work, args.seed, args.kind)
        return 0
    if args.only is not None:
        targets = targets_of(args.kind)
        target = targets[args.only // 2 % len(targets)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"hmi.M_20131023_000054{target.suffix}"
            path.write_bytes(target.damaged(args.seed, args.only))
            print(target.name, target.read(path))
        return 0
    return run(args.mutations, args.seed, args.kind)


if __name__ == "__main__":
    sys.exit(main())
