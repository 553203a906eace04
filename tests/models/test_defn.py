import keras
import numpy as np
import pytest

from kflare.errors import SettingError
from kflare.models.defn import build_defn
from kflare.models.losses import WeightedCrossentropy

pytestmark = pytest.mark.trains


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_parameters_are_those_of_the_authors_code():
    model = build_defn(79)
    # Weights 79x200 + 200x200 + 200x79, the same again from 79, then 79x200 + 200x2: 159,400. First bias 200, last 2,
    # and one beta for each unit behind a BN: 200 + 79 + 200 + 200 + 79 + 200 = 958.
    assert count(model.trainable_weights) == 159_400 + 200 + 2 + 958 == 160_560
    assert count(model.non_trainable_weights) == 2 * 958  # moving mean and variance


def test_inputs_and_outputs_have_the_names_of_the_contract():
    model = build_defn(5, hidden=4)
    assert (model.input.name, model.input.shape) == ("features", (None, 5))
    assert (model.output_names, model.output.shape) == (["probabilities"], (None, 2))


def test_forward_pass_is_that_of_the_authors_code():
    keras.utils.set_random_seed(1)
    model = build_defn(3, hidden=4)
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(0.05, 0.5, weight.shape) for weight in model.get_weights()])
    x = rng.normal(size=(6, 3))

    def hidden(values, layer):
        (kernel,) = model.get_layer(f"hidden{layer}").get_weights()
        beta, mean, variance = model.get_layer(f"bn{layer}").get_weights()
        return np.maximum((values @ kernel - mean) / np.sqrt(variance + 0.001) + beta, 0)

    # docs/science.md, line by line.
    kernel, bias = model.get_layer("hidden1").get_weights()
    h1 = np.maximum(x @ kernel + bias, 0)
    h3 = hidden(hidden(h1, 2), 3) + x
    h6 = hidden(hidden(hidden(h3, 4), 5), 6) + x
    kernel, bias = model.get_layer("logits").get_weights()
    logits = hidden(h6, 7) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.ptp(expected[:, 0]) > 0.1  # the rows differ, or nothing would be compared
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4)


def test_starts_as_the_authors_code_does():
    keras.utils.set_random_seed(0)
    model = build_defn(79)
    for layer in (1, 2, 3, 4, 5, 6, 7):
        kernel = model.get_layer(f"hidden{layer}").kernel.numpy()
        # A normal distribution cut at two sigma keeps a standard deviation of 0.880 sigma.
        assert np.abs(kernel).max() <= 0.2
        assert kernel.std() == pytest.approx(0.088, rel=0.02)
    np.testing.assert_array_equal(model.get_layer("hidden1").bias, np.full(200, 1.1, np.float32))
    np.testing.assert_array_equal(model.get_layer("logits").bias, np.full(2, 0.1, np.float32))
    assert (model.get_layer("bn2").momentum, model.get_layer("bn2").epsilon) == (0.99, 0.001)


def test_the_seed_of_keras_governs_weights_and_no_two_layers_share_them():
    keras.utils.set_random_seed(3)
    first = build_defn(4, hidden=5)
    keras.utils.set_random_seed(3)
    second = build_defn(4, hidden=5)
    np.testing.assert_array_equal(first.get_layer("hidden2").kernel, second.get_layer("hidden2").kernel)
    assert not np.array_equal(first.get_layer("hidden2").kernel, first.get_layer("hidden5").kernel)


def test_dropout_acts_in_training_only():
    keras.utils.set_random_seed(0)
    model = build_defn(4, hidden=400, dropout=0.25)
    dropped = keras.Model(model.input, model.get_layer("dropout1").output)
    x = np.zeros((50, 4), np.float32)
    # relu(0 W + 1.1) = 1.1 everywhere; in training a quarter of 20,000 units is 0, the rest 1.1 / 0.75.
    np.testing.assert_allclose(dropped(x, training=False), 1.1, rtol=1e-6)
    trained = dropped(x, training=True).numpy()
    assert (trained == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(trained[trained > 0], 1.1 / 0.75, rtol=1e-6)


def test_saved_model_gives_the_same_probabilities(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_defn(6, hidden=8)
    model.compile(optimizer="adam", loss=WeightedCrossentropy((1.0, 4.0)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype(np.float32)
    model.fit(x, keras.utils.to_categorical(x[:, 0] > 0, 2), verbose=0)
    model.save(tmp_path / "defn.keras")

    again = keras.saving.load_model(tmp_path / "defn.keras")

    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)
    assert again.loss.class_weights == (1.0, 4.0)


@pytest.mark.parametrize(
    ("n_features", "options", "message"),
    [
        (0, {}, "`n_features` and `hidden` must be at least 1, got 0 and 200"),
        (3, {"hidden": 0}, "got 3 and 0"),
        (3, {"dropout": 1.0}, r"`dropout` must lie in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_sizes_are_refused(n_features, options, message):
    with pytest.raises(SettingError, match=message):
        build_defn(n_features, **options)
