"""Deep Flare Net (Nishizuka et al. 2018, 2021): the features of one active region in, two probabilities out."""

from typing import Any

import keras

from kflare.errors import SettingError

# Hidden layers whose output returns to the width of the input, where the input is added again.
_SKIPS = (3, 6)
_HIDDEN_LAYERS = 7


def build_defn(n_features: int, *, dropout: float = 0.25, hidden: int = 200, bn_momentum: float = 0.99) -> keras.Model:
    """Build the multi-layer perceptron n–200–200–n–200–200–n–200–2.

    Both skips start at the *input*, not at the previous block, and are added after the ReLU. The first layer has a bias
    and dropout, the others batch normalisation without scale. Weights start as a truncated normal of σ = 0.1;
    `keras.utils.set_random_seed` makes them and the dropout reproducible. Source: komeisugiura/defn18,
    `src/deepflarenet.py`, the authors' own code; the papers show it in a figure only.

    The paper has 79 features, which gives 160,560 trainable parameters; `dropout` is the share of the first layer's
    units dropped in training, in [0, 1), `hidden` the width of the hidden layers, `bn_momentum` that of the moving
    statistics of batch normalisation, in [0, 1); less than the authors' 0.99 for short trainings. Else `SettingError`.

    The functional model takes `features`, float32 (N, n), standardised with the statistics of the training data, to
    `probabilities`, float32 (N, 2): softmax of the layer `logits`, [no flare, flare].
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
