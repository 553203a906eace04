"""A region table as the inputs of a region model's signature: one float32 vector per feature, by name."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import Float32Array

if TYPE_CHECKING:
    import pandas as pd


def region_inputs(
    table: "pd.DataFrame", features: Sequence[str], *, model: str, ignore: Collection[str] = ()
) -> dict[str, Float32Array]:
    """A model's features of a region table by name, float32 (N,), NaN = not measured; `DataError` for misfits."""
    from kflare.datasets.region_table import KEY_COLUMNS
    from kflare.regions.feature_table import SETS, column_fault, feature_set

    if missing := [name for name in features if name not in table.columns]:
        names = "`, `".join(missing)
        how = "add it, empty where not measured (kflare predict --flares adds changes and past flares)"
        raise DataError(f"the region table lacks `{names}`, which {model} needs: {how}")
    # A table may hold the features of several models.
    others = {feature.name for name in SETS for feature in feature_set(name)}
    unknown = [str(name) for name in table.columns if name not in {*features, *KEY_COLUMNS, *ignore, *others}]
    if unknown:
        which = f"column `{'`, `'.join(unknown)}` is no feature of {model}"
        raise DataError(f"the region table's {which}: rename or drop it (the model's are {', '.join(features)})")
    if table.empty:
        raise DataError(f"the region table holds no rows: there is nothing to ask {model}")
    for name in features:
        if fault := column_fault(table[name], rule="finite in float32"):
            raise DataError(f"`{name}` {fault}")
    return {name: table[name].to_numpy(np.float64, na_value=np.nan).astype(np.float32) for name in features}
