"""A picture of what was found at one time: the disk, the boxes of the regions with their numbers, the neutral lines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from kflare.io.arrays import Float64Array
from kflare.io.atomic import write_whole
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.detection import Detection
from kflare.regions.inversion_lines import neutral_lines
from kflare.sun.constants import SOLAR_RADIUS_MM

__all__ = ["draw_quick_look"]


_WIDTH = 1024  # pixels of the drawn magnetogram
_RANGE = 300.0  # gauss shown as white and black
_STEP_MM = 0.5
_FORECAST, _LIMB, _LINE = "#E69F00", "#999999", "#56B4E9"  # of the palette of Okabe & Ito


def draw_quick_look(
    magnetogram: Magnetogram, detection: Detection, path: Path, *, names: Sequence[str] | None = None
) -> None:
    """Draw the picture as PNG, in one step; `names`, such as NOAA numbers, stand beside the regions' numbers."""
    from matplotlib.figure import Figure

    small = magnetogram.resized(min(_WIDTH, magnetogram.data.shape[0]))
    scale = small.data.shape[0] / magnetogram.data.shape[0]
    figure = Figure(figsize=(8, 8.35), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(small.data, cmap="gray", vmin=-_RANGE, vmax=_RANGE, interpolation="antialiased")
    turn = np.linspace(0, 2 * np.pi, 361)
    disk = small.disk
    axes.plot(disk.x + disk.radius * np.cos(turn), disk.y + disk.radius * np.sin(turn), color="0.5", linewidth=0.6)
    for region, name in zip(detection.regions, names or [""] * len(detection.regions), strict=True):
        color = _LIMB if region.limb else _FORECAST
        x0, y0, x1, y1 = (edge * scale - 0.5 for edge in region.box)
        style = ":" if region.limb else "-"
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=color, linewidth=1.1, linestyle=style)
        label = f"{region.number} {name}".strip() + (" (limb)" if region.limb else "")
        axes.text(x0, y0 - 4, label, color=color, fontsize=9, fontweight="bold", va="bottom")
        if not region.limb:
            for x, y in _lines(small, (x0, y0, x1, y1)):
                axes.plot(x, y, color=_LINE, linewidth=1.2)
    margin = 0.03 * disk.radius
    axes.set_xlim(disk.x - disk.radius - margin, disk.x + disk.radius + margin)
    axes.set_ylim(disk.y + disk.radius + margin, disk.y - disk.radius - margin)
    axes.set_axis_off()
    found = f"{len(detection.regions)} regions" if detection.regions else "no sunspot"
    axes.set_title(
        f"{detection.time:%Y-%m-%d %H:%M} UT, {small.instrument}, ±{_RANGE:g} G: {found}\n"
        f"lines: magnetic neutral lines; dotted: across the limb, not forecast; north up, west right",
        fontsize=10,
    )
    write_whole(path, lambda file: figure.savefig(file, format="png", metadata={"Software": None}))


def _lines(small: Magnetogram, box: tuple[float, float, float, float]) -> list[tuple[Float64Array, Float64Array]]:
    """Neutral lines in a box of the drawn image; lengths are measured on the Sun, these are for the eye."""
    x0, y0, x1, y1 = (max(round(edge + 0.5), 0) for edge in box)
    step = SOLAR_RADIUS_MM / small.disk.radius
    # As fine as the maps that are measured, nearly: thresholds must be reached within a few Mm of a line.
    factor = max(1, round(step / _STEP_MM))
    field = ndimage.zoom(np.nan_to_num(small.data[y0:y1, x0:x1]), factor, order=1, grid_mode=True, mode="nearest")
    found = neutral_lines(field, step_mm=step / factor)
    return [((line[:, 1] + 0.5) / factor - 0.5 + x0, (line[:, 0] + 0.5) / factor - 0.5 + y0) for line in found.lines]
