"""The densely connected CNN of Yi et al. (2021): one full-disk magnetogram in, two scores out."""

from typing import Any

import keras

from kflare.errors import SettingError

LAST_CONVOLUTION = "block5_conv3x3"
"""Name of the convolution on which Grad-CAM stands (Yi et al. 2021, section 3.2.2)."""

_BLOCKS = 5
GROUPS = ("initial_pool", *(f"block{block}_conv3x3" for block in range(1, _BLOCKS + 1)))
"""Layers whose channels, in this order, are those of the global average; between are average pools and `last_bn`."""
_STEM_FILTERS = 26
_BOTTLENECK_STEP = 13
# The first pool, one in each block and the last one each halve the image.
_SMALLEST_SIZE = 2 ** (_BLOCKS + 2)


def build_dense_cnn(input_shape: tuple[int, int, int] = (512, 512, 1), *, growth: int = 39) -> keras.Model:
    """Build the network of Yi et al. (2021, section 3.1 and Figure 1), 96,761 trainable parameters.

    `input_shape` is height and width in pixels (at least 128, else `SettingError`; multiples of 128 use every pixel)
    and channels; the number of parameters does not depend on height and width. Each dense block adds `growth` features;
    39 in the paper.

    The functional model takes `magnetogram`, float32 (N, height, width, channels), line-of-sight field divided by 100 G
    and clipped to [−1, 1], zero off disk, to `scores`, float32 (N, 2): softmax of the layer `logits`, [no flare,
    flare]. `LAST_CONVOLUTION` names the layer for Grad-CAM.

    The paper's "fully connected layer" and its 96,761 parameters agree only if that layer sees 221 numbers: one per
    feature. At 512×512 the last pooling leaves 4×4 cells, so a **global average** must stand between them, of which the
    text says nothing: our reconstruction (flattening instead gives 103,391). The paper thanks PyTorch, whose defaults
    (biases in all convolutions, batch normalisation with scale, ε = 1e-5 and momentum 0.1, here 0.9) the number
    confirms; weights therefore also start as PyTorch's do, uniform in ±1/√fan-in, and biases at zero.

    After the last convolution only linear layers follow, so in inference the gradient of a logit is the same in all
    cells of a feature map: Grad-CAM there is CAM exactly, of the 39 channels of that convolution. The other 182 of the
    221 pass it by, also through linear layers alone: the CAM of all is `kflare.attribution.exact_cam`.
    """
    height, width, channels = input_shape
    if min(height, width) < _SMALLEST_SIZE or channels < 1:
        fault = f"`input_shape` must be at least ({_SMALLEST_SIZE}, {_SMALLEST_SIZE}, 1)"
        raise SettingError(f"{fault}: the network halves the image {_BLOCKS + 2} times; got {tuple(input_shape)}")
    if growth < 1:
        raise SettingError(f"`growth` must be at least 1, got {growth}")
    magnetogram = keras.Input(input_shape, name="magnetogram")
    x = _convolution(_STEM_FILTERS, 3, "initial_conv3x3")(magnetogram)
    x = keras.layers.MaxPooling2D(2, name="initial_pool")(x)
    for block in range(1, _BLOCKS + 1):
        x = _dense_block(x, block, growth)
    x = _batch_normalization("last_bn")(x)
    x = keras.layers.AveragePooling2D(2, name="last_pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = keras.layers.Dense(2, kernel_initializer=_initializer(), name="logits")(x)
    # float32 also where a user trains with mixed precision: the loss takes the logarithm of these.
    scores = keras.layers.Activation("softmax", dtype="float32", name="scores")(x)
    return keras.Model(magnetogram, scores, name="dense_cnn")


def _dense_block(block_input: Any, block: int, growth: int) -> Any:
    """BN, ReLU, 1×1 convolution, BN, ReLU, 3×3 convolution, concatenation with the input, average pooling."""
    x = block_input
    for index, (filters, size) in enumerate([(_BOTTLENECK_STEP * block, 1), (growth, 3)], start=1):
        x = _batch_normalization(f"block{block}_bn{index}")(x)
        # tf-keras-vis's guided backpropagation finds a ReLU only as `activation` of a layer of the top-level graph.
        x = keras.layers.Activation("relu", name=f"block{block}_relu{index}")(x)
        x = _convolution(filters, size, f"block{block}_conv{size}x{size}")(x)
    x = keras.layers.Concatenate(name=f"block{block}_concat")([block_input, x])
    return keras.layers.AveragePooling2D(2, name=f"block{block}_pool")(x)


def _convolution(filters: int, size: int, name: str) -> keras.Layer:
    return keras.layers.Conv2D(filters, size, padding="same", kernel_initializer=_initializer(), name=name)


def _batch_normalization(name: str) -> keras.Layer:
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def _initializer() -> keras.Initializer:
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")
