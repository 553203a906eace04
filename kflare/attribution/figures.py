"""Attribution maps over magnetograms, as Figs. 2 to 5 of Yi et al. (2021) show them.

Each function returns a matplotlib `Figure` to save (`save`). North is up and west right. Magnetograms are grey, maps go
from transparent to bright in a colour map that is ordered in brightness too, signed maps use orange and purple: all can
be told apart with colour-blindness. Nothing touches pyplot's global state.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import NAMES, ImageMaps, scaled_maps
from kflare.errors import DataError
from kflare.io.arrays import AnyArray, BoolArray, FloatArray
from kflare.io.atomic import write_whole
from kflare.io.percent import percent, score
from kflare.regions.inversion_lines import PolarityLines

_BLUE, _ORANGE, _SKY = "#0072B2", "#E69F00", "#56B4E9"
_PANEL: Final = 3.1
_LIMIT: Final = 100.0  # gauss at which the grey scale ends
_MARGIN: Final = 8  # pixels shown around a region's box
# Under a map the magnetogram is fainter, so that its white and black do not hide the map's colours.
_FAINT: Final = 2.5
# How opaque the largest values are: a gradient is full of holes, Grad-CAM covers whole regions.
_SHARP_MAP: Final = 0.95
_SMOOTH_MAP: Final = 0.6
_OPACITY: Final = {
    "guided_backprop": _SHARP_MAP, "saliency": _SHARP_MAP, "grad_cam": _SMOOTH_MAP, "grad_cam_plus_plus": _SMOOTH_MAP,
    "cam": _SHARP_MAP,
}  # fmt: skip
_Extent = tuple[float, float, float, float] | None


def figure_hit(title: str, image: ImageMaps) -> Figure:
    """Magnetogram with regions and the maps of the flaring label, also overlaid (Fig. 2, and the exact CAM)."""
    maps = [method for method in _OPACITY if method in image.shown]
    figure = Figure(figsize=(2 * 4.2 + 0.9, (1 + len(maps)) * 4.2 + 0.6), layout="constrained")
    panels = figure.subplots(1 + len(maps), 2)
    figure.suptitle(f"{title}: flaring label")
    _field(panels[0, 0], image.field, _LIMIT)
    panels[0, 0].set_title("(a) magnetogram")
    grey = _field(panels[0, 1], image.field, _LIMIT)
    _frames(panels[0, 1], image.patches, names=True)
    panels[0, 1].set_title("active regions")
    figure.colorbar(grey, ax=panels[0].tolist(), label="Line-of-sight field (G)", shrink=0.8)
    for row, letter, method in zip(panels[1:], "bcdef", maps, strict=False):
        map_ = image.shown[method][..., 1]
        shown = row[0].imshow(map_, cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
        row[0].set_title(f"({letter}) {NAMES[method]}")
        _field(row[1], image.field, _FAINT * _LIMIT)
        _overlay(row[1], map_, alpha=_OPACITY[method])
        _frames(row[1], image.patches, names=False)
        row[1].set_title("overlaid")
        figure.colorbar(shown, ax=row.tolist(), label="Scaled to 0–1", shrink=0.8)
    _bare(panels)
    return figure


def overlay(attribution: Attribution, field: FloatArray, *, patches: Sequence[RegionPatch] = ()) -> Figure:
    """`figure_hit` of an image; the field (S, S) on the network's pixels: gauss, row 0 = north, NaN off the disk."""
    by = f"{attribution.origin.model} version {attribution.origin.version}"
    told = f"P {percent(attribution.calibrated)}, score {score(attribution.probability)}"
    title = f"{attribution.time:%Y-%m-%d %H:%M} UT, {by}, {told}"
    return figure_hit(title, ImageMaps(field, *scaled_maps(attribution), patches))


