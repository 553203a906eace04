import keras
import numpy as np
import pytest
import tensorflow as tf

from kflare.errors import SettingError
from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
from kflare.models.losses import WeightedCrossentropy

pytestmark = pytest.mark.trains

# docs/science.md, with C features in and F out: a k x k convolution has C k^2 F + F trainable numbers, BN 2 C, Dense
# 2 C + 2. Layer, side and features of its output at 512 x 512, trainable parameters.
TABLE = [
    ("initial_conv3x3", 512, 26, 260),
    ("initial_pool", 256, 26, 0),
    ("block1_bn1", 256, 26, 52),
    ("block1_conv1x1", 256, 13, 351),
    ("block1_bn2", 256, 13, 26),
    ("block1_conv3x3", 256, 39, 4_602),
    ("block1_concat", 256, 65, 0),
    ("block1_pool", 128, 65, 0),
    ("block2_bn1", 128, 65, 130),
    ("block2_conv1x1", 128, 26, 1_716),
    ("block2_bn2", 128, 26, 52),
    ("block2_conv3x3", 128, 39, 9_165),
    ("block2_pool", 64, 104, 0),
    ("block3_bn1", 64, 104, 208),
    ("block3_conv1x1", 64, 39, 4_095),
    ("block3_bn2", 64, 39, 78),
    ("block3_conv3x3", 64, 39, 13_728),
    ("block3_pool", 32, 143, 0),
    ("block4_bn1", 32, 143, 286),
    ("block4_conv1x1", 32, 52, 7_488),
    ("block4_bn2", 32, 52, 104),
    ("block4_conv3x3", 32, 39, 18_291),
    ("block4_pool", 16, 182, 0),
    ("block5_bn1", 16, 182, 364),
    ("block5_conv1x1", 16, 65, 11_895),
    ("block5_bn2", 16, 65, 130),
    ("block5_conv3x3", 16, 39, 22_854),
    ("block5_pool", 8, 221, 0),
    ("last_bn", 8, 221, 442),
    ("last_pool", 4, 221, 0),
]


def trainable(layer):
    return sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)


@pytest.fixture(scope="module")
def full_size():
    return build_dense_cnn()


def test_layers_are_those_of_the_paper(full_size):
    layers = {name: full_size.get_layer(name) for name, *_ in TABLE}
    seen = [(name, *layers[name].output.shape[2:], trainable(layers[name])) for name in layers]
    assert seen == TABLE
    assert layers[LAST_CONVOLUTION].output.shape == (None, 16, 16, 39)
    assert full_size.get_layer("global_pool").output.shape == (None, 221)
    assert trainable(full_size.get_layer("logits")) == 444  # 221 x 2 + 2


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_parameters_are_96761_at_any_size(size):
    assert sum(map(trainable, build_dense_cnn((size, size, 1)).layers)) == 96_761


def test_inputs_and_outputs_have_the_names_of_the_contract(full_size):
    assert full_size.input.name == "magnetogram"
    assert full_size.input.shape == (None, 512, 512, 1)
    assert full_size.output_names == ["scores"]
    assert full_size.output.shape == (None, 2)


def test_every_relu_is_an_activation_layer_that_guided_backpropagation_finds(full_size):
    relus = [layer.name for layer in full_size.layers if getattr(layer, "activation", None) is keras.activations.relu]
    assert relus == [f"block{block}_relu{index}" for block in range(1, 6) for index in (1, 2)]
    assert all(type(full_size.get_layer(name)) is keras.layers.Activation for name in relus)
    assert not [layer for layer in full_size.layers if isinstance(layer, keras.layers.ReLU | keras.Model)]


def test_batch_normalisation_is_pytorchs(full_size):
    layers = [layer for layer in full_size.layers if isinstance(layer, keras.layers.BatchNormalization)]
    # Two in each of five blocks and the last; torch's momentum 0.1 is the share of the new batch, here of the old mean.
    assert [(layer.epsilon, layer.momentum) for layer in layers] == [(1e-5, 0.9)] * 11


def test_weights_start_as_pytorchs():
    kernel = build_dense_cnn((128, 128, 1)).get_layer(LAST_CONVOLUTION).kernel.numpy()
    # Uniform in +-1/sqrt(3 x 3 x 65) = +-0.0413; with 22,815 draws the extremes come within 1 % of the edge.
    assert 0.99 / np.sqrt(585) < np.abs(kernel).max() <= 1 / np.sqrt(585)


def test_gradient_of_a_logit_is_constant_over_the_last_feature_maps():
    # docs/science.md: behind the last convolution lie concatenation, means, BN and Dense only, so in inference
    # d logit_c / d A_kij = w_ck gamma_k / sqrt(variance_k + 1e-5) / (number of cells), 8 x 8 at 256 x 256.
    model = build_dense_cnn((256, 256, 1))
    rng = np.random.default_rng(5)
    gamma, beta, mean, variance = (rng.uniform(0.5, 2.0, 221).astype(np.float32) for _ in range(4))
    model.get_layer("last_bn").set_weights([gamma, beta, mean, variance])
    both = keras.Model(model.input, [model.get_layer(LAST_CONVOLUTION).output, model.get_layer("logits").output])
    image = tf.constant(rng.uniform(-1, 1, (2, 256, 256, 1)).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        maps, logits = both(image, training=False)
        each = tf.unstack(logits, axis=1)
    weight = model.get_layer("logits").kernel.numpy()
    new = slice(182, 221)  # the block's input comes first in the concatenation
    for label in (0, 1):
        expected = weight[new, label] * gamma[new] / np.sqrt(variance[new] + 1e-5) / 64
        gradient = tape.gradient(each[label], maps).numpy()
        np.testing.assert_allclose(gradient, np.broadcast_to(expected, (2, 8, 8, 39)), rtol=1e-4, atol=1e-8)


def test_saved_model_gives_the_same_scores(tmp_path):
    model = build_dense_cnn((128, 128, 1), growth=3)
    model.compile(optimizer="adam", loss=WeightedCrossentropy((1.0, 1.5)))
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (4, 128, 128, 1)).astype(np.float32)
    model.fit(images, keras.utils.to_categorical([0, 1, 1, 0], 2), batch_size=2, verbose=0)
    model.save(tmp_path / "cnn.keras")

    again = keras.saving.load_model(tmp_path / "cnn.keras")

    scores = model.predict(images, verbose=0)
    np.testing.assert_allclose(again.predict(images, verbose=0), scores, rtol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-6)
    assert again.loss.class_weights == (1.0, 1.5)


@pytest.mark.parametrize("shape", [(127, 128, 1), (128, 64, 1), (128, 128, 0)])
def test_too_small_images_are_refused(shape):
    with pytest.raises(SettingError, match=r"`input_shape` must be at least \(128, 128, 1\).*got \("):
        build_dense_cnn(shape)


def test_a_growth_of_nothing_is_refused():
    with pytest.raises(SettingError, match="`growth` must be at least 1, got 0"):
        build_dense_cnn((128, 128, 1), growth=0)
