"""Pictures and tables of the networks, from the networks: their layers, shapes, parameters and connections."""

import re
from pathlib import Path

import numpy as np

# Layers that are drawn as one box, by the beginning of their names.
_GROUP = re.compile(r"(block\d+|initial|last|hidden\d+)")
_NUMBERED = re.compile(r"(?:bn|relu|dropout|skip)(\d+)$")


def write_diagrams(folder):
    """NAME.svg and NAME.md of both architectures, as they are in the papers."""
    from kflare.models import build_defn, build_dense_cnn

    for name, network in (("dense_cnn", build_dense_cnn((512, 512, 1))), ("defn", build_defn(79))):
        groups = grouped(network)
        Path(folder, f"{name}.md").write_text(table(groups, network), encoding="utf-8")
        draw(groups, edges(groups), Path(folder, f"{name}.svg"))


def grouped(network):
    """Box name to its layers, in the order of the graph."""
    groups = {}
    for layer in network.layers:
        found, numbered = _GROUP.match(layer.name), _NUMBERED.match(layer.name)
        name = found[1] if found else f"hidden{numbered[1]}" if numbered else layer.name
        groups.setdefault(name, []).append(layer)
    return groups


def edges(groups):
    """(from, to) of the boxes, where the output of a layer of one goes into a layer of the other."""
    home = {layer.name: name for name, layers in groups.items() for layer in layers}
    found = set()
    for layer in (layer for layers in groups.values() for layer in layers):
        for tensor in layer.input if isinstance(layer.input, list) else [layer.input]:
            before = tensor._keras_history.operation.name
            if home[before] != home[layer.name]:
                found.add((home[before], home[layer.name]))
    return found


def trainable(layers):
    return sum(int(np.prod(weight.shape)) for layer in layers for weight in layer.trainable_weights)


def table(groups, network):
    """Every layer that has weights or changes the shape, and the sum."""
    lines = ["| layer | kind | output | trainable parameters |", "| --- | --- | --- | --- |"]
    for layer in network.layers:
        shape = " × ".join(str(side) for side in layer.output.shape[1:])
        kind = type(layer).__name__
        lines.append(f"| `{layer.name}` | {kind} | {shape} | {trainable([layer]) or '–'} |")
    return "\n".join([*lines, f"| **all** | | | **{trainable(network.layers):,}** |", ""])


def draw(groups, arrows, path):
    """Boxes from top to bottom; what passes boxes by is an arc beside them."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    names = list(groups)
    figure = Figure(figsize=(6.6, 0.46 * len(names)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 6.6), ylim=(len(names) - 0.35, -0.65))
    axes.axis("off")
    for place, name in enumerate(names):
        layers = groups[name]
        look = {"boxstyle": "round,pad=0.02", "fc": "#e8f0f8", "ec": "#1f4e79"}
        axes.add_patch(FancyBboxPatch((0.1, place - 0.3), 5.2, 0.6, **look))
        shape = " × ".join(str(side) for side in layers[-1].output.shape[1:])
        count = trainable(layers)
        middle = {"va": "center", "fontsize": 10}
        axes.text(0.2, place, name.replace("_", " "), weight="bold", **middle)
        axes.text(2.3, place, shape, **middle)
        axes.text(5.2, place, f"{count:,} parameters" if count else "", ha="right", **middle)
    for before, after in sorted(arrows):
        start, end = names.index(before), names.index(after)
        near = end - start == 1
        ends = ((0.9, start + 0.3), (0.9, end - 0.3)) if near else ((5.3, start), (5.3, end))
        bend = "arc3" if near else f"arc3,rad=-{1.6 / (end - start):.2f}"
        look = {"arrowstyle": "-|>", "mutation_scale": 9, "color": "#b3541e", "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.add_patch(FancyArrowPatch(*ends, connectionstyle=bend, **look))
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
