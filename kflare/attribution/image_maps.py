"""The maps of an image as paper 1 shows them, on the pixels of the network's input and scaled, and numbers of them.

Yi et al. (2021, sections 3.2 and 4) show the magnitude of the guided gradient, and Grad-CAM after its ReLU, each
divided by its largest value in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import LABELS, STORED_METHODS, Attribution
from kflare.attribution.harps import RegionPatch
from kflare.io.arrays import Float32Array
from kflare.sun.disk import FULL_DISK

__all__ = ["STATISTICS", "ImageMaps", "enlarged", "image_rows", "rectified", "scaled", "scaled_maps", "value_columns"]


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """A magnetogram with its maps (S, S, 2) of [no flare, flare] and regions on the network's pixels; row 0 = north."""

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
    """Grad-CAM (h, h, 2) in cells of `cell` pixels to (`size`, `size`, 2): bilinear, level beyond cell centres."""
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


STATISTICS = ("maximum", "mean", "p95", "raw_maximum")


def value_columns() -> list[str]:
    """Columns of numbers: `grad_cam_flare_maximum`, ..., for each method, label and statistic."""
    return [
        f"{method}_{label}_{name}" for method in STORED_METHODS for label in reversed(LABELS) for name in STATISTICS
    ]


def image_rows(attribution: Attribution, patches: Sequence[RegionPatch] = ()) -> list[dict[str, Any]]:
    """Rows of the full disk and each region: `region`, `noaa`, `lon`, `lat` (None: disk), `pixels`, `value_columns`."""
    on_disk = attribution.frame.on_disk
    nowhere = {"region": FULL_DISK, "noaa": None, "lon": None, "lat": None, "pixels": int(on_disk.sum())}
    rows: list[dict[str, Any]] = [nowhere]
    rows += [
        {"region": patch.name, "noaa": patch.noaa, "lon": patch.lon, "lat": patch.lat, "pixels": int(patch.mask.sum())}
        for patch in patches
    ]
    guided, grad_cam, signed = scaled_maps(attribution)
    maps = {"grad_cam": (grad_cam, signed), "guided_backprop": (guided, np.abs(attribution.guided_backprop))}
    for method, (shown, raw) in maps.items():
        for number, label in enumerate(LABELS):
            one, other = shown[..., number], raw[..., number]
            places = [(one[on_disk], other[on_disk])]
            places += [(patch.crop(one)[patch.mask], patch.crop(other)[patch.mask]) for patch in patches]
            for row, values in zip(rows, places, strict=True):
                row |= {f"{method}_{label}_{name}": value for name, value in _statistics(*values).items()}
    return rows


def _statistics(shown: npt.NDArray[np.float32], raw: npt.NDArray[np.float32]) -> dict[str, float]:
    return {
        "maximum": float(shown.max()),
        "mean": float(shown.mean(dtype=np.float64)),
        "p95": float(np.percentile(shown, 95)),
        "raw_maximum": float(raw.max()),
    }
