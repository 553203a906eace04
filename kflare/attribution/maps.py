"""Attribution maps as tf-keras-vis computes them.

The reference for `compiled.CompiledAttribution`, which gives the same maps much faster, and the place to look a
definition up. Labels are 0 = no flare, 1 = flare; the score of a label is the network's value before the soft-max.

How far to trust a map: guided backpropagation resembles an edge detector and hardly depends on the upper layers'
weights (Adebayo et al. 2018, arXiv 1810.03292). `python -m kflare.controls` measures that for a given model.
"""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kflare.attribution.guiding import require_convolution, require_guidable
from kflare.errors import SettingError
from kflare.io.arrays import Float32Array
from kflare.models.image_models import last_convolution

__all__ = ["ATTRIBUTION_METHODS", "attribution_map"]


ATTRIBUTION_METHODS = ("grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency")
"""Grad-CAM (Selvaraju et al. 2017), Grad-CAM++ (Chattopadhay et al. 2018), guided backpropagation (Springenberg et al.
2015) and the plain gradient (Simonyan et al. 2014)."""


def attribution_map(
    model: keras.Model, images: npt.ArrayLike, *, method: str, label: int, layer: str | None = None
) -> Float32Array:
    """Attribute the score of a label to the image, by tf-keras-vis.

    Parameters
    ----------
    model : keras.Model
        A dense CNN: input (N, S, S, 1), output (N, 2) behind a soft-max.
    images : float32 array of shape (N, S, S, 1)
        The network's input, in [-1, 1].
    method : str
        One of `ATTRIBUTION_METHODS`.
    label : int
        0 = no flare, 1 = flare.
    layer : str, optional
        The convolution that Grad-CAM looks at; by default the last one.

    Returns
    -------
    float32 array
        Raw map, (N, h, w) of the layer for Grad-CAM, (N, S, S) for gradients. Grad-CAM is signed, before its final
        ReLU; Grad-CAM++ is rectified by definition.

    Raises
    ------
    SettingError, ModelError
        Unknown method or label; no such convolution, or a ReLU that cannot be guided.
    """
    if method not in ATTRIBUTION_METHODS:
        raise SettingError(f"`method` must be one of {', '.join(ATTRIBUTION_METHODS)}, got {method!r}")
    labels = int(model.output_shape[-1])
    if not 0 <= label < labels:
        raise SettingError(f"`label` must lie in 0..{labels - 1} (0 = no flare, 1 = flare), got {label}")
    with warnings.catch_warnings():
        # tf-keras-vis passes the model its input as a list, which Keras 3 accepts with a warning.
        warnings.filterwarnings("ignore", message="(?s).*The structure of `inputs` doesn't match", category=UserWarning)
        inputs = tf.convert_to_tensor(images, tf.float32)
        if method.startswith("grad_cam"):
            layer = layer or last_convolution(model)
            require_convolution(model, layer)
            return np.asarray(_class_activation(model, inputs, method=method, label=label, layer=layer))
        if method == "guided_backprop":
            require_guidable(model)
        return _gradient(model, inputs, label=label, guided=method == "guided_backprop")


def _class_activation(model: keras.Model, images: tf.Tensor, *, method: str, label: int, layer: str) -> Float32Array:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear

    options = {
        "penultimate_layer": layer,
        "seek_penultimate_conv_layer": False,
        "expand_cam": False,
        "normalize_cam": False,
    }
    kind = GradcamPlusPlus
    if method == "grad_cam":  # the weights of Grad-CAM++ are those of positive gradients, so its ReLU stays
        kind, options["activation_modifier"] = Gradcam, None
    return kind(model, model_modifier=ReplaceToLinear(), clone=True)(_score(label), images, **options)


def _gradient(model: keras.Model, images: tf.Tensor, *, label: int, guided: bool) -> Float32Array:
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear

    modifiers = [GuidedBackpropagation(), ReplaceToLinear()] if guided else [ReplaceToLinear()]
    saliency = Saliency(model, model_modifier=modifiers, clone=True)
    gradient = saliency(_score(label), images, keepdims=True, gradient_modifier=None, normalize_map=False)
    return np.asarray(gradient)[..., 0]


def _score(label: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda output: output[:, label]
