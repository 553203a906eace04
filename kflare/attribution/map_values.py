"""Numbers of an image's maps: how strongly the network looked at the disk, and at each of its regions.

Of the maps as `image_maps` scales them. The Grad-CAM value of a region is its maximum there (Yi et al. 2021, section
4).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import LABELS, STORED_METHODS, Attribution
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import scaled_maps
from kflare.sun.disk import FULL_DISK

__all__ = ["STATISTICS", "image_rows", "value_columns"]


STATISTICS = ("maximum", "mean", "p95", "raw_maximum")


def value_columns() -> list[str]:
    """Columns of numbers: `grad_cam_flare_maximum`, ..., for each method, label and statistic."""
    return [
        f"{method}_{label}_{name}" for method in STORED_METHODS for label in reversed(LABELS) for name in STATISTICS
    ]


def image_rows(attribution: Attribution, patches: Sequence[RegionPatch] = ()) -> list[dict[str, Any]]:
    """Numbers of the full disk, and of each region in the pixels of the network's input (`Attribution.frame`).

    `region`, `noaa`, `lon`, `lat` (None for the full disk), `pixels` on the disk, and `value_columns`.
    """
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
