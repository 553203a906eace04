from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.datasets.reduced_images import reduce_images
from kflare.datasets.splits import Split
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.models.baselines import persistence
from kflare.models.calibration import fit_calibration
from kflare.models.fitting import require_both_classes
from kflare.models.image_models import fit_image_network
from kflare.models.pretraining import line_maps_of
from kflare.models.region_models import fit_region_network
from kflare.models.registry import model_spec
from kflare.models.training import Recipe, TrainingRun
from kflare.regions.feature_table import features_named
from kflare.synthetic.sun import SyntheticSun
from kflare.verification.contingency import best_threshold

pytestmark = pytest.mark.trains

FEATURES = features_named(["AREA", "R_VALUE", "Chis"])
START = datetime(2014, 1, 1, tzinfo=UTC)


def spans(train, validation, test):
    place = np.arange(train + validation + test)
    return Split(place < train, (place >= train) & (place < train + validation), place >= train + validation)


SPLIT = spans(120, 60, 60)
SPANS = ("validation", "test")


@pytest.fixture(scope="module")
def regions():
    """Two hundred and forty samples that flare the more, the larger R_VALUE is; a tenth was not measured."""
    rng = np.random.default_rng(11)
    table = pd.DataFrame(
        {"AREA": rng.lognormal(5, 1, 240), "R_VALUE": rng.uniform(0, 5, 240), "Chis": rng.poisson(1.0, 240)}
    )
    observed = table["R_VALUE"].to_numpy() + rng.normal(0, 1, 240) > 3
    table = table.mask(rng.random(table.shape) < 0.1)
    # Four samples of a region, 96 minutes apart, and the next region two days later; validation begins in 2012.
    place = np.arange(240)
    hours = (place - 120) // 4 * 48 + place % 4 * 1.6
    return table.assign(time=pd.Timestamp("2012-01-01", tz="UTC") + pd.to_timedelta(hours, unit="h")), observed


def fitted_defn(folder, table, observed, *, seed=0, **changes):
    recipe = Recipe(
        epochs=3, batch_size=30, learning_rate=0.003, patience=5, class_weights=(1.0, 2.0), seed=seed, select="loss",
        steps_per_epoch=4,
    )  # fmt: skip
    return fit_region_network(
        model_spec("defn-c"), table, FEATURES, observed, SPLIT, recipe=recipe, run=TrainingRun(folder, {}), **changes
    )


@pytest.fixture(scope="module")
def defn(regions, tmp_path_factory):
    clusters = np.arange(240) // 4
    return fitted_defn(tmp_path_factory.mktemp("defn"), *regions, clusters=clusters)


def of(fitted, span):
    return {e.method: e.as_json() for e in fitted.evaluations if e.span == span}


def test_defn_is_evaluated_beside_a_regression_on_both_spans(defn):
    assert {(e.method, e.span) for e in defn.evaluations} == {
        (method, span) for method in ("network", "network at 50 %", "logistic regression") for span in SPANS
    }
    assert of(defn, "test")["network at 50 %"]["threshold"] == 0.5
    assert of(defn, "test")["network"]["threshold"] == defn.threshold
    assert all(sum(e[name] for name in ("tp", "fp", "fn", "tn")) == 60 for e in of(defn, "test").values())
    assert defn.validation_score == of(defn, "validation")["network"]["tss"]
    assert of(defn, "test")["network"]["tss_interval"][0] <= of(defn, "test")["network"]["tss"]
    # Sixty samples of fifteen regions, each of one day: fifteen windows.
    assert defn.calibration.lowest == pytest.approx(1 / 17)
    ((span, year),) = defn.calibration.years.items()
    assert (span, year["samples"], year["windows"], year["clusters"]) == ("2012", 60, 15, 15)
    assert defn.disk_calibration is None


def test_forecasts_are_those_of_the_model_and_missing_in_training(defn, regions):
    forecasts = defn.forecasts
    assert list(forecasts) == ["observed", "probability", "calibrated", "logistic regression"]
    assert forecasts["probability"][SPLIT.train].isna().all()
    later = ~SPLIT.train
    inputs = defn.scaling.of_table(regions[0][later])
    probability = defn.model(inputs, training=False).numpy()[:, 1]
    np.testing.assert_allclose(forecasts["probability"][later], probability, rtol=1e-5)
    np.testing.assert_allclose(forecasts["calibrated"][later], defn.calibration(probability), rtol=1e-5)


