"""Deep Flare Net as the student of plain methods, several networks in one model."""

import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from kflare.datasets.splits import Split
from kflare.errors import SettingError
from kflare.models.publish import read_metadata
from kflare.models.region_models import publish_region_model
from kflare.models.savedmodel import load_signatures
from kflare.models.training import TrainingRun
from kflare.regions.feature_table import features_named

pytestmark = pytest.mark.trains

_TOOLS = str(Path(__file__).resolve().parents[2] / "tools")
sys.path.insert(0, _TOOLS)  # the tool imports its neighbour
try:
    _TOOL = runpy.run_path(f"{_TOOLS}/distillation.py")
finally:
    sys.path.remove(_TOOLS)
Distillation, ensemble_network, student = _TOOL["Distillation"], _TOOL["ensemble_network"], _TOOL["student"]
teacher_targets, fit_distilled_network = _TOOL["teacher_targets"], _TOOL["fit_distilled_network"]

QUICK = Distillation(boosting_share=0.5, sizes=(3e-6,), thin=1, members=2, steps=120, batch_size=64)


def samples(n, seed=0):
    """Standardised features of n/10 regions, outcomes of probability sigmoid(2 x0 - 2), and the regions."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 3)).astype(np.float32)
    observed = rng.random(n) < 1 / (1 + np.exp(2 - 2 * inputs[:, 0]))
    return inputs, observed, np.arange(n) // 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boosting_share": 1.5}, r"`boosting_share` must lie in \[0, 1\], got 1.5"),
        ({"boosting_share": 0.5, "thin": 0}, "`thin` must be at least 1, got 0"),
        ({"boosting_share": 0.5, "members": 0}, "`members` must be at least 1, got 0"),
        ({"boosting_share": 0.5, "parts": 1}, "`parts` must be at least 2, got 1"),
        ({"boosting_share": 0.5, "learning_rate": 0.0}, "`learning_rate` must be a number above 0"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(SettingError, match=message):
        Distillation(**options)


def test_teachers_state_frequencies():
    inputs, observed, regions = samples(4000)
    linear, targets = teacher_targets(inputs, observed[:, None], regions, how=QUICK)
    np.testing.assert_allclose(linear.weights, [2, 0, 0], atol=0.15)
    true = 1 / (1 + np.exp(2 - 2 * inputs[:, 0]))
    assert targets.dtype == np.float32
    assert np.abs(targets - true).mean() < 0.05
    assert targets.mean() == pytest.approx(observed.mean(), abs=0.02)


def test_boosting_teaches_no_region_that_it_has_seen():
    inputs, observed, regions = samples(4000)
    only_boosting = Distillation(boosting_share=1.0, parts=4)
    _, before = teacher_targets(inputs, observed[:, None], regions, how=only_boosting)
    changed = observed.copy()
    changed[regions == 7] = ~observed[regions == 7]
    _, after = teacher_targets(inputs, changed[:, None], regions, how=only_boosting)
    # Its own labels do not reach a region's targets, those of other parts do.
    np.testing.assert_array_equal(after[regions == 7], before[regions == 7])
    assert (after != before).any()


def test_the_student_comes_near_its_teacher():
    inputs, _, _ = samples(4000)
    targets = (1 / (1 + np.exp(2 - 2 * inputs[:, 0]))).astype(np.float32)
    fitted = student(inputs, targets, how=QUICK, seed=3).predict(inputs, verbose=0)[:, 1]
    assert np.abs(fitted - targets).mean() < 0.08


def test_a_student_that_contains_its_teacher_stays_with_it_and_learns_what_it_lacks():
    inputs, observed, regions = samples(4000)
    linear, same = teacher_targets(inputs, observed[:, None], regions, how=Distillation(boosting_share=0.0))
    kept = student(inputs, same, how=QUICK, seed=3, linear=linear).predict(inputs, verbose=0)[:, 1]
    assert np.abs(kept - same).mean() < 0.01
    bent = 1 / (1 + np.exp(-linear.logits(inputs) - np.abs(inputs[:, 1])))
    learnt = student(inputs, bent.astype(np.float32), how=QUICK, seed=3, linear=linear).predict(inputs, verbose=0)
    assert np.abs(learnt[:, 1] - bent).mean() < 0.5 * np.abs(same - bent).mean()


def test_joined_networks_average_logits_and_move_the_prior():
    keras.utils.set_random_seed(2)
    from kflare.models.defn import build_defn

    members = [build_defn(3), build_defn(3)]
    inputs, _, _ = samples(50)
    logits = [np.log(member.predict(inputs, verbose=0)) for member in members]
    odds = np.mean([one[:, 1] - one[:, 0] for one in logits], axis=0)
    model = ensemble_network(members, event_rate=0.2)
    # Odds grow by (1 - 0.2)/0.2 = 4, so that a frequency of 0.2, odds 1/4, becomes 0.5.
    np.testing.assert_allclose(model.predict(inputs, verbose=0)[:, 1], 1 / (1 + np.exp(-odds) / 4), rtol=1e-4)
    with pytest.raises(SettingError, match=r"`event_rate` must lie in \(0, 1\), got 1"):
        ensemble_network(members, event_rate=1.0)


@pytest.fixture(scope="module")
def fold():
    """Table, outcomes and split of a region archive, and an earlier archive of the same law."""

    def table(seed):
        inputs, observed, regions = samples(1200, seed)
        area, r_value, chis = inputs.T
        columns = {"AREA": 10 ** (3 + area / 3), "R_VALUE": r_value + 3, "Chis": np.floor(np.exp(chis))}
        rows = pd.DataFrame(columns).assign(region=[f"HARP {number}" for number in regions])
        rows["time"] = pd.date_range("2011-01-01", periods=len(rows), freq="96min", tz="UTC")
        return rows, np.where(observed, 2e-5, np.where(area > 0, 4e-6, 0.0))

    now, flux = table(1)
    return now, flux, Split(*(np.arange(1200) // 400 == part for part in range(3))), table(2)


@pytest.fixture(scope="module")
def fit(fold, tmp_path_factory):
    now, flux, split, earlier = fold
    features = features_named(["AREA", "R_VALUE", "Chis"])
    run = TrainingRun(tmp_path_factory.mktemp("run"), {})

    def work(flux=flux):
        return fit_distilled_network(
            now, features, flux, split, event="M", earlier=earlier, how=QUICK, run=run,
            also=lambda training, outcomes: {"constant": np.full(len(now), outcomes.mean(), np.float32)},
        )  # fmt: skip

    return work


@pytest.fixture(scope="module")
def fitted(fit):
    return fit()


def test_network_and_baselines_stand_side_by_side_at_one_threshold(fitted):
    expected = {"network", "logistic regression", "gradient boosting", "R_VALUE alone", "constant"}
    assert {item.method for item in fitted.evaluations} == expected
    assert {item.threshold for item in fitted.evaluations} == {0.5}
    network, regression = (
        next(e for e in fitted.evaluations if (e.method, e.span) == (method, "test"))
        for method in ("network", "logistic regression")
    )
    assert network.table.tss > 0.8 * regression.table.tss > 0.2
    assert fitted.forecasts["probability"].notna().sum() == 800
    assert {"gradient boosting", "gradient boosting, calibrated"} <= set(fitted.forecasts)


def test_labels_of_the_test_span_change_nothing_and_a_fit_repeats(fit, fitted, fold):
    _, flux, split, _ = fold
    again = fit(np.where(split.test, 1e-5 - flux.clip(max=1e-5), flux))
    assert again.calibration.slope == pytest.approx(fitted.calibration.slope, rel=1e-3)
    np.testing.assert_allclose(again.forecasts["probability"], fitted.forecasts["probability"], atol=1e-4)


def test_it_is_published_as_one_small_model_of_the_contract(fitted, fold, tmp_path):
    now, _, _, _ = fold
    path = publish_region_model(
        fitted, tmp_path, "defn-m", example=now.head(4), metadata={}, documents={"MODEL_CARD.md": b"# defn-m\n"}
    )
    rows = {name: now[name].head(5).to_numpy(np.float32) for name in ("AREA", "R_VALUE", "Chis")}
    answer = load_signatures(path)("serving_default", rows)
    assert set(answer) == {"probability", "probabilities", "calibrated", "imputed", "usable"}
    expected = fitted.model.predict(fitted.scaling.of_table(now.head(5)), verbose=0)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    assert sum(file.stat().st_size for file in path.rglob("*")) < 4_000_000
    assert (path / "assets.extra" / "MODEL_CARD.md").read_text() == "# defn-m\n"
    assert "MODEL_CARD.md" in (path / "MANIFEST.sha256").read_text()
    assert read_metadata(path)["features"][0]["name"] == "AREA"
