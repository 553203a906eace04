"""The figures of an analysis (Figs. 6 and 7 with sample sizes and intervals), and the choice of what they show.

The paper shows one day of each outcome and six flaring regions without saying how they were chosen. Here days that were
asked for come first, then the clearest forecast of each outcome: the highest probability for hit and false alarm, the
lowest for miss and null; and the regions with the largest flares in hits, each region once.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.figures import figure_class_maps, figure_guided_backprop, figure_hit, figure_patches, save
from kflare.attribution.image_maps import CLASS_MAPS, NAMES, ImageMaps
from kflare.attribution.relations import BINS
from kflare.errors import DataError
from kflare.flares.catalogue import flux_to_class
from kflare.io.arrays import ArrayLike
from kflare.io.percent import score
from kflare.regions.inversion_lines import PolarityLines
from kflare.sharp.keywords import UNITS

_MARKS: Final = {"C": ("#0072B2", "o", "-"), "M": ("#E69F00", "s", "--"), "X": ("#D55E00", "^", ":")}
_BOX: Final = "#56B4E9"
_GREY: Final = "#595959"
# Signed parameters, and those that Fig. 7 draws linear because their minimum is 0.
_LINEAR: Final = ("ABSNJZH", "SHRGT45", "MEANJZD", "MEANALP", "MEANJZH", "MEANGAM", "MEANSHR")


def figure_occurrence(rates: pd.DataFrame, *, title: str = "", name: str = "Grad-CAM") -> Figure:
    """Flare occurrence rate within 24 h by value of a map, for ≥C, ≥M and X, with 95 % intervals (Fig. 6)."""
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    for shift, (least, (colour, mark, line)) in zip((-1, 0, 1), _MARKS.items(), strict=True):
        rows = rates[(rates["flare_class"] == least) & (rates["regions"] > 0)]
        if rows.empty:
            continue
        width = (rows["high"] - rows["low"]).to_numpy()
        x = (rows["low"] + rows["high"]).to_numpy() / 2 + shift * 0.12 * width
        rate = rows["rate"].to_numpy()
        # By rounding, an interval may end just short of the rate.
        reach = np.clip([rate - rows["rate_low"], rows["rate_high"] - rate], 0, None)
        label = f"{'≥' if least != 'X' else ''}{least} ({int(rows['flaring'].sum())} flaring regions)"
        upper.errorbar(x, rate, reach, color=colour, marker=mark, linestyle=line, capsize=3, markersize=5, label=label)
    upper.set(ylabel="Flare occurrence rate within 24 h", ylim=(-0.02, 1.02), title=title)
    if upper.get_legend_handles_labels()[0]:
        upper.legend(loc="upper left", fontsize="small")
    counts = rates[rates["flare_class"] == rates["flare_class"].iloc[0]]
    middle, width = (counts["low"] + counts["high"]) / 2, counts["high"] - counts["low"]
    bars = lower.bar(middle, counts["regions"], width=0.9 * width, color=_GREY)
    lower.bar_label(bars, fontsize="x-small", padding=1)
    lower.set(xlabel=f"{name} value of the region", ylabel="Regions", xlim=(counts["low"].min(), counts["high"].max()))
    lower.margins(y=0.25)
    return figure


def figure_correlations(
    regions: pd.DataFrame, correlations: pd.DataFrame, *, shown: int = 9, method: str = "grad_cam"
) -> Figure:
    """Box plots of SHARP parameters by value of a map, the `shown` largest |r| first (Fig. 7: the nine above 0.5)."""
    defined = correlations.dropna(subset="pearson")
    if defined.empty:
        raise DataError(f"no SHARP parameter has a correlation with `{method}`: too few regions have both")
    order = defined.reindex(defined["pearson"].abs().sort_values(ascending=False).index).head(shown)
    columns = min(3, len(order))
    rows = -(-len(order) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.9 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, row in zip(panels.flat, order.to_dict("records"), strict=False):
        name = str(row["parameter"])
        boxes = boxes_by_value(regions[method], regions[name])
        _draw_boxes(axes, boxes)
        positive = all(box["whislo"] > 0 for box in boxes.values())
        if name not in _LINEAR and positive:
            axes.set_yscale("log")
        axes.set_ylabel(f"{name} ({UNITS[name]})", fontsize="small")
        axes.tick_params(which="both", labelsize="small")
        interval = f" [{row['pearson_low']:.2f}, {row['pearson_high']:.2f}]" if row["days"] > 2 else ""
        axes.set_title(f"r = {row['pearson']:.2f}{interval}, n = {row['n']}", fontsize="small")
    for axes in panels.flat[len(order) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel(f"{NAMES[method]} value of the region", fontsize="small")
    return figure


def boxes_by_value(values: ArrayLike, parameter: ArrayLike) -> dict[tuple[float, float], dict[str, Any]]:
    """Quartiles and whiskers (1.5 box heights) of a parameter without NaN by bin of Grad-CAM value, for `Axes.bxp`."""
    value, size = np.asarray(values, np.float64), np.asarray(parameter, np.float64)
    boxes = {}
    for low, high in pairwise(BINS):
        inside = (value >= low) & ((value < high) | ((value == high) & (high == BINS[-1]))) & np.isfinite(size)
        if inside.any():
            boxes[low, high] = boxplot_stats(size[inside])[0]
    return boxes


def _draw_boxes(axes: Any, boxes: Mapping[tuple[float, float], Mapping[str, Any]]) -> None:
    grey = {"color": _GREY, "linewidth": 0.8}
    box, median = {"facecolor": _BOX, "edgecolor": _GREY, "linewidth": 0.8}, {"color": "black", "linewidth": 1.4}
    style = {"boxprops": box, "medianprops": median, "whiskerprops": grey, "capprops": grey}
    positions, widths = [(low + high) / 2 for low, high in boxes], [0.7 * (high - low) for low, high in boxes]
    shown = {"showfliers": False, "patch_artist": True, "manage_ticks": False}
    axes.bxp(list(boxes.values()), positions=positions, widths=widths, **shown, **style)
    axes.set_xlim(BINS[0], BINS[-1])


_PATCHES: Final = 6
_ORDER: Final = ("hit", "false alarm", "miss", "null")


def example_images(images: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    """One image of each outcome that occurs, in the order of the paper's figures."""
    wanted = images["time"].dt.date.isin(list(days))
    clear = images["probability"].where(images["outcome"].isin(["hit", "false alarm"]), -images["probability"])
    keys, rising = ["_wanted", "_clear", "time"], [False, False, True]
    order = images.assign(_wanted=wanted, _clear=clear).sort_values(keys, ascending=rising, kind="stable")
    first = order.drop_duplicates("outcome").sort_values("outcome", key=lambda names: names.map(_ORDER.index))
    return images.loc[first.index]