def test_the_test_span_changes_test_scores_only(defn, regions, tmp_path):
    # Labels flipped, features shifted: with the same seed, the same network and the same choices to the last bit.
    table, observed = regions
    names = [feature.name for feature in FEATURES]
    shifted = table.assign(**table[names].where(~pd.Series(SPLIT.test), table[names] * 1000 + 5))
    other = fitted_defn(tmp_path, shifted, observed ^ SPLIT.test, clusters=np.arange(240) // 4)
    for weight, expected in zip(other.model.get_weights(), defn.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert other.run.epochs == defn.run.epochs
    assert (other.threshold, other.calibration) == (defn.threshold, defn.calibration)
    for name in ("floor", "mean", "deviation"):
        np.testing.assert_array_equal(getattr(other.scaling, name), getattr(defn.scaling, name))
    counts = [[of(f, span)["network"][n] for n in ("tp", "fp", "fn", "tn")] for f in (defn, other) for span in SPANS]
    assert counts[0] == counts[2]
    assert counts[1] != counts[3]


def test_validation_labels_and_the_seed_do_change_the_choices(defn, regions, tmp_path):
    # So that the test above can fail.
    table, observed = regions
    other = fitted_defn(tmp_path, table, observed ^ SPLIT.validation, seed=1)
    assert not np.allclose(other.model.get_weights()[0], defn.model.get_weights()[0])
    assert other.calibration != defn.calibration
    assert other.threshold != defn.threshold


@pytest.fixture(scope="module")
def magnetograms(tmp_path_factory):
    folder, sun = tmp_path_factory.mktemp("magnetograms"), SyntheticSun(START, 14, seed=2)
    paths = []
    for day in range(12):
        time = START + timedelta(days=day)
        path = folder / f"synthetic_{time:%Y%m%d_%H%M%S}.png"
        Image.fromarray(sun.magnetogram(time, size=128).to_bytes(100)).save(path)
        paths.append(path)
    place = tmp_path_factory.mktemp("images")
    return reduce_images(paths, size=128, byte_range=100.0, folder=place, measure=line_maps_of)


CNN_SPLIT = spans(6, 3, 3)
CNN_OBSERVED = np.array([True, False] * 6)


def fitted_cnn(folder, images, observed, **changes):
    recipe = Recipe(epochs=1, batch_size=3, learning_rate=1e-3, patience=1, class_weights=(1.0, 1.0))
    baselines = {"persistence": np.array([1, 0, 0] * 4, np.float32)}
    return fit_image_network(
        model_spec("cnn-c"), images,
        observed, CNN_SPLIT, augmented=True, recipe=recipe, run=TrainingRun(folder, {}),
        baselines=baselines, **changes,
    )  # fmt: skip


def test_dense_cnn_is_fitted_to_files_and_chosen_on_validation_data(magnetograms, tmp_path):
    cnn = fitted_cnn(tmp_path, magnetograms, CNN_OBSERVED)
    assert cnn.model.input_shape == (None, 128, 128, 1)
    assert cnn.scaling is None
    valid, probability = CNN_SPLIT.validation, cnn.forecasts["probability"].to_numpy(np.float32)
    assert np.isnan(probability[CNN_SPLIT.train]).all()
    assert np.isfinite(probability[~CNN_SPLIT.train]).all()
    assert cnn.threshold == best_threshold(CNN_OBSERVED[valid], probability[valid])[0]
    assert cnn.calibration == fit_calibration(CNN_OBSERVED[valid], probability[valid])
    # In the validation span: observed yes, no, yes; persistence yes, no, no.
    beside = of(cnn, "validation")["persistence"]
    assert [beside[name] for name in ("tp", "fp", "fn", "tn")] == [1, 0, 1, 1]
    np.testing.assert_array_equal(cnn.forecasts["persistence"], [1, 0, 0] * 4)


def test_a_dense_cnn_that_reads_polarity_lines_forecasts_at_one_half(magnetograms, tmp_path):
    cnn = fitted_cnn(tmp_path, magnetograms, CNN_OBSERVED, pretrain=True)
    assert cnn.threshold == 0.5
    assert {(e.method, e.threshold) for e in cnn.evaluations} == {("network", 0.5), ("persistence", 0.5)}
    # Labels outside the training span decide nothing but the calibration.
    other = fitted_cnn(tmp_path / "other", magnetograms, CNN_OBSERVED ^ ~CNN_SPLIT.train, pretrain=True)
    np.testing.assert_array_equal(other.forecasts["probability"], cnn.forecasts["probability"])


@pytest.mark.parametrize(("span", "place"), [("train", 0), ("validation", 120)])
@pytest.mark.parametrize(("label", "seen"), [(False, "none of"), (True, "all")])
def test_a_span_without_both_classes_is_refused_by_name(span, place, label, seen):
    observed = np.arange(240) % 2 == 0
    observed[place : place + SPLIT.parts()[span].sum()] = label
    with pytest.raises(DataError, match=f"a flare >= C1.0 occurs in {seen} .*samples of the {span} span"):
        require_both_classes(observed, SPLIT, event="a flare >= C1.0")


def test_a_test_span_without_events_is_no_obstacle():
    require_both_classes((np.arange(240) % 2 == 0) & ~SPLIT.test, SPLIT, event="a flare >= C1.0")


def test_persistence_looks_at_the_24_hours_before_the_forecast():
    start = pd.to_datetime(["2014-01-02T00:00Z", "2014-01-02T23:59Z", "2014-01-05T12:00Z"])
    flares = FlareList(pd.DataFrame({"start": start, "goes_class": ["C1.0", "B9.9", "M1.0"]}), "test")
    times = pd.Series(pd.date_range("2014-01-02", "2014-01-07", freq="D", tz="UTC"))
    # [t - 24 h, t): the C flare at 2 January 00:00 counts for the 3rd, the M flare of the 5th for the 6th.
    assert persistence(times, flares, "C").tolist() == [0, 1, 0, 0, 1, 0]
    assert persistence(times, flares, "M").tolist() == [0, 0, 0, 0, 1, 0]
