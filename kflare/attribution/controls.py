"""How far to trust a map: controls that neither paper has.

* Model randomisation (Adebayo et al. 2018, arXiv 1810.03292): a map that explains the network must change when the
  network's weights are replaced by random ones. One that does not is an edge detector.
* Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421): taking away what a map calls important must change the
  forecast more than taking away anything else.
* Agreement: whether two methods point at the same places.

Not from the papers: the replacement by zero field, the number of steps and the grid of 16×16 cells are our choices.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
from scipy.stats import spearmanr

from kflare.attribution.compiled import CompiledAttribution
from kflare.errors import DataError
from kflare.models.dense_cnn import LAST_CONVOLUTION

__all__ = ["agreement", "deletion_curve", "insertion_curve", "randomisation_check", "rank_correlation"]

Maps = npt.NDArray[np.float32]
_CELLS = 16


def rank_correlation(one: Maps, other: Maps) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of the absolute values of two maps, image by image.

    Parameters
    ----------
    one, other : float32 arrays of shape (N, h, w)
        Maps of the same images on the same grid.

    Returns
    -------
    float64 array of shape (N,)
        Range −1 to 1, equal order 1, unrelated 0; NaN where a map is constant.
    """
    if one.shape != other.shape:
        raise DataError(f"maps must have the same shape to be compared, got {one.shape} and {other.shape}")
    pairs = zip(np.abs(one).reshape(len(one), -1), np.abs(other).reshape(len(other), -1), strict=True)
    return np.array([_spearman(a, b) for a, b in pairs])


def randomisation_check(
    model: keras.Model,
    images: npt.ArrayLike,
    *,
    label: int = 1,
    methods: Sequence[str] = ("grad_cam", "guided_backprop", "saliency"),
    layer: str = LAST_CONVOLUTION,
    seed: int = 0,
) -> pd.DataFrame:
    """Replace the layers' weights by random ones, from the output down, and compare the maps with the model's own.

    Parameters
    ----------
    model : keras.Model
        The fitted dense CNN; not changed.
    images : float32 array of shape (N, S, S, 1)
        The network's input, in [-1, 1].
    label : int
        0 = no flare, 1 = flare.
    methods : sequence of str
        Of `compiled.COMPILED_METHODS`.
    layer : str
        The convolution that Grad-CAM looks at.
    seed : int
        Of the random weights: each array's own values in random order, so that only what was learnt is lost.

    Returns
    -------
    DataFrame
        `randomised_down_to`, `method`, `rank_correlation` (mean over images). A method that explains the network falls
        towards 0; one that stays high shows the image, not the network.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    twin = CompiledAttribution(model, layer=layer)
    own = twin.maps(images, methods)
    random = np.random.default_rng(seed)
    rows = []
    weighted = [item for item in reversed(copy.layers) if item.weights]
    for item in weighted:
        item.set_weights([random.permutation(value.ravel()).reshape(value.shape) for value in item.get_weights()])
        if isinstance(item, keras.layers.BatchNormalization):
            continue  # shown together with the convolution before it
        twin.set_weights(copy.get_weights())
        maps = twin.maps(images, methods)
        for method in methods:
            similarity = rank_correlation(own[method][..., label], maps[method][..., label])
            rows.append((item.name, method, _mean(similarity)))
    return pd.DataFrame(rows, columns=["randomised_down_to", "method", "rank_correlation"])


def deletion_curve(
    model: keras.Model, images: npt.ArrayLike, maps: Maps, *, label: int = 1, steps: int = 16, zero: float = 0.0
) -> pd.DataFrame:
    """Score of a label while cells are set to zero field in the order of a map, the most important first.

    Parameters
    ----------
    model : keras.Model
        The fitted dense CNN.
    images : float32 array of shape (N, S, S, 1)
        The network's input, in [-1, 1].
    maps : float32 array of shape (N, h, w)
        Map of each image; its absolute value is averaged over 16×16 cells.
    label : int
        0 = no flare, 1 = flare.
    steps : int
        Points of the curve after the first.
    zero : float
        Value of a deleted pixel: 0 is no field.

    Returns
    -------
    DataFrame
        `fraction` of the cells deleted, `probability` of the label (mean over images), and `random`, the same with the
        cells in random order. The lower beside `random`, the better the map.
    """
    return _curve(model, images, maps, label=label, steps=steps, zero=zero, insert=False)


def insertion_curve(
    model: keras.Model, images: npt.ArrayLike, maps: Maps, *, label: int = 1, steps: int = 16, zero: float = 0.0
) -> pd.DataFrame:
    """Score of a label while cells are put back onto a Sun without field, the most important first.

    As `deletion_curve`; the higher beside `random`, the better the map.
    """
    return _curve(model, images, maps, label=label, steps=steps, zero=zero, insert=True)


def agreement(maps: dict[str, Maps]) -> pd.DataFrame:
    """Mean rank correlation of each pair of methods, on 16×16 cells.

    Parameters
    ----------
    maps : dict of float32 arrays of shape (N, h, w)
        Maps of the same images and label by method.

    Returns
    -------
    DataFrame
        Symmetric, methods as rows and columns, 1 on the diagonal.
    """
    cells = {method: _cells(values) for method, values in maps.items()}
    table = {a: {b: _mean(rank_correlation(cells[a], cells[b])) for b in cells} for a in cells}
    return pd.DataFrame(table)


def _curve(
    model: keras.Model, images: npt.ArrayLike, maps: Maps, *, label: int, steps: int, zero: float, insert: bool
) -> pd.DataFrame:
    values = np.asarray(images, np.float32)
    if len(values) != len(maps):
        raise DataError(f"`maps` must hold one map for each of the {len(values)} images, got {len(maps)}")
    if values.shape[1] % _CELLS:
        raise DataError(f"images must be a multiple of {_CELLS} pixels wide, got {values.shape[1]}")
    random = np.random.default_rng(0)
    # Rank 0 is the most important cell of an image.
    importance = _cells(maps).reshape(len(maps), -1)
    orders: dict[str, npt.NDArray[Any]] = {"probability": importance, "random": random.random(importance.shape)}
    ranks = {name: np.argsort(np.argsort(-order, axis=1), axis=1) for name, order in orders.items()}
    side = values.shape[1] // _CELLS
    rows = []
    for step in range(steps + 1):
        count = round(step / steps * _CELLS**2)
        row = {"fraction": count / _CELLS**2}
        for name, rank in ranks.items():
            chosen = (rank < count).reshape(-1, _CELLS, _CELLS).repeat(side, axis=1).repeat(side, axis=2)[..., None]
            shown = chosen if insert else ~chosen
            # Space stays as dark as it is: only the disk's field is taken away.
            changed = np.where(shown | (values <= -1), values, np.float32(zero))
            row[name] = float(model.predict(changed, batch_size=8, verbose=0)[:, label].mean())
        rows.append(row)
    return pd.DataFrame(rows)


def _cells(maps: Maps) -> Maps:
    """Mean absolute value over 16×16 cells, (N, 16, 16); a coarser map is repeated."""
    magnitude = np.abs(maps)[..., None]
    return tf.image.resize(magnitude, (_CELLS, _CELLS), method="area").numpy()[..., 0]


def _spearman(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
