"""Numbers of an image's maps: how strongly the network looked at the disk, and at each of its regions.

Scaled as in paper 1 (Yi et al. 2021, sections 3.2 and 4): the magnitude of the guided gradient, and Grad-CAM after its
ReLU, each divided by its largest value in the image. The Grad-CAM value of a region is its maximum there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import LABELS, METHODS, Attribution
from kflare.attribution.harps import RegionPatch
from kflare.attribution.maps import rectified, scaled

__all__ = ["FULL_DISK", "STATISTICS", "enlarged", "image_rows", "shown_map", "value_columns"]

FULL_DISK = "full disk"
"""Name of the region that stands for the whole image."""

STATISTICS = ("maximum", "mean", "p95", "raw_maximum")

Map = npt.NDArray[np.float32]


def value_columns() -> list[str]:
    """Columns of numbers: `grad_cam_flare_maximum`, ..., for each method, label and statistic."""
    return [f"{method}_{label}_{name}" for method in METHODS for label in reversed(LABELS) for name in STATISTICS]


def enlarged(grad_cam: Map, *, cell: int, size: int) -> Map:
    """Grad-CAM on the pixels of the network's input: bilinear between the centres of its cells, level beyond them.

    Parameters
    ----------
    grad_cam : float32 array of shape (h, h)
        Cells; row 0 = north.
    cell : int
        Pixels that a cell spans.
    size : int
        Width and height of the network's input, S.

    Returns
    -------
    float32 array of shape (S, S)
    """
    cells = grad_cam.shape[0]
    place = np.clip((np.arange(size) + 0.5) / cell - 0.5, 0, cells - 1)
    low = place.astype(np.intp)
    high, weight = np.minimum(low + 1, cells - 1), (place - low).astype(np.float32)
    across = grad_cam[:, low] * (1 - weight) + grad_cam[:, high] * weight
    return across[low] * (1 - weight[:, None]) + across[high] * weight[:, None]


def image_rows(attribution: Attribution, patches: Sequence[RegionPatch] = ()) -> list[dict[str, Any]]:
    """Numbers of the full disk, and of each region.

    Parameters
    ----------
    attribution : Attribution
        An image's maps.
    patches : sequence of RegionPatch
        Regions in the pixels of the network's input, as `harps.place_regions` finds them in `Attribution.frame`.

    Returns
    -------
    list of dict
        `region`, `noaa`, `lon`, `lat` (None for the full disk), `pixels` on the disk, and `value_columns`.
    """
    on_disk = attribution.frame.on_disk
    nowhere = {"region": FULL_DISK, "noaa": None, "lon": None, "lat": None, "pixels": int(on_disk.sum())}
    rows: list[dict[str, Any]] = [nowhere]
    rows += [
        {"region": patch.name, "noaa": patch.noaa, "lon": patch.lon, "lat": patch.lat, "pixels": int(patch.mask.sum())}
        for patch in patches
    ]
    for method in METHODS:
        for label in LABELS:
            shown, raw = shown_map(attribution, method, label)
            places = [(shown[on_disk], raw[on_disk])]
            places += [(patch.crop(shown)[patch.mask], patch.crop(raw)[patch.mask]) for patch in patches]
            for row, values in zip(rows, places, strict=True):
                row |= {f"{method}_{label}_{name}": value for name, value in _statistics(*values).items()}
    return rows


def shown_map(attribution: Attribution, method: str, label: str) -> tuple[Map, Map]:
    """A map scaled to 0–1 as shown, and the raw one (of gradients the magnitude); float32 (S, S), row 0 = north."""
    index = LABELS.index(label)
    if method == "grad_cam":
        cells, size = attribution.grad_cam[..., index], attribution.guided_backprop.shape[0]
        raw = enlarged(cells, cell=attribution.cell, size=size)
        return scaled(enlarged(rectified(cells), cell=attribution.cell, size=size)[None])[0], raw
    raw = np.abs(attribution.guided_backprop[..., index])
    return scaled(raw[None])[0], raw


def _statistics(shown: Map, raw: Map) -> dict[str, float]:
    return {
        "maximum": float(shown.max()),
        "mean": float(shown.mean(dtype=np.float64)),
        "p95": float(np.percentile(shown, 95)),
        "raw_maximum": float(raw.max()),
    }
