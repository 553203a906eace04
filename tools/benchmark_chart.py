"""Charts of what `tools/bench --json` wrote: processor time beside peers or a revision, and peak memory against counts.

python tools/benchmark_chart.py FIGURES.json CHART.png [FIGURES.json CHART.png ...]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(told: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw memory if there is any among the rows, else the ratios."""
    from matplotlib.figure import Figure

    memory = [one for one in told if one["row"].startswith("memory/") and "peak_mb" in one]
    ratios = [one for one in told if "ratio" in one]
    if not (memory or ratios):
        raise SystemExit("nothing to draw: no row has a ratio, and none is of memory")
    figure = Figure(figsize=(8, 4.5 if memory else 1.2 + 0.27 * len(ratios)), layout="constrained")
    (_memory if memory else _ratios)(figure.subplots(), memory or ratios)
    figure.savefig(path, dpi=110)


def _memory(axes: Any, told: Sequence[dict[str, Any]]) -> None:
    lines: dict[str, list[tuple[int, float]]] = {}
    for one in told:
        name, _, count = one["row"].removeprefix("memory/").rpartition("-")
        lines.setdefault(name.replace("-", ", "), []).append((int(count), one["peak_mb"]))
    for number, (name, points) in enumerate(lines.items()):
        axes.plot(*zip(*sorted(points), strict=True), "osD^vPX"[number % 7] + "-", label=name, ms=5)
    axes.set(xscale="log", xlabel="images, rows, cycles", ylabel="peak memory (MB)")
    axes.set_ylim(0, 1.1 * max(one["peak_mb"] for one in told))
    axes.grid(alpha=0.3)
    axes.figure.legend(loc="outside right upper", frameon=False)


def _ratios(axes: Any, told: Sequence[dict[str, Any]]) -> None:
    for place, one in enumerate(reversed(told)):
        ratio = one["ratio"]
        spread = [[ratio["median"] - ratio["min"]], [ratio["max"] - ratio["median"]]]
        axes.errorbar(ratio["median"], place, xerr=spread, fmt="o", ms=5, color="C0" if ratio["median"] <= 1 else "C3")
    names = [f"{one['row']} ÷ {one['variant']}" for one in reversed(told)]
    axes.set(xscale="log", xlabel="processor time of kflare ÷ of the other (left of 1: kflare is faster)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.axvline(1, color="0.5", lw=1)
    axes.grid(alpha=0.3, axis="x", which="both")


if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) % 2 or not given:
        sys.exit((__doc__ or "").rpartition("\n\n")[2])
    for figures, chart in zip(given[::2], given[1::2], strict=True):
        draw(json.loads(Path(figures).read_text(encoding="utf-8"))["rows"], Path(chart))
