"""Attribution throughput at 512×512: tf-keras-vis as its documentation shows it, against kflare's compiled twin.

Both give Grad-CAM and guided backpropagation of both labels; the twin gives the probability besides. Each variant runs
in a process of its own, so that peak memory can be told apart. Times are the smallest of several rounds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

VARIANTS = ("forward", "twin: Grad-CAM", "twin: four maps", "tf-keras-vis: four maps")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench attribution", description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the images (default: 512)")
    parser.add_argument("--batch", type=int, default=4, help="images per call (default: 4)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds per variant (default: 6)")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        print(json.dumps(measure(args.variant, args.size, args.batch, args.rounds)))
        return 0
    found = {variant: child(variant, args) for variant in VARIANTS}
    forward, reference = found["forward"]["ms"], found["tf-keras-vis: four maps"]
    print(f"dense CNN at {args.size}x{args.size}, batches of {args.batch}, {os.cpu_count()} cores; per image:")
    print(f"{'':26}{'ms':>8}{'images/s':>10}{'x forward':>11}{'x tf-keras-vis':>16}{'peak MB above start':>21}")
    for variant, row in found.items():
        ratios = f"{row['ms'] / forward:11.2f}{reference['ms'] / row['ms']:16.2f}"
        print(f"{variant:26}{row['ms']:8.1f}{1000 / row['ms']:10.1f}{ratios}{row['mb']:21.0f}")
    return 0


def child(variant: str, args: argparse.Namespace) -> dict[str, float]:
    line = [sys.executable, __file__, "--variant", variant, "--size", str(args.size), "--batch", str(args.batch)]
    line += ["--rounds", str(args.rounds)]
    done = subprocess.run(
        line, check=True, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(variant: str, size: int, batch: int, rounds: int) -> dict[str, float]:
    import numpy as np

    run = prepare(variant, size)
    images = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, 1)).astype(np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(images)
    run(images)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"ms": 1000 * min(times) / batch, "mb": (after - before) / 1024}


def prepare(variant: str, size: int) -> Callable[[Any], Any]:
    import keras
    import tensorflow as tf

    from kflare.attribution.compiled import CompiledAttribution
    from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn

    keras.utils.set_random_seed(0)
    model = build_dense_cnn((size, size, 1))
    if variant == "forward":
        forward = tf.function(lambda images: model(images, training=False))
        return lambda images: forward(tf.constant(images)).numpy()
    if variant.startswith("twin"):
        twin = CompiledAttribution(model, layer=LAST_CONVOLUTION)
        methods = ["grad_cam"] if variant == "twin: Grad-CAM" else ["grad_cam", "guided_backprop"]
        return lambda images: twin.maps(images, methods)
    return documented(model)


def documented(model: Any) -> Callable[[Any], Any]:
    """tf-keras-vis as in its documentation's examples: one call per method and label."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    from kflare.models.dense_cnn import LAST_CONVOLUTION

    warnings.simplefilter("ignore")
    gradcam = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    saliency = Saliency(model, model_modifier=[GuidedBackpropagation(), ReplaceToLinear()], clone=True)

    def run(images: Any) -> list[Any]:
        maps = []
        for label in (0, 1):
            score = CategoricalScore([label] * len(images))
            maps.append(gradcam(score, images, penultimate_layer=LAST_CONVOLUTION))
            maps.append(saliency(score, images))
        return maps

    return run


if __name__ == "__main__":
    sys.exit(main())
