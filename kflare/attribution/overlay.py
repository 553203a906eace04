"""The picture of one image's maps over its magnetogram, in the layout of paper 1's Fig. 2."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kflare.attribution.attribution_file import LABELS, Attribution
from kflare.attribution.figures import Case, figure_hit
from kflare.attribution.harps import RegionPatch
from kflare.attribution.map_values import shown_map
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

    def pair(method: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return tuple(shown_map(attribution, method, label)[0] for label in LABELS)  # type: ignore[return-value]

    by = f"{attribution.origin.model} version {attribution.origin.version}"
    title = f"{attribution.time:%Y-%m-%d %H:%M} UT, {by}, probability {percent(attribution.probability)}\n"
    grad_cam = pair("grad_cam")
    figure = figure_hit(Case(title, field, pair("guided_backprop"), grad_cam, grad_cam, patches))
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=100, metadata={"Software": None}))
