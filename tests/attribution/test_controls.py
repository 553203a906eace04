"""The controls tell a map that explains the network from one that does not."""

import io
import json
from contextlib import redirect_stdout
from datetime import UTC, datetime

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from kflare.attribution.attribution_file import METHODS
from kflare.attribution.controls import randomisation_check, removal_curve
from kflare.attribution.map_agreement import on_cells, rank_correlation
from kflare.attribution.published import PublishedModel, open_once
from kflare.commands.controls import main
from kflare.datasets.preprocessing import fill_and_scale, reduce_field
from kflare.errors import DataError
from kflare.sun.disk import disk_mask, network_disk
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains


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


def test_the_strongest_negative_field_is_taken_away_too():
    # Failed before: -1, once space, is a field of -100 G or more, and stayed wherever it lay.
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1))
    scores = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(image))
    signed, maps = keras.Model(image, scores), {"any": np.ones((1, 32, 32), np.float32)}
    images = np.full((1, 32, 32, 1), -1.0, np.float32)
    whole, empty = (signed(each, training=False).numpy()[0, 1] for each in (images, 0 * images))
    assert abs(whole - empty) > 1e-3
    for insert, ends in ((False, [whole, empty]), (True, [empty, whole])):
        curve = removal_curve(signed, images, maps, insert=insert, steps=2)
        assert curve["any"].iloc[[0, -1]].to_list() == pytest.approx(ends, abs=1e-6)


@pytest.fixture(scope="module")
def found(full_disk_models, tmp_path_factory):
    """What the command says of a published toy network on two images of a synthetic Sun."""
    folder = tmp_path_factory.mktemp("images")
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 5, seed=5)
    for day in range(3):
        time = datetime(2014, 1, 2 + day, tzinfo=UTC)
        Image.fromarray(sun.magnetogram(time, size=128).to_bytes(100)).save(
            folder / f"synthetic_{time:%Y%m%d}_000000.png"
        )
    printed = io.StringIO()
    with redirect_stdout(printed):
        status = main([str(folder), "--model", str(full_disk_models / "cnn-m"), "--images", "2", "--json"])
    assert status == 0
    return json.loads(printed.getvalue())


def test_the_command_tells_model_and_images(found):
    assert (found["model"], found["version"]) == ("cnn-m", 1)
    assert found["images"] == ["synthetic_20140102_000000.png", "synthetic_20140104_000000.png"]


def test_randomisation_changes_grad_cam_most_where_it_was_learnt(found):
    # Dense, and two convolutions of each of five blocks and the first: 12 stages, from the output down.
    stages = [row["randomised_down_to"] for row in found["randomisation"]]
    assert (len(stages), stages[0], stages[-1]) == (12, "logits", "initial_conv3x3")
    assert abs(found["randomisation"][-1]["grad_cam"]) < 0.9
    assert abs(found["randomisation"][-1]["guided_backprop"]) < 0.9


def test_the_networks_own_weights_stay():
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1), name="magnetogram")
    x = keras.layers.Activation("relu", name="relu")(keras.layers.Conv2D(2, 3, name="first")(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="last")(x))
    model = keras.Model(image, keras.layers.Activation("softmax")(keras.layers.Dense(2, name="logits")(x)))
    before = model.get_weights()
    images = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 1)).astype(np.float32)
    table = randomisation_check(model, images, methods=("saliency",), layer="last")
    assert table["randomised_down_to"].to_list() == ["logits", "last", "first"]
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_curves_begin_and_end_with_the_whole_and_the_empty_sun(found):
    for name, first, last in (("deletion", 0, -1), ("insertion", -1, 0)):
        curve = found[name]
        assert [row["fraction"] for row in curve] == [step / 8 for step in range(9)]
        whole, empty = ({value for key, value in curve[place].items() if key != "fraction"} for place in (first, last))
        assert len(whole) == len(empty) == 1
    assert found["deletion"][0]["grad_cam"] == pytest.approx(found["insertion"][-1]["grad_cam"], abs=1e-6)


def test_cells_are_means_of_equal_areas():
    maps = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    blocks = np.abs(maps).reshape(2, 16, 4, 16, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(on_cells(maps), blocks, rtol=1e-5)
    # A coarser map is repeated: each of 4 x 4 pixels fills 4 x 4 cells.
    np.testing.assert_allclose(on_cells(maps[:, :4, :4])[:, ::4, 3::4], np.abs(maps[:, :4, :4]), rtol=1e-6)
    # 24 pixels on 16 cells: the first cell holds one pixel and half of the next.
    ramp = np.arange(24, dtype=np.float32) * np.ones((1, 24, 1), np.float32)
    assert on_cells(ramp)[0, 0, 0] == pytest.approx((0 + 0.5 * 1) / 1.5)


def test_agreement_is_symmetric_and_one_with_itself(found):
    table = pd.DataFrame(found["agreement"]).set_index("method")
    assert list(table.index) == list(table.columns) == list(METHODS)
    np.testing.assert_allclose(np.diag(table), 1.0)
    np.testing.assert_allclose(table, table.T)


def test_the_network_of_a_published_model_answers_as_its_signature(full_disk_models):
    model = PublishedModel.find(full_disk_models / "cnn-m")
    field = np.random.default_rng(2).normal(0, 60, (1, 128, 128, 1)).astype(np.float32)
    field[:, ~disk_mask(128, network_disk(128))] = np.nan
    scores = model.network()(fill_and_scale(reduce_field(tf.constant(field), size=128)), training=False).numpy()
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores, open_once(model)(field)["scores"], rtol=1e-5, atol=1e-6)


def test_maps_of_other_images_are_refused(looking_east):
    with pytest.raises(DataError, match="one map for each of the 2 images, got 1"):
        removal_curve(looking_east, np.zeros((2, 32, 32, 1)), {"any": np.zeros((1, 32, 32))})
