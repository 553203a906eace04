"""Load the embedded server for minutes on end while versions come, fail and go: tools/soak_serving.py --minutes 30.

The server is a process of its own, with request batching and jemalloc as systemd runs it, and with the HTTP port.
Clients, processes of their own, send a mix of images, single regions, bulk rows and wrong requests (no image, half a
one, an unknown input, an unknown signature) at 80 % of what it can do, which is measured first; some are killed at
random and replaced. Every minute a new version of each model is published and one too old is removed; every five
minutes a bad one is published (its manifest or its graph is spoilt, in turn).
With --hostile one request in ten asks for far more work than its bytes show, or is larger than what a server takes at a
time; it must be refused at once (RESOURCE_EXHAUSTED), and the server stay below 2 GB.
Counted are requests that a correct server should have answered and this one did not, answers that are wrong, and the
server's memory.
"""

import argparse
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

BATCHING = Path(__file__).parents[1] / "serving" / "batching.config"
BOUND = 2000.0  # MB, the server's memory with --hostile
MIX = (("image", 0.35), ("region", 0.45), ("bulk", 0.08), ("rest", 0.06), ("wrong", 0.06))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/soak_serving.py", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="default: 30")
    parser.add_argument("--models", type=Path, default=Path("savedmodels"), help="default: savedmodels")
    parser.add_argument("--clients", type=int, default=6, help="client processes (default: 6)")
    parser.add_argument("--share", type=float, default=0.8, help="of the server's capacity to load (default: 0.8)")
    parser.add_argument("--capacity", type=float, help="requests/s; measured when not given")
    parser.add_argument("--publish-seconds", type=float, default=60.0, help="between new versions (default: 60)")
    parser.add_argument(
        "--malloc",
        default="libjemalloc.so.2",
        help="what allocates the server's memory, by default what serving/systemd gives it; '' = the C library",
    )
    parser.add_argument("--hostile", action="store_true", help="one request in ten is hostile; memory is bounded")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return soak(args, Path(folder))


def soak(args: argparse.Namespace, work: Path) -> int:
    source, served = args.models, work / "models"
    for name in ("cnn-c", "defn-c"):
        publish(newest(source / name), served / name / "1")
    address, rest, process = start(served, work, args.malloc)
    context = multiprocessing.get_context("spawn")
    clients: list[Any] = []
    inbox = Inbox()
    rng = random.Random(args.seed)  # noqa: S311 - no secrets here
    memory: list[tuple[float, float]] = []
    try:
        capacity = args.capacity or measure(context, address, rest, args.clients)
        rate = args.share * capacity
        print(f"capacity {capacity:.0f} requests/s; load {rate:.0f} requests/s from {args.clients} clients", flush=True)
        inbox.start()
        started = time.monotonic()
        end, version, published, kills = started + 60 * args.minutes, 1, started, 0
        seeds = iter(range(10**9))
        resident = psutil.Process(process.pid)
        while (now := time.monotonic()) < end:
            clients = [client for client in clients if client.is_alive()]
            while len(clients) < args.clients:
                pace = (rate / args.clients, args.hostile)
                clients.append(client(context, inbox, address, rest, pace, next(seeds), end))
            if now - published >= args.publish_seconds:
                published, version = now, version + 1
                new_version(source, served, version, bad=version % 5 == 0)
            if rng.random() < 1 / 20:  # one of them every 20 s
                rng.choice(clients).kill()
                kills += 1
            memory.append((now - started, resident.memory_info().rss / 1e6))
            if process.poll() is not None:
                inbox.failures.append(f"the server ended with status {process.returncode}")
                break
            time.sleep(1.0)
        for one in clients:
            one.join(30)
        inbox.stop()
        time.sleep(5)
        memory.append((time.monotonic() - started, resident.memory_info().rss / 1e6))
        return report(args, inbox.counts, inbox.failures, memory, kills, version, rest)
    finally:
        for one in clients:
            one.kill()
        process.terminate()
        status = process.wait(60)
        print(f"server stopped with status {status}")


def report(args: Any, total: Any, failures: list[str], memory: Any, kills: int, version: int, rest: str) -> int:
    settled = [size for at, size in memory[:-1] if at >= min(300, 30 * args.minutes)]
    growth = (np.median(settled[-30:]) / np.median(settled[:30]) - 1) * 100
    page = urllib.request.urlopen(f"{rest}/monitoring/prometheus/metrics").read().decode()  # noqa: S310 - our own
    loads = Counter(re.findall(r':tensorflow:cc:saved_model:load_attempt_count\{.*status="(\w+)"\}', page))
    answered = sum(count for name, count in total.items() if not name.startswith("failed"))
    print(f"{answered} requests answered as they should: {dict(sorted(total.items()))}")
    print(f"{len(failures)} failures; {kills} clients killed; newest version {version}; loads {dict(loads)}")
    for failure in failures[:20]:
        print(f"  {failure}")
    first, last = settled[0], settled[-1]
    print(f"memory: {memory[0][1]:.0f} MB at first, {first:.0f} settled, {last:.0f} at the end, {growth:+.1f} %")
    print("MB over time:", " ".join(f"{memory[len(memory) * tenth // 10][1]:.0f}" for tenth in range(10)))
    peak = max(size for _, size in memory)
    print(f"memory at most {peak:.0f} MB, {(last / memory[0][1] - 1) * 100:+.1f} % of the first when the load is over")
    return 1 if failures or growth > 5 or (args.hostile and peak > BOUND) else 0


