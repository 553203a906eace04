import keras
import numpy as np
import pytest

from kflare.errors import DataError, SettingError
from kflare.models.losses import WeightedCrossentropy, class_weights

LABELS = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
PROBABILITIES = np.array([[0.8, 0.2], [0.9, 0.1]], np.float32)


def test_weighted_crossentropy_is_equation_1_per_sample_and_the_mean_over_the_batch():
    loss = WeightedCrossentropy((1.0, 4.0))
    # Sample 1 is a flare: -4 ln 0.2 = 4 x 1.6094379 = 6.4377516. Sample 2 is none: -1 ln 0.9 = 0.1053605.
    np.testing.assert_allclose(loss.call(LABELS, PROBABILITIES), [6.4377516, 0.1053605], rtol=1e-6)
    # (6.4377516 + 0.1053605) / 2; the authors' mean over samples and classes would be half of it.
    assert float(loss(LABELS, PROBABILITIES)) == pytest.approx(3.2715561, rel=1e-6)


def test_weights_of_one_give_the_plain_crossentropy():
    plain = keras.losses.CategoricalCrossentropy()
    assert float(WeightedCrossentropy((1, 1))(LABELS, PROBABILITIES)) == pytest.approx(
        float(plain(LABELS, PROBABILITIES)), rel=1e-6
    )


def test_a_probability_of_zero_is_clipped():
    # -ln 1e-10 = 23.0258509
    value = WeightedCrossentropy((1.0, 1.0))(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    assert float(value) == pytest.approx(23.0258509, rel=1e-6)


def test_labels_that_are_not_one_hot_are_refused():
    with pytest.raises(DataError, match=r"`y_true` must have the shape \(N, 2\).*got \(2,\).*to_categorical"):
        WeightedCrossentropy((1.0, 4.0))(np.array([1.0, 0.0]), PROBABILITIES)


def test_labels_that_are_not_one_hot_are_refused_in_a_fit():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(loss=WeightedCrossentropy((1.0, 4.0)))
    with pytest.raises(DataError, match="`y_true` must have the shape"):
        model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -2.0), (1.0, float("inf")), (float("nan"), 1.0)])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(SettingError, match="`class_weights` must be two positive numbers"):
        WeightedCrossentropy(weights)


def test_saved_model_keeps_the_loss(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(optimizer="adam", loss=WeightedCrossentropy((1.0, 60.0), name="prior"))
    features = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    labels = keras.utils.to_categorical([0, 1] * 4, 2)
    model.fit(features, labels, verbose=0)
    before = model.evaluate(features, labels, verbose=0)
    model.save(tmp_path / "model.keras")

    again = keras.saving.load_model(tmp_path / "model.keras")

    assert isinstance(again.loss, WeightedCrossentropy)
    assert (again.loss.class_weights, again.loss.name) == ((1.0, 60.0), "prior")
    assert again.evaluate(features, labels, verbose=0) == pytest.approx(before, rel=1e-6)


def test_class_weights_are_the_inverse_class_ratio():
    # docs/science.md, regions of 2015: 1,017 of 31,336 samples with a flare ≥M, (31336 - 1017) / 1017 = 29.81.
    labels = np.zeros(31_336, bool)
    labels[:1_017] = True
    assert class_weights(labels) == (1.0, pytest.approx(29.812193, rel=1e-6))


@pytest.mark.parametrize(
    ("labels", "seen"), [([0, 0, 0], "0 samples with and 3"), ([True], "1 samples with and 0"), ([], "0 samples with")]
)
def test_class_weights_need_both_classes(labels, seen):
    with pytest.raises(DataError, match=f"`labels` must hold both classes.*got {seen}"):
        class_weights(labels)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0.0, np.nan], [[0, 1], [1, 0]]])
def test_class_weights_refuse_what_is_no_label(labels):
    with pytest.raises(DataError, match="`labels` must be zeros and ones"):
        class_weights(labels)
