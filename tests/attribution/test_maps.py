"""tf-keras-vis's maps against the compiled twin, for every method and label, and the scaling of paper 1."""

import keras
import numpy as np
import pytest

from kflare.attribution.attribution_file import METHODS
from kflare.attribution.compiled import CompiledAttribution
from kflare.attribution.network_maps import reference_map
from kflare.errors import ModelError, SettingError
from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def model():
    """A dense CNN whose batch normalisations are not the identity."""
    keras.utils.set_random_seed(3)
    net = build_dense_cnn((128, 128, 1))
    random = np.random.default_rng(3)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, n),
                    random.normal(0, 0.3, n),
                    random.normal(0, 0.2, n),
                    random.uniform(0.5, 2, n),
                ]
            )
    return net


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(4)
    return random.uniform(-1, 1, (3, 128, 128, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def compiled(model):
    return CompiledAttribution(model, layer=LAST_CONVOLUTION)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency"])
def test_compiled_twin_equals_tf_keras_vis(model, images, compiled, method, label):
    expected = reference_map(model, images, method=method, label=label)
    found = compiled.maps(images)[method][..., label]
    assert found.shape == expected.shape
    largest = np.abs(expected).max(axis=(1, 2))
    assert (np.abs(found - expected).max(axis=(1, 2)) <= 1e-5 * largest).all()
    assert (largest > 0).all() or method == "grad_cam_plus_plus"


def test_methods_alone_equal_methods_together(images, compiled):
    together = compiled.maps(images)
    for method in METHODS:
        alone = compiled.maps(images, [method])
        assert set(alone) == {"logits", method} | ({"grad_cam_share"} if method == "cam" else set())
        np.testing.assert_allclose(alone[method], together[method], rtol=1e-5, atol=1e-7)


def test_grad_cam_is_the_cam_of_its_channels(model, images, compiled):
    # Behind the last convolution all is linear: concatenate (its 39 maps last of 221), average pools, batch norm, mean,
    # dense. The logit is mean(CAM) + what the other channels and the shifts add, with CAM = Σ_k w_k γ_k / σ_k A^k.
    tail, dense = model.get_layer("last_bn"), model.get_layer("logits")
    scale = (tail.gamma / np.sqrt(tail.moving_variance + tail.epsilon))[-39:]
    layer = keras.Model(model.input, model.get_layer(LAST_CONVOLUTION).output)
    activation = layer(images).numpy()
    cam = np.einsum("nijk,kl->nijl", activation, np.asarray(scale)[:, None] * np.asarray(dense.kernel)[-39:])
    cells = activation.shape[1] * activation.shape[2]  # the mean gradient holds 1/cells
    found = compiled.maps(images, ["grad_cam"])["grad_cam"]
    np.testing.assert_allclose(found, cam / cells, rtol=1e-3, atol=1e-5 * np.abs(cam / cells).max())


def test_unknown_method_of_the_twin(compiled, images):
    with pytest.raises(SettingError, match="'lime'"):
        compiled.maps(images, ["lime"])


def test_model_without_the_layer(model):
    with pytest.raises(ModelError, match="no convolution `block9`; it has initial_conv3x3"):
        CompiledAttribution(model, layer="block9")


def test_model_without_a_convolution():
    image = keras.Input((128, 128, 1))
    flat = keras.layers.Flatten()(image)
    dense = keras.Model(image, keras.layers.Activation("softmax")(keras.layers.Dense(2)(flat)))
    with pytest.raises(ModelError, match="has no convolution"):
        CompiledAttribution(dense, layer=LAST_CONVOLUTION)


def test_relu_behind_the_layer_is_refused(model):
    with pytest.raises(ModelError, match=r"a ReLU .* follows `block4_conv3x3`"):
        CompiledAttribution(model, layer="block4_conv3x3")
