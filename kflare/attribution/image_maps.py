"""The maps of an image as paper 1 shows them, on the pixels of the network's input and scaled, and numbers of them.

Yi et al. (2021, sections 3.2 and 4) show the magnitude of the guided gradient, and Grad-CAM after its ReLU, each
divided by its largest value in the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from kflare.attribution.attribution_file import ANSWERED_METHODS, LABELS, Attribution
from kflare.attribution.harps import RegionPatch
from kflare.io.arrays import Float32Array
from kflare.sun.disk import FULL_DISK

CLASS_MAPS = ("grad_cam", "grad_cam_plus_plus", "cam")
"""The methods that say what speaks for a label and what against it: shown after a ReLU."""

NAMES = {
    "grad_cam": "Grad-CAM", "grad_cam_plus_plus": "Grad-CAM++", "cam": "CAM",
    "guided_backprop": "guided backpropagation", "saliency": "plain gradient",
}  # fmt: skip
"""Of the methods, in pictures."""

_SCORES = (("cam", "score"), ("grad_cam", "share"))


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """A magnetogram with its maps (S, S, 2) of [no flare, flare] and regions on the network's pixels; row 0 = north."""

    field: Float32Array  # line-of-sight field in gauss, NaN off the disk
    shown: Mapping[str, Float32Array]  # by method: rectified where it is a CAM, and scaled
    raw: Mapping[str, Float32Array]  # signed, as the network gave them
    patches: Sequence[RegionPatch] = ()


def scaled_maps(attribution: Attribution) -> tuple[dict[str, Float32Array], dict[str, Float32Array]]:
    """The maps of an image by method as they are shown, and raw; float32 (S, S, 2) each."""
    shown, raw = {}, {}
    for method, values in attribution.maps.items():
        place = {"cell": attribution.cell(method), "size": attribution.size}
        raw[method] = enlarged(values, **place) if method in CLASS_MAPS else values
        shown[method] = scaled(enlarged(rectified(values), **place) if method in CLASS_MAPS else values)
    return shown, raw


def enlarged(maps: Float32Array, *, cell: int, size: int) -> Float32Array:
    """Maps (h, h, 2) in cells of `cell` pixels to (`size`, `size`, 2): bilinear, level beyond cell centres."""
    cells = maps.shape[0]
    place = np.clip((np.arange(size) + 0.5) / cell - 0.5, 0, cells - 1)
    low = place.astype(np.intp)
    high, weight = np.minimum(low + 1, cells - 1), (place - low).astype(np.float32)[:, None, None]
    across = maps[:, low] * (1 - weight[:, 0]) + maps[:, high] * weight[:, 0]
    return across[low] * (1 - weight) + across[high] * weight


def rectified(maps: Float32Array) -> Float32Array:
    """Grad-CAM's final ReLU (Yi et al. 2021, section 3.2.2; their Fig. 4 shows it with and without)."""
    return np.maximum(maps, 0)


def scaled(maps: Float32Array) -> Float32Array:
    """Absolute value of maps (h, w, labels), divided by the largest value of each; a map of zeros stays zero."""
    magnitude = np.abs(maps)
    largest = magnitude.max(axis=(0, 1), keepdims=True)
    return np.divide(magnitude, largest, out=np.zeros_like(magnitude), where=largest > 0)


STATISTICS = ("maximum", "mean", "p95", "raw_maximum")


def value_columns(methods: Sequence[str] = ANSWERED_METHODS) -> list[str]:
    """Columns of numbers: `grad_cam_flare_maximum`, ..., for each method, label and statistic; and of the score.

    `cam_flare_score`, ...: what the place adds to the label's score, a region's or, of the full disk, all beyond the
    score of a Sun without field. `grad_cam_flare_share`, ...: the part of Grad-CAM's channels in the disk's.
    """
    names = [(method, name) for method in methods for name in STATISTICS]
    return [f"{method}_{label}_{name}" for method, name in [*names, *_SCORES] for label in reversed(LABELS)]


def image_rows(attribution: Attribution, patches: Sequence[RegionPatch] = ()) -> list[dict[str, Any]]:
    """Rows of the full disk and each region, as `value_columns.csv` (of the disk without place) and `value_columns`."""
    on_disk = attribution.frame.on_disk
    nowhere = {"region": FULL_DISK, "noaa": None, "lon": None, "lat": None, "outline": None}
    rows: list[dict[str, Any]] = [nowhere | {"pixels": int(on_disk.sum())}]
    rows += [
        {name: getattr(patch, name) for name in ("noaa", "lon", "lat", "outline")}
        | {"region": patch.name, "pixels": int(patch.mask.sum())}
        for patch in patches
    ]
    for row in rows:
        row.update(dict.fromkeys(value_columns(), np.nan))
    shown, raw = scaled_maps(attribution)
    for method, number in product(shown, range(len(LABELS))):
        label, one, other = LABELS[number], shown[method][..., number], raw[method][..., number]
        places = [(one[on_disk], other[on_disk])]
        places += [(patch.crop(one)[patch.mask], patch.crop(other)[patch.mask]) for patch in patches]
        for row, (values, signed) in zip(rows, places, strict=True):
            strength = signed if method in CLASS_MAPS else np.abs(signed)
            of = f"{method}_{label}"
            row |= {f"{of}_maximum": float(values.max()), f"{of}_mean": float(values.mean(dtype=np.float64))}
            row |= {f"{of}_p95": float(np.percentile(values, 95)), f"{of}_raw_maximum": float(strength.max())}
            if method == "cam":
                row[f"cam_{label}_score"] = float(signed.sum(dtype=np.float64) / other.size)
        if method == "cam":
            rows[0][f"cam_{label}_score"] = float(attribution.maps[method][..., number].mean(dtype=np.float64))
        rows[0][f"grad_cam_{label}_share"] = attribution.share[number]
    return rows