def figure_guided_backprop(cases: Sequence[tuple[str, ImageMaps]]) -> Figure:
    """Guided backpropagation of both labels over the magnetograms, one row per title and image (Fig. 3)."""
    figure, panels = _grid(cases, ("flaring label", "non-flare label"))
    for row, (title, image) in zip(panels, cases, strict=True):
        for axes, label in zip(row, (1, 0), strict=True):
            _field(axes, image.field, _FAINT * _LIMIT)
            shown = _overlay(axes, image.shown["guided_backprop"][..., label], alpha=_SHARP_MAP)
        _frames(row[0], image.patches, names=True)
        row[0].set_ylabel(title)
    _bar(figure, shown, panels, "|guided gradient|, scaled to 0–1 for each map")
    return figure


def figure_class_maps(cases: Sequence[tuple[str, ImageMaps]], method: str = "grad_cam") -> Figure:
    """A map of `CLASS_MAPS` of both labels, and for no flare also without ReLU, a row per title and image (Fig. 4)."""
    name, opacity = NAMES[method], _OPACITY[method]
    signed = "rectified by definition" if method == "grad_cam_plus_plus" else "without ReLU"
    figure, panels = _grid(cases, ("flaring label", "non-flare label", f"non-flare label, {signed}"))
    for row, (title, image) in zip(panels, cases, strict=True):
        for axes in row:
            _field(axes, image.field, _FAINT * _LIMIT)
        for axes, label in zip(row[:2], (1, 0), strict=True):
            shown = _overlay(axes, image.shown[method][..., label], alpha=opacity)
        both = image.raw[method][..., 0]
        signed = _overlay(row[2], both / (np.abs(both).max() or 1), signed=True, alpha=opacity)
        _frames(row[0], image.patches, names=True)
        row[0].set_ylabel(title)
    _bar(figure, shown, panels[:, :2], f"{name}, scaled to 0–1 for each map")
    _bar(figure, signed, panels[:, 2:], f"{name}, scaled to ±1")
    return figure


def figure_patches(
    entries: Sequence[tuple[str, ImageMaps, PolarityLines, RegionPatch]], method: str = "guided_backprop"
) -> Figure:
    """Regions close up: magnetogram, a map, both, and the masks of the analysis, a row each (Fig. 5: the gradient)."""
    if not entries:
        raise DataError("a figure of region patches needs at least one region")
    titles = ("magnetogram", NAMES[method], "overlaid", "masks")
    shapes = [patch.mask.shape for *_, patch in entries]
    heights = [(h + 2 * _MARGIN) / (w + 2 * _MARGIN) for h, w in shapes]
    figure = Figure(figsize=(4 * 2.7 + 1.6, 2.7 * sum(heights) + 0.45 * len(entries) + 0.8), layout="constrained")
    panels = figure.subplots(len(entries), 4, squeeze=False, height_ratios=heights)
    for row, (title, image, lines, patch) in zip(panels, entries, strict=True):
        rows, columns = (slice(max(one.start - _MARGIN, 0), one.stop + _MARGIN) for one in (patch.rows, patch.columns))
        frame = (columns.start - 0.5, columns.start, rows.start - 0.5, rows.start)
        field, values = image.field[rows, columns], image.shown[method][rows, columns, 1]
        extent = (frame[0], frame[0] + field.shape[1], frame[2] + field.shape[0], frame[2])
        strongest = float(np.nanmax(values, initial=0)) or 1.0
        grey = _field(row[0], field, _LIMIT, extent=extent)
        shown = row[1].imshow(values, cmap="inferno", vmin=0, vmax=strongest, extent=extent, interpolation="nearest")
        _field(row[2], field, _FAINT * _LIMIT, extent=extent)
        _overlay(row[2], values / strongest, alpha=_OPACITY[method], extent=extent)
        _field(row[3], field, _LIMIT, extent=extent)
        inside = patch.full_mask(image.field.shape[0])
        _mask(row[3], (lines.boundary & inside)[rows, columns], _SKY, extent)
        _mask(row[3], (lines.inversion & inside)[rows, columns], _ORANGE, extent)
        x, y = columns.start + np.arange(field.shape[1]), rows.start + np.arange(field.shape[0])
        row[3].contour(x, y, inside[rows, columns].astype(float), levels=[0.5], colors=[_BLUE], linewidths=1.0)
        row[0].set_ylabel(title, fontsize="small")
        bar = figure.colorbar(shown, ax=row[1], shrink=0.8, pad=0.02)
        bar.set_ticks([0, strongest], labels=["0", f"{strongest:.2g}"])
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize="medium")
    below: dict[str, Any] = {"location": "bottom", "shrink": 0.3, "aspect": 30}
    figure.colorbar(grey, ax=panels[-1].tolist(), label="Line-of-sight field (G)", **below)
    legend = "Masks: inversion line orange, other boundaries light blue, region's area outlined in blue"
    figure.suptitle(legend, fontsize=9)
    _bare(panels)
    return figure


