"""Measure the embedded server on loopback against the same models called in-process: tools/bench serving --models DIR.

Both sides take turns, so that what else the machine does weighs on both alike: judge by the ratios. The server is a
process of its own, started with and without request batching; clients send image bytes or region rows over gRPC.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

BATCHING = Path(__file__).parents[1] / "serving" / "batching.config"
IMAGE_SIGNATURES = ("predict_image", "attribute_image")
ROWS = (1, 100, 10_000)
CLIENTS = (1, 4, 16)
BATCHES = (1, 4, 16)

Call = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench serving", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("savedmodels"), help="folder (default: savedmodels)")
    parser.add_argument("--image-model", default="cnn-c", help="default: cnn-c")
    parser.add_argument("--region-model", default="defn-c", help="default: defn-c")
    parser.add_argument("--size", type=int, default=512, help="side of the images (default: 512)")
    parser.add_argument("--seconds", type=float, default=6.0, help="per measurement of throughput (default: 6)")
    parser.add_argument(
        "--rounds", type=int, default=2, help="of each measurement of throughput; the best counts (default: 2)"
    )
    parser.add_argument("--batching-parameters-file", type=Path, help="for all models (default: as deployed)")
    args = parser.parse_args()
    from kflare.commands import command_line

    command_line.quiet_tensorflow()
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        batching = ["--batching-parameters-file", str(args.batching_parameters_file or BATCHING)]
        if args.batching_parameters_file is None:
            batching.append("--enable-per-model-batching-parameters")
        plain = stack.enter_context(server(args.models))
        batched = stack.enter_context(server(args.models, *batching))
        print(f"{os.cpu_count()} cores, load {load:.1f} before the start", flush=True)
        first_requests(args, batched)
        images(args, plain, batched)
        regions(args, plain, batched)
    return 0


def first_requests(args: argparse.Namespace, address: str) -> None:
    """What warm-up is worth: the first request to each signature beside the 30 after it."""
    import json

    field = np.where(on_disk(args.size), np.random.default_rng(0).normal(0, 30, (args.size,) * 2), np.nan)
    field = field.astype(np.float32)[None, ..., None]
    metadata = json.loads(next((args.models / args.region_model).glob("*/assets.extra/kflare.json")).read_text())
    row = {feature["name"]: np.zeros(1, np.float32) for feature in metadata["features"]}
    asked = [(args.image_model, signature, {"image": [picture(args.size)]}) for signature in IMAGE_SIGNATURES]
    asked += [
        (args.image_model, "serving_default", {"magnetogram": field}),
        (args.region_model, "serving_default", row),
    ]
    print("\nfirst request over the p50 of those after it")
    with stub(address) as ask:
        for model, signature, inputs in asked:
            sent = request(model, inputs, signature)
            times = []
            for _ in range(31):
                before = time.perf_counter()
                ask(sent, timeout=60)
                times.append(1000 * (time.perf_counter() - before))
            p50 = np.median(times[1:])
            print(f"  {model} {signature:16} {times[0]:8.2f} ms  p50 {p50:8.2f} ms  {times[0] / p50:5.2f}", flush=True)


def images(args: argparse.Namespace, plain: str, batched: str) -> None:
    image = picture(args.size)
    run = in_process(args.models, args.image_model, "predict_image")
    sent = request(args.image_model, {"image": [image]}, "predict_image")
    print(f"\n{args.image_model} predict_image, {args.size}x{args.size} JPEG of {len(image) / 1024:.0f} kB")
    calls: dict[str, Call] = {"in-process": lambda: run(image=np.array([image], object))}
    with stub(plain) as first, stub(batched) as second:
        calls |= {"server": lambda: first(sent, timeout=60), "server, batching": lambda: second(sent, timeout=60)}
        latencies(calls, rounds=30)
        loads: dict[str, tuple[Call, int, int]] = {}  # what to call, how many at a time, images of a call
        for size in BATCHES:
            batch = np.array([image] * size, object)
            loads[f"in-process, {size} images a call"] = (lambda batch=batch: run(image=batch), 1, size)
        for clients in CLIENTS:
            for name in list(calls)[1:]:
                loads[f"{name}, {clients} clients"] = (calls[name], clients, 1)
        found: dict[str, list[Throughput]] = {label: [] for label in loads}
        for _ in range(args.rounds):
            for label, (call, clients, size) in loads.items():
                found[label].append(throughput(call, clients, args.seconds, size))
    best = {label: max(several) for label, several in found.items()}
    reference = max(one.rate for label, one in best.items() if label.startswith("in-process"))
    for label, one in best.items():
        print(f"  {label:34}{one.told('images/s')}  {one.rate / reference:5.2f} of the best in-process", flush=True)


def regions(args: argparse.Namespace, plain: str, batched: str) -> None:
    run = in_process(args.models, args.region_model, "serving_default")
    names = sorted(run.structured_input_signature[1])
    rng = np.random.default_rng(0)
    for rows in ROWS:
        inputs = {name: rng.normal(size=rows).astype(np.float32) for name in names}
        sent = request(args.region_model, inputs, "serving_default")
        print(f"\n{args.region_model}, {rows} rows of {len(names)} features")
        with stub(plain) as first, stub(batched) as second:
            calls = {
                "in-process": lambda inputs=inputs: run(**inputs),
                "server": lambda first=first, sent=sent: first(sent, timeout=60),
                "server, batching": lambda second=second, sent=sent: second(sent, timeout=60),
            }
            latencies(calls, rounds=100 if rows <= 100 else 30)
            if rows > 1:
                continue
            for clients in CLIENTS[1:]:
                for name in list(calls)[1:]:
                    best = max(throughput(calls[name], clients, args.seconds) for _ in range(args.rounds))
                    print(f"  {name + f', {clients} clients':34}{best.told('requests/s')}", flush=True)


def latencies(calls: dict[str, Call], *, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 3):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn >= 3:
                times[name].append(1000 * (time.perf_counter() - started))
    reference = np.median(times["in-process"])
    for name, found in times.items():
        p50, p99 = np.percentile(found, [50, 99])
        print(f"  {name:20} p50 {p50:8.2f} ms  p99 {p99:8.2f} ms  p50 over in-process {p50 - reference:+7.2f} ms")


@dataclass(frozen=True, order=True)
class Throughput:
    """What so many threads got out of a call."""

    rate: float  # per second
    p50: float  # ms
    p99: float

    def told(self, what: str) -> str:
        """As a line of the table."""
        return f"{self.rate:8.1f} {what}  p50 {self.p50:7.1f} ms  p99 {self.p99:7.1f} ms"


def throughput(call: Call, clients: int, seconds: float, size: int = 1) -> Throughput:
    times: list[list[float]] = [[] for _ in range(clients)]
    started = time.perf_counter()

    def ask(mine: list[float]) -> None:
        before = started
        while before < started + seconds:
            call()
            after = time.perf_counter()
            mine.append(after - before)
            before = after

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(ask, times))
    taken = np.concatenate(times)
    p50, p99 = 1000 * np.percentile(taken, [50, 99])
    return Throughput(size * len(taken) / (time.perf_counter() - started), p50, p99)


def in_process(models: Path, name: str, signature: str) -> Any:
    import tensorflow as tf

    newest = max((models / name).iterdir(), key=lambda path: int(path.name) if path.name.isdecimal() else -1)
    loaded = tf.saved_model.load(str(newest))
    function = loaded.signatures[signature]

    class Runner:
        structured_input_signature = function.structured_input_signature
        kept = loaded

        def __call__(self, **inputs: Any) -> dict[str, Any]:
            plain = {key: list(value) if value.dtype == object else value for key, value in inputs.items()}
            tensors = {key: tf.constant(value) for key, value in plain.items()}
            return {key: value.numpy() for key, value in function(**tensors).items()}

    return Runner()


def request(model: str, inputs: dict[str, Any], signature: str) -> Any:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    from kflare.serving.messages.tensor_values import fill_tensor

    made = PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        fill_tensor(made.inputs[name], value)
    return made


def on_disk(size: int) -> Any:
    """Pixels of the Sun: of an image without a disk there is no forecast."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(x, y) < 0.44 * size


def picture(size: int) -> bytes:
    smooth = np.random.default_rng(0).normal(128, 30, (size // 8, size // 8)).clip(0, 255).astype(np.uint8)
    buffer = BytesIO()
    whole = np.asarray(Image.fromarray(smooth).resize((size, size), Image.Resampling.BICUBIC))
    seen = np.where(on_disk(size), np.maximum(whole, 60), 0).astype(np.uint8)
    Image.fromarray(seen).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


@contextmanager
def stub(address: str) -> Iterator[Any]:
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        grpc.channel_ready_future(channel).result(60)
        yield PredictionServiceStub(channel).Predict


@contextmanager
def server(models: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "kflare.serve", "--models", str(models), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"listening on ([^,\s]+)", said)):
            if not (line := process.stderr.readline()):
                sys.exit(said)
            said += line
        try:
            yield found[1]
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
