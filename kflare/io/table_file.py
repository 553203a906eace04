"""Tables from outside, as Parquet or CSV: read in bounded memory, and what pandas raises on damage is one DataError."""

import io
import logging
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from kflare.errors import DataError
from kflare.io.payload import read_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from kflare.io.arrays import ArrayLike, BoolArray, Float64Array

_Found = TypeVar("_Found", "pd.Series", "pd.DataFrame")
_LOG = logging.getLogger(__name__)

# 1 GiB of numbers. A few bytes of Parquet can declare any number of equal rows.
_MAX_CELLS: Final = 1 << 27


def read_table(path: Path, what: str, **csv: Any) -> "pd.DataFrame":
    """Read a table of at most 512 MiB whole; a file that does not begin as Parquet is CSV.

    `what` it should be is said in messages, such as "region table"; `csv` are options of `pandas.read_csv`. DataError
    if there is no such file or it cannot be read.
    """
    from pyarrow import ArrowException

    if not path.is_file():
        raise DataError(f"no {what} {path}: give a Parquet or CSV file")
    try:
        return _parsed(read_payload(path, what=f"a {what}", kinds=()), csv)
    # As the damage has it.
    except (DataError, ArrowException, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"{path} cannot be read as a {what} (Parquet or CSV): {reason}") from error


def read_csv(source: Any, **options: Any) -> "pd.DataFrame":
    """`pandas.read_csv`, but ValueError where rows have more fields than the header: pandas would shift the columns."""
    import pandas as pd

    table = pd.read_csv(source, **options)
    shifted = not isinstance(table.index, pd.RangeIndex)
    if shifted:
        raise ValueError(f"its rows have more fields than its header, which names {table.shape[1]}")
    return table


def numbers(column: "pd.Series") -> "Float64Array":
    """Finite numbers of a column of numbers, text or anything, float64 (N,); NaN for what is none, such as True."""
    import numpy as np
    import pandas as pd

    if column.dtype == object:
        # As text, since pandas takes True for 1 and stops at a list or a whole number beyond 1e308.
        column = column.map(lambda value: value if isinstance(value, str | float) else str(value))
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def plausible_numbers(column: "pd.Series", source: str, *, low: float, high: float) -> "Float64Array":
    """Numbers of a column within bounds, float64 (N,), NaN for all else; what is given and none of them is logged."""
    import numpy as np

    values = numbers(column)
    sound = (values >= low) & (values <= high)
    if (wrong := np.asarray(~sound & ~_empty(column))).any():
        rule = f"a number from {low:g} to {high:g}"
        _LOG.warning("`%s`: %s", source, _note(column, wrong, rule, f"values of `{column.name}` are taken as unknown"))
    return np.where(sound, values, np.nan)


def by_distinct(rule: "Callable[[pd.Series], _Found]") -> "Callable[[pd.Series], _Found]":
    """What a rule says of each cell of a column, worked out once for each that is distinct."""

    @wraps(rule)
    def of_each(given: "pd.Series") -> "_Found":
        import pandas as pd

        codes, distinct = pd.factorize(given, use_na_sentinel=False)
        return cast("_Found", rule(pd.Series(distinct)).iloc[codes].set_axis(given.index))

    return of_each


def _note(seen: "pd.Series", bad: "BoolArray", rule: str, lost: str) -> str:
    row = int(bad.argmax())
    said = f"`{seen.name}` must be {rule}, got {str(seen.iloc[row])[:60]!r} in row {seen.index[row]}"
    return f"{bad.sum()} of {len(bad)} {lost}: {said}"


def _empty(column: "pd.Series") -> "pd.Series":
    return column.isna() | column.astype("str").str.strip().str.lower().isin(["", "nan", "none", "<na>"])


def whole_numbers(column: "pd.Series", source: str, *, most: int, rule: str | None = None) -> "pd.Series":
    """Identifiers, Int64: whole numbers from 0 to `most`, <NA> where empty; else DataError with the `rule`."""
    import pandas as pd

    values = pd.Series(numbers(column), column.index)
    empty = _empty(column)
    wrong = column[~(values.between(0, most) & (values % 1 == 0)) & ~empty]
    if len(wrong):
        told = f"{source}: `{column.name}` must {rule or f'hold whole numbers from 0 to {most}'}"
        raise DataError(f"{told}, got {str(wrong.iloc[0])[:60]} in row {wrong.index[0]}")
    return values.where(~empty).astype("Int64")


def sound_rows(source: str, *checks: tuple["pd.Series", "ArrayLike", str]) -> tuple["BoolArray", tuple[str, ...]]:
    """Which of N rows pass all checks, bool (N,), and what is to be said of those that do not, one line each.

    A check is a column as it was given, which of its cells are sound, and the rule for them, such as "a time like
    2013-10-23 20:41". That rows are left out is logged too, which without further settings goes to standard error.
    DataError if there are rows but none passes.
    """
    import numpy as np

    keep = np.ones(len(checks[0][0]), dtype=np.bool_)
    notes = []
    for seen, sound, rule in checks:
        bad = keep & ~np.asarray(sound, dtype=np.bool_)
        if bad.any():
            notes.append(_note(seen, bad, rule, "rows left out"))
        keep &= ~bad
    if notes and not keep.any():
        raise DataError(f"`{source}`: none of {len(keep)} rows can be read: {'; '.join(notes)}")
    for note in notes:
        _LOG.warning("`%s`: %s", source, note)
    return keep, tuple(notes)


def _parsed(payload: bytes, csv: dict[str, Any]) -> "pd.DataFrame":
    import pandas as pd
    from pyarrow import parquet, types

    if not payload.startswith(b"PAR1"):
        return read_csv(io.BytesIO(payload), **csv)
    declared = parquet.read_metadata(io.BytesIO(payload))
    if declared.num_rows * declared.num_columns > _MAX_CELLS:
        raise DataError(f"it declares {declared.num_rows} rows of {declared.num_columns} columns")
    texts = [field.name for field in declared.schema.to_arrow_schema() if not types.is_primitive(field.type)]
    # Else texts are decoded when they are first looked at, wherever that is.
    parquet.read_table(io.BytesIO(payload), columns=texts).validate(full=True)
    return pd.read_parquet(io.BytesIO(payload))
