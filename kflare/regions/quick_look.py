"""Pictures of what was found at one time: the disk, the regions' boxes with their numbers, neutral lines, HARPs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from kflare.io.arrays import Float32Array, Float64Array
from kflare.io.atomic import write_whole
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.detection import Detection
from kflare.regions.inversion_lines import neutral_lines
from kflare.regions.vector_field import MAP_SIZE, FullDiskVector
from kflare.sun.constants import SOLAR_RADIUS_MM
from kflare.sun.disk import Disk

_WIDTH = 1024  # pixels of the drawn magnetogram
_RANGE = 300.0  # gauss shown as white and black
_STEP_MM = 0.5
# Of the palette of Okabe & Ito.
_FORECAST, _LIMB, _LINE, _FRAME = "#E69F00", "#CC79A7", "#56B4E9", "#D55E00"
_WHOLE = 0.99  # of the disk: a record of the full disk, but for the pixels of the limb, and no HARPs


def draw_quick_look(
    magnetogram: Magnetogram, detection: Detection, path: Path, *, names: Sequence[str] | None = None
) -> None:
    """Draw the picture as PNG, in one step; `names`, such as NOAA numbers, stand beside the regions' numbers."""
    small = magnetogram.resized(min(_WIDTH, magnetogram.data.shape[0]))
    axes = _disk_axes(small.data, small.disk)
    boxes = _draw_frames(axes, detection, small.data.shape[0], _FORECAST, names)
    for region, box in zip(detection.regions, boxes, strict=True):
        for x, y in [] if region.limb else _lines(small, box):
            axes.plot(x, y, color=_LINE, linewidth=1.2)
    lines = "lines: magnetic neutral lines; dotted: across the limb, not forecast; north up, west right"
    _finish(axes, detection, small.instrument, lines, path)


def draw_vector_map(
    vector: FullDiskVector, detection: Detection, path: Path, *, names: Sequence[str] | None = None
) -> None:
    """Draw the regions' frames over the radial field of a vector map with its HARP areas, as PNG, in one step.

    Nishizuka et al. (2021), Fig. 2: where a frame leaves the areas, the vector field is 0.
    """
    radial, covered, disk = vector.radial_map(min(MAP_SIZE, vector.geometry.shape[0]))
    axes, lines = _disk_axes(radial, disk), "dotted: across the limb, not forecast; north up, west right"
    if covered.any() and covered[np.isfinite(radial)].mean() < _WHOLE:
        lines = "blue: areas of HARPs, outside of them the field is 0; dotted: across the limb, not forecast"
        axes.contour(covered.astype(float), [0.5], colors=_LINE, linewidths=1.1)
    _draw_frames(axes, detection, len(radial), _FRAME, names)
    _finish(axes, detection, "radial component of the vector field", lines, path)


def _disk_axes(data: Float32Array, disk: Disk) -> Any:
    from matplotlib.figure import Figure

    axes = Figure(figsize=(8, 8.35), dpi=100, layout="constrained").add_subplot()
    axes.imshow(data, cmap="gray", vmin=-_RANGE, vmax=_RANGE, interpolation="antialiased")
    turn = np.linspace(0, 2 * np.pi, 361)
    axes.plot(disk.x + disk.radius * np.cos(turn), disk.y + disk.radius * np.sin(turn), color="0.5", linewidth=0.6)
    margin = 1.03 * disk.radius
    axes.set_xlim(disk.x - margin, disk.x + margin)
    axes.set_ylim(disk.y + margin, disk.y - margin)
    axes.set_axis_off()
    return axes


def _draw_frames(
    axes: Any, detection: Detection, width: int, color: str, names: Sequence[str] | None
) -> list[tuple[float, float, float, float]]:
    """Frames of the regions in an image of the disk `width` pixels wide; returns them in its pixels."""
    from matplotlib.patheffects import withStroke

    scale, halo = width / detection.geometry.shape[1], [withStroke(linewidth=2, foreground="white")]
    boxes = []
    for region, name in zip(detection.regions, names or [""] * len(detection.regions), strict=True):
        own, style = (_LIMB, ":") if region.limb else (color, "-")
        x0, y0, x1, y1 = (edge * scale - 0.5 for edge in region.box)
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=own, linewidth=1.1, linestyle=style)
        label = f"{region.number} {name}".strip() + (" (limb)" if region.limb else "")
        axes.text(x0, y0 - 4, label, color=own, fontsize=9, fontweight="bold", va="bottom", path_effects=halo)
        boxes.append((x0, y0, x1, y1))
    return boxes


def _finish(axes: Any, detection: Detection, what: str, lines: str, path: Path) -> None:
    found = f"{len(detection.regions)} regions" if detection.regions else "no sunspot"
    title = f"{detection.time:%Y-%m-%d %H:%M} UT, {what}, ±{_RANGE:g} G: {found}\n{lines}"
    axes.set_title(title, fontsize=10)
    write_whole(path, lambda file: axes.figure.savefig(file, format="png", metadata={"Software": None}))


def _lines(small: Magnetogram, box: tuple[float, float, float, float]) -> list[tuple[Float64Array, Float64Array]]:
    """Neutral lines in a box of the drawn image; lengths are measured on the Sun, these are for the eye."""
    x0, y0, x1, y1 = (max(round(edge + 0.5), 0) for edge in box)
    step = SOLAR_RADIUS_MM / small.disk.radius
    # As fine as the maps that are measured, nearly: thresholds must be reached within a few Mm of a line.
    factor = max(1, round(step / _STEP_MM))
    field = ndimage.zoom(np.nan_to_num(small.data[y0:y1, x0:x1]), factor, order=1, grid_mode=True, mode="nearest")
    found = neutral_lines(field, step_mm=step / factor)
    return [((line[:, 1] + 0.5) / factor - 0.5 + x0, (line[:, 0] + 0.5) / factor - 0.5 + y0) for line in found.lines]
