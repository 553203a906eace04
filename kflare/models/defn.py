"""Deep Flare Net (Nishizuka et al. 2018, 2021): the features of one active region in, two probabilities out."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kflare.errors import ModelError, SettingError

__all__ = ["CHECKPOINT", "build_defn", "read_defn18"]

# Hidden layers whose output returns to the width of the input, where the input is added again.
_SKIPS = (3, 6)
_HIDDEN_LAYERS = 7


def build_defn(n_features: int, *, dropout: float = 0.25, hidden: int = 200, bn_momentum: float = 0.99) -> keras.Model:
    """Build the multi-layer perceptron n–200–200–n–200–200–n–200–2.

    Both skips start at the *input*, not at the previous block, and are added after the ReLU. The first layer has a
    bias and dropout, the others batch normalisation without scale. Weights start as a truncated normal of σ = 0.1;
    `keras.utils.set_random_seed` makes them and the dropout reproducible.

    Parameters
    ----------
    n_features : int
        Number n of features; 79 in the paper, which gives 160,560 trainable parameters.
    dropout : float
        Share of the first layer's units dropped in training, in [0, 1); `SettingError` for any number out of range.
    hidden : int
        Width of the hidden layers.
    bn_momentum : float
        Of the moving statistics of batch normalisation, in [0, 1); less than the authors' 0.99 for short trainings.

    Returns
    -------
    keras.Model
        Functional. Input `features`, float32 (N, n), standardised with the statistics of the training data. Output
        `probabilities`, float32 (N, 2): softmax of the layer `logits`, [no flare, flare].

    Notes
    -----
    Source: komeisugiura/defn18, `src/deepflarenet.py`, the authors' own code; the papers show it in a figure only.
    """
    if n_features < 1 or hidden < 1:
        raise SettingError(f"`n_features` and `hidden` must be at least 1, got {n_features} and {hidden}")
    if not 0 <= dropout < 1:
        raise SettingError(f"`dropout` must lie in [0, 1), got {dropout}")
    if not 0 <= bn_momentum < 1:
        raise SettingError(f"`bn_momentum` must lie in [0, 1), got {bn_momentum}")
    features = keras.Input((n_features,), name="features")
    x = features
    for layer in range(1, _HIDDEN_LAYERS + 1):
        units = n_features if layer in _SKIPS else hidden
        x = _dense(units, f"hidden{layer}", bias=1.1 if layer == 1 else None)(x)
        if layer > 1:
            x = keras.layers.BatchNormalization(momentum=bn_momentum, scale=False, name=f"bn{layer}")(x)
        x = keras.layers.Activation("relu", name=f"relu{layer}")(x)
        if layer == 1:
            x = keras.layers.Dropout(dropout, name="dropout1")(x)
        if layer in _SKIPS:
            x = keras.layers.Add(name=f"skip{layer}")([x, features])
    x = _dense(2, "logits", bias=0.1)(x)
    probabilities = keras.layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(features, probabilities, name="defn")


def _dense(units: int, name: str, *, bias: float | None) -> keras.Layer:
    options: dict[str, Any] = {"use_bias": False}
    if bias is not None:
        options = {"bias_initializer": keras.initializers.Constant(bias)}
    weights = keras.initializers.TruncatedNormal(stddev=0.1)
    return keras.layers.Dense(units, kernel_initializer=weights, name=name, **options)


CHECKPOINT = "charval2017X_M24_Emodel.ckpt"
"""Common stem of the published files."""

_INDEX, _DATA = ".index", ".data-00000-of-00001"
_N_FEATURES = 79
_SOURCE = "get the folder `model` of https://github.com/komeisugiura/defn18 whole"


def read_defn18(folder: Path) -> keras.Model:
    """Read the TensorFlow 1 checkpoint of Deep Flare Net into `build_defn(79)`.

    **For parity only.** The order of the 79 features and the means and standard deviations that they were
    standardised with are not public, so these weights cannot be applied to new observations. The files are under
    the BSD-3-Clause *Clear* licence, which expressly grants no patent rights.

    Parameters
    ----------
    folder : Path
        With `CHECKPOINT` + ``.index`` and + ``.data-00000-of-00001``.

    Returns
    -------
    keras.Model
        As `build_defn` describes it, with the published weights; output [below M1.0, M1.0 or more].

    Raises
    ------
    ModelError
        A file is missing, damaged, or holds another network.

    Notes
    -----
    Source: https://github.com/komeisugiura/defn18, the code of Nishizuka et al. (2018, ApJ 858, 113).
    """
    prefix = Path(folder) / CHECKPOINT
    for path in (Path(f"{prefix}{suffix}") for suffix in (_INDEX, _DATA)):
        if not path.is_file():
            raise ModelError(f"no file `{path}`: {_SOURCE}")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except tf.errors.OpError as error:
        raise ModelError(f"`{prefix}{_INDEX}` is no TensorFlow checkpoint ({_line(error)}): {_SOURCE}") from error
    model = build_defn(_N_FEATURES)
    for layer, names in _variables().items():
        weights = model.get_layer(layer).weights
        values = [_read(reader, prefix, name, weight.shape) for name, weight in zip(names, weights, strict=True)]
        model.get_layer(layer).set_weights(values)
    return model


def _variables() -> dict[str, list[str]]:
    """Names in the checkpoint of each layer's weights; its biases `ext_b_1` to `ext_b_6` are never used."""
    names = {"hidden1": ["ext_w_0", "ext_b_0"], "logits": ["ext_w_7", "ext_b_7"]}
    for index in range(1, 7):
        names[f"hidden{index + 1}"] = [f"ext_w_{index}"]
        names[f"bn{index + 1}"] = [f"ext_BN_{index}/{part}" for part in ("beta", "moving_mean", "moving_variance")]
    return names


def _read(reader: Any, prefix: Path, name: str, shape: tuple[int, ...]) -> Any:
    shapes = reader.get_variable_to_shape_map()
    if tuple(shapes.get(name, ())) != tuple(shape):
        seen = tuple(shapes[name]) if name in shapes else "no such variable"
        raise ModelError(f"`{name}` in `{prefix}` must have the shape {tuple(shape)}, got {seen}: {_SOURCE}")
    try:
        return reader.get_tensor(name)
    except (tf.errors.OpError, IndexError) as error:  # IndexError: TensorFlow's word for a file cut short
        raise ModelError(f"`{prefix}{_DATA}` is damaged at `{name}` ({_line(error)}): {_SOURCE}") from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
