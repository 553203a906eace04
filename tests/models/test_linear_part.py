"""The regression inside Deep Flare Net: what it learns, that the network starts as it, and what holds it."""

import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

from kflare.errors import DataError, SettingError
from kflare.models.defn import build_defn
from kflare.models.losses import WeightedCrossentropy

pytestmark = pytest.mark.trains

_TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "linear_part.py"))
LinearPart, with_linear_part = _TOOL["LinearPart"], _TOOL["with_linear_part"]


def linear_samples(n=4000, seed=0):
    """Three features; events of probability sigmoid(2 x0 - x1 - 3), and of twice its logit's distance from -1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    odds, drawn = 2 * x[:, 0] - x[:, 1], rng.logistic(size=n)
    return x, np.stack([odds - 3 > drawn, odds - 1 > drawn], axis=1)


def logits_of(model, x):
    p = model.predict(x, verbose=0).astype(np.float64)
    return np.log(p[:, 1]) - np.log(p[:, 0])


def test_flares_of_all_sizes_teach_the_weights_and_each_size_has_its_own_rate():
    x, reached = linear_samples(40_000)
    part = LinearPart.fitted(x, reached)
    np.testing.assert_allclose(part.weights, [2, -1, 0], atol=0.05)
    np.testing.assert_allclose(part.offsets, [-3, -1], atol=0.06)
    # Of 500 samples 80 reach the first size and 150 the second, and errors go as one over the root.
    errors = np.empty((8, 2))
    for seed, row in enumerate(errors):
        x, reached = linear_samples(500, seed)
        row[:] = [np.abs(LinearPart.fitted(x, r).weights - [2, -1, 0]).sum() for r in (reached[:, 0], reached)]
    one, both = errors.mean(axis=0)
    assert both < 0.8 * one


def test_with_one_size_it_is_the_plain_regression_with_its_class_weights():
    from kflare.models.baselines import logistic_regression

    x, reached = linear_samples()
    for weights in ((1.0, 1.0), (1.0, 6.0)):
        p = logistic_regression(x, reached[:, 0], class_weights=weights)(x).astype(np.float64)
        part = LinearPart.fitted(x, reached[:, 0], strength=1e-9, class_weights=weights)
        np.testing.assert_allclose(part.logits(x), np.log(p / (1 - p)), atol=0.01)


def test_a_bend_tells_none_from_little():
    rng = np.random.default_rng(1)
    # As of R_VALUE: a third has none, 0; the others lie between 2 and 4, and what it is worth is a step there.
    value = np.where(rng.random(20_000) < 1 / 3, 0, rng.uniform(2, 4, 20_000)).astype(np.float32)[:, None]
    reached = rng.random(20_000) < np.where(value[:, 0] > 0, 0.3, 0.02)
    part = LinearPart.fitted(value, reached, bends=((0, 1.0),))
    p = 1 / (1 + np.exp(-part.logits(np.array([[0], [2], [4]], np.float32))))
    np.testing.assert_allclose(p, [0.02, 0.3, 0.3], atol=0.02)
    without = LinearPart.fitted(value, reached).logits(np.array([[2], [4]], np.float32))
    assert np.diff(1 / (1 + np.exp(-without)))[0] > 0.1
    keras.utils.set_random_seed(0)
    model = with_linear_part(build_defn(1, hidden=4), part)
    np.testing.assert_allclose(logits_of(model, value[:50]), part.logits(value[:50]), atol=1e-5)


def test_the_untrained_network_is_its_linear_part():
    x, reached = linear_samples()
    part = LinearPart.fitted(x, reached)
    keras.utils.set_random_seed(0)
    np.testing.assert_allclose(
        logits_of(with_linear_part(build_defn(3), part), x[:200]), part.logits(x[:200]), atol=1e-5
    )


def trained(part, x, targets):
    keras.utils.set_random_seed(0)
    model = with_linear_part(build_defn(3, hidden=16, bn_momentum=0.9), part)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=WeightedCrossentropy((1.0, 1.0)))
    model.fit(x, np.stack([1 - targets, targets], axis=1), epochs=6, verbose=0)
    return model


def test_decay_holds_the_linear_part_to_the_regression():
    x, reached = linear_samples()
    part = LinearPart.fitted(x, reached)
    opposite = 1 / (1 + np.exp(part.logits(x)))  # targets that pull every weight to its negative
    drift = {}
    for decay in (0.0, 10.0):
        held = LinearPart(part.weights, part.offsets, decay=decay, correction_decay=10.0)
        kernel = trained(held, x, opposite).get_layer("linear").kernel.numpy()
        drift[decay] = np.abs(kernel[:, 1] - part.weights).max()
    assert drift[10.0] < 0.1 < drift[0.0]


def test_on_a_linear_problem_the_network_is_no_worse_than_the_regression():
    x, reached = linear_samples(4000)
    fresh, outcomes = linear_samples(20_000, seed=1)
    part = LinearPart.fitted(x, reached)
    model = trained(part, x, reached[:, 0].astype(np.float32))
    p = {"network": logits_of(model, fresh), "regression": part.logits(fresh)}
    brier = {name: np.mean((1 / (1 + np.exp(-z)) - outcomes[:, 0]) ** 2) for name, z in p.items()}
    assert brier["network"] < 1.02 * brier["regression"]


def test_a_network_with_a_linear_part_is_read_as_it_was_written(tmp_path):
    x, reached = linear_samples(500)
    model = trained(LinearPart.fitted(x, reached, bends=((1, 0.5),)), x, reached[:, 0].astype(np.float32))
    model.save(tmp_path / "defn.keras")
    again = keras.saving.load_model(tmp_path / "defn.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)
    assert again.get_layer("linear").kernel_regularizer.strength == 1.0


def test_what_no_linear_part_can_be_of_is_refused():
    x, reached = linear_samples(100)
    with pytest.raises(SettingError, match="`linear` must be of 4 features, got 3 weights"):
        with_linear_part(build_defn(4), LinearPart.fitted(x, reached))
    with pytest.raises(DataError, match="the training samples hold one class only"):
        LinearPart.fitted(x, np.ones(100, bool))
