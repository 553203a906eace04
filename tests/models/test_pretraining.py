from dataclasses import replace
from datetime import UTC, datetime, timedelta

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from kflare.datasets.pipelines import image_dataset
from kflare.datasets.reduced_images import ReducedImages, reduce_images
from kflare.errors import DataError
from kflare.models.dense_cnn import GROUPS, build_dense_cnn
from kflare.models.pretraining import _readers, line_maps, line_maps_of, pretrain_on_line_maps
from kflare.models.training import Recipe, TrainingRun
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains

START = datetime(2014, 1, 1, tzinfo=UTC)
COUNT, SIZE = 16, 128
RECIPE = Recipe(epochs=3, batch_size=4, learning_rate=3e-3, patience=3, class_weights=(1.0, 1.0))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Sixteen days of the synthetic Sun, as bytes of ±250 G."""
    folder, sun = tmp_path_factory.mktemp("magnetograms"), SyntheticSun(START, COUNT + 1, seed=2)
    written = []
    for day in range(COUNT):
        time = START + timedelta(days=day)
        written.append(str(folder / f"synthetic_{time:%Y%m%d_%H%M%S}.png"))
        Image.fromarray(sun.magnetogram(time, size=SIZE).to_bytes(250)).save(written[-1])
    return written


@pytest.fixture(scope="module")
def images(paths, tmp_path_factory):
    return reduce_images(
        paths,
        size=SIZE,
        byte_range=250.0,
        folder=tmp_path_factory.mktemp("images"),
        measure=line_maps_of,
        guises=2,
    )


OBSERVED = np.arange(COUNT) % 3 == 0


def trained(folder, images, observed=OBSERVED, recipe=RECIPE, seed=0):
    keras.utils.set_random_seed(seed)
    model = build_dense_cnn((SIZE, SIZE, 1), growth=6)
    pretrain_on_line_maps(
        model, images, np.arange(COUNT), observed, augmented=True, recipe=recipe, run=TrainingRun(folder, {}),
        validation=image_dataset(images.fields, np.arange(COUNT), OBSERVED, batch_size=8), validation_observed=OBSERVED,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return trained(folder, images), folder


def test_maps_tell_field_at_lines_from_flux():
    field = np.zeros((1, 32, 32, 1), np.float32)
    field[0, 4, 4] = 100.0  # alone: flux, and no line
    field[0, 24, 5], field[0, 24, 6] = 110.0, -65.0  # side by side: a line
    field[0, 4, 20], field[0, 4, 21] = 20.0, -90.0  # one polarity is not above 20 G
    field[0, 20:24, 20:24] = np.nan
    sums = line_maps(tf.constant(field))[0].numpy() * 16  # of the 4×4 pixels of each cell
    # Both polarities lie within 3×3 pixels of columns 5 and 6 of rows 23 to 25: there G = √(90/9 · 45/9) = √50.
    # Of these six pixels all lie within the 9×9 around the two that hold field: a share of 6/81 beyond 60 G.
    line, root, strong = 50**0.5, 50**0.25, 175 * 6 / 81
    np.testing.assert_allclose(sums[1, 1], [0, 0, 0, 100], rtol=1e-5)
    np.testing.assert_allclose(sums[5, 1], [2 * line, 0, 2 * root, 0], rtol=1e-5)
    np.testing.assert_allclose(sums[6, 1], [4 * line, strong, 4 * root, 175], rtol=1e-5)
    np.testing.assert_allclose(sums[1, 5], [0, 0, 0, 110], rtol=1e-5)
    np.testing.assert_array_equal(sums[5, 5], np.zeros(4))
    np.testing.assert_allclose(sums.sum(axis=(0, 1)), [6 * line, strong, 6 * root, 385], rtol=1e-5)


def test_maps_do_not_know_which_polarity_is_which():
    field = np.random.default_rng(0).normal(0, 150, (2, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(line_maps(tf.constant(-field)), line_maps(tf.constant(field)), rtol=1e-6)


def test_what_is_read_of_each_group_is_the_same_function_of_the_features_means(images):
    """So the score, which is made of the means, is the mean of a map over all channels."""
    keras.utils.set_random_seed(1)
    model = build_dense_cnn((SIZE, SIZE, 1), growth=6)
    predictor = _readers(model)
    random = np.random.default_rng(2)
    kernels = []
    for place, name in enumerate(GROUPS):
        layer = predictor.get_layer(f"read_{name}")
        kernels.append(random.normal(0, 1, layer.get_weights()[0].shape).astype(np.float32))
        layer.set_weights([kernels[-1], *([np.zeros(4, np.float32)] if place == 0 else [])])
    seen = np.nan_to_num(images.fields[:4]) / 100
    maps = predictor.predict(seen, verbose=0)
    assert maps.shape == (4, SIZE // 4, SIZE // 4, 4)
    groups = keras.Model(model.input, [model.get_layer(name).output for name in GROUPS]).predict(seen, verbose=0)
    means = np.concatenate([group.mean(axis=(1, 2)) for group in groups], axis=1)
    kernel = np.concatenate([one[0, 0] for one in kernels])
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), means @ kernel, rtol=1e-3, atol=1e-4)


def test_the_last_layer_has_one_reading_and_two_opposite_logits(run):
    kernel, bias = run[0].get_layer("logits").get_weights()
    np.testing.assert_array_equal(kernel[:, 0], -kernel[:, 1])
    assert bias[0] == -bias[1]


def test_labels_change_the_last_layer_and_nothing_else(run, images, tmp_path):
    other = trained(tmp_path, images, observed=~OBSERVED)
    *these, kernel, _ = run[0].get_weights()
    *those, other_kernel, _ = other.get_weights()
    for one, two in zip(these, those, strict=True):
        np.testing.assert_array_equal(one, two)
    # With the opposite labels the regression has the opposite slope on the same map, which describes them as well.
    np.testing.assert_allclose(other_kernel, -kernel, rtol=1e-3, atol=1e-6)


def test_a_finished_run_is_read_and_not_repeated(run, images):
    nothing = replace(images, fields=np.full_like(images.fields, np.nan), measured=None)
    again = trained(run[1], nothing, seed=5)
    for one, two in zip(run[0].get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_record_holds_the_scores_of_the_whole_training(run):
    (row,) = TrainingRun(run[1], {}).epochs
    assert row["epoch"] == RECIPE.epochs
    assert -1 <= row["val_tss"] <= 1
    assert np.isfinite([row["loss"], row["val_loss"]]).all()


def test_divergence_is_said_and_leaves_no_weights(images, tmp_path):
    wild = Recipe(epochs=1, batch_size=8, learning_rate=1e30, patience=1, class_weights=(1.0, 1.0))
    with pytest.raises(DataError, match="diverged: lower --learning-rate"):
        trained(tmp_path, images, recipe=wild)
    assert not list(tmp_path.glob("*.npz"))


class Vanishing:
    """Fields that cannot be read any more after so many of them."""

    def __init__(self, fields, reads):
        self.fields, self.left, self.shape = fields, reads, fields.shape

    def __getitem__(self, row):
        self.left -= 1
        if self.left < 0:
            raise OSError("the disk is gone")
        return self.fields[row]


def test_a_pretraining_that_broke_off_goes_on_and_ends_with_the_weights_of_one_go(run, images, tmp_path):
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        trained(
            tmp_path,
            replace(images, fields=Vanishing(images.fields, COUNT // 2), guises=Vanishing(images.guises, COUNT)),
        )
    (kept,) = tmp_path.glob("*.npz")
    assert kept.name.endswith("-0001.weights.npz")
    # What was learnt with other settings is not gone on with.
    kept.with_name("pretraining-000000000000-0002.weights.npz").write_bytes(b"other")
    model = trained(tmp_path, images)
    for one, two in zip(run[0].get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [path.name for path in tmp_path.glob("*.npz")] == [f"epoch-{RECIPE.epochs:04d}.weights.npz"]


def test_larger_images_are_learnt_from_squares_and_the_statistics_are_those_of_whole_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("kflare.models.pretraining._CROP", 128)
    monkeypatch.setattr("kflare.models.pretraining._FULL", 200)
    fields = np.random.default_rng(0).normal(0, 30, (4, 256, 256, 1)).astype(np.float32)
    fields[:, :64] = np.nan  # a quarter is space, of which the squares hold another share
    maps = np.stack([line_maps_of(field) for field in fields])
    images = ReducedImages(fields, ("",) * 4, pd.DataFrame(), np.empty((4, 0, 256, 256, 1), np.float16), maps)
    keras.utils.set_random_seed(0)
    model = build_dense_cnn((256, 256, 1), growth=2)
    observed = np.array([True, False, True, False])
    plain = image_dataset(fields, np.arange(4), observed, batch_size=2)
    pretrain_on_line_maps(
        model, images, np.arange(4), observed, augmented=False, recipe=replace(RECIPE, epochs=1), validation=plain,
        run=TrainingRun(tmp_path, {}), validation_observed=observed,
    )  # fmt: skip
    seen = keras.Model(model.input, model.get_layer("initial_pool").output).predict(plain, verbose=0)
    mean = keras.ops.convert_to_numpy(model.get_layer("block1_bn1").moving_mean)
    np.testing.assert_allclose(mean, seen.mean(axis=(0, 1, 2)), atol=0.05 * seen.std())
