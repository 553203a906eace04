"""The published weights of Deep Flare Net (≥M1.0, 2018) in our network: a check of the architecture, no forecast."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kflare.errors import ModelError
from kflare.models.defn import build_defn

__all__ = ["CHECKPOINT", "read_defn18"]

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
    for suffix in (_INDEX, _DATA):
        path = Path(f"{prefix}{suffix}")
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