def example_regions(regions: pd.DataFrame, days: Sequence[date], *, max_longitude: float) -> pd.DataFrame:
    """Flaring regions of hits with the largest flares, each NOAA region once, those of preferred days first."""
    inner = regions[(regions["outcome"] == "hit") & regions["flaring"] & (regions["lon"].abs() <= max_longitude)]
    wanted = inner["time"].dt.date.isin(list(days))
    order = inner.assign(_wanted=wanted).sort_values(["_wanted", "flux24"], ascending=False, kind="stable")
    return order.drop_duplicates("region").head(_PATCHES).drop(columns="_wanted")


def write_figures(
    images: pd.DataFrame, regions: pd.DataFrame, tables: Mapping[str, pd.DataFrame], output: Path, *,
    read: Callable[[Path], tuple[Attribution, ImageMaps, PolarityLines]], days: Sequence[date], threshold: str,
    max_longitude: float
) -> list[Path]:  # fmt: skip
    """Write Figs. 2 to 7 where there is something to show; returns the files.

    `images` have a `path` that `read` takes; `max_longitude` limits the regions of Figs. 5 and 7, degrees.
    """

    def titled(row: Mapping[str, Any]) -> tuple[str, ImageMaps]:
        title = f"{row['time']:%Y-%m-%d}\n{row['outcome']}, score ≥{threshold} {score(row['probability'])}"
        return title, read(Path(row["path"]))[1]

    chosen = example_images(images, days)
    shown = images[images["time"].dt.date.isin(list(days)) | images.index.isin(chosen.index[:1])]
    figures = {}
    for row in shown.to_dict("records"):
        title, image = titled(row)
        figures[f"figure2_{row['time']:%Y%m%d}"] = figure_hit(title.replace("\n", ", "), image)
    cases = [titled(row) for row in chosen.to_dict("records")]
    figures["figure3"] = figure_guided_backprop(cases)
    entries = []
    for row in example_regions(regions, days, max_longitude=max_longitude).to_dict("records"):
        _, image, lines = read(Path(images.loc[images["image"] == row["image"], "path"].iloc[0]))
        patch = next(patch for patch in image.patches if patch.name == row["region"])
        title = f"{row['region']}\n{row['time']:%Y-%m-%d}\n{flux_to_class(row['flux24'])}"
        entries.append((title, image, lines, patch))
    if entries:
        methods = [method for method in CLASS_MAPS if method in regions]
        figures["figure5"] = figure_patches(entries)
        figures |= {f"figure5_{method}": figure_patches(entries, method) for method in methods}
    inner = regions[(regions["outcome"] != "null") & (regions["lon"].abs() <= max_longitude)]
    for method in (method for method in CLASS_MAPS if method in regions):
        ending = "" if method == "grad_cam" else f"_{method}"
        figures[f"figure4{ending}"] = figure_class_maps(cases, method)
        rates = tables["figure6"][tables["figure6"]["method"] == method]
        title = "Regions of hits, misses and false alarms"
        figures[f"figure6{ending}"] = figure_occurrence(rates, title=title, name=NAMES[method])
        if "figure7" in tables:
            of_method = tables["figure7"][tables["figure7"]["method"] == method]
            scaled = of_method[of_method["scaling"] == of_method["scaling"].iloc[0]]
            if scaled["pearson"].notna().any():
                figures[f"figure7{ending}"] = figure_correlations(inner, scaled, method=method)
    return [save(figure, output / f"{name}.{kind}") for name, figure in figures.items() for kind in ("png", "pdf")]
