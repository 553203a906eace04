"""The exact CAM: its mean plus a constant is the score, whatever the size, on the released networks too."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kflare.attribution.compiled import CompiledAttribution
from kflare.attribution.exact_cam import ExactCam, field_free_sun
from kflare.attribution.published import PublishedModel
from kflare.errors import ModelError
from kflare.models.calibration import Calibration
from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
from kflare.models.savedmodel import check_ops, export_image_model, load_signatures
from kflare.sun.disk import disk_mask, network_disk

pytestmark = pytest.mark.trains

SAVEDMODELS = Path(__file__).parents[2] / "savedmodels"


def network(size):
    """A dense CNN whose batch normalisations are not the identity."""
    keras.utils.set_random_seed(size)
    model = build_dense_cnn((size, size, 1))
    random = np.random.default_rng(size)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, part.shape) for part in layer.get_weights()])
    return model


def fields(size, count=3):
    """Suns with random fields, from the quiet to the strong."""
    random = np.random.default_rng(1)
    strength = np.linspace(0.05, 0.5, count)[:, None, None, None]
    field = np.clip(random.normal(0, 1, (count, size, size, 1)) * strength, -1, 1)
    return np.where(on_disk(size), field, 0).astype(np.float32)


def on_disk(size):
    return disk_mask(size, network_disk(size))[..., None]


# 128 and 256 use every pixel; of 200 a third is left out (64 of 100 cells), of 300 the last 44 pixels.
@pytest.mark.parametrize("size", [128, 200, 256, 300])
def test_the_mean_and_a_constant_are_the_score(size):
    model = network(size)
    images = fields(size)
    logits = keras.Model(model.input, model.get_layer("logits").output)
    found = CompiledAttribution(model, layer=LAST_CONVOLUTION).maps(images, ["cam"])
    assert found["cam"].shape == (3, size // 2, size // 2, 2)
    scores, without = logits(images).numpy(), logits(field_free_sun(size)).numpy()
    departure = scores - without
    np.testing.assert_allclose(found["cam"].mean((1, 2), dtype=float), departure, atol=1e-5 * np.abs(scores).max())
    used = size // 128 * 64
    assert not found["cam"][:, used:].any()
    assert not found["cam"][:, :, used:].any()
    assert found["cam"][:, used - 1].any()


def test_of_a_sun_without_field_the_map_is_empty():
    model = network(128)
    twin = CompiledAttribution(model, layer=LAST_CONVOLUTION)
    images = np.concatenate([field_free_sun(128), fields(128, 1)])
    # A spot of 4 x 4 pixels in the north east; the receptive field of the last convolution is not the whole image.
    images[1] = images[0]
    images[1, 40:44, 40:44] = 1
    found = twin.maps(images, ["cam"])
    assert np.abs(found["cam"][0]).max() < 1e-5 * np.abs(found["cam"][1]).max()
    assert np.isnan(found["grad_cam_share"][0]).all() or np.abs(found["cam"][0].mean((0, 1))).max() < 1e-6
    magnitude = np.abs(found["cam"][1, ..., 1])
    assert np.hypot(*(np.array(np.unravel_index(magnitude.argmax(), magnitude.shape)) - 20.5)) < 4
    assert magnitude[-8:, -8:].max() < 1e-5 * magnitude.max()


def test_the_baseline_follows_the_weights():
    model, other = network(128), network(128)
    other.set_weights([weight * np.float32(0.9) for weight in model.get_weights()])
    images = fields(128)
    twin = CompiledAttribution(model, layer=LAST_CONVOLUTION)
    twin.maps(images, ["cam"])
    twin.set_weights(other.get_weights())
    wanted = CompiledAttribution(other, layer=LAST_CONVOLUTION).maps(images, ["cam"])
    np.testing.assert_allclose(twin.maps(images, ["cam"])["cam"], wanted["cam"], rtol=1e-5, atol=1e-6)


def small_network(*, global_average=True):
    """Two groups: the image itself by a 1x1 convolution at 4 x 4, and twice that behind a pool at 2 x 2."""
    image = keras.Input((4, 4, 1), name="magnetogram")
    fine = keras.layers.Conv2D(1, 1, name="fine")(image)
    x = keras.layers.AveragePooling2D(2, name="pool")(fine)
    coarse = keras.layers.Conv2D(1, 1, name="coarse")(keras.layers.Activation("relu", name="relu")(x))
    x = keras.layers.Concatenate(name="both")([x, coarse])
    x = keras.layers.BatchNormalization(name="bn", epsilon=1e-6)(x)
    x = (keras.layers.GlobalAveragePooling2D if global_average else keras.layers.Flatten)(name="mean")(x)
    logits = keras.layers.Dense(2, name="logits")(x)
    model = keras.Model(image, keras.layers.Activation("softmax", name="scores")(logits))
    if global_average:
        for name, weights in {
            "fine": ([[[[1]]]], [0.5]),
            "coarse": ([[[[2]]]], [1]),
            "bn": ([3, 1], [7, 7], [1, 2], [1, 4]),
            "logits": ([[0, 1], [0, 10]], [0, 5]),
        }.items():
            model.get_layer(name).set_weights([np.array(value, np.float32) for value in weights])
    return model


def test_a_case_derived_by_hand():
    # A Sun without field is 0, on the disk and off it. One pixel is 1.
    image = np.zeros((1, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(field_free_sun(4), image)
    image[0, 1, 1] = 1
    found = CompiledAttribution(small_network(), layer="coarse").maps(image, ["cam"])
    # The fine weight is 1 * 3 / 1, so the pixel adds 3. The coarse one is 10 * 1 / 2 = 5, of 2 relu(mean of 4 pixels +
    # 1/2) + 1; with the pixel the relu is of 1/4 + 1/2 instead of 1/2, and the cell adds 5 * 2 / 4.
    wanted = np.zeros((4, 4))
    wanted[:2, :2] = 2.5
    wanted[1, 1] += 3
    np.testing.assert_allclose(found["cam"][0, ..., 1], wanted, rtol=1e-5)
    assert not found["cam"][..., 0].any()
    # 4 * 2.5 of 4 * 2.5 + 3; the other label's weights are 0, so that nothing is to be shared.
    np.testing.assert_allclose(found["grad_cam_share"], [[np.nan, 10 / 13]], rtol=1e-5)


def test_a_network_without_a_global_average_has_no_exact_cam():
    with pytest.raises(
        ModelError, match=r"has `mean` before its last dense layer: an exact CAM needs a global average"
    ):
        ExactCam(small_network(global_average=False), layer="coarse")


def test_a_layer_that_is_not_linear_to_the_scores():
    with pytest.raises(ModelError, match=r"`relu` is not linear to the scores of .* these are: fine, coarse"):
        ExactCam(small_network(), layer="relu")


@pytest.mark.parametrize("name", ["cnn-c", "cnn-m"])
def test_released_networks_through_every_signature(name, tmp_path):
    """With the released weights, exported as today: log-odds = mean of the difference of the maps + constant."""
    released = PublishedModel.find(SAVEDMODELS / name)
    model = released.network()
    twin = CompiledAttribution(model, layer=LAST_CONVOLUTION)
    calibration = Calibration(1.0, 0.0, 0.01)
    export_image_model(model, tmp_path / "1", calibration=calibration, attribute=twin.attribute, guided=twin.guided)
    check_ops(tmp_path / "1")
    field = np.where(on_disk(512), fields(512) * 100, np.nan)
    pixels = np.where(np.isnan(field), 0, np.rint(np.nan_to_num(field) * 1.275 + 127.5)).astype(np.uint8)
    images = np.array([tf.io.encode_png(one).numpy() for one in pixels])
    asked = {"attribute": {"magnetogram": field.astype(np.float32)}, "attribute_image": {"image": images}}
    places = [tmp_path / "1"]
    if "cam" in tf.saved_model.load(str(released.folder)).signatures["attribute"].structured_outputs:
        places.append(released.folder)
    without = keras.Model(model.input, model.get_layer("logits").output)(field_free_sun(released.size)).numpy()[0]
    for place in places:
        run = load_signatures(place)
        for signature, inputs in asked.items():
            found = run(signature, inputs)
            scores = found["scores"].astype(float)
            odds = np.log(scores[:, 1] / scores[:, 0])
            mean = found["cam"].mean((1, 2), dtype=float)
            np.testing.assert_allclose(mean @ [-1, 1] + without @ [-1, 1], odds, rtol=1e-4, atol=1e-4)
