"""The picture of one image's maps over its magnetogram, in the layout of paper 1's Fig. 2."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.figures import figure_hit
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import ImageMaps, scaled_maps
from kflare.io.atomic import write_whole
from kflare.io.percent import percent

__all__ = ["draw_overlay"]


def draw_overlay(
    attribution: Attribution,
    field: npt.NDArray[np.float32],
    path: Path,
    *,
    patches: Sequence[RegionPatch] = (),
) -> None:
    """Draw guided backpropagation and Grad-CAM of the label "flare" over the magnetogram; PNG, written in one step.

    Parameters
    ----------
    attribution : Attribution
        The maps.
    field : float32 array of shape (S, S)
        The magnetogram on the pixels of the network's input, gauss, row 0 = north, NaN off the disk.
    path : Path
        The picture.
    patches : sequence of RegionPatch
        Regions to frame and name.

    Raises
    ------
    SettingError
        The folder cannot be written to.
    """
    by = f"{attribution.origin.model} version {attribution.origin.version}"
    title = f"{attribution.time:%Y-%m-%d %H:%M} UT, {by}, probability {percent(attribution.probability)}"
    figure = figure_hit(title, ImageMaps(field, *scaled_maps(attribution), patches))
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=100, metadata={"Software": None}))
