"""Grad-CAM and guided backpropagation of both labels, four maps of an image at 512×512: kflare, tf-keras-vis, captum.

kflare's compiled twin gives the scores besides. Maps by guided backpropagation are compared, absolute, scaled from 0 to
1.
"""

import warnings
from pathlib import Path
from typing import Any

import benchmark_networks as networks
import numpy as np
from benchmark import Row, Timed

BATCH, SIZE = 4, 512


def ours(folder: Path, methods: tuple[str, ...] = ("grad_cam", "guided_backprop")) -> Timed:
    from kflare.attribution.compiled import CompiledAttribution
    from kflare.models.dense_cnn import LAST_CONVOLUTION

    twin = CompiledAttribution(networks.network(folder, "cnn-m", (SIZE, SIZE, 1)), layer=LAST_CONVOLUTION)
    images = networks.images(folder, BATCH, SIZE)

    def answer() -> Any:
        return scaled(twin.maps(images, ("guided_backprop",))["guided_backprop"])

    return Timed(lambda: twin.maps(images, methods), per=BATCH, answer=answer)


def documented(folder: Path) -> Timed:
    """tf-keras-vis as in its documentation's examples: one call per method and label."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    from kflare.models.dense_cnn import LAST_CONVOLUTION

    warnings.simplefilter("ignore")
    model, images = networks.network(folder, "cnn-m", (SIZE, SIZE, 1)), networks.images(folder, BATCH, SIZE)
    gradcam = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    saliency = Saliency(model, model_modifier=[GuidedBackpropagation(), ReplaceToLinear()], clone=True)
    scores = [CategoricalScore([label] * BATCH) for label in (0, 1)]

    def run() -> None:
        for score in scores:
            gradcam(score, images, penultimate_layer=LAST_CONVOLUTION)
            saliency(score, images)

    def answer() -> Any:
        # Its own scaling adds 1e-7 to the span of a map, which is 2 % of these.
        return scaled(np.stack([saliency(score, images, normalize_map=False) for score in scores], axis=-1))

    return Timed(run, per=BATCH, answer=answer)


def captum(folder: Path) -> Timed:
    import benchmark_torch
    from captum.attr import GuidedBackprop, LayerGradCam

    warnings.simplefilter("ignore")
    network = benchmark_torch.dense_cnn(networks.weights(folder, "cnn-m")).eval()
    images = benchmark_torch.as_images(networks.images(folder, BATCH, SIZE)).requires_grad_()
    guided = GuidedBackprop(network)
    cam = LayerGradCam(network, network.parts["block5_conv3x3"])

    def maps() -> list[Any]:
        return [guided.attribute(images, target=label).detach().numpy()[:, 0] for label in (0, 1)]

    def run() -> None:
        for label in (0, 1):
            cam.attribute(images, target=label)
            guided.attribute(images, target=label)

    return Timed(run, per=BATCH, answer=lambda: scaled(np.stack(maps(), axis=-1)))


def scaled(maps: Any) -> Any:
    """Absolute values, of each map from 0 to 1."""
    size = np.abs(maps)
    low, high = (reduce(size, axis=(1, 2), keepdims=True) for reduce in (np.min, np.max))
    return (size - low) / (high - low)


ROWS = [
    Row("attribution/four-maps", f"Grad-CAM and guided backpropagation of both labels, {SIZE}², batch {BATCH}", ours,
        "image", {"tf-keras-vis": documented, "captum": captum}, networks.write, tolerance=1e-4),
    Row("attribution/grad-cam", f"Grad-CAM of both labels alone, {SIZE}², batch {BATCH}",
        lambda folder: ours(folder, ("grad_cam",)), "image", prepare=networks.write),
]  # fmt: skip
