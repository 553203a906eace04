"""Pictures of `relations`: Figs. 6 and 7 of Yi et al. (2021), with sample sizes and intervals that the paper lacks."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kflare.attribution.relations import box_statistics
from kflare.errors import DataError
from kflare.sharp.keywords import UNITS

__all__ = ["figure_correlations", "figure_occurrence"]

_MARKS: Final = {"C": ("#0072B2", "o", "-"), "M": ("#E69F00", "s", "--"), "X": ("#D55E00", "^", ":")}
_BOX: Final = "#56B4E9"
_GREY: Final = "#595959"
# Signed parameters, and those that Fig. 7 draws linear because their minimum is 0.
_LINEAR: Final = ("ABSNJZH", "SHRGT45", "MEANJZD", "MEANALP", "MEANJZH", "MEANGAM", "MEANSHR")


def figure_occurrence(rates: pd.DataFrame, *, title: str = "") -> Figure:
    """Flare occurrence rate within 24 h by Grad-CAM value, for ≥C, ≥M and X, with 95 % intervals (Fig. 6).

    Parameters
    ----------
    rates : DataFrame
        As from `relations.occurrence_rates`.
    title : str
        For the reader.
    """
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    for shift, (name, (colour, mark, line)) in zip((-1, 0, 1), _MARKS.items(), strict=True):
        rows = rates[(rates["flare_class"] == name) & (rates["regions"] > 0)]
        if rows.empty:
            continue
        width = (rows["high"] - rows["low"]).to_numpy()
        x = (rows["low"] + rows["high"]).to_numpy() / 2 + shift * 0.12 * width
        rate = rows["rate"].to_numpy()
        # Rounding may put the end of an interval a hair beyond the rate.
        reach = np.clip([rate - rows["rate_low"], rows["rate_high"] - rate], 0, None)
        label = f"{'≥' if name != 'X' else ''}{name} ({int(rows['flaring'].sum())} flaring regions)"
        upper.errorbar(x, rate, reach, color=colour, marker=mark, linestyle=line, capsize=3, markersize=5, label=label)
    upper.set(ylabel="Flare occurrence rate within 24 h", ylim=(-0.02, 1.02), title=title)
    if upper.get_legend_handles_labels()[0]:
        upper.legend(loc="upper left", fontsize="small")
    counts = rates[rates["flare_class"] == rates["flare_class"].iloc[0]]
    middle, width = (counts["low"] + counts["high"]) / 2, counts["high"] - counts["low"]
    bars = lower.bar(middle, counts["regions"], width=0.9 * width, color=_GREY)
    lower.bar_label(bars, fontsize="x-small", padding=1)
    lower.set(xlabel="Grad-CAM value of the region", ylabel="Regions", xlim=(counts["low"].min(), counts["high"].max()))
    lower.margins(y=0.25)
    return figure


def figure_correlations(
    regions: pd.DataFrame, correlations: pd.DataFrame, *, value: str = "grad_cam", shown: int = 9, bins: Any = None
) -> Figure:
    """Box plots of the SHARP parameters by Grad-CAM value, those with the largest |r| first (Fig. 7).

    Parameters
    ----------
    regions : DataFrame
        One row per image and region, as given to `relations.correlations`.
    correlations : DataFrame
        Its result.
    value : str
        Column of the Grad-CAM value.
    shown : int
        How many parameters; the paper shows the nine with r above 0.5.
    bins : array-like, optional
        Edges of the Grad-CAM value.

    Raises
    ------
    DataError
        No parameter has a correlation.
    """
    defined = correlations.dropna(subset="pearson")
    if defined.empty:
        raise DataError("no SHARP parameter has a correlation with the Grad-CAM value: too few regions have both")
    order = defined.reindex(defined["pearson"].abs().sort_values(ascending=False).index).head(shown)
    columns = min(3, len(order))
    rows = -(-len(order) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.9 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, row in zip(panels.flat, order.to_dict("records"), strict=False):
        name = str(row["parameter"])
        options = {} if bins is None else {"bins": bins}
        boxes = box_statistics(regions[value].to_numpy(), regions[name].to_numpy(), **options)
        _draw_boxes(axes, boxes)
        positive = boxes["lower_whisker"].dropna().gt(0).all()
        if name not in _LINEAR and positive:
            axes.set_yscale("log")
        axes.set_ylabel(f"{name} ({UNITS[name]})", fontsize="small")
        axes.tick_params(which="both", labelsize="small")
        interval = f" [{row['pearson_low']:.2f}, {row['pearson_high']:.2f}]" if row["days"] > 2 else ""
        axes.set_title(f"r = {row['pearson']:.2f}{interval}, n = {row['n']}", fontsize="small")
    for axes in panels.flat[len(order) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("Grad-CAM value of the region", fontsize="small")
    return figure


def _draw_boxes(axes: Any, boxes: pd.DataFrame) -> None:
    filled = boxes[boxes["regions"] > 0]
    statistics: Sequence[dict[str, Any]] = [
        {
            "med": row["median"],
            "q1": row["lower_quartile"],
            "q3": row["upper_quartile"],
            "whislo": row["lower_whisker"],
            "whishi": row["upper_whisker"],
            "fliers": [],
        }
        for row in filled.to_dict("records")
    ]
    middle = ((filled["low"] + filled["high"]) / 2).to_list()
    width = (filled["high"] - filled["low"]).to_numpy()
    axes.bxp(
        statistics,
        positions=middle,
        widths=0.7 * width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": _BOX, "edgecolor": _GREY, "linewidth": 0.8},
        medianprops={"color": "black", "linewidth": 1.4},
        whiskerprops={"color": _GREY, "linewidth": 0.8},
        capprops={"color": _GREY, "linewidth": 0.8},
    )
    axes.set_xlim(boxes["low"].min(), boxes["high"].max())
