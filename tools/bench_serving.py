"""The embedded server on loopback, with request batching, beside the same models called in-process.

The server is a process of its own, which counts; clients send image bytes or region rows over gRPC.
"""

import atexit
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import Row, Timed
from PIL import Image

SIZE, CLIENTS = 512, 16
IMAGES, REGIONS = "cnn-c", "defn-c"


def prepare(folder: Path) -> None:
    (folder / "image.jpg").write_bytes(picture(SIZE))


def picture(size: int) -> bytes:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    smooth = np.random.default_rng(0).normal(128, 30, (size // 8, size // 8)).clip(0, 255).astype(np.uint8)
    whole = np.asarray(Image.fromarray(smooth).resize((size, size), Image.Resampling.BICUBIC))
    buffer = BytesIO()
    seen = np.where(np.hypot(x, y) < 0.44 * size, np.maximum(whole, 60), 0).astype(np.uint8)
    Image.fromarray(seen).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def root() -> Path:
    """Of the kflare that is measured."""
    import kflare

    return Path(kflare.__file__).parents[1]


class Served:
    """A server that runs until this process ends."""

    def __init__(self) -> None:
        line = [sys.executable, "-m", "kflare.serve", "--models", "savedmodels", "--port", "0"]
        line += ["--batching-parameters-file", "serving/batching.config", "--enable-per-model-batching-parameters"]
        self.process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=root())
        atexit.register(self.process.terminate)
        said = ""
        while not (found := re.search(r"listening on ([^,\s]+)", said)):
            line_said = self.process.stderr.readline()
            if not line_said:
                raise SystemExit(said)
            said += line_said
        self.address = found[1]
        self.predict = None

    def ask(self, sent: Any) -> Any:
        """Probabilities."""
        if self.predict is None:
            import grpc
            from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

            options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
            channel = grpc.insecure_channel(self.address, options)
            grpc.channel_ready_future(channel).result(120)
            self.predict = PredictionServiceStub(channel).Predict
        return np.array(self.predict(sent, timeout=120).outputs["probability"].float_val)


def request(model: str, inputs: dict[str, Any], signature: str) -> Any:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    from kflare.serving.messages.tensor_values import fill_tensor

    made = PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        fill_tensor(made.inputs[name], value)
    return made


def in_process(model: str, signature: str) -> Any:
    import tensorflow as tf

    newest = max((root() / "savedmodels" / model).glob("[0-9]*"), key=lambda one: int(one.name))
    loaded = tf.saved_model.load(str(newest))
    run = loaded.signatures[signature]
    kept.append(loaded)
    return lambda **inputs: run(**{name: tf.constant(value) for name, value in inputs.items()})["probability"].numpy()


kept: list[Any] = []


def images(folder: Path, clients: int) -> Timed:
    sent = request(IMAGES, {"image": [(folder / "image.jpg").read_bytes()]}, "predict_image")
    server, threads = Served(), ThreadPoolExecutor(clients)

    def run() -> Any:
        return np.concatenate(list(threads.map(server.ask, [sent] * CLIENTS)))

    return Timed(run, per=CLIENTS)


def images_here(folder: Path, clients: int) -> Timed:
    run, image = in_process(IMAGES, "predict_image"), (folder / "image.jpg").read_bytes()
    return Timed(lambda: np.concatenate([run(image=[image] * clients) for _ in range(CLIENTS // clients)]), per=CLIENTS)


def inputs(rows: int) -> dict[str, Any]:
    found = next((root() / "savedmodels" / REGIONS).glob("*/assets.extra/kflare.json")).read_text(encoding="utf-8")
    random = np.random.default_rng(0)
    return {one["name"]: random.normal(size=rows).astype(np.float32) for one in json.loads(found)["features"]}


def regions(_: Path, rows: int) -> Timed:
    server, sent, times = Served(), request(REGIONS, inputs(rows), "serving_default"), max(2000 // rows, 5)
    return Timed(lambda: [server.ask(sent) for _ in range(times)], per=times)


def regions_here(_: Path, rows: int) -> Timed:
    run, given, times = in_process(REGIONS, "serving_default"), inputs(rows), max(2000 // rows, 5)
    return Timed(lambda: [run(**given) for _ in range(times)], per=times)


def first(folder: Path, *, times: int) -> Timed:
    """Of a server of its own the first request, warmed up as it is, or those after it."""
    sent = request(IMAGES, {"image": [(folder / "image.jpg").read_bytes()]}, "predict_image")
    servers: list[Served] = []

    def anew() -> None:
        while servers:
            servers[0].process.terminate()
            servers.pop(0).process.wait()
        servers.append(Served())
        for _ in range(times - 1):
            servers[0].ask(sent)

    return Timed(lambda: servers[0].ask(sent), before=anew)


ROWS = [
    *(Row(f"serving/image-{clients}", f"{IMAGES} asked about a JPEG of {SIZE}² by {clients} client(s); in-process "
          f"{clients} image(s) a call", partial(images, clients=clients), "image",
          {"in-process": partial(images_here, clients=clients)}, prepare) for clients in (1, CLIENTS)),
    *(Row(f"serving/rows-{rows}", f"{REGIONS} asked about {rows} row(s) a request", partial(regions, rows=rows),
          "request", {"in-process": partial(regions_here, rows=rows)}) for rows in (1, 100, 10_000)),
    Row("serving/first-request", "the first request to a server that is ready", partial(first, times=1), "request",
        {"the fourth": partial(first, times=4)}, prepare, rounds=3),
]  # fmt: skip
