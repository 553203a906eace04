"""What starting costs, in processor seconds of whole processes: imports, a forecast of one image, a status, the server.

Each stands beside what it cannot do without: the libraries alone, or TensorFlow and its own loading of the four models.
The two are run in turn, and the medians compared; an image is asked about on a server that this starts.
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MODELS = Path(__file__).resolve().parents[1] / "savedmodels"
LOAD = (
    "import tensorflow as tf, pathlib\n"
    f"kept = [tf.saved_model.load(str(one)) for one in pathlib.Path({str(MODELS)!r}).glob('*/[0-9]*')]"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving() as (address, ready, memory):
        folder = Path(name)
        image, settings = folder / "synthetic_20131023_000054.png", folder / "kflare.toml"
        made_up(image)
        settings.write_text(f'[ledger]\nurl = "sqlite:///{folder}/ledger.sqlite"\n[server]\naddress = "{address}"\n')
        begin = f"from kflare.operations.ledger import Ledger; Ledger('sqlite:///{folder}/ledger.sqlite').close()"
        subprocess.run([sys.executable, "-c", begin], check=True)
        ask = ["-m", "kflare.predict", str(image), "--byte-range", "100", "--server", address]
        rows = {
            "import the client": (["-c", "from kflare.serving import Client"], "import grpc, numpy"),
            "forecast of one image": (ask, "import grpc, numpy, PIL.Image, pandas, scipy.ndimage"),
            "status": (
                ["-m", "kflare.forecast", "--settings", str(settings), "--status"],
                "import grpc, numpy, sqlalchemy, pydantic.dataclasses",
            ),
        }
        print(f"{'':24}{'kflare (s)':>12}{'bare (s)':>10}{'ratio':>8}")
        for what, (ours, bare) in rows.items():
            pairs = [(processor_seconds(ours), processor_seconds(["-c", bare])) for _ in range(args.rounds)]
            show(what, *map(statistics.median, zip(*pairs, strict=True)))
        with tempfile.TemporaryFile("w+") as out:
            told = f"{LOAD}\nprint(open('/proc/self/status').read())"
            bare = processor_seconds(["-c", told], out)
            out.seek(0)
            show("server ready", ready, bare)
            show("its memory (GB)", memory, peak_gb(out.read()))
    return 0


def show(what: str, ours: float, bare: float) -> None:
    print(f"{what:24}{ours:12.2f}{bare:10.2f}{ours / bare:8.2f}", flush=True)


def processor_seconds(given: list[str], out: object = subprocess.DEVNULL) -> float:
    before = os.times()
    done = subprocess.run([sys.executable, *given], stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    after = os.times()
    if done.returncode not in (0, 6):
        raise SystemExit(f"{' '.join(given)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def peak_gb(status: str) -> float:
    return float(status.split("VmHWM:")[1].split(maxsplit=1)[0]) / 2**20


def made_up(path: Path) -> None:
    from PIL import Image

    y, x = np.mgrid[-256:256, -256:256]
    field = np.random.default_rng(1).normal(127.5, 4, x.shape)
    for place, sign in ((-40, 1), (40, -1)):
        field += sign * 100 * np.exp(-((x - place) ** 2 + (y - 60) ** 2) / 300)
    Image.fromarray(np.where(np.hypot(x, y) < 230, field.clip(1, 255), 0).astype(np.uint8)).save(path)


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, float, float]]:
    """Address of a server of the released models, the processor seconds until it was ready, and its memory in GB."""
    from kflare.serving import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "kflare.serve", "--models", str(MODELS), "--port", str(port)]
    with subprocess.Popen(line, stderr=subprocess.DEVNULL) as server:
        try:
            with Client(f"127.0.0.1:{port}", timeout=60) as client:
                for model in sorted(one.name for one in MODELS.iterdir() if one.is_dir()):
                    client.wait_until_available(model, 300)
            user, system = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            status = Path(f"/proc/{server.pid}/status").read_text()
            yield f"127.0.0.1:{port}", (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"), peak_gb(status)
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
