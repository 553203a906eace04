"""The figures of an analysis, and the choice of the images and regions that they show.

The paper shows one day of each outcome and six flaring regions without saying how they were chosen. Here days that were
asked for come first, then the clearest forecast of each outcome: the highest probability for hit and false alarm, the
lowest for miss and null; and the regions with the largest flares in hits, each region once.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kflare.attribution.attribution_file import Attribution
from kflare.attribution.figures import figure_grad_cam, figure_guided_backprop, figure_hit, figure_patches, save
from kflare.attribution.image_maps import ImageMaps
from kflare.attribution.relation_plots import figure_correlations, figure_occurrence
from kflare.flares.catalogue import flux_to_class
from kflare.io.percent import percent
from kflare.regions.inversion_lines import PolarityLines

__all__ = ["example_images", "example_regions", "write_figures"]

_PATCHES: Final = 6
_ORDER: Final = ("hit", "false alarm", "miss", "null")


def example_images(images: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    """One image of each outcome that occurs, in the order of the paper's figures."""
    wanted = images["time"].dt.date.isin(list(days))
    clear = images["probability"].where(images["outcome"].isin(["hit", "false alarm"]), -images["probability"])
    order = images.assign(_wanted=wanted, _clear=clear).sort_values(
        ["_wanted", "_clear", "time"], ascending=[False, False, True], kind="stable"
    )
    first = order.drop_duplicates("outcome").sort_values("outcome", key=lambda names: names.map(_ORDER.index))
    return images.loc[first.index]


def example_regions(regions: pd.DataFrame, days: Sequence[date], *, max_longitude: float) -> pd.DataFrame:
    """Flaring regions of hits with the largest flares, each NOAA region once, those of preferred days first."""
    inner = regions[(regions["outcome"] == "hit") & regions["flaring"] & (regions["lon"].abs() <= max_longitude)]
    wanted = inner["time"].dt.date.isin(list(days))
    order = inner.assign(_wanted=wanted).sort_values(["_wanted", "flux24"], ascending=False, kind="stable")
    return order.drop_duplicates("region").head(_PATCHES).drop(columns="_wanted")


def write_figures(
    images: pd.DataFrame,
    regions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    output: Path,
    *,
    read: Callable[[Path], tuple[Attribution, ImageMaps, PolarityLines]],
    days: Sequence[date],
    threshold: str,
    max_longitude: float,
) -> list[Path]:
    """Write Figs. 2 to 7 where there is something to show; returns the files.

    `images` have a `path` that `read` takes; `max_longitude` limits the regions of Figs. 5 and 7, degrees.
    """

    def titled(row: Mapping[str, Any]) -> tuple[str, ImageMaps]:
        title = f"{row['time']:%Y-%m-%d}\n{row['outcome']}, P(≥{threshold}) = {percent(row['probability'])}"
        return title, read(Path(row["path"]))[1]

    chosen = example_images(images, days)
    shown = images[images["time"].dt.date.isin(list(days)) | images.index.isin(chosen.index[:1])]
    figures = {}
    for row in shown.to_dict("records"):
        title, image = titled(row)
        figures[f"figure2_{row['time']:%Y%m%d}"] = figure_hit(title.replace("\n", ", "), image)
    cases = [titled(row) for row in chosen.to_dict("records")]
    figures |= {"figure3": figure_guided_backprop(cases), "figure4": figure_grad_cam(cases)}
    entries = []
    for row in example_regions(regions, days, max_longitude=max_longitude).to_dict("records"):
        _, image, lines = read(Path(images.loc[images["image"] == row["image"], "path"].iloc[0]))
        patch = next(patch for patch in image.patches if patch.name == row["region"])
        title = f"{row['region']}\n{row['time']:%Y-%m-%d}\n{flux_to_class(row['flux24'])}"
        entries.append((title, image, lines, patch))
    if entries:
        figures["figure5"] = figure_patches(entries)
    figures["figure6"] = figure_occurrence(tables["figure6"], title="Regions of hits, misses and false alarms")
    if "figure7" in tables and tables["figure7"]["pearson"].notna().any():
        inner = regions[(regions["outcome"] != "null") & (regions["lon"].abs() <= max_longitude)]
        scaled = tables["figure7"]["scaling"] == tables["figure7"]["scaling"].iloc[0]
        figures["figure7"] = figure_correlations(inner, tables["figure7"][scaled])
    return [save(figure, output / f"{name}.{kind}") for name, figure in figures.items() for kind in ("png", "pdf")]
