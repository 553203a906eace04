"""Guided ReLUs by tf-keras-vis's modifier, with a check that it reached all.

The modifier replaces only activations that a layer of the top-level graph holds as Keras' own `relu`; others it leaves
alone without a word, as plain gradients.

How far to trust a map: guided backpropagation resembles an edge detector and hardly depends on the upper layers'
weights (Adebayo et al. 2018, arXiv 1810.03292). `python -m kflare.controls` measures that for a given model.
"""

from collections.abc import Callable

import keras
import tensorflow as tf
from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear

from kflare.errors import ModelError

_UNGUIDED = {"ReLU", "Relu", "Relu6", "LeakyReLU", "LeakyRelu", "PReLU", "ELU", "Elu"}


def require_guidable(model: keras.Model) -> list[str]:
    """Names of the layers whose ReLU tf-keras-vis can guide; `ModelError` for one that it would leave, or none."""
    relus = []
    for layer in model.operations:
        if isinstance(layer, keras.Model):
            raise ModelError(f"layer `{layer.name}` is a nested model, whose ReLUs cannot be guided: write it flat")
        if type(layer).__name__ in _UNGUIDED:
            raise ModelError(f"layer `{layer.name}` ({type(layer).__name__}) cannot be guided: use Activation('relu')")
        activation = getattr(layer, "activation", None)
        if activation is keras.activations.relu:
            relus.append(layer.name)
        elif "relu" in str(getattr(activation, "__name__", type(activation).__name__)).lower():
            raise ModelError(f"the activation of layer `{layer.name}` cannot be guided: use Activation('relu')")
    if not relus:
        raise ModelError(f"model `{model.name}` has no ReLU, so guided backpropagation has no meaning for it")
    return relus


def require_convolution(model: keras.Model, layer: str) -> None:
    """Refuse a layer that Grad-CAM cannot look at: absent, or no map of shape (N, h, w, channels); `ModelError`."""
    convolutions = [item.name for item in model.layers if isinstance(item, keras.layers.Conv2D)]
    if layer not in convolutions:
        seen = ", ".join(convolutions) or "none"
        raise ModelError(f"model `{model.name}` has no convolution `{layer}`; it has {seen}")


def guided_copy(model: keras.Model) -> keras.Model:
    """Copy a model so that every ReLU passes back only positive gradients of positive activations.

    R_l = 1[f_l > 0] · 1[R_{l+1} > 0] · R_{l+1} (Springenberg et al. 2015; Yi et al. 2021, section 3.2.1). The output's
    soft-max is replaced by the identity, so scores are those before it. `ModelError`: see `require_guidable`.
    """
    relus = require_guidable(model)
    copy = plain_copy(model)
    _FusedGuidedBackpropagation()(copy)
    if bad := [name for name in relus if copy.get_layer(name).activation is keras.activations.relu]:
        raise ModelError(f"tf-keras-vis left the ReLU of layer `{bad[0]}` unguided; {len(bad)} of {len(relus)} in all")
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
