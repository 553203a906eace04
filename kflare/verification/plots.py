"""Pictures of a forecast's quality, for reports: each function returns a matplotlib `Figure` to save.

Colours are those of Okabe and Ito, which readers with colour-blindness can tell apart; line styles and marks differ as
well. Nothing touches pyplot's global state, so figures can be made in threads and servers.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import cycle

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from kflare.errors import DataError
from kflare.io.arrays import ArrayLike, IntArray
from kflare.verification.contingency import best_threshold, counts_by_threshold
from kflare.verification.probabilistic import brier_skill_score, reliability, roc_area, roc_curve
from kflare.verification.samples import check_samples
from kflare.verification.scores import score_arrays

_BLUE, _ORANGE, _GREEN, _VERMILION, _PURPLE, _SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
_GREY, _PALE = "#595959", "#E8E8E8"


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file; without the writer's version the same data give the same bytes."""
    buffer = BytesIO()
    figure.set_dpi(100)
    # As `savefig`, which draws once more to lay it out.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def plot_reliability(
    observed: ArrayLike, probability: ArrayLike, *, bins: int = 20, title: str = "Reliability",
    clusters: ArrayLike | None = None
) -> Figure:  # fmt: skip
    """Event rate against forecast probability; at each point events/forecasts of the bin, which are bars below.

    Points on the diagonal are perfectly reliable. Those in the grey area, between the no-skill line and the vertical
    line of the sample's climatology, add to the Brier skill score; a forecast on the horizontal line has no resolution.
    Bars of points are one sigma of `kflare.verification.probabilistic.reliability`, whose arguments these are.
    """
    events, values = check_samples(observed, probability)
    rate = float(np.mean(events))
    curve = reliability(events, values, bins=bins, clusters=clusters)
    skill = brier_skill_score(events, values)

    figure = Figure(figsize=(5.6, 6.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    ends = np.array([0.0, 1.0])
    no_skill = (ends + rate) / 2
    upper.fill_between([0, rate], [0, 0], [no_skill[0], rate], color=_PALE, linewidth=0)
    upper.fill_between([rate, 1], [rate, no_skill[1]], [1, 1], color=_PALE, linewidth=0, label="adds to skill")
    upper.plot(ends, ends, color=_GREY, label="perfect")
    upper.plot(ends, no_skill, color=_GREY, linestyle=":", label="no skill")
    upper.axhline(rate, color=_GREEN, linestyle="--", linewidth=1, label=f"climatology {rate:.3g}")
    upper.axvline(rate, color=_GREEN, linestyle="--", linewidth=1)
    filled = curve.count > 0
    upper.errorbar(
        curve.forecast[filled], curve.frequency[filled], yerr=curve.sigma[filled], color=_BLUE, ecolor=_BLUE,
        marker="o", markersize=5, linewidth=1.2, capsize=2.5, label=f"forecast, BSS {skill:.3f}",
    )  # fmt: skip
    for x, y, hits, count in zip(curve.forecast, curve.frequency, curve.events, curve.count, strict=True):
        if count:
            at, where = (x, y), {"xytext": (4, -9), "textcoords": "offset points", "annotation_clip": False}
            upper.annotate(f"{hits}/{count}", at, **where, fontsize=6, color=_GREY)
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="Observed event rate", title=_plain(title))
    upper.legend(loc="upper left", fontsize="small", framealpha=0.9)

    left = np.arange(bins) / bins
    lower.bar(left, curve.count, width=1 / bins, align="edge", color=_SKY, edgecolor="white", label="forecasts")
    lower.bar(left, curve.events, width=1 / bins, align="edge", color=_VERMILION, edgecolor="white", label="events")
    lower.set(yscale="symlog", ylim=(0, None), xlabel="Forecast probability", ylabel="Count")
    lower.legend(loc="upper right", fontsize="small", ncols=2)
    return figure


def plot_roc(observed: ArrayLike, probabilities: Mapping[str, ArrayLike], *, title: str = "ROC") -> Figure:
    """POD against POFD of several methods on the same samples, with the ROC area in the legend.

    Perfect forecasts reach the upper left corner; the diagonal has no skill. The height above it is the TSS.
    `probabilities`, 0 to 1 (N,), are given by method, else as for `plot_reliability`; `DataError` where there is none.
    """
    if not probabilities:
        raise DataError("`probabilities` must hold at least one method, got none")
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="no skill")
    colours = cycle((_BLUE, _ORANGE, _GREEN, _VERMILION, _PURPLE, _SKY, "black"))
    styles = cycle(("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1))))
    for (method, probability), colour, style in zip(probabilities.items(), colours, styles, strict=False):
        events, values = check_samples(observed, probability, name=method)
        curve, area = roc_curve(events, values), roc_area(events, values)
        axes.plot(curve.pofd, curve.pod, color=colour, linestyle=style, label=f"{_plain(method)}, area {area:.3f}")
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal", title=_plain(title))
    axes.set(xlabel="Probability of false detection (POFD)", ylabel="Probability of detection (POD)")
    axes.legend(loc="lower right", fontsize="small")
    return figure


def plot_intervals(
    methods: Sequence[str], panels: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]], *, title: str
) -> Figure:
    """Scores with intervals, a panel each: value, lower and upper end, arrays (methods,), NaN where undefined."""
    figure = Figure(figsize=(9.0, 1.6 + 0.28 * len(methods)), layout="constrained")
    rows = np.arange(len(methods))
    parts = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axes, (name, bounds) in zip(parts, panels.items(), strict=True):
        value, lower, upper = (np.asarray(part, np.float64) for part in bounds)
        axes.hlines(rows, lower, upper, color=_BLUE, linewidth=1.5)
        axes.plot(value, rows, "o", color=_BLUE, markersize=5)
        axes.axvline(0.0, color=_GREY, linestyle=":", linewidth=1)
        axes.grid(axis="y", color=_PALE)
        axes.set(xlabel=name, yticks=rows, ylim=(len(methods) - 0.5, -0.5))
        axes.set_yticklabels([_plain(method) for method in methods])
    figure.suptitle(_plain(title))
    return figure


