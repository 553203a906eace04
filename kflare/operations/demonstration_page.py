"""The page and the pictures of a demonstration: regions, their probabilities, and the flares that then happened."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import offset_copy

from kflare.flares.labels import reaches
from kflare.io.atomic import write_whole
from kflare.io.percent import chance
from kflare.observations.magnetogram import Magnetogram
from kflare.operations.forecast import Forecast
from kflare.operations.publish.pages import SiteData, render
from kflare.sun.times import within
from kflare.verification.plots import as_png

_COLOURS = {"C": "#0072B2", "M": "#D55E00"}  # of Okabe and Ito
_LEAST = 0.05  # a region with less gets no numbers
_ROTATION = 13.2  # degrees a day, as the Earth sees it


def write_week(
    site: Path, title: str, *, shown: tuple[Forecast, Magnetogram], past: Sequence[Forecast], flares: pd.DataFrame,
    words: Sequence[str]
) -> Path:  # fmt: skip
    """Write `week.html` with its pictures into a site; returns the page.

    A forecast is `shown` on its image, and all `past` ones over time; `flares` are those of class C and above, as
    `FlareList.table`, and `words` tell what became of the forecasts.
    """
    forecast, image = shown
    followed = flares[within(flares["start"], forecast.window_start, forecast.window_end)]
    write_whole(site / "week-disk.png", as_png(_disk(forecast, image, followed)))
    write_whole(site / "week-time.png", as_png(_over_time(past, flares)))
    data = {"data": SiteData(forecast, title=title), "root": "", "current": forecast}
    return write_whole(site / "week.html", render("week.html", data, followed=followed["goes_class"], words=words))


def _disk(forecast: Forecast, image: Magnetogram, followed: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image.data, cmap="gray", vmin=-200, vmax=200)
    size = image.data.shape[0]
    for region in forecast.regions:
        x0, y0, x1, y1 = (size * edge - 0.5 for edge in region.box or (0.0,) * 4)
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="#E69F00", linewidth=1.5))
        chances = [f"≥{name} {chance(one.calibrated)}" for name, one in region.probability.items()]
        if max([one.calibrated or 0.0 for one in region.probability.values()], default=0.0) < _LEAST:
            continue
        label, left = "\n".join([*(f"AR {number}" for number in region.noaa), *chances]), x0 > size / 2
        axes.annotate(
            label, (x0 if left else x1, y0), xytext=(-4 if left else 4, 0), textcoords="offset points", fontsize=10,
            ha="right" if left else "left", va="top", color="#E69F00",
            bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    # Where the regions were when the image was taken.
    day = (followed["start"] - pd.Timestamp(image.time)) / pd.Timedelta(days=1)
    lon, lat = np.deg2rad(followed["lon"] - _ROTATION * day), np.deg2rad(followed["lat"])
    x = image.disk.x + image.disk.radius * np.sin(lon) * np.cos(lat)
    y = image.disk.y - image.disk.radius * np.sin(lat)
    for name, colour, of in _classes(followed):
        label = f"flare ≥ {name}1.0 in the 24 h that followed: {int(of.sum())}"
        axes.scatter(
            x[of], y[of], 300 if name == "M" else 150, colour, marker="*", label=label.replace("≥ C1.0", "of class C"),
            edgecolors="white", linewidths=0.7, zorder=3,
            transform=offset_copy(axes.transData, figure, x=8 if name == "M" else -8, units="points"),  # side by side
        )  # fmt: skip
    axes.legend(loc="lower left", framealpha=0.8)
    axes.set_axis_off()
    edge = 1.02 * image.disk.radius
    axes.set(xlim=(image.disk.x - edge, image.disk.x + edge), ylim=(image.disk.y + edge, image.disk.y - edge))
    axes.set_title(f"A made-up Sun, {image.time:%Y-%m-%d %H:%M} UTC: calibrated probabilities, and what followed")
    return figure


def _classes(flares: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series]]:
    """Class and colour, and which flares are of it: C, then M and X."""
    strong = pd.Series(reaches(flares["flux"], "M"), index=flares.index)
    yield from (("C", _COLOURS["C"], ~strong), ("M", _COLOURS["M"], strong))


def _over_time(past: Sequence[Forecast], flares: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    issues = [one.issue for one in past]
    for name, colour in _COLOURS.items():
        given = [one.full_disk[name].calibrated for one in past]
        upper.step(issues, given, where="post", color=colour, marker=".", label=f"P(≥ {name}1.0) in the next 24 h")
    upper.set(ylim=(0, 1), ylabel="Full disk, calibrated", title="A week of a made-up Sun: forecasts and flares")
    upper.legend(loc="upper left")
    for _, colour, of in _classes(flares):
        these = flares[of]
        lower.vlines(these["start"], 1e-6, these["flux"], color=colour, linewidth=2)
        lower.scatter(these["start"], these["flux"], 18, colour)
    strong = flares[reaches(flares["flux"], "M")]
    for at in zip(strong["start"], strong["flux"], strong["goes_class"], strict=True):
        lower.annotate(at[2], at[:2], xytext=(3, 3), textcoords="offset points", fontsize=8)
    lower.set(yscale="log", ylim=(1e-6, 1e-3), ylabel="Flares that happened")
    lower.set_yticks([1e-6, 1e-5, 1e-4], ["C1.0", "M1.0", "X1.0"])
    lower.minorticks_off()
    days = pd.date_range(past[0].issue, past[-1].issue, freq="D", normalize=True)[1:]
    lower.set_xticks(days.to_pydatetime(), [f"{day:%d %b}" for day in days])
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return figure
