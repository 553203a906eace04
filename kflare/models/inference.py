"""A network's answers and their gradients, the same to rounding with half of the multiplications.

The mean of 2×2 cells of a 3×3 convolution is a convolution of 4×4 in steps of two, 16 products for 36, so that what a
block adds is never made at full resolution. Once it is trained, a batch normalisation behind a 1×1 convolution is part
of its weights; and the gradient of a convolution of one channel, which oneDNN computes as of 16, makes 16 of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kflare.models.dense_cnn import GROUPS


def maker(tensor: Any) -> Any:
    """The layer that made a symbolic tensor."""
    return tensor._keras_history.operation  # noqa: SLF001 - Keras has no other name for it


def train_by_infer(model: keras.Model) -> None:
    """Let training compute a network on the layers of `build_dense_cnn` by `infer`, in place."""
    whole = model.call
    if {*GROUPS} <= {layer.name for layer in model.layers}:
        model.call = lambda images, training=None, mask=None: (
            infer(model, images, model.outputs, training=True)[0] if training else whole(images, training, mask)
        )


@tf.autograph.experimental.do_not_convert
def infer(model: keras.Model, images: tf.Tensor, outputs: Sequence[Any], *, training: bool = False) -> list[tf.Tensor]:
    """Values of symbolic tensors of a functional model for its one input (N, H, W, C).

    Gradients flow to `images`, and to an output from those that stand behind it; to weights in `training` alone.
    """
    known = {id(model.input): images}

    def value(tensor: Any) -> tf.Tensor:
        if id(tensor) not in known:
            known[id(tensor)] = found(maker(tensor), maker(tensor).input)
        return known[id(tensor)]

    def found(layer: Any, given: Any) -> tf.Tensor:
        if isinstance(layer, keras.layers.AveragePooling2D) and layer.pool_size == layer.strides == (2, 2):
            return halved(given) if layer.padding == "valid" else layer(value(given))
        normal = isinstance(layer, keras.layers.BatchNormalization) and not training
        if normal and convolution_side(before := maker(given)) == 1:
            scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon) * (layer.gamma if layer.scale else 1.0)
            y = tf.nn.conv2d(value(before.input), before.kernel * scale, 1, "SAME")
            return tf.nn.bias_add(y, (before.bias - layer.moving_mean) * scale + (layer.beta if layer.center else 0.0))
        if not training and _of_even_sides(layer) and given.shape[-1] == 1:
            return tf.nn.bias_add(_of_one_channel(value(given), tf.convert_to_tensor(layer.kernel)), layer.bias)
        return layer([value(one) for one in given] if isinstance(given, list) else value(given), training=training)

    def halved(tensor: Any) -> tf.Tensor:
        layer = maker(tensor)
        if isinstance(layer, keras.layers.Concatenate) and layer.axis == -1:
            return tf.concat([halved(part) for part in layer.input], -1)
        if id(tensor) in known or not _of_even_sides(layer):
            return tf.nn.avg_pool2d(value(tensor), 2, 2, "VALID")
        kernel = tf.pad(tf.reshape(layer.kernel, (1, 3, 3, -1)), [[0, 0], [1, 1], [1, 1], [0, 0]])
        kernel = tf.reshape(tf.nn.avg_pool2d(kernel, 2, 1, "VALID"), (4, 4, *layer.kernel.shape[2:]))
        return tf.nn.bias_add(tf.nn.conv2d(value(layer.input), kernel, 2, "SAME"), layer.bias)

    return [value(one) for one in outputs]


def convolution_side(layer: Any) -> int:
    """Of the kernel of a plain convolution, which keeps the sides of its input; 0 of another layer."""
    if not isinstance(layer, keras.layers.Conv2D) or layer.activation is not keras.activations.linear:
        return 0
    plain = layer.use_bias and layer.padding == "same" and layer.groups == 1 and layer.compute_dtype == "float32"
    alike = layer.kernel_size[0] == layer.kernel_size[1] and layer.strides == layer.dilation_rate == (1, 1)
    return layer.kernel_size[0] if plain and alike else 0


def _of_even_sides(layer: Any) -> bool:
    return convolution_side(layer) == 3 and not any(side % 2 for side in layer.input.shape[1:3])


@tf.custom_gradient
def _of_one_channel(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
    """Convolution of (N, 2h, 2w, 1) by (3, 3, 1, K)."""

    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, None]:
        # 2×2 cells touch 4×4 pixels, which is four times 2×2 of the image, one to each of its neighbours.
        ends = [(row, column) for row in (0, 1) for column in (0, 1)]
        touched = tf.stack([tf.pad(kernel[:, :, 0], [[r, 1 - r], [c, 1 - c], [0, 0]]) for r, c in ends])
        touched = tf.transpose(tf.reshape(touched, (2, 2, 16, -1)), (0, 1, 3, 2))
        y = tf.nn.conv2d(dy, touched, 2, "VALID")
        y = tf.transpose(tf.reshape(y, (-1, *y.shape[1:3], 2, 2, 2, 2)), (3, 5, 0, 1, 4, 2, 6))
        parts = tf.unstack(tf.reshape(y, (4, -1, *images.shape[1:3])))
        pads = [[[0, 0], [2 * r, 2 - 2 * r], [2 * c, 2 - 2 * c]] for r, c in ends]
        return tf.add_n([*map(tf.pad, parts, pads)])[:, 1:-1, 1:-1, None], None

    return tf.nn.conv2d(images, kernel, 1, "SAME"), gradient