def plot_classes(names: Sequence[str], counts: IntArray, *, title: str) -> Figure:
    """Counts (K, K) of the classes forecast (rows) and observed; darker, the more of what came in a class."""
    share = counts / np.maximum(counts.sum(axis=0), 1)
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count}\n{100 * share[row, column]:.0f} %"
        colour = "white" if share[row, column] > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="Largest class observed (% of its column)", ylabel="Largest class forecast", title=_plain(title))
    return figure


def plot_thresholds(observed: ArrayLike, probability: ArrayLike, *, title: str = "Scores against threshold") -> Figure:
    """TSS and false alarm ratio by threshold, the greatest TSS marked: on test samples hindsight, not a choice."""
    thresholds, *counts = counts_by_threshold(observed, probability)
    scores = score_arrays(*counts)
    best, table = best_threshold(observed, probability)

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    # A table holds from just above the next lower probability up to its own; above the highest nothing is forecast.
    steps = np.concatenate([[0.0], thresholds[::-1], [1.0]])
    never = score_arrays(0, 0, counts[0][-1], counts[1][-1])
    for name, label, colour, style in (("tss", "TSS", _BLUE, "-"), ("far", "false alarm ratio", _VERMILION, "--")):
        heights = np.concatenate([scores[name][-1:], scores[name][::-1], [never[name]]])
        axes.plot(steps, heights, color=colour, linestyle=style, drawstyle="steps-pre", label=label)
    if not np.isnan(best):
        label = f"greatest TSS {table.tss:.3f} at {best:.3g}"
        axes.plot(best, table.tss, color="black", marker="v", linestyle="none", label=label)
    axes.axvline(0.5, color=_GREY, linestyle=":", linewidth=1)
    axes.axhline(0.0, color=_GREY, linewidth=0.8)
    lowest = np.nanmin(np.append(scores["tss"], 0.0))
    axes.set(xlim=(0, 1), ylim=(min(-0.02, lowest - 0.05), 1.02), xlabel="Probability threshold", title=_plain(title))
    axes.set_ylabel("Score")
    axes.legend(loc="best", fontsize="small")
    return figure


def plot_series(
    time: ArrayLike, observed: ArrayLike, probability: ArrayLike, *, threshold: float = 0.5,
    title: str = "Forecast and outcome"
) -> Figure:  # fmt: skip
    """Probability by time (datetime64 (N,), UTC begin of windows, else `DataError`): hits, misses, false alarms."""
    events, values = check_samples(observed, probability)
    times = np.asarray(time)
    if times.dtype.kind != "M" or times.shape != values.shape:
        raise DataError(f"`time` must be datetime64 of shape {values.shape}, got {times.dtype} of shape {times.shape}")
    yes = values >= threshold
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.vlines(times[events], 0, values[events], color=_GREY, linewidth=0.6)
    for label, chosen, colour, mark, size in (
        ("correct null", ~events & ~yes, _GREY, ".", 3),
        ("false alarm", ~events & yes, _ORANGE, "x", 6),
        ("miss", events & ~yes, _VERMILION, "v", 6),
        ("hit", events & yes, _BLUE, "o", 6),
    ):
        counted = f"{label} ({int(np.sum(chosen))})"
        axes.plot(times[chosen], values[chosen], mark, color=colour, markersize=size, label=counted)
    axes.axhline(threshold, color=_GREY, linestyle=":", label=f"threshold {threshold:g}")
    axes.set(ylim=(-0.02, 1.02), xlabel="Time (UTC)", ylabel="Forecast probability", title=_plain(title))
    short = ConciseDateFormatter(axes.xaxis.get_major_locator())  # type: ignore[no-untyped-call] # whole dates overlap
    axes.xaxis.set_major_formatter(short)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _plain(text: str) -> str:
    """Text that matplotlib draws as it stands: a dollar begins mathematics, an underscore hides a legend's entry."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
