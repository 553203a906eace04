"""Which images and regions stand for the others in the figures of an analysis, and writing the figures.

The paper shows one day of each outcome and six flaring regions without saying how they were chosen. Here days that were
asked for come first, then the clearest forecast of each outcome: the highest probability for hit and false alarm, the
lowest for miss and null; and the regions with the largest flares in hits, each region once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.attribution.figures import (
    Case,
    figure_grad_cam,
    figure_guided_backprop,
    figure_hit,
    figure_patches,
    save,
)
from kflare.attribution.image_maps import Seen
from kflare.attribution.relation_plots import figure_correlations, figure_occurrence
from kflare.attribution.relations import OUTCOMES
from kflare.flares.catalogue import flux_to_class
from kflare.io.percent import percent

__all__ = ["Examples", "case_of", "chosen_images", "chosen_regions", "write_figures"]

_PATCHES: Final = 6


@dataclass(frozen=True)
class Examples:
    """All images and regions, and how to see one again.

    Parameters
    ----------
    images, regions : DataFrame
        Of the analysis; `images` with `path`.
    see : callable
        Reads an attribution file with its image.
    days : sequence of date
        Days to prefer.
    threshold : str
        Class of a flare that the model forecasts.
    """

    images: pd.DataFrame
    regions: pd.DataFrame
    see: Callable[[Path], Seen]
    days: Sequence[date]
    threshold: str


def chosen_images(images: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    """One image of each outcome that occurs, in the order hit, false alarm, miss, null of the paper's figures."""
    wanted = images["time"].dt.date.isin(list(days))
    clear = images["probability"].where(images["outcome"].isin(["hit", "false alarm"]), -images["probability"])
    order = images.assign(_wanted=wanted, _clear=clear).sort_values(
        ["_wanted", "_clear", "time"], ascending=[False, False, True], kind="stable"
    )
    first = order.drop_duplicates("outcome").set_index("outcome")
    names = [name for name in (OUTCOMES[0], OUTCOMES[2], OUTCOMES[1], OUTCOMES[3]) if name in first.index]
    return images.loc[[images.index[images["image"] == first.loc[name, "image"]][0] for name in names]]


def chosen_regions(
    regions: pd.DataFrame, days: Sequence[date], *, max_longitude: float, count: int = _PATCHES
) -> pd.DataFrame:
    """Flaring regions of hits with the largest flares, each NOAA region once, those of preferred days first."""
    inner = regions[(regions["outcome"] == "hit") & regions["flaring"] & (regions["lon"].abs() <= max_longitude)]
    wanted = inner["time"].dt.date.isin(list(days))
    order = inner.assign(_wanted=wanted).sort_values(["_wanted", "flux24"], ascending=False, kind="stable")
    return order.drop_duplicates("region").head(count).drop(columns="_wanted")


def case_of(seen: Seen, title: str) -> Case:
    """An image with its maps as the figures draw it."""
    signed = seen.grad_cam_signed
    largest = np.abs(signed).max(axis=(0, 1), keepdims=True)
    signed = np.divide(signed, largest, out=np.zeros_like(signed), where=largest > 0)

    def pair(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return maps[..., 0], maps[..., 1]

    return Case(
        title=title,
        field=seen.magnetogram.data,
        guided_backprop=pair(seen.guided_backprop),
        grad_cam=pair(seen.grad_cam),
        grad_cam_signed=pair(signed),
        patches=seen.patches,
    )


def write_figures(
    examples: Examples, tables: Mapping[str, pd.DataFrame], output: Path, *, max_longitude: float
) -> list[Path]:
    """Write Figs. 2 to 7 where there is something to show; returns the files.

    Parameters
    ----------
    examples : Examples
        Images and regions to choose from.
    tables : mapping of str to DataFrame
        `figure6`, and `figure7` where there are SHARP parameters.
    output : Path
        Folder.
    max_longitude : float
        Of the regions in Figs. 5 and 7, degrees.
    """
    images, regions = examples.images, examples.regions
    chosen = chosen_images(images, examples.days)
    shown = images[images["time"].dt.date.isin(list(examples.days)) | images.index.isin(chosen.index[:1])]
    figures = {f"figure2_{row['time']:%Y%m%d}": figure_hit(_case(examples, row)) for row in shown.to_dict("records")}
    cases = [_case(examples, row) for row in chosen.to_dict("records")]
    figures |= {"figure3": figure_guided_backprop(cases), "figure4": figure_grad_cam(cases)}
    entries = []
    for row in chosen_regions(regions, examples.days, max_longitude=max_longitude).to_dict("records"):
        seen = examples.see(Path(images.loc[images["image"] == row["image"], "path"].iloc[0]))
        patch = next(patch for patch in seen.patches if patch.name == row["region"])
        title = f"{row['region']}\n{row['time']:%Y-%m-%d}\n{flux_to_class(row['flux24'])}"
        entries.append((title, case_of(seen, title), seen.lines, patch))
    if entries:
        figures["figure5"] = figure_patches(entries)
    figures["figure6"] = figure_occurrence(tables["figure6"], title="Regions of hits, misses and false alarms")
    if "figure7" in tables and tables["figure7"]["pearson"].notna().any():
        inner = regions[(regions["outcome"] != "null") & (regions["lon"].abs() <= max_longitude)]
        scaled = tables["figure7"]["scaling"] == tables["figure7"]["scaling"].iloc[0]
        figures["figure7"] = figure_correlations(inner, tables["figure7"][scaled])
    return [path for name, figure in figures.items() for path in save(figure, output / name)]


def _case(examples: Examples, row: Mapping[str, object]) -> Case:
    probability = percent(float(str(row["probability"])))
    title = f"{row['time']:%Y-%m-%d}\n{row['outcome']}, P(≥{examples.threshold}) = {probability}"
    return case_of(examples.see(Path(str(row["path"]))), title)
