"""The picture of one image's maps over its magnetogram, in the layout of paper 1's Fig. 2."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.figures import figure_hit
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import ImageMaps, scaled_maps
from kflare.io.atomic import write_whole
from kflare.io.percent import percent

__all__ = ["overlay", "write_overlay"]


def overlay(attribution: Attribution, field: npt.NDArray[np.float32], *, patches: Sequence[RegionPatch] = ()) -> Figure:
    """Draw guided backpropagation and Grad-CAM of the label "flare" over the magnetogram.

    The field (S, S) is on the pixels of the network's input: gauss, row 0 = north, NaN off the disk.
    """
    by = f"{attribution.origin.model} version {attribution.origin.version}"
    title = f"{attribution.time:%Y-%m-%d %H:%M} UT, {by}, probability {percent(attribution.probability)}"
    return figure_hit(title, ImageMaps(field, *scaled_maps(attribution), patches))


def write_overlay(figure: Figure, path: Path) -> None:
    """Write it as PNG in one step; a folder that cannot be written to raises `SettingError`."""
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=100, metadata={"Software": None}))
