"""Whether two attribution maps point at the same places: rank correlation, of pixels or of 16×16 cells."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.io.arrays import Float32Array, Float64Array
from kflare.observations.reduction import area_shares

CELLS = 16
"""Cells along each side of an image."""


def rank_correlation(one: Float32Array, other: Float32Array) -> Float64Array:
    """Spearman's rank correlation of two maps' (N, h, w) absolute values, (N,); NaN where a map is constant."""
    if one.shape != other.shape:
        raise DataError(f"maps must have the same shape to be compared, got {one.shape} and {other.shape}")
    from scipy.stats import spearmanr

    pairs = zip(np.abs(one).reshape(len(one), -1), np.abs(other).reshape(len(other), -1), strict=True)
    return np.array([spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])


def agreement(maps: Mapping[str, Float32Array]) -> pd.DataFrame:
    """Mean rank correlation of each pair of methods (maps (N, h, w) of the same images), on 16×16 cells; symmetric."""
    cells = {method: on_cells(values) for method, values in maps.items()}
    return pd.DataFrame({a: {b: mean_defined(rank_correlation(cells[a], cells[b])) for b in cells} for a in cells})


def on_cells(maps: Float32Array) -> Float32Array:
    """Mean absolute value of maps (N, h, w) over 16×16 cells of equal area, (N, 16, 16); a coarser map is repeated."""
    rows, columns = (area_shares(length, CELLS) * np.float32(CELLS / length) for length in maps.shape[1:])
    return np.asarray(rows @ np.abs(maps) @ columns.T)


def mean_defined(values: Float64Array) -> float:
    """Mean of the values that are no NaN; NaN where all are."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
