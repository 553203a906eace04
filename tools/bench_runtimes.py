"""A forward pass of the dense CNN at 512×512, the network alone: TensorFlow, and ONNX Runtime of the same weights.

One thread each. The runtimes take turns, round by round; the smallest processor time of each counts, so that what
else the machine does falls on both: judge by the ratio. ONNX Runtime and tf2onnx are in kflare[test].
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench runtimes", description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the images (default: 512)")
    parser.add_argument("--batch", type=int, default=16, help="images per call (default: 16)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    args = parser.parse_args()
    images = np.random.default_rng(0).uniform(-1, 1, (args.batch, args.size, args.size, 1)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        asked = runtimes(Path(folder), args.size)
        answers = [ask(images) for ask in asked.values()]  # also lets each warm up
        spent = {name: [] for name in asked}
        for _ in range(args.rounds):
            for name, ask in asked.items():
                begun = time.process_time()
                ask(images)
                spent[name].append(1000 * (time.process_time() - begun) / args.batch)
    apart = max(float(np.abs(answer - answers[0]).max()) for answer in answers)
    least = {name: min(times) for name, times in spent.items()}
    print(f"dense CNN at {args.size}x{args.size}, batches of {args.batch}, one thread; processor time of an image:")
    for name, value in least.items():
        print(f"{name:16}{value:8.1f} ms{value / least['TensorFlow']:8.2f} x TensorFlow")
    print(f"probabilities differ by {apart:.0e} at most")
    return 0


def runtimes(folder: Path, size: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The same network in each runtime: images in, probabilities out."""
    import keras
    import onnxruntime
    import tensorflow as tf

    from kflare.models.registry import model_spec

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    model = model_spec("cnn-m").build((size, size, 1))
    network = tf.function(model.call, input_signature=[tf.TensorSpec((None, size, size, 1), tf.float32)])
    module = tf.Module()
    module.model = model
    tf.saved_model.save(module, str(folder / "model"), signatures=network)
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(folder / "model"), "--opset", "18"]
    subprocess.run([*command, "--output", str(folder / "model.onnx")], check=True, stderr=subprocess.DEVNULL)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    name = session.get_inputs()[0].name
    return {
        "TensorFlow": lambda images: network(tf.constant(images)).numpy(),
        "ONNX Runtime": lambda images: session.run(None, {name: images})[0],
    }


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
