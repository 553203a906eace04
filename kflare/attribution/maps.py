"""Attribution maps as tf-keras-vis computes them, and guided ReLUs by its modifier, with a check that it reached all.

The reference for `compiled.CompiledAttribution`, which gives the same maps much faster. Labels are 0 = no flare, 1 =
flare; the score of a label is the network's value before the soft-max. The modifier replaces only activations that a
layer of the top-level graph holds as Keras' own `relu`; others it leaves alone without a word, as plain gradients.

How far to trust a map: guided backpropagation resembles an edge detector and hardly depends on the upper layers'
weights (Adebayo et al. 2018, arXiv 1810.03292). `python -m kflare.controls` measures that for a given model.
"""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear

from kflare.errors import ModelError, SettingError
from kflare.io.arrays import Float32Array
from kflare.models.image_models import last_convolution

__all__ = [
    "ATTRIBUTION_METHODS", "attribution_map", "guided_copy", "plain_copy", "require_convolution",
    "require_guidable",
]  # fmt: skip

_UNGUIDED = {"ReLU", "Relu", "Relu6", "LeakyReLU", "LeakyRelu", "PReLU", "ELU", "Elu"}


def require_guidable(model: keras.Model) -> list[str]:
    """Names of the layers whose ReLU tf-keras-vis can guide; `ModelError` for one that it would leave, or none."""
    relus = []
    for operation in model.operations:
        if isinstance(operation, keras.Model):
            raise ModelError(f"layer `{operation.name}` is a nested model, whose ReLUs cannot be guided: write it flat")
        if type(operation).__name__ in _UNGUIDED:
            raise ModelError(
                f"layer `{operation.name}` ({type(operation).__name__}) cannot be guided: use Activation('relu')"
            )
        activation = getattr(operation, "activation", None)
        if activation is keras.activations.relu:
            relus.append(operation.name)
        elif "relu" in str(getattr(activation, "__name__", type(activation).__name__)).lower():
            raise ModelError(f"the activation of layer `{operation.name}` cannot be guided: use Activation('relu')")
    if not relus:
        raise ModelError(f"model `{model.name}` has no ReLU, so guided backpropagation has no meaning for it")
    return relus


def require_convolution(model: keras.Model, layer: str) -> None:
    """Refuse a layer that Grad-CAM cannot look at: absent, or no map of shape (N, h, w, channels); `ModelError`."""
    convolutions = [item.name for item in model.layers if isinstance(item, keras.layers.Conv2D)]
    if not convolutions:
        raise ModelError(f"model `{model.name}` has no convolution, so Grad-CAM has no meaning for it")
    if layer not in convolutions:
        raise ModelError(f"model `{model.name}` has no convolution `{layer}`; it has {', '.join(convolutions)}")


def guided_copy(model: keras.Model) -> keras.Model:
    """Copy a model so that every ReLU passes back only positive gradients of positive activations.

    R_l = 1[f_l > 0] · 1[R_{l+1} > 0] · R_{l+1} (Springenberg et al. 2015; Yi et al. 2021, section 3.2.1). The output's
    soft-max is replaced by the identity, so scores are those before it. `ModelError`: see `require_guidable`.
    """
    relus = require_guidable(model)
    copy = plain_copy(model)
    _FusedGuidedBackpropagation()(copy)
    missed = [name for name in relus if copy.get_layer(name).activation is keras.activations.relu]
    if missed:
        raise ModelError(
            f"tf-keras-vis left the ReLU of layer `{missed[0]}` unguided; {len(missed)} of {len(relus)} in all"
        )
    return copy


def plain_copy(model: keras.Model) -> keras.Model:
    """Copy a model with the identity in the place of its output's soft-max."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    ReplaceToLinear()(copy)
    copy.trainable = False
    return copy


class _FusedGuidedBackpropagation(GuidedBackpropagation):
    """tf-keras-vis's modifier with the same gradient in two passes over memory instead of five."""

    def _get_guided_activation(self, activation: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
        @tf.custom_gradient
        def guided(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            y = activation(x)

            def gradient(dy: tf.Tensor) -> tf.Tensor:
                return tf.raw_ops.ReluGrad(gradients=tf.nn.relu(dy), features=y)

            return y, gradient

        return guided


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

    modifiers = [GuidedBackpropagation(), ReplaceToLinear()] if guided else [ReplaceToLinear()]
    saliency = Saliency(model, model_modifier=modifiers, clone=True)
    gradient = saliency(_score(label), images, keepdims=True, gradient_modifier=None, normalize_map=False)
    return np.asarray(gradient)[..., 0]


def _score(label: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda output: output[:, label]
