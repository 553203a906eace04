"""How much the guided gradient concentrates on polarity inversion lines: Table 2 of Yi et al. (2021).

Read the table with its RMS deviations: the paper separates a "PB group" from a "PN group" by which of two ratios is the
larger, but they differ by 0.003 to 0.23 where the RMS deviation is about 2 (docs/models.md). And the ratios depend on
how wide a line is drawn and on how much quiet Sun a region's area holds, neither of which the paper states.
"""

from itertools import product
from typing import Final

import numpy as np
import pandas as pd

from kflare.attribution.harps import RegionPatch
from kflare.attribution.outcomes import OUTCOMES
from kflare.io.arrays import BoolArray, FloatArray
from kflare.regions.inversion_lines import PolarityLines

MEASURES: Final = ("pil_non_pil", "pil_boundary", "iou")
"""The three measures of a region, in the order of the paper's table."""

_HEADINGS: Final = {"pil_non_pil": "PIL/Non-PIL", "pil_boundary": "PIL/Boundary", "iou": "IoU"}


def intersection_over_union(one: BoolArray, other: BoolArray) -> float:
    """Pixels in both masks over pixels in either; 1 = equal, 0 = apart, NaN where both are empty."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else np.nan


def line_measures(
    gradient: FloatArray, lines: PolarityLines, patch: RegionPatch, *, strong: float = 0.1
) -> dict[str, float]:
    """Compare the guided gradient on the inversion lines of a region with that elsewhere in it.

    The gradient (H, W) is absolute and scaled to 0–1 over the image; from `strong` on a pixel counts as activated.
    `pil_non_pil` is its mean on the PIL over that of the region's other pixels, `pil_boundary` over that of the
    boundaries of its polarities, `iou` that of the PIL with the activated pixels. Ratios of 1 and an IoU of 0 mean no
    preference; NaN where a mean has no pixels or the lower one is 0, or where both sets of the IoU are empty.
    """
    inside = patch.mask
    values = patch.crop(gradient)
    line = patch.crop(lines.inversion) & inside
    boundary = patch.crop(lines.boundary) & inside
    on_line = mean_of(values[line])
    others = (mean_of(values[part]) for part in (inside & ~line, boundary))
    outside, edge = (on_line / other if other > 0 else np.nan for other in others)
    overlap = intersection_over_union(line, (values >= strong) & inside)
    areas = {"pil_pixels": line, "boundary_pixels": boundary, "region_pixels": inside}
    counts = {name: int(np.count_nonzero(part)) for name, part in areas.items()}
    return {"pil_non_pil": outside, "pil_boundary": edge, "iou": overlap, **counts}


def table_2(regions: pd.DataFrame, *, of: str = "guided_backprop") -> pd.DataFrame:
    """Mean and RMS deviation of the `MEASURES` over regions, by outcome of the image and flaring of the region.

    Of the guided gradient, as the paper has it, or `of` another map, whose columns are `cam_iou`, ....

    `rms` is the root mean square deviation from the mean, the paper's "root mean square error"; `regions` have a
    defined measure, `undefined` none. One row for each combination, also for empty ones: a flaring region cannot occur
    in a false alarm or null.
    """
    rows = []
    prefix = "" if of == "guided_backprop" else f"{of}_"
    for outcome, measure, flaring in product(OUTCOMES, MEASURES, (True, False)):
        cell = regions.loc[(regions["outcome"] == outcome) & (regions["flaring"] == flaring), prefix + measure]
        values = cell.dropna().astype(np.float64)
        statistics = values.mean(), values.std(ddof=0), values.median()
        rows.append((outcome, measure, flaring, *statistics, len(values), len(cell) - len(values)))
    columns = ["outcome", "measure", "flaring", "mean", "rms", "median", "regions", "undefined"]
    return pd.DataFrame(rows, columns=columns)


def table_2_as_printed(table: pd.DataFrame, *, threshold: str) -> pd.DataFrame:
    """The same as the paper prints it: a row per outcome, "mean ± RMS (regions)" in each cell; ≥`threshold` flares."""
    of = {True: "Flaring AR (≥", False: "Non-flare AR (<"}
    figures = zip(table["mean"], table["rms"], table["regions"], strict=True)
    text = [f"{mean:.3f} ± {rms:.3f} (n = {count})" if count else "–" for mean, rms, count in figures]
    kinds = zip(table["measure"], table["flaring"], strict=True)
    heading = [f"{_HEADINGS[measure]}: {of[flaring]}{threshold})" for measure, flaring in kinds]
    cells = table.assign(text=text, heading=heading)
    order = cells["heading"].drop_duplicates()
    printed = cells.pivot_table(index="outcome", columns="heading", values="text", aggfunc="first")
    printed = printed.loc[list(OUTCOMES), list(order)].rename(index=str.capitalize)
    return printed.rename_axis(index="Outcome", columns=None).reset_index()


def mean_of(values: FloatArray) -> float:
    """Mean in float64; NaN of nothing."""
    return float(values.mean(dtype=np.float64)) if values.size else np.nan
