"""A training step of the dense CNN at 512×512, batch 16, as `kflare fit` compiles it, and in PyTorch."""

import tempfile
from functools import partial
from pathlib import Path

import benchmark_networks as networks
import numpy as np
from benchmark import Row, Timed


def ours(folder: Path, *, size: int, batch: int) -> Timed:
    from kflare.models.registry import model_spec

    model, images = networks.network(folder, "cnn-m", (size, size, 1)), networks.images(folder, batch, size)
    labels = np.load(folder / "labels.npy")[:batch]
    with tempfile.TemporaryDirectory() as run:
        fit, _ = networks.fitted(model, images, labels, model_spec("cnn-m"), Path(run))
        losses = [fit(1).history["loss"][0] for _ in range(2)]
    return Timed(lambda: fit(2), per=2 * batch, answer=lambda: losses)


def pytorch(folder: Path, *, size: int, batch: int) -> Timed:
    import benchmark_torch

    from kflare.models.registry import model_spec

    network = benchmark_torch.dense_cnn(networks.weights(folder, "cnn-m"))
    images = benchmark_torch.as_images(networks.images(folder, batch, size))
    labels, rate = np.load(folder / "labels.npy")[:batch], model_spec("cnn-m").recipe["learning_rate"]
    step = benchmark_torch.stepper(network, images, labels, (1.0, 3.0), rate)
    losses = [step() for _ in range(2)]
    return Timed(lambda: [step(), step()], per=2 * batch, answer=lambda: losses)


def row(size: int, batch: int) -> Row:
    chosen = {"size": size, "batch": batch}
    return Row(
        f"training/{size}x{batch}", f"a step of the dense CNN at {size}², batch {batch}; losses of two steps compared",
        partial(ours, **chosen), "image", {"PyTorch": partial(pytorch, **chosen)}, networks.write, rounds=3,
        tolerance=1e-3,
    )  # fmt: skip


ROWS = [row(512, 16), row(512, 4)]
