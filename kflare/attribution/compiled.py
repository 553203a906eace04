"""All attribution maps of both labels from one compiled forward pass, equal to those of tf-keras-vis, much faster.

One graph serves Grad-CAM and guided backpropagation: behind the last convolution of the dense CNN there is no ReLU, so
guiding leaves the gradient that Grad-CAM needs as it is. It is the CAM of that layer's channels (Zhou et al. 2016), but
of these alone: 39 of the 221 that the score is made of, so it may explain little of it. The CAM of all of them is
`exact_cam`. Training sees only the difference of the scores, so the map of "no flare" tends to minus that of "flare":
hence the paper's remark that for the former "a gradient of zero covers the data in all cases" once the ReLU is applied.
"""

from collections.abc import Sequence
from functools import cached_property

import keras
import tensorflow as tf

from kflare.attribution.attribution_file import ANSWERED_METHODS, METHODS, require_methods
from kflare.attribution.exact_cam import ExactCam
from kflare.attribution.guided import guided_copy, plain_copy, require_convolution
from kflare.errors import ModelError
from kflare.io.arrays import ArrayLike, Float32Array
from kflare.models.inference import infer


class CompiledAttribution:
    """Scores and attribution maps of a dense CNN, for both labels at once.

    The maps are raw: signed, before Grad-CAM's final ReLU, the absolute value and the 0–1 scaling, which `image_maps`
    applies; but Grad-CAM++ is rectified by definition. Of a dense CNN with input (N, S, S, 1) and output (N, 2) behind
    a soft-max; `layer` is the convolution that Grad-CAM looks at. `ModelError`: no such convolution, a ReLU behind it,
    a ReLU that cannot be guided, or no exact CAM (`ExactCam`).
    """

    def __init__(self, model: keras.Model, *, layer: str) -> None:
        require_convolution(model, layer)
        names = [operation.name for operation in model.operations]
        for operation in model.operations[names.index(layer) + 1 :]:
            if getattr(operation, "activation", None) is keras.activations.relu:
                why = "so guided backpropagation would change its Grad-CAM: choose the last convolution"
                raise ModelError(f"a ReLU (`{operation.name}`) follows `{layer}`, {why}")
        self._model = model
        self.guided = guided_copy(model)
        self._exact = ExactCam(self.guided, layer=layer)
        last = self.guided.get_layer(layer).output
        self._outputs = [last, self.guided.output, *self._exact.inputs]
        self._compiled = tf.function(self._maps, reduce_retracing=True)

    def attribute(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Attribute the score of both labels to images (N, S, S, 1), float32 in [-1, 1]; the body of the signatures.

        Returns float32, last axis [no flare, flare]: `logits` before the soft-max (N, 2); `cam` (N, S/2, S/2, 2), whose
        mean is the logit less that of a Sun without field (`exact_cam`); `grad_cam` (N, S/32, S/32, 2), Σ_k α_k A^k
        with α_k the mean gradient over the map (Selvaraju et al. 2017; Yi et al. 2021, section 3.2.2, who take the sum:
        a constant factor); `grad_cam_share` (N, 2), how much of the mean of `cam` the channels of Grad-CAM make, NaN
        where that is 0; `guided_backprop` (N, S, S, 2), the guided gradient of each score with respect to the image.
        `ModelError` where the network has no exact CAM.
        """
        return self._maps(images, ANSWERED_METHODS)

    def set_weights(self, weights: Sequence[Float32Array]) -> None:
        """Take over other weights of the same network (`keras.Model.get_weights`) without compiling anew."""
        self.guided.set_weights(weights)
        self._plain.set_weights(weights)
        self._exact.take_baseline()

    def maps(self, images: ArrayLike, methods: Sequence[str] = METHODS) -> dict[str, Float32Array]:
        """Raw maps of both labels, (N, h, w, 2) by method, and `logits` (N, 2); `SettingError`: unknown method."""
        found = self._compiled(tf.convert_to_tensor(images, tf.float32), require_methods(methods))
        return {name: value.numpy() for name, value in found.items()}

    def _maps(self, images: tf.Tensor, methods: tuple[str, ...]) -> dict[str, tf.Tensor]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            activation, logits, *groups = infer(self.guided, images, self._outputs)
            scores = tf.unstack(logits, axis=1)
        found: dict[str, list[tf.Tensor]] = {method: [] for method in METHODS}
        for score in scores:  # one backward pass gives both gradients; of what is not asked for a graph makes none
            gradient, by_image = tape.gradient(score, [activation, images])
            weight = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
            found["guided_backprop"].append(tf.squeeze(by_image, -1))
            found["grad_cam"].append(tf.reduce_sum(weight * activation, axis=-1))
            found["grad_cam_plus_plus"].append(_grad_cam_plus_plus(score, gradient, activation))
        if "saliency" in methods:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(images)
                plain = tf.unstack(infer(self._plain, images, [self._plain.output])[0], axis=1)
            found["saliency"] = [tf.squeeze(tape.gradient(score, images), -1) for score in plain]
        exact = self._exact.maps(groups) if "cam" in methods else {}
        maps = {name: tf.transpose(tf.stack(found[name]), (1, 2, 3, 0)) for name in methods if name != "cam"}
        return {"logits": logits, **exact, **maps}

    @cached_property
    def _plain(self) -> keras.Model:
        # The plain gradient needs plain ReLUs, hence a graph of its own; made only when asked for.
        with tf.init_scope():
            return plain_copy(self._model)


def _grad_cam_plus_plus(score: tf.Tensor, gradient: tf.Tensor, activation: tf.Tensor) -> tf.Tensor:
    """Grad-CAM++ of one label, (N, h, w): equations (7), (10) and (19) of Chattopadhay et al. 2018 for exp(score)."""
    first = tf.exp(score)[:, None, None, None] * gradient
    second, third = first * gradient, first * gradient * gradient
    total = tf.reduce_sum(activation, axis=(1, 2), keepdims=True)
    denominator = 2.0 * second + third * total
    alpha = second / (denominator + tf.cast(second == 0.0, tf.float32))
    norm = tf.reduce_sum(alpha, axis=(1, 2), keepdims=True)
    alpha /= norm + tf.cast(norm == 0.0, tf.float32)
    weight = tf.reduce_sum(tf.nn.relu(first) * alpha, axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weight * activation, axis=-1))
