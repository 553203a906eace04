"""A region table as the inputs of a region model's signature: one float32 vector per feature, by name."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["region_inputs"]


def region_inputs(
    table: "pd.DataFrame", features: Sequence[str], *, model: str, ignore: Collection[str] = ()
) -> dict[str, npt.NDArray[np.float32]]:
    """A model's features of a region table by name, float32 (N,), NaN = not measured; `DataError` for misfits."""
    from kflare.datasets.region_table import KEY_COLUMNS
    from kflare.regions.feature_table import SETS, feature_set

    missing = [name for name in features if name not in table.columns]
    if missing:
        names = "`, `".join(missing)
        raise DataError(f"the region table lacks `{names}`, which {model} needs: add it, empty where not measured")
    # A table may hold the features of several models.
    others = {feature.name for name in SETS for feature in feature_set(name)}
    unknown = [str(name) for name in table.columns if name not in {*features, *KEY_COLUMNS, *ignore, *others}]
    if unknown:
        which = f"column `{'`, `'.join(unknown)}` is no feature of {model}"
        raise DataError(f"the region table's {which}: rename or drop it (the model's are {', '.join(features)})")
    if table.empty:
        raise DataError(f"the region table holds no rows: there is nothing to ask {model}")
    return {name: _numbers(table[name]) for name in features}


def _numbers(column: Any) -> npt.NDArray[np.float32]:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        wrong = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        seen = f"{wrong.iloc[0]!r} in row {wrong.index[0]}" if len(wrong) else f"the type {column.dtype}"
        raise DataError(f"`{column.name}` must be numeric, got {seen}")
    with np.errstate(over="ignore"):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        row = column.index[infinite[0]]
        raise DataError(f"`{column.name}` must be finite in float32, got {column.iloc[infinite[0]]} in row {row}")
    return numbers
