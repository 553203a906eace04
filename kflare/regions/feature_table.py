"""The one table of features: names, units, scale and evidence, read from CSV files beside this module.

The `evidence` column tells what a feature rests on: P text of the seed papers, A the authors' own code, slides or site,
S a third party's claim, R our reconstruction; "A/R" is their name with our thresholds or signs. `source` says where.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.stored_table import stored_rows

SCALES = ("linear", "log10", "log1p")
"""How a feature is transformed before it is standardised; log10 takes values at or below its floor as the floor."""

SETS = ("sharp", "defn79")
"""The sets of features; where two hold the same name, they mean the same."""

_NEVER_NEGATIVE = {"count", "log10", "log10 Mx", "G/px"}  # of the scales and units


@dataclass(frozen=True)
class Feature:
    """One feature of an active region; `scale` is one of `SCALES`."""

    name: str
    group: str
    observation: str
    unit: str
    scale: str
    definition: str
    evidence: str
    source: str

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise DataError(f"`scale` of feature {self.name} must be one of {', '.join(SCALES)}, got {self.scale!r}")


@cache
def feature_set(name: str) -> tuple[Feature, ...]:
    """The features of a set in their order.

    "sharp": the parameters of the SHARP samples, their changes and the flare history. "defn79": the 79 of Deep Flare
    Net in the order of docs/science.md, as that of the checkpoint is not known. Else `SettingError`.
    """
    if name not in SETS:
        raise SettingError(f"`name` of a feature set must be one of {', '.join(SETS)}, got {name!r}")
    return tuple(Feature(**row) for row in stored_rows("kflare.regions", f"{name}_features.csv"))


def features_named(names: Iterable[str]) -> tuple[Feature, ...]:
    """Features of any set, in the order given; an unknown name, or one given twice, raises `DataError`."""
    known: dict[str, Feature] = {}
    for feature in (feature for chosen in SETS for feature in feature_set(chosen)):
        known.setdefault(feature.name, feature)
    wanted = list(names)
    if unknown := [name for name in wanted if name not in known]:
        raise DataError(f"unknown feature `{'`, `'.join(unknown)}`: the known ones are {', '.join(known)}")
    if twice := sorted({name for name in wanted if wanted.count(name) > 1}):
        raise DataError(f"feature `{'`, `'.join(twice)}` is named more than once: name each feature once")
    return tuple(known[name] for name in wanted)


def check_columns(table: pd.DataFrame, features: Iterable[Feature], *, source: str) -> None:
    """Raise `DataError` unless the features are all there, numeric, and finite in float32 or NaN (not measured)."""
    wanted = [feature.name for feature in features]
    if absent := [name for name in wanted if name not in table]:
        raise DataError(f"{source} lacks the feature `{'`, `'.join(absent)}`: add the column (empty = not measured)")
    for name in wanted:
        if fault := column_fault(table[name]):
            raise DataError(f"feature `{name}` of {source} {fault}")


def column_fault(column: pd.Series, *, rule: str = "finite") -> str:
    """What is wrong with a feature's column, which must be numeric and, by `rule`, finite in float32 or NaN; or ""."""
    if not pd.api.types.is_numeric_dtype(column):
        bad = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        seen = f"{bad.iloc[0]!r} in row {bad.index[0]}" if len(bad) else f"the type {column.dtype}"
        return f"must be numeric, got {seen}"
    # The networks work in float32, where 1e39 is infinite.
    values = column.to_numpy(np.float64, na_value=np.nan)
    wrong = column[np.abs(values) > np.finfo(np.float32).max]
    own = [one for name in SETS for one in feature_set(name) if one.name == column.name]
    if wrong.empty and any(one.group != "DERIV" and _NEVER_NEGATIVE & {one.unit, one.scale} for one in own):
        rule, wrong = f"{'a count, ' * (own[0].unit == 'count')}0 or more", column[values < 0]
    return f"must be {rule}, got {wrong.iloc[0]} in row {wrong.index[0]}" if len(wrong) else ""


def reasons_text(reasons: Mapping[str, str]) -> str:
    """Reasons by feature as one line: `CHArea CHAll CHMax: no image at 1600 Å; dt02Area: ...`."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{' '.join(own)}: {reason}" for reason, own in names.items())
