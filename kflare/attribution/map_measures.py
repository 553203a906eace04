"""How much of the score a map explains, and how far it points at active regions: by image, and over a set of images.

Of a map that explains the score of a label its mean, over images, follows that score: the exact CAM's does so by
construction, but for the constant. The paper shows maps without saying so of them.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.gradients import mean_of
from kflare.attribution.image_maps import CLASS_MAPS, ImageMaps
from kflare.attribution.map_agreement import on_cells, rank_correlation
from kflare.attribution.outcomes import OUTCOMES

_FLARE = 1
_LEAST = 3


def map_measures(attribution: Attribution, image: ImageMaps) -> dict[str, Any]:
    """Columns of an image: of the flaring label's maps of `CLASS_MAPS` that are there.

    `log_odds` of the forecast probability; `grad_cam_share` as `Attribution.share`, `cam_share` always 1; by method
    `…_mean` of the raw map; and of the map as it is shown (rectified) `…_inside` and `…_outside`, its mean over the
    disk inside and outside all regions, `…_in_region`, 1 if its maximum on the disk lies in one, else 0, and
    `…_above_half`, the share of the disk above half of that maximum. NaN = no region, or nothing but zero. Of each pair
    of maps `grad_cam_like_cam`, ..., the rank correlation of what is shown on 16×16 cells.
    """
    odds = np.log(attribution.probability) - np.log1p(-attribution.probability)
    found: dict[str, Any] = {"log_odds": float(odds), "grad_cam_share": attribution.share[_FLARE]}
    on_disk = attribution.frame.on_disk
    inside = np.zeros_like(on_disk)
    for patch in image.patches:
        inside |= patch.full_mask(len(inside))
    inside &= on_disk
    for method in (method for method in CLASS_MAPS if method in image.shown):
        shown = image.shown[method][..., _FLARE]
        largest = float(shown[on_disk].max())
        seen = largest > 0
        found |= {
            f"{method}_mean": float(attribution.maps[method][..., _FLARE].mean(dtype=np.float64)),
            f"{method}_inside": mean_of(shown[inside]),
            f"{method}_outside": mean_of(shown[on_disk & ~inside]),
            f"{method}_in_region": float((shown[inside] == largest).any()) if seen and inside.any() else np.nan,
            f"{method}_above_half": float((shown[on_disk] > largest / 2).mean()) if seen else np.nan,
        }
    if "cam" in image.shown:
        found["cam_share"] = 1.0
    if "grad_cam_plus_plus" in image.shown:
        found["grad_cam_plus_plus_share"] = np.nan  # its weights are not those that the score has
    cells = {method: on_cells(image.shown[method][None, ..., _FLARE]) for method in CLASS_MAPS if method in image.shown}
    for one, other in combinations(cells, 2):
        found[_alike(one, other)] = float(rank_correlation(cells[one], cells[other])[0])
    return found


def _alike(one: str, other: str) -> str:
    return f"{one}_like_{other}"


def alike_table(images: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """How much two maps of the flaring label differ, a row for each pair: of Grad-CAM++ the paper says "very small".

    `rank_correlation`, the mean over images of that of their rectified maps on 16×16 cells; `same_region`, the share of
    images whose largest region by the one is that by the other; `pearson`, `largest_difference` of regions' values.
    """
    rows = []
    for one, other in combinations([method for method in CLASS_MAPS if method in regions], 2):
        first, second = (regions[regions[f"{of}_order"] == 1].groupby("image")["region"].first() for of in (one, other))
        alike = images[_alike(one, other)].mean(), float((first == second).mean()), regions[one].corr(regions[other])
        rows.append((one, other, len(images), *alike, (regions[one] - regions[other]).abs().max()))
    names = ["one", "other", "images", "rank_correlation", "same_region", "pearson", "largest_difference"]
    return pd.DataFrame(rows, columns=names)


def map_table(images: pd.DataFrame) -> pd.DataFrame:
    """The measures over all images, and over those of each outcome: a row for each method and set.

    `explained`: the squared correlation of the map's mean with the log-odds of the forecast, its share of their
    variance; `share`: median of the images' shares; `inside_outside`: median ratio of its means inside and outside
    regions; `in_region` of `with_region` images with a region whose maximum lies in one; `above_half`: median share
    of the disk. NaN with fewer than 3 images to correlate, or none.
    """
    rows = []
    for method in (method for method in CLASS_MAPS if f"{method}_mean" in images):
        for outcome in ("all", *OUTCOMES):
            part = images if outcome == "all" else images[images["outcome"] == outcome]
            inside, outside = (part[f"{method}_{place}"].to_numpy() for place in ("inside", "outside"))
            ratio = np.divide(inside, outside, out=np.full(len(part), np.nan), where=outside > 0)
            peaks = part[f"{method}_in_region"].dropna()
            share, above_half = (part[f"{method}_{name}"].median() for name in ("share", "above_half"))
            one, other = part[f"{method}_mean"], part["log_odds"]
            varies = len(part) >= _LEAST and np.ptp(one) > 0 and np.ptp(other) > 0
            explained = float(np.corrcoef(one, other)[0, 1] ** 2) if varies else np.nan
            measures = explained, share, pd.Series(ratio).median(), int(peaks.sum()), len(peaks), above_half
            rows.append((method, outcome, len(part), *measures))
    names = ["explained", "share", "inside_outside", "in_region", "with_region", "above_half"]
    return pd.DataFrame(rows, columns=["method", "outcome", "images", *names])