def start(served: Path, work: Path, malloc: str) -> tuple[str, str, Any]:
    command = [sys.executable, "-m", "kflare.serve", "--models", str(served), "--port", "0", "--rest-api-port", "0"]
    command += ["--batching-parameters-file", str(BATCHING), "--enable-per-model-batching-parameters"]
    log = (work / "server.log").open("w")
    process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | {"LD_PRELOAD": malloc})
    for _ in range(600):
        time.sleep(0.2)
        found = re.search(r"listening on (\S+) and (\S+),", (work / "server.log").read_text())
        if found:
            if malloc not in Path(f"/proc/{process.pid}/maps").read_text():
                process.kill()
                sys.exit(f"{malloc} is not there: install it (libjemalloc2 on Debian), or give --malloc ''")
            return found[1], found[2], process
        if process.poll() is not None:
            break
    sys.exit((work / "server.log").read_text())


class Inbox(threading.Thread):
    """Adds up what the clients tell. Each has a pipe of its own: a shared queue would not outlive a killed writer."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.seconds: list[float] = []
        self._pipes: list[Any] = []
        self._stopped = False

    def add(self, pipe: Any) -> None:
        """Listen to one more client."""
        self._pipes.append(pipe)

    def run(self) -> None:
        """Listen until told to stop, and to the end of each client."""
        while not (self._stopped and not self._pipes):
            for pipe in multiprocessing.connection.wait(self._pipes, timeout=0.5):
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    self._pipes.remove(pipe)
                    continue
                self.counts.update(message["counts"])
                self.failures.extend(message["failures"])
                if message["seconds"]:
                    self.seconds.append(message["seconds"])

    def stop(self) -> None:
        """Hear the clients out, and end."""
        self._stopped = True
        self.join(30)


def measure(context: Any, address: str, rest: str, clients: int, seconds: float = 15.0) -> float:
    """Requests per second of as many clients as fast as they can."""
    end, inbox = time.monotonic() + seconds + 10, Inbox()
    made = [client(context, inbox, address, rest, (None, False), seed, end) for seed in range(clients)]
    inbox.start()
    for one in made:
        one.join()
    inbox.stop()
    return inbox.counts.total() / max(inbox.seconds)


def client(context: Any, inbox: Inbox, address: str, rest: str, pace: Any, seed: int, end: float) -> Any:
    reader, writer = context.Pipe(duplex=False)
    options = (writer, address, rest, pace, seed, end - time.monotonic())
    made = context.Process(target=ask_on, args=options, daemon=True)
    made.start()
    writer.close()  # ours: with the client's own the pipe ends when the client does
    inbox.add(reader)
    return made


def ask_on(pipe: Any, address: str, rest: str, pace: tuple[float | None, bool], seed: int, seconds: float) -> None:
    """One client: requests of the mix, at a rate or as fast as it can, told about through `pipe` every second."""
    rate, hostile = pace
    from kflare.errors import ServingError
    from kflare.serving import Client

    rng = random.Random(seed)  # noqa: S311 - no secrets here
    counts: Counter[str] = Counter()
    failures: list[str] = []
    end = time.monotonic() + seconds
    with Client(address, timeout=20, max_attempts=5) as asked:
        features = sorted(asked.metadata("defn-c").inputs["serving_default"])
        pictures = [disk(seed) for seed in (0, 1, 2)]
        started = told = next_at = time.monotonic()
        while (now := time.monotonic()) < end:
            if rate:
                next_at += rng.expovariate(rate)
                if next_at > now:
                    time.sleep(min(next_at - now, max(0.0, end - now)))
                elif now - next_at > 2:
                    next_at = now  # too slow to keep the rate: do not hurry after what is past
            kind = rng.choices([name for name, _ in MIX], [share for _, share in MIX])[0]
            if hostile and rng.random() < 0.1:
                kind = "hostile"
            try:
                counts[kind if ask(asked, rest, kind, features, pictures, rng) else "failed"] += 1
            except ServingError as error:
                counts["failed"] += 1
                failures.append(f"{kind}: {error}"[:300])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                counts["failed"] += 1
                failures.append(f"{kind}: {type(error).__name__} {error}"[:300])
            if time.monotonic() - told > 1:
                told = time.monotonic()
                pipe.send({"counts": counts, "failures": failures, "seconds": 0})
                counts, failures = Counter(), []
    pipe.send({"counts": counts, "failures": failures, "seconds": time.monotonic() - started})


def ask(asked: Any, rest: str, kind: str, features: list[str], pictures: list[bytes], rng: random.Random) -> bool:
    """Send one request; False where the answer is wrong."""
    from kflare.errors import ServingError

    if kind == "image":
        found = asked.predict_images("cnn-c", [rng.choice(pictures)]).outputs["probability"]
        return found.shape == (1,)
    if kind in {"region", "bulk"}:
        rows = 1 if kind == "region" else 1000
        inputs = {name: np.full(rows, rng.random(), np.float32) for name in features}
        found = asked.predict("defn-c", inputs).outputs["probability"]
        # All rows are alike, and so must be the answers: none may come from another's request.
        return found.shape == (rows,) and float(np.ptp(found)) < 1e-5
    if kind == "rest":
        body = json.dumps({"instances": [dict.fromkeys(features, 0.0)]}).encode()
        with urllib.request.urlopen(f"{rest}/v1/models/defn-c:predict", body, timeout=20) as reply:  # noqa: S310
            return "probability" in json.load(reply)["predictions"][0]
    if kind == "hostile":
        return refused_at_once(asked, features, rng)
    inputs, signature, code = rng.choice(
        (
            ({"image": [b"no image"]}, "predict_image", "INVALID_ARGUMENT"),
            ({"image": [rng.choice(pictures)[:-1000]]}, "predict_image", "INVALID_ARGUMENT"),
            ({"picture": [b"no image"]}, "predict_image", "INVALID_ARGUMENT"),
            ({"image": [rng.choice(pictures)]}, "predict", "FAILED_PRECONDITION"),
        )
    )
    try:
        asked.predict("cnn-c", inputs, signature=signature)
    except ServingError as error:
        return code in str(error)
    return False


def refused_at_once(asked: Any, features: list[str], rng: random.Random) -> bool:
    """Send one request that stands for too much work; False where it is not refused within its deadline."""
    from kflare.errors import ServingError

    choice = rng.randrange(5)
    try:
        if choice == 0:  # 1,000 small pictures
            asked.predict_images("cnn-c", [picture(0, 8)] * 1000)
        elif choice == 1:  # a picture of 25 million pixels
            asked.predict_images("cnn-c", [picture(0, 5000)])
        elif choice == 2:  # rows without end
            asked.predict("defn-c", {name: np.zeros(150_000, np.float32) for name in features})
        elif choice == 3:  # images of a pixel
            asked.predict_magnetograms("cnn-c", np.zeros((20_000, 1, 1, 1), np.float32))
        else:  # more than a message may be
            asked.predict_magnetograms("cnn-c", np.zeros((90, 512, 512, 1), np.float32))
    except ServingError as error:
        return "RESOURCE_EXHAUSTED" in str(error)
    return False


def new_version(source: Path, served: Path, version: int, *, bad: bool) -> None:
    for name in ("cnn-c", "defn-c"):
        # A bad one first has a spoilt variable (seen by its manifest), then a spoilt graph without a manifest.
        publish(newest(source / name), served / name / str(version), spoil=bad and ("graph", "data")[version % 2])
        versions = sorted((int(path.name) for path in (served / name).iterdir() if path.name.isdecimal()), reverse=True)
        for old in versions[4:]:
            shutil.rmtree(served / name / str(old))


def newest(home: Path) -> Path:
    return max((path for path in home.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def publish(source: Path, target: Path, *, spoil: str | bool = False) -> None:
    building = target.parent / f".publishing-{target.name}"
    shutil.copytree(source, building)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(building).as_posix()}\n"
        for path in sorted(building.rglob("*"))
        if path.is_file() and path.name != "MANIFEST.sha256"
    ]
    (building / "MANIFEST.sha256").write_text("".join(lines))
    if spoil == "data":
        data = next((building / "variables").glob("*.data*"))
        data.write_bytes(data.read_bytes()[:-1] + b"?")
    elif spoil == "graph":
        (building / "MANIFEST.sha256").unlink()
        (building / "saved_model.pb").write_bytes(b"garbage garbage")
    building.rename(target)


def picture(value: int, side: int = 512) -> bytes:
    return encoded(np.full((side, side), value, np.uint8))


def disk(seed: int) -> bytes:
    """Noise on a disk: of a picture without one there is no forecast."""
    y, x = np.ogrid[-256:256, -256:256]
    noise = np.random.default_rng(seed).normal(128, 12, (512, 512)).clip(0, 255)
    return encoded(np.where(np.hypot(x, y) < 225, noise, 0).astype(np.uint8))


def encoded(pixels: Any) -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
