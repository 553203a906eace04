"""CAM over all channels that reach the scores: a map whose mean plus a constant *is* the score of a label.

Behind the stem of the dense CNN each group of channels (the stem's own, and those that a block adds) passes average
pools, concatenations and a batch normalisation on its way to the last layer, and nothing else. So a score is a constant
plus, for each group, the mean over its own cells of Σ_k w_k A^k: the CAM of that group (Zhou et al. 2016, equation 2)
at its own resolution. Grad-CAM on the last convolution shows one group of six, up to a factor.

Not in the papers: the groups are summed at the finest resolution, the cells of the others repeated, which keeps every
mean. And since channels also answer to space, the limb and the quiet Sun, which says nothing of a region, the map of a
Sun without field in the same frame is taken off, a baseline as in Sundararajan et al. (2017, arXiv 1703.01365): where
the network sees what it sees of that Sun the map is 0, and the constant is that Sun's score.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kflare.errors import ModelError
from kflare.models.inference import convolution_side, infer, maker


def field_free_sun(size: int) -> tf.Tensor:
    """The baseline: the network's input (1, size, size, 1) of a Sun without any field, which is 0 as space is."""
    return tf.zeros((1, size, size, 1))


@dataclass(frozen=True, eq=False)
class _Group:
    """K channels of one layer that reach the labels' scores through linear layers alone."""

    layer: Any
    seen: Any  # symbolic (None, h, w, channels): its output, or of a convolution its input, which spares the output
    weight: Callable[[], tf.Tensor]  # (K, labels), by the present weights: what a channel's mean adds to each score
    rows: int  # of the h and w cells those that pooling leaves: the last one of an odd number reaches no score
    columns: int

    def map(self, activation: tf.Tensor) -> tf.Tensor:
        """CAM of the group, (N, rows, columns, labels), of the values of `seen`; its mean is a part of the scores."""
        weight = self.weight()
        if self.seen is self.layer.output:
            return tf.tensordot(activation[:, : self.rows, : self.columns], weight, 1)
        found = tf.nn.conv2d(activation, tf.tensordot(self.layer.kernel, weight, 1), 1, "SAME")
        return found[:, : self.rows, : self.columns] + tf.tensordot(self.layer.bias, weight, 1)


class ExactCam:
    """The exact CAM of a network, and the share of it that the channels of one of its layers make.

    Of a model that takes square images and has a global average and a dense layer last, `ModelError` for another end:
    the walk up the graph stops at the first layers that are neither average pools, nor concatenations, nor batch
    normalisations, so that every channel of the global average is in one group. `layer` must make one of the groups.
    """

    def __init__(self, model: keras.Model, *, layer: str) -> None:
        dense = next((item for item in reversed(model.layers) if isinstance(item, keras.layers.Dense)), None)
        mean = None if dense is None else maker(dense.input)
        if dense is None or not isinstance(mean, keras.layers.GlobalAveragePooling2D):
            seen = "no dense layer" if mean is None else f"`{mean.name}` before its last dense layer"
            raise ModelError(f"model `{model.name}` has {seen}: an exact CAM needs a global average there")
        groups = _walk(mean.input, lambda: tf.convert_to_tensor(dense.kernel), *mean.input.shape[1:3])
        self._groups = sorted(groups, key=lambda group: -group.rows)
        names = [group.layer.name for group in self._groups]
        if layer not in names:
            fault = f"`{layer}` is not linear to the scores of model `{model.name}`"
            raise ModelError(f"{fault}; these are: {', '.join(names)}")
        self._shown = names.index(layer)
        self.inputs = [group.seen for group in self._groups]
        """Symbolic tensors of `model`, the finest first, whose values `maps` takes."""
        self._model = model
        self._baseline = [tf.Variable(value, trainable=False) for value in self._of_baseline()]

    def take_baseline(self) -> None:
        """Compute the map of the Sun without field anew, after the model's weights were changed."""
        for variable, value in zip(self._baseline, self._of_baseline(), strict=True):
            variable.assign(value)

    def maps(self, activations: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """`cam` (N, h, w, labels) on the cells of the finest group, and `grad_cam_share` (N, labels) of the layer.

        The mean of a map is the score less that of the Sun without field; the share is of that difference, NaN where
        it is 0. Where pooling leaves cells out the map is 0, and larger elsewhere by as much as keeps its mean.
        """
        cam, part = (found - free for found, free in zip(self._absolute(activations), self._baseline, strict=True))
        whole = tf.reduce_mean(cam, axis=(1, 2))
        share = tf.where(whole == 0.0, tf.fill(tf.shape(part), float("nan")), tf.math.divide_no_nan(part, whole))
        return {"cam": cam, "grad_cam_share": share}

    def _of_baseline(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._absolute(infer(self._model, field_free_sun(int(self._model.input_shape[1])), self.inputs))

    def _absolute(self, activations: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum of the groups' maps, and the part of the scores that the layer's own makes, (N, labels)."""
        maps = [group.map(value) for group, value in zip(self._groups, activations, strict=True)]
        total = maps[-1]
        for finer in reversed(maps[:-1]):
            total = _repeated(total, finer.shape[1], finer.shape[2]) + finer
        finest = self._groups[0]
        height, width = finest.layer.output.shape[1:3]
        total *= height * width / (finest.rows * finest.columns)
        total = tf.pad(total, [[0, 0], [0, height - finest.rows], [0, width - finest.columns], [0, 0]])
        return total, tf.reduce_mean(maps[self._shown], axis=(1, 2))


def _walk(output: Any, weight: Callable[[], tf.Tensor], rows: int, columns: int) -> Iterator[_Group]:
    """The outputs of the first layers up the graph that are not linear; of `output` so many cells are seen."""
    layer = maker(output)
    pooling = isinstance(layer, keras.layers.AveragePooling2D)
    if pooling and layer.padding == "valid" and layer.pool_size == layer.strides:
        down, across = layer.pool_size
        yield from _walk(layer.input, weight, rows * down, columns * across)
    elif isinstance(layer, keras.layers.BatchNormalization):
        yield from _walk(layer.input, partial(_normalised, layer, weight), rows, columns)
    elif isinstance(layer, keras.layers.Concatenate):
        first = 0
        for part in layer.input:
            last = first + part.shape[-1]
            yield from _walk(part, partial(lambda *span: weight()[slice(*span)], first, last), rows, columns)
            first = last
    else:
        yield _Group(layer, layer.input if convolution_side(layer) else output, weight, rows, columns)


def _normalised(layer: keras.layers.BatchNormalization, weight: Callable[[], tf.Tensor]) -> tf.Tensor:
    scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    return weight() * (scale if layer.gamma is None else scale * layer.gamma)[:, None]


def _repeated(maps: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Maps (N, h, w, labels) on `rows` × `columns` cells, multiples of h and w."""
    height, width, labels = maps.shape[1:]
    tiled = tf.tile(tf.reshape(maps, [-1, height, 1, width, labels]), [1, 1, rows // height, 1, columns // width])
    return tf.reshape(tiled, [-1, rows, columns, labels])
