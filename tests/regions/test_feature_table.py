"""The one table of features, the page that shows it, and what a region table must hold."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY
from kflare.errors import DataError, SettingError
from kflare.regions.feature_table import SCALES, SETS, Feature, check_columns, feature_set, features_named

SHARP = ["AREA", "USFLUX", "MEANGBZ", "R_VALUE"]


def test_the_sharp_set_is_keywords_changes_and_history():
    names = [feature.name for feature in feature_set("sharp")]
    changes = [f"dt24{name}" for name in (*SHARP, "logAREA", "logUSFLUX")]
    assert names == [*SHARP, *changes, *REGION_HISTORY, *DISK_HISTORY]
    assert len(set(names)) == len(names) == 20


def test_the_79_are_those_of_the_research_page(real_data):
    with (real_data / "defn79.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    features = feature_set("defn79")
    assert [(f.name, f.group) for f in features] == [(row["name"], row["group"]) for row in rows]
    # What somebody else claims stays marked as such.
    assert all(("S" in f.evidence) == row["evidence"].startswith("S") for f, row in zip(features, rows, strict=True))


def test_the_79_fall_into_the_groups_of_the_papers():
    groups = pd.Series([feature.group for feature in feature_set("defn79")]).value_counts().to_dict()
    # docs/science.md, reconciled closure: 11 + 16 + 3 + (3 + 3) + 4 + (31 + 3) + 5.
    assert groups == {"LOS": 8, "NL": 3, "VEC": 16, "UV": 3, "XRAY": 6, "HIST": 4, "DERIV": 34, "CORONA": 5}
    assert len({feature.name for feature in feature_set("defn79")}) == 79


def test_every_feature_says_what_it_is():
    for name in SETS:
        for feature in feature_set(name):
            assert feature.scale in SCALES
            assert set(feature.evidence.split("/")) <= {"P", "A", "S", "R"}
            assert all((feature.group, feature.observation, feature.unit, feature.definition, feature.source))


def test_names_in_two_sets_mean_the_same():
    first, second = ({f.name: f for f in feature_set(name)} for name in SETS)
    for name in set(first) & set(second):
        one, other = first[name], second[name]
        assert (one.observation, one.unit, one.scale, one.definition) == (
            other.observation,
            other.unit,
            other.scale,
            other.definition,
        )


def test_the_page_of_features_is_that_of_the_table():
    page = (Path(__file__).resolve().parents[2] / "docs" / "features.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [_row(feature) for name in ("defn79", "sharp") for feature in feature_set(name)]


def _row(feature):
    cells = (feature.unit, feature.definition, feature.scale, feature.evidence, feature.source)
    return " | ".join([f"| `{feature.name}`", *(cell.replace("|", "\\|") for cell in cells)]) + " |"


@pytest.mark.parametrize("chosen", SETS)
def test_changes_have_the_unit_of_what_changes_and_a_sign(chosen):
    features = {feature.name: feature for feature in feature_set(chosen)}
    changes = [name for name in features if name.startswith("dt") and not name.startswith("dt24log")]
    assert len(changes) == {"sharp": 4, "defn79": 34}[chosen]
    for name in changes:
        base = features[name[4:]]
        assert (features[name].unit, features[name].observation) == (base.unit, base.observation)
        assert features[name].definition == f"change of {base.name} over {int(name[2:4])} h"
        # A logarithm would lose all that decrease.
        assert features[name].scale == "linear"


def test_names_can_be_inputs_of_a_signature():
    assert all(feature.name.isidentifier() for name in SETS for feature in feature_set(name))


def test_an_unknown_set_is_refused():
    with pytest.raises(SettingError, match="`name` of a feature set must be one of sharp, defn79, got 'defn80'"):
        feature_set("defn80")


def test_an_unknown_scale_is_refused():
    with pytest.raises(DataError, match="`scale` of feature X must be one of linear, log10, log1p, got 'sqrt'"):
        Feature("X", "SHARP", "HMI", "G", "sqrt", "none", "R", "nobody")


def test_features_are_named_in_the_order_given():
    assert [feature.name for feature in features_named(["Mhis", "AREA"])] == ["Mhis", "AREA"]
    assert [feature.group for feature in features_named(["TotNL", "AREA"])] == ["NL", "SHARP"]
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
        [3.4e38, 0.0],
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


@pytest.mark.parametrize("name", ["Chis", "diskM7d", "NumNL"])
def test_a_count_is_not_negative(name):
    check_columns(pd.DataFrame({name: [0.0, np.nan]}), features_named([name]), source="regions.csv")
    with pytest.raises(
        DataError, match=f"feature `{name}` of regions.csv must be a count, 0 or more, got -1.0 in row 1"
    ):
        check_columns(pd.DataFrame({name: [np.nan, -1.0]}), features_named([name]), source="regions.csv")


def test_a_change_of_a_count_may_be_negative():
    check_columns(pd.DataFrame({"dt24NumNL": [-1.0]}), features_named(["dt24NumNL"]), source="regions.csv")


@pytest.mark.parametrize("name", ["USFLUX", "AREA", "R_VALUE", "MEANGBZ", "VArea"])
def test_what_is_measured_as_a_sum_or_a_size_is_not_negative(name):
    """USFLUX of -1e22 Mx was answered with 70 % where 13 % was right."""
    check_columns(pd.DataFrame({name: [0.0, np.nan]}), features_named([name]), source="regions.csv")
    with pytest.raises(DataError, match=f"feature `{name}` of regions.csv must be 0 or more, got -1.0 in row 1"):
        check_columns(pd.DataFrame({name: [np.nan, -1.0]}), features_named([name]), source="regions.csv")
    signed = ("Bmin", "TotFX", "dt24USFLUX")
    check_columns(pd.DataFrame({key: [-1.0] for key in signed}), features_named(signed), source="regions.csv")


def test_missing_columns_are_all_named():
    with pytest.raises(DataError, match=r"regions.csv lacks the feature `USFLUX`, `Mhis`: add the column"):
        check_columns(pd.DataFrame({"AREA": [1.0]}), features_named(["USFLUX", "AREA", "Mhis"]), source="regions.csv")
