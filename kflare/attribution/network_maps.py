"""Maps that a published model does not answer itself: of its network, by the compiled twin or by tf-keras-vis."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kflare.attribution.compiled import CompiledAttribution
from kflare.datasets.preprocessing import fill_and_scale, reduce_field
from kflare.io.arrays import AnyArray, Float32Array
from kflare.models.image_models import last_convolution

_KINDS = ("grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency")
_Outputs = dict[str, AnyArray]


def network_maps(network: keras.Model, methods: Sequence[str], *, reference: bool) -> Callable[..., _Outputs]:
    """A function that adds maps of magnetograms (N, H, H, 1), gauss, to what a signature answered for them.

    Those of `methods`; with `reference` all but the exact CAM become tf-keras-vis's (`reference_map`), and
    `…_reference` (N,) says by how much they differ from those that they replace, in parts of their largest value.
    """
    twin = CompiledAttribution(network, layer=last_convolution(network))

    def added(outputs: _Outputs, fields: Float32Array) -> _Outputs:
        images = fill_and_scale(reduce_field(tf.constant(fields), size=int(network.input_shape[1]))).numpy()
        found = {**outputs, **twin.maps(images, methods)}
        for method in [name for name in _KINDS if name in found] if reference else ():
            theirs = np.stack([reference_map(network, images, method=method, label=label) for label in (0, 1)], axis=-1)
            apart, largest = (np.abs(maps).max(axis=(1, 2)) for maps in (theirs - found[method], theirs))
            found[f"{method}_reference"] = np.divide(apart, largest, out=apart, where=largest > 0).max(axis=1)
            found[method] = theirs
        return found

    return added


def reference_map(network: keras.Model, images: Float32Array, *, method: str, label: int) -> Float32Array:
    """Raw map of a label by tf-keras-vis's own classes, of images (N, S, S, 1) in [-1, 1], one at a time.

    Equal to `CompiledAttribution`'s, and many times slower: (N, h, w) of the last convolution for "grad_cam" and
    "grad_cam_plus_plus", (N, S, S) for "guided_backprop" and "saliency".
    """
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    kinds = {"grad_cam": Gradcam, "grad_cam_plus_plus": GradcamPlusPlus}
    options: dict[str, Any] = {"keepdims": True, "gradient_modifier": None, "normalize_map": False}
    if method in kinds:
        options = {"penultimate_layer": last_convolution(network), "seek_penultimate_conv_layer": False}
        options |= {"expand_cam": False, "normalize_cam": False}
    if method == "grad_cam":  # the weights of Grad-CAM++ are those of positive gradients, so its ReLU stays
        options["activation_modifier"] = None
    guided = [GuidedBackpropagation()] if method == "guided_backprop" else []
    with warnings.catch_warnings():
        # tf-keras-vis passes its one input as a list, about which Keras 3 complains.
        warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match", UserWarning)
        made = kinds.get(method, Saliency)(network, model_modifier=[*guided, ReplaceToLinear()], clone=True)
        maps = np.concatenate([np.asarray(made(CategoricalScore([label]), image[None], **options)) for image in images])
    return maps.reshape(maps.shape[:3])
