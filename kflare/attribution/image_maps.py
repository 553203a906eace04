"""The maps of an image as paper 1 shows them: on the pixels of the network's input, and scaled.

Yi et al. (2021, sections 3.2 and 4) show the magnitude of the guided gradient, and Grad-CAM after its ReLU, each
divided by its largest value in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.harps import RegionPatch
from kflare.io.arrays import Float32Array

__all__ = ["ImageMaps", "enlarged", "rectified", "scaled", "scaled_maps"]


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """A magnetogram with its maps and regions, all on the pixels of the network's input (S × S, row 0 = north).

    The maps are (S, S, 2), as `scaled_maps` gives them, last axis [no flare, flare].
    """

    field: Float32Array  # line-of-sight field in gauss, NaN off the disk
    guided_backprop: Float32Array
    grad_cam: Float32Array
    grad_cam_signed: Float32Array
    patches: Sequence[RegionPatch] = ()


def scaled_maps(attribution: Attribution) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Scaled guided gradient, scaled Grad-CAM, and Grad-CAM before its ReLU, raw; float32 (S, S, 2) each."""
    size = attribution.guided_backprop.shape[0]
    signed = enlarged(attribution.grad_cam, cell=attribution.cell, size=size)
    grad_cam = enlarged(rectified(attribution.grad_cam), cell=attribution.cell, size=size)
    return scaled(attribution.guided_backprop), scaled(grad_cam), signed


def enlarged(grad_cam: Float32Array, *, cell: int, size: int) -> Float32Array:
    """Grad-CAM on the pixels of the network's input: bilinear between the centres of its cells, level beyond them.

    From (h, h, 2), each cell spanning `cell` pixels, to (`size`, `size`, 2).
    """
    cells = grad_cam.shape[0]
    place = np.clip((np.arange(size) + 0.5) / cell - 0.5, 0, cells - 1)
    low = place.astype(np.intp)
    high, weight = np.minimum(low + 1, cells - 1), (place - low).astype(np.float32)[:, None, None]
    across = grad_cam[:, low] * (1 - weight[:, 0]) + grad_cam[:, high] * weight[:, 0]
    return across[low] * (1 - weight) + across[high] * weight


def rectified(grad_cam: Float32Array) -> Float32Array:
    """Grad-CAM's final ReLU (Yi et al. 2021, section 3.2.2; their Fig. 4 shows it with and without)."""
    return np.maximum(grad_cam, 0)


def scaled(maps: Float32Array) -> Float32Array:
    """Absolute value of maps (h, w, labels), divided by the largest value of each; a map of zeros stays zero."""
    magnitude = np.abs(maps)
    largest = magnitude.max(axis=(0, 1), keepdims=True)
    return np.divide(magnitude, largest, out=np.zeros_like(magnitude), where=largest > 0)
