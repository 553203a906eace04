"""A forward pass of the dense CNN, the network alone, as a SavedModel runs it, and beside other runtimes."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import benchmark_networks as networks
import numpy as np
from benchmark import Row, Timed, threads


def prepare(folder: Path) -> None:
    import tensorflow as tf

    networks.write(folder)
    for size in (512, 256):
        model = networks.network(folder, "cnn-m", (size, size, 1))
        call = tf.function(model.call, input_signature=[tf.TensorSpec((None, size, size, 1), tf.float32)])
        module = tf.Module()
        module.model = model
        tf.saved_model.save(module, str(folder / f"model-{size}"), signatures=call)
        line = [
            sys.executable,
            "-m",
            "tf2onnx.convert",
            "--saved-model",
            str(folder / f"model-{size}"),
            "--opset",
            "18",
        ]
        if subprocess.run([*line, "--output", str(folder / f"{size}.onnx")], check=False).returncode:
            print("tf2onnx is not there, or failed: no ONNX Runtime, no OpenVINO", file=sys.stderr)


def ours(folder: Path, *, size: int, batch: int) -> Timed:
    import tensorflow as tf

    from kflare.models import savedmodel

    model, images = networks.network(folder, "cnn-m", (size, size, 1)), networks.images(folder, batch, size)
    stream = getattr(savedmodel, STREAM, lambda network, images: network(images))  # revisions before had none
    try:
        from kflare.models.inference import infer
    except ModuleNotFoundError:  # revisions before had none either
        infer = None

    def network(image: Any) -> dict[str, Any]:
        return {"scores": infer(model, image, [model.output])[0] if infer else model(image, training=False)}

    run = tf.function(lambda images: stream(network, images)["scores"])
    return Timed(lambda: run(tf.constant(images)).numpy(), per=batch)


STREAM = "_one_by_one"
"""How a SavedModel takes a batch through its network."""


def tensorflow(folder: Path, *, size: int, batch: int) -> Timed:
    import tensorflow as tf

    model, images = networks.network(folder, "cnn-m", (size, size, 1)), networks.images(folder, batch, size)
    run = tf.function(lambda images: model(images, training=False))
    return Timed(lambda: run(tf.constant(images)).numpy(), per=batch)


def onnx_runtime(folder: Path, *, size: int, batch: int) -> Timed:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
    session = onnxruntime.InferenceSession(_converted(folder, size), options, providers=["CPUExecutionProvider"])
    images, name = networks.images(folder, batch, size), session.get_inputs()[0].name
    return Timed(lambda: session.run(None, {name: images})[0], per=batch)


def openvino(folder: Path, *, size: int, batch: int) -> Timed:
    from openvino import Core

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
    compiled = Core().compile_model(_converted(folder, size), "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})
    images = networks.images(folder, batch, size)
    return Timed(lambda: compiled(images)[0], per=batch)


def pytorch(folder: Path, *, size: int, batch: int) -> Timed:
    import benchmark_torch
    import torch

    network = benchmark_torch.dense_cnn(networks.weights(folder, "cnn-m")).eval()
    images = benchmark_torch.as_images(networks.images(folder, batch, size))

    def run() -> Any:
        with torch.inference_mode():
            return network(images).softmax(1).numpy()

    return Timed(run, per=batch)


def _converted(folder: Path, size: int) -> str:
    path = folder / f"{size}.onnx"
    if not path.exists():
        raise ModuleNotFoundError(f"{path.name} by tf2onnx", name="tf2onnx")
    return str(path)


def whole(_: Path, *, size: int, batch: int) -> Timed:
    import tensorflow as tf

    import kflare

    newest = max(
        (Path(kflare.__file__).parents[1] / "savedmodels" / "cnn-m").glob("[0-9]*"), key=lambda one: int(one.name)
    )
    loaded = tf.saved_model.load(str(newest))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    field = np.random.default_rng(0).normal(0, 30, (batch, size, size, 1)) * (np.hypot(x, y) < 0.44 * size)[..., None]
    field = tf.constant(np.where(np.hypot(x, y)[..., None] < 0.45 * size, field, np.nan), tf.float32)
    run = loaded.signatures["serving_default"]

    def answer() -> Any:
        return run(magnetogram=field)["probability"].numpy()

    return Timed(answer, per=batch)


PEERS = {"TensorFlow bare": tensorflow, "ONNX Runtime": onnx_runtime, "OpenVINO": openvino, "PyTorch": pytorch}
CORES = f"{os.cpu_count()} threads"


def row(size: int, batch: int, count: int) -> Row:
    chosen = {"size": size, "batch": batch}
    return Row(
        f"forward/{size}x{batch}{'-one-thread' * (count == 1)}",
        f"the dense CNN alone at {size}², batch {batch}, {'one thread' if count == 1 else CORES}",
        partial(ours, **chosen), "image", {name: partial(peer, **chosen) for name, peer in PEERS.items()}, prepare,
        threads=count, rounds=7,
    )  # fmt: skip


ROWS = [
    row(512, 16, 0), row(512, 1, 0), row(512, 16, 1), row(256, 16, 1),
    Row("forward/whole-512x16", "magnetogram to probability by the released cnn-m, preprocessing within",
        partial(whole, size=512, batch=16), "image"),
]  # fmt: skip
