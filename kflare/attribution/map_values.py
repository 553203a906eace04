"""Numbers of an image's maps: how strongly the network looked at the disk, and at each of its regions.

Scaled as in paper 1 (Yi et al. 2021, sections 3.2 and 4): the magnitude of the guided gradient, and Grad-CAM after its
ReLU, each divided by its largest value in the image. The Grad-CAM value of a region is its maximum there.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import LABELS, METHODS, Attribution
from kflare.attribution.maps import rectified, scaled
from kflare.observations.disk import disk_mask

__all__ = ["FULL_DISK", "STATISTICS", "enlarged", "image_rows", "value_columns"]

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
    low = np.minimum(place.astype(np.intp), max(cells - 2, 0))
    weights = np.zeros((size, cells), np.float32)
    weights[np.arange(size), low] = 1 - (place - low)
    weights[np.arange(size), np.minimum(low + 1, cells - 1)] += place - low
    return weights @ grad_cam @ weights.T


def image_rows(
    attribution: Attribution, regions: Iterable[tuple[Mapping[str, Any], npt.NDArray[np.bool_]]] = ()
) -> list[dict[str, Any]]:
    """One row of numbers for the full disk, and one per region.

    Parameters
    ----------
    attribution : Attribution
        An image's maps.
    regions : iterable of (columns, mask)
        Columns that identify the region, and its pixels of the network's input: bool (S, S), row 0 = north.

    Returns
    -------
    list of dict
        Columns of the region, `pixels` (how many of its pixels lie on the disk) and `value_columns`; numbers are NaN
        where there are none.
    """
    size = attribution.guided_backprop.shape[0]
    on_disk = disk_mask(size, attribution.disk)
    places = [({"region": FULL_DISK}, on_disk), *((columns, mask & on_disk) for columns, mask in regions)]
    rows: list[dict[str, Any]] = [{**columns, "pixels": int(mask.sum())} for columns, mask in places]
    for method in METHODS:
        for index, label in enumerate(LABELS):
            shown, raw = _maps(attribution, method, index)
            for row, (_, mask) in zip(rows, places, strict=True):
                values = _statistics(shown[mask], raw[mask])
                row.update({f"{method}_{label}_{name}": values[name] for name in STATISTICS})
    return rows


def _maps(attribution: Attribution, method: str, label: int) -> tuple[Map, Map]:
    """The map scaled to 0–1 and the raw one (for gradients their magnitude), both on the network's input."""
    if method == "grad_cam":
        cells, size = attribution.grad_cam[..., label], attribution.guided_backprop.shape[0]
        raw = enlarged(cells, cell=attribution.cell, size=size)
        return scaled(enlarged(rectified(cells), cell=attribution.cell, size=size)[None])[0], raw
    raw = np.abs(attribution.guided_backprop[..., label])
    return scaled(raw[None])[0], raw


def _statistics(shown: Map, raw: Map) -> dict[str, float]:
    if not shown.size:
        return dict.fromkeys(STATISTICS, float("nan"))
    return {
        "maximum": float(shown.max()),
        "mean": float(shown.mean(dtype=np.float64)),
        "p95": float(np.percentile(shown, 95)),
        "raw_maximum": float(raw.max()),
    }
