"""An image beside its attribution maps, with its inversion lines and its regions: what the analysis looks at.

Everything is brought to the pixels of the network's input, on which the guided gradient lies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.attribution.attribution_file import LABELS, Attribution, read_attribution
from kflare.attribution.gradients import line_measures
from kflare.attribution.harps import AREAS, RegionPatch, largest, place_regions, regions_near
from kflare.attribution.map_values import enlarged
from kflare.attribution.maps import rectified, scaled
from kflare.datasets.archive import forecast_time
from kflare.errors import DataError, SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.regions.polarity_lines import METHODS, PolarityLines, default_threshold, polarity_lines

__all__ = ["Seen", "Settings", "region_rows", "see"]

_FLARE: Final = LABELS.index("flare")


@dataclass(frozen=True)
class Settings:
    """What the paper leaves open, and what the tables are restricted to.

    Parameters
    ----------
    decision_threshold : float
        Probability from which an image is forecast to flare; 0.5 in the paper (the higher of two scores).
    area : str
        A region's area: "box" or "field", see `harps.AREAS`.
    polarity_threshold : float or None
        Field in gauss of a polarity; None for `polarity_lines.default_threshold` of each image.
    polarity_method : str
        "edges" or "schrijver", see `polarity_lines.polarity_lines`.
    line_width : int
        Side in pixels of the square by which "edges" dilates.
    strong_gradient : float
        Scaled gradient that counts as activated for the IoU; 0.1 in the paper.
    max_longitude : float
        Largest |longitude| in degrees for Fig. 7; 60 in the paper.
    tolerance_hours : float
        How far a region's position or SHARP record may be from the image in time.
    resamples : int
        Of the bootstrap intervals.
    seed : int
        The same seed gives the same intervals.
    """

    decision_threshold: float = 0.5
    area: str = "box"
    polarity_threshold: float | None = None
    polarity_method: str = "edges"
    line_width: int = 4
    strong_gradient: float = 0.1
    max_longitude: float = 60.0
    tolerance_hours: float = 12.0
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.area not in AREAS:
            raise SettingError(f"`area` must be one of {', '.join(AREAS)}, got {self.area!r}")
        if self.polarity_method not in METHODS:
            raise SettingError(f"`polarity_method` must be one of {', '.join(METHODS)}, got {self.polarity_method!r}")
        if self.polarity_threshold is not None and not self.polarity_threshold > 0:
            raise SettingError(f"`polarity_threshold` must be above 0 gauss, got {self.polarity_threshold}")
        if self.line_width < 1:
            raise SettingError(f"`line_width` must be at least 1 pixel, got {self.line_width}")
        if not 0 <= self.decision_threshold <= 1:
            raise SettingError(f"`decision_threshold` must lie in [0, 1], got {self.decision_threshold}")
        if not self.tolerance_hours >= 0 or not self.max_longitude > 0:
            raise SettingError("`tolerance_hours` must not be negative, and `max_longitude` be above 0 degrees")


@dataclass(frozen=True, eq=False)
class Seen:
    """An image beside its maps, all on the pixels of the network's input (S × S, row 0 = north).

    Parameters
    ----------
    attribution : Attribution
        As read.
    magnetogram : Magnetogram
        The image, S × S.
    guided_backprop, grad_cam, grad_cam_signed : float32 arrays of shape (S, S, 2)
        Absolute guided gradient and rectified Grad-CAM, each scaled to 0–1 per label, and Grad-CAM before its ReLU,
        raw; last axis [no flare, flare].
    lines : PolarityLines
        Of the image.
    patches : list of RegionPatch
        Its regions.
    """

    attribution: Attribution
    magnetogram: Magnetogram
    guided_backprop: npt.NDArray[np.float32]
    grad_cam: npt.NDArray[np.float32]
    grad_cam_signed: npt.NDArray[np.float32]
    lines: PolarityLines
    patches: list[RegionPatch]


def see(path: Path, images: Mapping[str, Path], regions: pd.DataFrame, settings: Settings) -> Seen:
    """Read an attribution file and its image, and lay inversion lines and regions over them.

    Parameters
    ----------
    path : Path
        Attribution file.
    images : mapping of str to Path
        The magnetograms by file name.
    regions : DataFrame
        As from `region_tables.read_regions`.
    settings : Settings
        Area, thresholds and tolerance.

    Raises
    ------
    DataError
        The file or its image cannot be used, or the image is not among `images`.
    """
    found = read_attribution(path)
    if found.image not in images:
        raise DataError(f"`{path}`: its magnetogram `{found.image}` is not among those given: name its folder")
    size = found.guided_backprop.shape[0]
    image = read_magnetogram(images[found.image], byte_range=found.byte_range, policy="any", time=found.time, size=size)
    threshold = settings.polarity_threshold or default_threshold(image)
    lines = polarity_lines(image.data, threshold=threshold, method=settings.polarity_method, width=settings.line_width)
    near = regions_near(regions, image.time, tolerance_hours=settings.tolerance_hours)
    patches = place_regions(near, image, area=settings.area, threshold=threshold)
    return Seen(
        attribution=found,
        magnetogram=image,
        guided_backprop=_scaled(found.guided_backprop),
        grad_cam=_scaled(_enlarged(rectified(found.grad_cam), found.cell, size)),
        grad_cam_signed=_enlarged(found.grad_cam, found.cell, size),
        lines=lines,
        patches=patches,
    )


def region_rows(seen: Seen, regions: pd.DataFrame, settings: Settings) -> list[dict[str, Any]]:
    """One row per region of an image: what the maps of the flaring label say of it.

    Returns
    -------
    list of dict
        `image`, `time`, `day`, `region`, `noaa`, `lon`, `lat` (at the time of the image), `hours` (image minus the
        record that the position is from), `grad_cam` (the region's Grad-CAM value), `grad_cam_raw` (the same before the
        ReLU and the scaling), `guided_backprop` (largest scaled gradient), `order` (1 = largest Grad-CAM value of the
        image), and those of `gradients.line_measures`.
    """
    time = pd.Timestamp(seen.attribution.time)
    gradient = seen.guided_backprop[..., _FLARE]
    rows: list[dict[str, Any]] = []
    for patch in seen.patches:
        row = {
            "image": seen.attribution.image,
            "time": forecast_time(seen.attribution.time),
            "day": f"{forecast_time(seen.attribution.time):%Y-%m-%d}",
            "region": patch.name,
            "noaa": patch.noaa,
            "lon": patch.lon,
            "lat": patch.lat,
            "hours": (time - regions["time"].loc[patch.index]).total_seconds() / 3600,
            "grad_cam": largest(seen.grad_cam[..., _FLARE], patch),
            "grad_cam_raw": largest(seen.grad_cam_signed[..., _FLARE], patch),
            "guided_backprop": largest(gradient, patch),
        }
        rows.append(row | line_measures(gradient, seen.lines, patch, strong=settings.strong_gradient))
    values = np.array([row["grad_cam"] for row in rows])
    for row in rows:
        row["order"] = 1 + int((values > row["grad_cam"]).sum())
    return rows


def _scaled(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`maps.scaled` for an image's maps (H, W, 2)."""
    return np.moveaxis(scaled(np.moveaxis(maps, -1, 0)), 0, -1)


def _enlarged(cells: npt.NDArray[np.float32], cell: int, size: int) -> npt.NDArray[np.float32]:
    """`map_values.enlarged` for an image's maps (h, h, 2)."""
    return np.stack([enlarged(label, cell=cell, size=size) for label in np.moveaxis(cells, -1, 0)], axis=-1)
