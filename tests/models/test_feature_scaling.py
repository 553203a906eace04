import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kflare.errors import DataError
from kflare.models.feature_scaling import LARGEST, fit_scaling
from kflare.regions.feature_table import features_named

FEATURES = features_named(["AREA", "MEANGBZ", "Chis"])  # log10, linear, log1p

# AREA: floor 10, the smallest positive value, so log10 gives 1, 3, -, 1: mean 5/3, deviation sqrt(24/27) = sqrt(8/9).
# MEANGBZ: 1, 3, 5, -: mean 3, deviation sqrt(8/3). Chis: log1p gives 0, ln 4, 0, ln 4: mean and deviation ln 2.
TABLE = pd.DataFrame({"AREA": [10.0, 1000.0, np.nan, 0.0], "MEANGBZ": [1.0, 3.0, 5.0, np.nan], "Chis": [0, 3, 0, 3]})
AREA_DEVIATION = np.sqrt(8 / 9)


@pytest.fixture(scope="module")
def scaling():
    return fit_scaling(TABLE, FEATURES)


def standardise(scaling, **columns):
    rows = pd.DataFrame({name: columns.get(name, [np.nan]) for name in scaling.names})
    return scaling.of_table(rows)


def test_statistics_are_those_of_the_transformed_measured_values(scaling):
    assert scaling.names == ("AREA", "MEANGBZ", "Chis")
    np.testing.assert_allclose(scaling.floor, [10, 1, 1])
    np.testing.assert_allclose(scaling.mean, [5 / 3, 3, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(scaling.deviation, [AREA_DEVIATION, np.sqrt(8 / 3), np.log(2)], rtol=1e-6)


def test_training_rows_get_mean_0_and_deviation_1(scaling):
    standard = scaling.of_table(TABLE)
    assert standard.dtype == np.float32
    np.testing.assert_allclose(standard[:, 2], [-1, 1, -1, 1], rtol=1e-6)
    measured = [standard[[0, 1, 3], 0], standard[:3, 1], standard[:, 2]]
    np.testing.assert_allclose([column.mean() for column in measured], 0, atol=1e-6)
    np.testing.assert_allclose([column.std() for column in measured], 1, rtol=1e-6)


def test_statistics_come_from_the_rows_given_only(scaling):
    later = pd.DataFrame({"AREA": [1e6, np.nan], "MEANGBZ": [-900.0, 900.0], "Chis": [500, 500]})
    table = pd.concat([TABLE, later], ignore_index=True)
    again = fit_scaling(table[table.index < 4], FEATURES)
    for name in ("floor", "mean", "deviation"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scaling, name))
    assert not np.allclose(fit_scaling(table, FEATURES).mean, scaling.mean)


def test_what_was_not_measured_becomes_the_training_mean_and_is_counted(scaling):
    # The means in the features' own units: 10^(5/3), 3 and exp(ln 2) - 1 = 1.
    at_mean = standardise(scaling, AREA=[10 ** (5 / 3)], MEANGBZ=[3.0], Chis=[1.0])
    np.testing.assert_allclose(at_mean, 0, atol=1e-6)
    nan, inf = np.nan, np.inf
    measured = tf.constant([[10, 3, 1], [nan, 3, 1], [inf, 3, -inf], [nan, nan, nan]], tf.float32)
    standard, imputed = scaling.standardise(measured)
    assert imputed.dtype == tf.int32
    assert imputed.numpy().tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(standard.numpy()[~np.isfinite(measured.numpy())], 0)
    assert standard.numpy()[0, 0] != 0


@pytest.mark.parametrize("value", [10.0, 9.9, 0.0, -5.0])
def test_logarithms_stop_at_the_smallest_positive_training_value(scaling, value):
    expected = (1 - 5 / 3) / AREA_DEVIATION  # log10 of the floor 10
    np.testing.assert_allclose(standardise(scaling, AREA=[value])[0, 0], expected, rtol=1e-6)


def test_negative_counts_are_no_counts(scaling):
    np.testing.assert_allclose(standardise(scaling, Chis=[-3.0])[0, 2], -1, rtol=1e-6)


def test_outliers_are_held_to_eight_deviations(scaling):
    # 8 deviations of MEANGBZ: 3 ± 8 sqrt(8/3) = 3 ± 13.06.
    values = standardise(scaling, MEANGBZ=[16.0, 17.0, 1e30, -1e30], AREA=[np.nan] * 4, Chis=[np.nan] * 4)[:, 1]
    np.testing.assert_allclose(values, [13 / np.sqrt(8 / 3), LARGEST, LARGEST, -LARGEST], rtol=1e-6)


@pytest.mark.parametrize("constant", [0.1, 123.4, 1e-3, 0.0])
def test_a_feature_that_never_varied_says_nothing_in_training_and_little_later(constant):
    # Its deviation is taken as 1. A deviation of rounding errors would make the next value ±8.
    table = pd.DataFrame({"MEANGBZ": [constant] * 10})
    scaling = fit_scaling(table, features_named(["MEANGBZ"]))
    assert scaling.deviation == [1]
    np.testing.assert_array_equal(scaling.of_table(table), 0)
    np.testing.assert_allclose(scaling.of_table(table + 0.5), 0.5, rtol=1e-4)


def test_in_a_graph_the_same_numbers(scaling):
    values = tf.constant(TABLE[list(scaling.names)].to_numpy(np.float32))
    eager, imputed = scaling.standardise(values)
    graph, imputed_in_graph = tf.function(scaling.standardise)(values)
    np.testing.assert_allclose(graph, eager, rtol=1e-6)
    np.testing.assert_array_equal(imputed_in_graph, imputed)


def test_json_lists_what_serving_and_users_need(scaling):
    entry = scaling.as_json()[0]
    assert entry["name"] == "AREA"
    assert (entry["unit"], entry["scale"], entry["floor"]) == ("uHem", "log10", 10.0)
    assert entry["mean"] == pytest.approx(5 / 3)
    assert entry["deviation"] == pytest.approx(AREA_DEVIATION)


def test_a_feature_never_measured_is_refused_by_name():
    with pytest.raises(DataError, match="`MEANGBZ` was never measured in the training span"):
        fit_scaling(TABLE.assign(MEANGBZ=np.nan), FEATURES)


def test_a_logarithm_of_nothing_is_refused_by_name():
    with pytest.raises(DataError, match=r"`AREA` .*no positive value in the training span"):
        fit_scaling(TABLE.assign(AREA=[0.0, np.nan, -1.0, 0.0]), FEATURES)
