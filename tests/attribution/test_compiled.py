import keras
import numpy as np
import pytest
import tensorflow as tf

from kflare.attribution.compiled import CompiledAttribution
from kflare.attribution.guided import guided_copy
from kflare.errors import ModelError
from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn

pytestmark = pytest.mark.trains

SIZE = 128
RELUS = 10


@pytest.fixture(scope="module")
def cnn():
    """A dense CNN whose batch normalisation does something, as after training."""
    keras.utils.set_random_seed(3)
    model = build_dense_cnn((SIZE, SIZE, 1))
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            gamma, beta, mean, variance = (
                *rng.normal(1, 0.3, (1, n)),
                *rng.normal(0, 0.3, (2, n)),
                rng.random(n) + 0.5,
            )
            layer.set_weights([part.astype(np.float32) for part in (gamma, beta, mean, variance)])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).uniform(-1, 1, (2, SIZE, SIZE, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def attributed(cnn, images):
    """Logits and maps as numpy arrays, by name."""
    compiled = tf.function(CompiledAttribution(cnn, layer=LAST_CONVOLUTION).attribute)
    return {name: part.numpy() for name, part in compiled(tf.constant(images)).items()}


def copy_of(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def assert_equal(actual, expected):
    """Within 1e-5 of the largest value of the map."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_shapes_and_types(attributed):
    assert {part.dtype.name for part in attributed.values()} == {"float32"}
    # 128 / 32 = 4 cells of the last convolution, 128 / 2 of the stem.
    assert {name: part.shape for name, part in attributed.items()} == {
        "logits": (2, 2),
        "cam": (2, 64, 64, 2),
        "grad_cam": (2, 4, 4, 2),
        "grad_cam_share": (2, 2),
        "guided_backprop": (2, 128, 128, 2),
    }


def test_logits_are_the_networks(cnn, images, attributed):
    logits = keras.Model(cnn.input, cnn.get_layer("logits").output)(images, training=False)
    assert_equal(attributed["logits"], logits.numpy())
    np.testing.assert_allclose(tf.nn.softmax(attributed["logits"]), cnn(images, training=False), rtol=1e-5)


@pytest.mark.parametrize("clone", [True, False])
@pytest.mark.parametrize("label", [0, 1])
def test_grad_cam_is_that_of_tf_keras_vis(cnn, images, attributed, label, clone):
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    # Without `clone` tf-keras-vis changes the model that it is given, so it is given a copy.
    reference = Gradcam(copy_of(cnn), model_modifier=ReplaceToLinear(), clone=clone)(
        CategoricalScore([label, label]),
        images,
        penultimate_layer=LAST_CONVOLUTION,
        seek_penultimate_conv_layer=False,
        activation_modifier=None,
        expand_cam=False,
        normalize_cam=False,
    )
    assert_equal(attributed["grad_cam"][..., label], reference)


# tf-keras-vis passes its one input as a list, about which Keras 3 complains.
@pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning")
@pytest.mark.parametrize("clone", [True, False])
@pytest.mark.parametrize("label", [0, 1])
def test_guided_backpropagation_is_that_of_tf_keras_vis(cnn, images, attributed, label, clone):
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation, ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    modifiers = [GuidedBackpropagation(), ReplaceToLinear()]
    reference = Saliency(copy_of(cnn), model_modifier=modifiers, clone=clone)(
        CategoricalScore([label, label]), images, gradient_modifier=None, normalize_map=False
    )
    assert_equal(attributed["guided_backprop"][..., label], reference)


def test_guided_differs_from_the_plain_gradient(cnn, images, attributed):
    logits = keras.Model(cnn.input, cnn.get_layer("logits").output)
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = logits(x, training=False)[:, 1]
    plain = tape.gradient(score, x).numpy()[..., 0]
    assert np.abs(attributed["guided_backprop"][..., 1] - plain).max() > 0.1 * np.abs(plain).max()


def test_grad_cam_is_the_cam_of_the_last_convolution(cnn, images, attributed):
    # docs/science.md: behind the last convolution only linear layers follow, so the weight of map k is the constant
    # w_ck gamma_k / sqrt(variance_k + 1e-5) / cells, 4 x 4 of them here. The block's own input is concatenated first.
    maps = keras.Model(cnn.input, cnn.get_layer(LAST_CONVOLUTION).output)(images, training=False).numpy()
    gamma, _, _, variance = cnn.get_layer("last_bn").get_weights()
    weight = cnn.get_layer("logits").kernel.numpy() * (gamma / np.sqrt(variance + 1e-5))[:, None] / 16
    assert_equal(attributed["grad_cam"], maps @ weight[-maps.shape[-1] :])


def test_a_case_derived_by_hand():
    # A = 2 max(x, 0) - 3 max(-x, 0); the scores are the mean of A over the four pixels and minus that.
    inputs = keras.Input((2, 2, 1), name="image")
    signs = keras.layers.Conv2D(2, 1, use_bias=False, name="signs")(inputs)
    relu = keras.layers.Activation("relu", name="relu")(signs)
    last = keras.layers.Conv2D(1, 1, use_bias=False, name="last")(relu)
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(last)
    logits = keras.layers.Dense(2, use_bias=False, name="logits")(mean)
    model = keras.Model(inputs, keras.layers.Activation("softmax", name="scores")(logits))
    for name, kernel in (("signs", [[[[1, -1]]]]), ("last", [[[[2], [-3]]]]), ("logits", [[1, -1]])):
        model.get_layer(name).set_weights([np.array(kernel, np.float32)])
    x = tf.constant([[[[1.0], [-2.0]], [[3.0], [-1.0]]]])

    found = CompiledAttribution(model, layer="last").attribute(x)
    guided = found["guided_backprop"]

    # A = 2, -6, 6, -3: mean -1/4.
    np.testing.assert_allclose(found["logits"], [[-0.25, 0.25]])
    # d score_0 / dA = 1/4 in each pixel, whose mean is 1/4 again; score_1 the negative.
    np.testing.assert_allclose(found["grad_cam"][0, ..., 0], [[0.5, -1.5], [1.5, -0.75]])
    np.testing.assert_allclose(found["grad_cam"][0, ..., 1], [[-0.5, 1.5], [-1.5, 0.75]])
    # A itself: all channels of the mean, and without field A is 0.
    np.testing.assert_allclose(found["cam"][0, ..., 1], [[-2, 6], [-6, 3]])
    np.testing.assert_allclose(found["grad_cam_share"], [[1, 1]])
    # Into the ReLU come back (2/4, -3/4) for score 0: the negative one is stopped, the positive one passes where x > 0.
    np.testing.assert_allclose(guided[0, ..., 0], [[0.5, 0], [0.5, 0]])
    # (-2/4, 3/4) for score 1: the second passes where -x > 0 and is turned by the weight -1.
    np.testing.assert_allclose(guided[0, ..., 1], [[0, -0.75], [0, -0.75]])


def test_the_model_given_stays_as_it_is(cnn, images):
    def relus(model):
        return sum(getattr(layer, "activation", None) is keras.activations.relu for layer in model.layers)

    before = cnn(images, training=False).numpy()
    guided = guided_copy(cnn)
    assert (relus(guided), relus(cnn)) == (0, RELUS)
    assert cnn.get_layer("scores").activation is keras.activations.softmax
    np.testing.assert_array_equal(cnn(images, training=False), before)
    assert all(weight is not other for weight, other in zip(cnn.weights, guided.weights, strict=True))


def network_with(relu):
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 1, activation="relu", name="good")(inputs)
    x = relu(x)
    x = keras.layers.Conv2D(2, 1, name="last")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="scores")(x))


def nested(x):
    inner = keras.Input((4, 4, 2))
    return keras.Model(inner, keras.layers.Activation("relu")(inner), name="inside")(x)


@pytest.mark.parametrize(
    ("relu", "names"),
    [
        (keras.layers.ReLU(name="layer_relu"), "layer `layer_relu`.*cannot be guided"),
        (keras.ops.relu, r"layer `relu\w*` \(Relu\) cannot be guided"),
        (keras.layers.LeakyReLU(name="leaky"), "layer `leaky`.*cannot be guided"),
        (keras.layers.Activation("relu6", name="six"), "layer `six` cannot be guided"),
        (keras.layers.Activation(tf.nn.relu, name="tensorflows"), "layer `tensorflows` cannot be guided"),
        (keras.layers.Activation(keras.layers.ReLU(), name="held"), "layer `held` cannot be guided"),
        (nested, "layer `inside` is a nested model"),
    ],
)
def test_a_relu_that_would_stay_unguided_is_refused_by_name(relu, names):
    with pytest.raises(ModelError, match=names):
        CompiledAttribution(network_with(relu), layer="last")


def test_a_model_without_relu_is_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs), name="plain")
    with pytest.raises(ModelError, match="`plain` has no ReLU"):
        guided_copy(model)


def test_an_unknown_layer_is_refused_by_name():
    model = network_with(keras.layers.Activation("relu"))
    with pytest.raises(ModelError, match="no convolution `block9`"):
        CompiledAttribution(model, layer="block9")
