"""How far to trust a map: controls that neither paper has.

* Model randomisation (Adebayo et al. 2018, arXiv 1810.03292): a map that explains the network must change when the
  network's weights are replaced by random ones. One that does not is an edge detector.
* Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421): taking away what a map calls important must change the
  forecast more than taking away anything else.
* Agreement: whether two methods point at the same places, by rank correlation of pixels or of 16×16 cells.

Not from the papers: the replacement by zero field, the number of steps and the grid of 16×16 cells are our choices.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from kflare.attribution.attribution_file import METHODS
from kflare.attribution.compiled import CompiledAttribution
from kflare.attribution.map_agreement import CELLS, agreement, mean_defined, on_cells, rank_correlation
from kflare.datasets.preprocessing import fill_and_scale, reduced
from kflare.errors import DataError
from kflare.io.arrays import Float32Array
from kflare.io.progress import progress
from kflare.models.image_models import last_convolution
from kflare.observations.magnetogram import ByteScale
from kflare.observations.reading import read_magnetogram
from kflare.observations.usability import require_usable

_FLARE = 1


def network_inputs(
    paths: Sequence[Path], *, size: int, byte_range: float | None, model_range: float | None = None
) -> tuple[Float32Array, list[ByteScale | None]]:
    """Magnetograms as a dense CNN takes them, float32 (N, S, S, 1) in [-1, 1], and the scales of 8-bit images."""
    images = [read_magnetogram(path, byte_range=byte_range, model_range=model_range) for path in paths]
    fields = np.stack([reduced(require_usable(image), size=size) for image in images])
    return fill_and_scale(tf.constant(fields[..., None])).numpy(), [image.byte_scale for image in images]


def controls(model: keras.Model, images: Float32Array, methods: Sequence[str] = METHODS) -> dict[str, pd.DataFrame]:
    """All controls of the flaring label's maps, by name, of images (N, S, S, 1), float32 in [-1, 1]; the model stays.

    "randomisation": `randomised_down_to`, the layer, and a rank correlation per method, -1 to 1; "deletion" and
    "insertion": as `removal_curve` has them; "agreement": a row and a column per method. Errors are those of
    `randomisation_check` and `removal_curve`, such as `DataError` where S is no multiple of the cells.
    """
    found = CompiledAttribution(model, layer=last_convolution(model)).maps(images, methods)
    maps = {method: found[method][..., _FLARE] for method in methods}
    table = randomisation_check(model, images, methods=methods)
    randomised = table.pivot_table(
        index="randomised_down_to", columns="method", values="rank_correlation", sort=False, dropna=False
    )
    return {
        "randomisation": randomised.rename_axis(columns=None).reset_index(),
        "deletion": removal_curve(model, images, maps),
        "insertion": removal_curve(model, images, maps, insert=True),
        "agreement": agreement(maps).reset_index(names="method"),
    }


def randomisation_check(
    model: keras.Model, images: Float32Array, *, methods: Sequence[str], layer: str | None = None
) -> pd.DataFrame:
    """Replace the layers' weights by random ones, from the output down, and compare the maps with the model's own.

    Each array gets its own values in random order, so that only what was learnt is lost. Of the fitted dense CNN, which
    is not changed, and its input (N, S, S, 1), float32 in [-1, 1]; `methods` of `attribution_file.METHODS`, Grad-CAM on
    `layer`, by default the last convolution. Columns `randomised_down_to`, `method` and `rank_correlation`, mean over
    images: a method that explains the network falls towards 0; one that stays high shows the image, not the network.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    twin = CompiledAttribution(model, layer=layer or last_convolution(model))
    own = twin.maps(images, methods)
    random = np.random.default_rng(0)
    rows = []
    weighted = [item for item in reversed(copy.layers) if item.weights]
    for item in progress(weighted, desc="randomising", unit="layer", delay=2):
        item.set_weights([random.permutation(value.ravel()).reshape(value.shape) for value in item.get_weights()])
        if isinstance(item, keras.layers.BatchNormalization):
            continue  # shown together with the convolution before it
        twin.set_weights(copy.get_weights())
        maps = twin.maps(images, methods)
        for method in methods:
            similarity = rank_correlation(own[method][..., _FLARE], maps[method][..., _FLARE])
            rows.append((item.name, method, mean_defined(similarity)))
    return pd.DataFrame(rows, columns=["randomised_down_to", "method", "rank_correlation"])


def removal_curve(
    model: keras.Model, images: Float32Array, maps: Mapping[str, Float32Array], *, insert: bool = False, steps: int = 8
) -> pd.DataFrame:
    """Probability of a flare while cells are set to zero field in the order of each map, the most important first.

    Of the fitted dense CNN and its input (N, S, S, 1), float32 in [-1, 1]; the absolute value of each method's map of
    each image, float32 (N, h, w), is averaged over 16×16 cells. With `insert` cells are put back onto a Sun without
    field instead. One row for the start and each of `steps`: `fraction` of the cells, the mean probability by method,
    and `random`, the same with the cells in random order. The lower beside `random` (with `insert`, the higher), the
    better the map. `DataError`: maps of other images, or S is no multiple of the cells.
    """
    for method, found in maps.items():
        if len(found) != len(images):
            raise DataError(f"`{method}` must hold one map for each of the {len(images)} images, got {len(found)}")
    if images.shape[1] % CELLS:
        raise DataError(f"images must be a multiple of {CELLS} pixels wide, got {images.shape[1]}")
    orders: dict[str, Any] = {method: on_cells(found).reshape(len(images), -1) for method, found in maps.items()}
    orders["random"] = np.random.default_rng(0).random((len(images), CELLS**2))
    # Rank 0 is the most important cell of an image.
    ranks = {name: np.argsort(np.argsort(-order, axis=1), axis=1) for name, order in orders.items()}
    side = images.shape[1] // CELLS
    rows = []
    for step in progress(range(steps + 1), desc="inserting" if insert else "deleting", unit="step", delay=2):
        count = round(step / steps * CELLS**2)
        row = {"fraction": count / CELLS**2}
        for name, rank in ranks.items():
            chosen = (rank < count).reshape(-1, CELLS, CELLS).repeat(side, axis=1).repeat(side, axis=2)[..., None]
            changed = np.where(chosen == insert, images, np.float32(0))
            row[name] = float(model.predict(changed, batch_size=8, verbose=0)[:, _FLARE].mean())
        rows.append(row)
    return pd.DataFrame(rows)
