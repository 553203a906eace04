"""An image of an export as the analysis of Yi et al. (2021, section 4) takes it: maps, inversion lines and regions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.attribution.attribution_file import LABELS, Attribution, read_attribution
from kflare.attribution.gradients import line_measures
from kflare.attribution.harps import largest, place_regions, regions_near
from kflare.attribution.image_maps import ImageMaps, scaled_maps
from kflare.datasets.archive import forecast_time
from kflare.errors import DataError, SettingError
from kflare.observations.reading import read_magnetogram
from kflare.regions.inversion_lines import PolarityLines, default_threshold, polarity_lines

__all__ = ["AnalysisOptions", "read_image", "region_rows"]

_FLARE: Final = LABELS.index("flare")


@dataclass(frozen=True)
class AnalysisOptions:
    """What the paper leaves open, and what the tables are restricted to."""

    decision_threshold: float = 0.5  # of a flare forecast; 0.5 in the paper: the higher of two scores decides
    area: str = "box"  # "box" or "field", see `harps.AREAS`
    polarity_threshold: float | None = None  # gauss; None for `polarity_lines.default_threshold` of each image
    polarity_method: str = "edges"  # "edges" or "schrijver", see `polarity_lines.polarity_lines`
    line_width: int = 4  # side in pixels of the square by which "edges" dilates
    strong_gradient: float = 0.1  # scaled gradient that counts as activated for the IoU; 0.1 in the paper
    max_longitude: float = 60.0  # largest |longitude| in degrees for Fig. 7; 60 in the paper
    tolerance_hours: float = 12.0  # of a region's position or SHARP record to the image
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.decision_threshold <= 1:
            raise SettingError(f"`decision_threshold` must lie in [0, 1], got {self.decision_threshold}")
        if not self.tolerance_hours >= 0 or not self.max_longitude > 0:
            raise SettingError("`tolerance_hours` must not be negative, and `max_longitude` be above 0 degrees")


def read_image(
    path: Path, images: Mapping[str, Path], regions: pd.DataFrame, options: AnalysisOptions
) -> tuple[Attribution, ImageMaps, PolarityLines]:
    """Read an attribution file and its image (of `images`, by file name), and find regions and inversion lines.

    `DataError` where one of them cannot be used, `SettingError` for a threshold, width, area or method out of range.
    """
    found = read_attribution(path)
    if found.image not in images:
        raise DataError(f"`{path}`: its magnetogram `{found.image}` is not among those given: name its folder")
    size = found.guided_backprop.shape[0]
    image = read_magnetogram(images[found.image], byte_range=found.byte_range, policy="any", time=found.time, size=size)
    threshold = default_threshold(image) if options.polarity_threshold is None else options.polarity_threshold
    lines = polarity_lines(image.data, threshold=threshold, method=options.polarity_method, width=options.line_width)
    near = regions_near(regions, image.time, tolerance_hours=options.tolerance_hours)
    patches = place_regions(near, image, area=options.area, threshold=threshold)
    return found, ImageMaps(image.data, *scaled_maps(found), patches), lines


def region_rows(
    attribution: Attribution, image: ImageMaps, lines: PolarityLines, regions: pd.DataFrame, *, strong_gradient: float
) -> list[dict[str, Any]]:
    """One row per region of an image: what the maps of the flaring label say of it.

    `lon`, `lat` are at the time of the image, `hours` image minus the record of the position; `grad_cam` is the
    region's Grad-CAM value, `grad_cam_raw` that before the ReLU and the scaling, `guided_backprop` the largest scaled
    gradient, `order` 1 for the largest Grad-CAM value of the image; and those of `gradients.line_measures`.
    """
    time, nominal = pd.Timestamp(attribution.time), forecast_time(attribution.time)
    gradient = image.guided_backprop[..., _FLARE]
    rows: list[dict[str, Any]] = []
    for patch in image.patches:
        row = {
            "image": attribution.image,
            "time": nominal,
            "day": f"{nominal:%Y-%m-%d}",
            "region": patch.name,
            "noaa": patch.noaa,
            "lon": patch.lon,
            "lat": patch.lat,
            "hours": (time - regions["time"].loc[patch.index]).total_seconds() / 3600,
            "grad_cam": largest(image.grad_cam[..., _FLARE], patch),
            "grad_cam_raw": largest(image.grad_cam_signed[..., _FLARE], patch),
            "guided_backprop": largest(gradient, patch),
        }
        rows.append(row | line_measures(gradient, lines, patch, strong=strong_gradient))
    values = np.array([row["grad_cam"] for row in rows])
    for row in rows:
        row["order"] = 1 + int((values > row["grad_cam"]).sum())
    return rows
