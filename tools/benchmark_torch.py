"""The two networks in PyTorch, with the weights of those of Keras: peers of `tools/bench`.

Convolutions run in the channels-last layout, PyTorch's fastest on processors.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from benchmark import threads
from torch import nn
from torch.nn import functional

Weights = Mapping[str, Any]
"""By `LAYER/VARIABLE`, as `benchmark_networks.save` names them."""


class DenseCnn(nn.Module):
    """Yi et al. (2021), as `kflare.models.dense_cnn`: images (N, 1, S, S) to logits (N, 2)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: _layer(name, weights) for name in _names(weights)})
        self.relus = nn.ModuleDict({f"block{b}_relu{i}": nn.ReLU() for b in range(1, 6) for i in (1, 2)})

    def forward(self, images: Any) -> Any:
        """Logits."""
        x = functional.max_pool2d(self.parts["initial_conv3x3"](images), 2)
        for block in range(1, 6):
            y = x
            for index, size in ((1, 1), (2, 3)):
                y = self.relus[f"block{block}_relu{index}"](self.parts[f"block{block}_bn{index}"](y))
                y = self.parts[f"block{block}_conv{size}x{size}"](y)
            x = functional.avg_pool2d(torch.cat([x, y], 1), 2)
        x = functional.avg_pool2d(self.parts["last_bn"](x), 2)
        return self.parts["logits"](x.mean((2, 3)))


class Defn(nn.Module):
    """Deep Flare Net, as `kflare.models.defn`: features (N, n) to logits (N, 2)."""

    def __init__(self, weights: Weights, *, dropout: float) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: _layer(name, weights) for name in _names(weights)})
        self.dropout = dropout
        self.layers = sum(name.startswith("hidden") for name in self.parts)

    def forward(self, features: Any) -> Any:
        """Logits."""
        x = features
        for layer in range(1, self.layers + 1):
            x = self.parts[f"hidden{layer}"](x)
            x = functional.relu(self.parts[f"bn{layer}"](x) if layer > 1 else x)
            if layer == 1:
                x = functional.dropout(x, self.dropout, self.training)
            elif x.shape[1] == features.shape[1]:
                x = x + features
        return self.parts["logits"](x)


def _names(weights: Weights) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[0] for name in weights))


def _layer(name: str, weights: Weights) -> nn.Module:
    mine = {key.partition("/")[2]: torch.tensor(value) for key, value in weights.items() if key.startswith(f"{name}/")}
    if "moving_mean" in mine:
        scaled = "gamma" in mine
        layer: Any = nn.BatchNorm2d(len(mine["beta"]), eps=1e-5) if scaled else _Shifted(len(mine["beta"]))
        state = {"bias": mine["beta"], "running_mean": mine["moving_mean"], "running_var": mine["moving_variance"]}
        state |= {"weight": mine["gamma"]} if scaled else {}
        layer.load_state_dict(state, strict=False)
        return layer
    kernel, bias = mine["kernel"], mine.get("bias")
    if kernel.ndim == 4:
        layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], padding=kernel.shape[0] // 2)
        kernel = kernel.permute(3, 2, 0, 1)
    else:
        layer = nn.Linear(*kernel.shape, bias=bias is not None)
        kernel = kernel.T
    layer.load_state_dict({"weight": kernel} | ({} if bias is None else {"bias": bias}))
    return layer


class _Shifted(nn.BatchNorm1d):
    """Batch normalisation with Keras's constants and without scale."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=1e-3, momentum=0.01)
        self.weight.requires_grad_(requires_grad=False)


def dense_cnn(weights: Weights) -> DenseCnn:
    """In the channels-last layout, with the threads of this process."""
    torch.set_num_threads(threads())
    return DenseCnn(weights).to(memory_format=torch.channels_last)


def as_images(images: Any) -> Any:
    """(N, S, S, 1) as PyTorch takes it."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(memory_format=torch.channels_last)


def stepper(network: nn.Module, inputs: Any, labels: Any, class_weights: Any, rate: float) -> Callable[[], float]:
    """One step of training as kflare takes it: Adam on the weighted cross entropy; gives the loss before it."""
    optimizer = torch.optim.Adam([one for one in network.parameters() if one.requires_grad], lr=rate, eps=1e-8)
    truth, weights = torch.from_numpy(labels).long(), torch.tensor(class_weights)
    network.train()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        each = functional.cross_entropy(network(inputs), truth, reduction="none") * weights[truth]
        loss = each.mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step
