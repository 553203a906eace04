"""What starting costs, whole processes: imports, a forecast of one image, a status, the server.

Each stands beside what it cannot do without: the libraries alone, or TensorFlow and its own loading of the four models.
The server that answers about the image is not counted with it.
"""

import atexit
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import Row, Timed

LOAD = """
import tensorflow as tf, pathlib
kept = [tf.saved_model.load(str(one)) for one in pathlib.Path({!r}).glob('*/[0-9]*')]
"""


def models() -> Path:
    """Those released with the kflare that is measured."""
    import kflare

    return Path(kflare.__file__).parents[1] / "savedmodels"


def python(*given: str) -> None:
    done = subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 6):
        raise SystemExit(f"{' '.join(given)} ended with {done.returncode}: {done.stderr[-2000:]}")


def scratch() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def started() -> tuple[str, Any]:
    """A server of the released models, ready."""
    from kflare.serving import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    line = [sys.executable, "-m", "kflare.serve", "--models", str(models()), "--port", address.partition(":")[2]]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Client(address, timeout=60) as client:
        for model in sorted(one.name for one in models().iterdir() if one.is_dir()):
            client.wait_until_available(model, 900)
    return address, process


def forecast(_: Path) -> Timed:
    address, process = started()
    atexit.register(process.terminate)
    image = scratch() / "synthetic_20131023_000054.png"
    made_up(image)
    given = ["-m", "kflare.predict", str(image), "--byte-range", "100", "--server", address]
    return Timed(partial(python, *given), apart={process.pid})


def status(_: Path) -> Timed:
    folder = scratch()
    python("-c", f"from kflare.operations.ledger import Ledger; Ledger('sqlite:///{folder}/ledger.sqlite').close()")
    settings = folder / "kflare.toml"
    settings.write_text(f'[ledger]\nurl = "sqlite:///{folder}/ledger.sqlite"\n[server]\naddress = "127.0.0.1:1"\n')
    return Timed(partial(python, "-m", "kflare.forecast", "--settings", str(settings), "--status"))


def server(_: Path) -> Timed:
    def run() -> None:  # until it says so: a client that asks again and again hears of it seconds later
        line = [sys.executable, "-m", "kflare.serve", "--models", str(models()), "--port", "0"]
        with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            if not any("listening on" in told for told in process.stderr):
                raise SystemExit(f"kflare.serve ended with {process.wait()}")
            process.kill()

    return Timed(run)


def code(text: Callable[[], str] | str) -> Callable[[Path], Timed]:
    return lambda _: Timed(partial(python, "-c", text if isinstance(text, str) else text()))


def made_up(path: Path) -> None:
    from PIL import Image

    y, x = np.mgrid[-256:256, -256:256]
    field = np.random.default_rng(1).normal(127.5, 4, x.shape)
    for place, sign in ((-40, 1), (40, -1)):
        field += sign * 100 * np.exp(-((x - place) ** 2 + (y - 60) ** 2) / 300)
    Image.fromarray(np.where(np.hypot(x, y) < 230, field.clip(1, 255), 0).astype(np.uint8)).save(path)


def row(name: str, what: str, ours: Callable[[Path], Timed], bare: str) -> Row:
    return Row(f"start/{name}", what, ours, "process", {"its libraries alone": code(bare)}, threads=1)


ROWS = [
    row("client", "import of the client", code("from kflare.serving import Client"), "import grpc, numpy"),
    row("forecast", "`kflare predict` of one image, of a server that runs", forecast,
        "import grpc, numpy, PIL.Image, pandas, scipy.ndimage"),
    row("status", "`kflare forecast --status`", status, "import grpc, numpy, sqlalchemy, pydantic.dataclasses"),
    Row("start/server", "`kflare serve` of the four models until it is ready", server, "process",
        {"TensorFlow loads them": code(lambda: LOAD.format(str(models())))}, rounds=3),
]  # fmt: skip
