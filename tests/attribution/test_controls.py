"""The controls tell a map that explains the network from one that does not."""

import keras
import numpy as np
import pytest

from kflare.attribution.compiled import CompiledAttribution
from kflare.attribution.controls import agreement, randomisation_check, rank_correlation, removal_curve
from kflare.errors import DataError
from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn


@pytest.fixture(scope="module")
def looking_east():
    """A network whose flare score is the mean of relu(field) over the eastern half: known what matters."""
    image = keras.Input((32, 32, 1), name="magnetogram")
    conv = keras.layers.Conv2D(1, 1, name="conv")
    x = keras.layers.Activation("relu", name="relu")(conv(image))
    flat = keras.layers.Flatten()(x)
    logits = keras.layers.Dense(2, name="logits")
    model = keras.Model(image, keras.layers.Activation("softmax")(logits(flat)))
    conv.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    east = np.zeros((32, 32))
    east[:, :16] = 20 / 512
    logits.set_weights([np.stack([np.zeros(1024), east.ravel()], axis=1), np.zeros(2)])
    return model


def test_rank_correlation_by_hand():
    one = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)
    # |values| of the second: 4 3 2 1, the reverse order
    other = np.array([[[-4.0, 3.0], [2.0, -1.0]]], np.float32)
    assert rank_correlation(one, one) == pytest.approx([1.0])
    assert rank_correlation(one, other) == pytest.approx([-1.0])
    assert np.isnan(rank_correlation(one, np.ones_like(one))).all()
    with pytest.raises(DataError, match="same shape"):
        rank_correlation(one, other[:, :1])


def test_deleting_what_matters_lowers_the_score(looking_east):
    images = np.full((2, 32, 32, 1), 0.5, np.float32)
    right = np.zeros((2, 32, 32), np.float32)
    right[:, :, :16] = 1.0
    curve = removal_curve(looking_east, images, {"probability": right}, steps=4)
    # mean over the east is 0.5, so the flare logit is 20 * 0.5 = 10 and the probability 1/(1 + e^-10)
    assert curve["probability"].iloc[0] == pytest.approx(1 / (1 + np.exp(-10)), abs=1e-5)
    # after half of the cells the whole east is gone: logit 0, probability 1/2; random order leaves half of it
    assert curve.set_index("fraction")["probability"][0.5] == pytest.approx(0.5, abs=1e-5)
    assert curve.set_index("fraction")["random"][0.5] > 0.95
    inserted = removal_curve(looking_east, images, {"probability": right}, insert=True, steps=4).set_index("fraction")
    assert inserted["probability"][0.25] > inserted["random"][0.25]
    assert inserted["probability"][1.0] == pytest.approx(curve["probability"].iloc[0], abs=1e-6)


def test_space_is_never_filled(looking_east):
    images = np.full((1, 32, 32, 1), -1.0, np.float32)
    curve = removal_curve(looking_east, images, {"any": np.ones((1, 32, 32), np.float32)}, steps=2)
    assert np.ptp(curve["any"]) == 0


def test_randomisation_changes_grad_cam_most_where_it_was_learnt():
    keras.utils.set_random_seed(0)
    model = build_dense_cnn((128, 128, 1))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 128, 128, 1)).astype(np.float32)
    before = model.get_weights()
    table = randomisation_check(model, images, methods=("grad_cam", "guided_backprop"))
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    # Dense, and two convolutions of each of five blocks and the first: 12 stages, from the output down.
    assert table["randomised_down_to"].iloc[0] == "logits"
    assert table["randomised_down_to"].iloc[-1] == "initial_conv3x3"
    assert len(table) == 2 * 12
    last = table[table["randomised_down_to"] == "initial_conv3x3"].set_index("method")["rank_correlation"]
    assert last.abs().max() < 0.9


def test_agreement_is_symmetric_and_one_with_itself():
    keras.utils.set_random_seed(1)
    model = build_dense_cnn((128, 128, 1))
    images = np.random.default_rng(1).uniform(-1, 1, (2, 128, 128, 1)).astype(np.float32)
    maps = CompiledAttribution(model, layer=LAST_CONVOLUTION).maps(images)
    table = agreement({method: maps[method][..., 1] for method in ("grad_cam", "guided_backprop", "saliency")})
    np.testing.assert_allclose(np.diag(table), 1.0)
    np.testing.assert_allclose(table, table.T)


def test_maps_of_other_images_are_refused(looking_east):
    with pytest.raises(DataError, match="one map for each of the 2 images, got 1"):
        removal_curve(looking_east, np.zeros((2, 32, 32, 1)), {"any": np.zeros((1, 32, 32))})
