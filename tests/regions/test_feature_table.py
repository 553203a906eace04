"""The one table of features, and what a region table must hold."""

import numpy as np
import pandas as pd
import pytest

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY
from kflare.errors import DataError
from kflare.regions.feature_table import SCALES, Feature, check_columns, feature_set, features_named

SHARP = ["AREA", "USFLUX", "MEANGBZ", "R_VALUE"]


def test_the_sharp_set_is_keywords_changes_and_history():
    names = [feature.name for feature in feature_set("sharp")]
    assert names == [*SHARP, *(f"dt24{name}" for name in SHARP), *REGION_HISTORY, *DISK_HISTORY]
    assert len(set(names)) == len(names) == 18


def test_every_feature_says_what_it_is():
    for feature in feature_set("sharp"):
        assert feature.scale in SCALES
        assert feature.evidence in {"P", "A", "S", "R"}
        assert all((feature.group, feature.observation, feature.unit, feature.definition))


def test_changes_have_the_unit_of_what_changes_and_a_sign():
    features = {feature.name: feature for feature in feature_set("sharp")}
    for name in SHARP:
        assert features[f"dt24{name}"].unit == features[name].unit
        # A logarithm would lose all that decrease.
        assert features[f"dt24{name}"].scale == "linear"


def test_names_can_be_inputs_of_a_signature():
    assert all(feature.name.isidentifier() for feature in feature_set("sharp"))


def test_an_unknown_scale_is_refused():
    with pytest.raises(DataError, match="`scale` of feature X must be one of linear, log10, log1p, got 'sqrt'"):
        Feature("X", "SHARP", "HMI", "G", "sqrt", "none", "R")


def test_features_are_named_in_the_order_given():
    assert [feature.name for feature in features_named(["Mhis", "AREA"])] == ["Mhis", "AREA"]
    assert features_named(iter([])) == ()


def test_unknown_and_repeated_names_are_refused():
    with pytest.raises(DataError, match="unknown feature `area`, `B`: the known ones are AREA, USFLUX"):
        features_named(["area", "AREA", "B"])
    with pytest.raises(DataError, match="feature `AREA` is named more than once"):
        features_named(iter(["AREA", "Mhis", "AREA"]))


@pytest.mark.parametrize(
    "column",
    [
        [1.0, np.nan],
        [np.nan, np.nan],
        [1, 2],
        [True, False],
        pd.array([1, None], dtype="Int64"),
        pd.array([1.5, None], dtype="Float64"),
        [3.4e38, -3.4e38],
    ],
)
def test_numbers_and_empty_cells_are_accepted(column):
    check_columns(pd.DataFrame({"AREA": column}), features_named(["AREA"]), source="x")


@pytest.mark.parametrize(
    ("column", "seen"),
    [
        (["1", "two"], "must be numeric, got 'two' in row b"),
        (["1", "2"], "must be numeric, got the type str"),
        ([1.0, "?"], r"must be numeric, got '\?' in row b"),
        ([None, None], "must be numeric, got the type object"),
        ([1.0, np.inf], "must be finite, got inf in row b"),
        ([-np.inf, 1.0], "must be finite, got -inf in row a"),
        # 1e39 is finite here, but not in the float32 of the networks.
        ([1e39, 1.0], r"must be finite, got 1e\+39 in row a"),
    ],
)
def test_other_columns_are_refused(column, seen):
    table = pd.DataFrame({"AREA": column}, index=["a", "b"])
    with pytest.raises(DataError, match=f"feature `AREA` of regions.csv {seen}"):
        check_columns(table, features_named(["AREA"]), source="regions.csv")


def test_missing_columns_are_all_named():
    with pytest.raises(DataError, match=r"regions.csv lacks the feature `USFLUX`, `Mhis`: add the column"):
        check_columns(pd.DataFrame({"AREA": [1.0]}), features_named(["USFLUX", "AREA", "Mhis"]), source="regions.csv")