def save(figure: Figure, path: Path, *, dpi: int = 150) -> Path:
    """Write a figure as PNG or PDF, whole and without a date, so that equal figures are equal files."""
    kind = path.suffix[1:]
    undated: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}[kind]
    return write_whole(path, lambda file: figure.savefig(file, format=kind, dpi=dpi, metadata=undated))


def _grid(cases: Sequence[tuple[str, ImageMaps]], titles: Sequence[str]) -> tuple[Figure, AnyArray]:
    if not cases:
        raise DataError("a figure of overlays needs at least one case")
    figure = Figure(figsize=(_PANEL * len(titles) + 0.6, _PANEL * len(cases) + 0.9), layout="constrained")
    panels: AnyArray = figure.subplots(len(cases), len(titles), squeeze=False)
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize="medium")
    _bare(panels)
    return figure, panels


def _bar(figure: Figure, shown: Any, panels: AnyArray, label: str) -> None:
    share = 0.15 / len(panels)  # of the height of all rows, so that bars are equally thick below one row and four
    where: dict[str, Any] = {"location": "bottom", "fraction": share, "pad": 0.01, "shrink": 0.7, "aspect": 30}
    figure.colorbar(shown, ax=panels.ravel().tolist(), label=label, **where)


def _field(axes: Axes, field: FloatArray, limit: float, extent: _Extent = None) -> Any:
    axes.set_facecolor("black")
    return axes.imshow(field, cmap="gray", vmin=-limit, vmax=limit, extent=extent, interpolation="nearest")


def _overlay(axes: Axes, map_: FloatArray, *, signed: bool = False, alpha: float = 0.65, extent: _Extent = None) -> Any:
    """A map over a magnetogram: the larger its value, the more opaque, up to `alpha`."""
    # The dark end of "inferno" would hide the magnetogram it lies on, so it starts in its red.
    name, low, first = ("PuOr", -1, 0) if signed else ("inferno", 0, 0.45)
    # An odd number of levels, so that one of them is 0, which is transparent.
    colours = colormaps[name](np.linspace(first, 1, 257))
    # Opaque from 0.4 on: most of a guided gradient lies far below its largest value.
    colours[:, 3] = alpha * np.minimum(1, 2.5 * np.abs(np.linspace(low, 1, 257)))
    shown, fading = np.clip(map_, low, 1), ListedColormap(colours)
    return axes.imshow(shown, cmap=fading, vmin=low, vmax=1, extent=extent, interpolation="nearest")


def _mask(axes: Axes, mask: BoolArray, colour: str, extent: _Extent) -> None:
    shown = np.ma.masked_where(~mask, np.ones(mask.shape))
    axes.imshow(shown, cmap=ListedColormap([colour]), alpha=0.75, extent=extent, interpolation="nearest")


def _frames(axes: Axes, patches: Sequence[RegionPatch], *, names: bool) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for patch in patches:
        left, top = patch.columns.start - 0.5, patch.rows.start - 0.5
        width, height = patch.columns.stop - patch.columns.start, patch.rows.stop - patch.rows.start
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=_SKY, linewidth=0.9))
        if names:
            # Towards the pole, where the next region is less likely to be than in the same belt.
            place, side = (top - 2, "bottom") if patch.lat >= 0 else (top + height + 2, "top")
            style: dict[str, Any] = {"color": "white", "fontsize": 6.5, "ha": "center", "va": side}
            text = axes.text(left + width / 2, place, patch.label, **style)
            text.set_path_effects([withStroke(linewidth=1.8, foreground=_BLUE)])


def _bare(panels: AnyArray) -> None:
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
