"""Grad-CAM and guided backpropagation of both labels from one compiled forward pass.

Built with tf-keras-vis's own model modifiers and exportable as a SavedModel signature. The maps are raw: before the
final ReLU, the absolute value and the 0–1 scaling, which `maps.rectified` and `maps.scaled` apply.

One graph serves both methods: the guided model has the plain model's forward values, and behind the last convolution
of the dense CNN there is no ReLU, so guiding leaves the gradient that Grad-CAM needs as it is.
"""

import keras
import tensorflow as tf

from kflare.errors import ModelError

__all__ = ["CompiledAttribution", "guided_copy"]

# Operations through which a gradient passes unguided when tf-keras-vis replaces activations (measured).
_UNGUIDED = {"ReLU", "Relu", "Relu6", "LeakyReLU", "LeakyRelu", "PReLU", "ELU", "Elu"}


def guided_copy(model: keras.Model) -> keras.Model:
    """A copy of a model whose every ReLU passes back only positive gradients of positive activations.

    R_l = 1[f_l > 0] · 1[R_{l+1} > 0] · R_{l+1} (Springenberg et al. 2015; Yi et al. 2021, section 3.2.1). The output's
    soft-max is replaced by the identity, so scores are those before it.

    Raises
    ------
    ModelError
        A ReLU that tf-keras-vis would leave unguided without a word: a `ReLU` layer, `keras.ops.relu`, another function
        than Keras' own as `activation`, a nested model; or no ReLU at all. The message names the layer.
    """
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear

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
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    GuidedBackpropagation()(copy)
    missed = [name for name in relus if copy.get_layer(name).activation is keras.activations.relu]
    if missed:
        raise ModelError(
            f"tf-keras-vis left the ReLU of layer `{missed[0]}` unguided; {len(missed)} of {len(relus)} in all"
        )
    ReplaceToLinear()(copy)
    copy.trainable = False
    return copy


class CompiledAttribution:
    """Scores, Grad-CAM and guided backpropagation of a dense CNN, for both labels at once.

    Parameters
    ----------
    model : keras.Model
        The dense CNN: input (N, S, S, 1), output (N, 2) behind a soft-max.
    layer : str
        The convolution that Grad-CAM looks at.
    """

    def __init__(self, model: keras.Model, *, layer: str) -> None:
        from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayerForGradcam

        self.guided = guided_copy(model)
        if layer not in {item.name for item in model.layers}:
            raise ModelError(f"model `{model.name}` has no layer `{layer}` for Grad-CAM")
        self._extracted = ExtractIntermediateLayerForGradcam(layer, seek_conv_layer=False)(self.guided)

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """The two values before the soft-max, float32 (N, 2): [no flare, flare]; input as in `attribute`."""
        return self.guided(images, training=False)

    def attribute(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Attribute the score of both labels to the image.

        Parameters
        ----------
        images : float32 tensor of shape (N, S, S, 1)
            The network's input, in [-1, 1].

        Returns
        -------
        logits : float32 (N, 2)
            Before the soft-max, [no flare, flare].
        grad_cam : float32 (N, S/32, S/32, 2)
            Σ_k α_k A^k with α_k the mean gradient over the map (Selvaraju et al. 2017; Yi et al. 2021, section 3.2.2,
            who take the sum: a constant factor), last axis the label.
        guided_backprop : float32 (N, S, S, 2)
            Guided gradient of each score with respect to the image.
        """
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits, activation = self._extracted(images, training=False)
            scores = tf.unstack(logits, axis=1)
        cams, gradients = [], []
        for score in scores:
            by_activation, by_image = tape.gradient(score, [activation, images])
            weight = tf.reduce_mean(by_activation, axis=(1, 2), keepdims=True)
            cams.append(tf.reduce_sum(weight * activation, axis=-1))
            gradients.append(by_image[..., 0])
        return logits, tf.stack(cams, axis=-1), tf.stack(gradients, axis=-1)
