"""A training step of Deep Flare Net, 79 features, batch 150, one thread, as `kflare fit` does, and in PyTorch."""

import tempfile
from pathlib import Path

import benchmark_networks as networks
import numpy as np
from benchmark import Row, Timed

STEPS = 100


def ours(folder: Path) -> Timed:
    from kflare.models.registry import model_spec

    spec, rows, labels = model_spec("defn-m"), np.load(folder / "rows.npy"), np.load(folder / "labels.npy")
    model = networks.network(folder, "defn-m", rows.shape[1])
    answer = model(rows, training=False).numpy()
    run = tempfile.TemporaryDirectory()
    fit, _ = networks.fitted(model, rows, labels, spec, Path(run.name))
    run.cleanup()
    return Timed(lambda: fit(STEPS), per=STEPS, answer=lambda: answer)


def pytorch(folder: Path) -> Timed:
    import benchmark_torch
    import torch

    from kflare.models.registry import model_spec

    torch.set_num_threads(1)
    rows, labels = np.load(folder / "rows.npy"), np.load(folder / "labels.npy")
    network = benchmark_torch.Defn(networks.weights(folder, "defn-m"), dropout=0.25).eval()
    with torch.inference_mode():
        answer = network(torch.from_numpy(rows)).softmax(1).numpy()
    rate = model_spec("defn-m").recipe["learning_rate"]
    step = benchmark_torch.stepper(network, torch.from_numpy(rows), labels, (1.0, 3.0), rate)
    return Timed(lambda: [step() for _ in range(STEPS)], per=STEPS, answer=lambda: answer)


ROWS = [
    Row("defn/step", "Deep Flare Net, 79 features, batch 150, one thread; its answers compared, as dropout is random",
        ours, "step", {"PyTorch": pytorch}, networks.write, threads=1),
]  # fmt: skip
