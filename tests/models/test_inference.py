"""A network computed with fewer multiplications answers, and passes gradients back, as its layers do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
from kflare.models.inference import convolution_side, infer, train_by_infer
from kflare.models.pretraining import _readers
from kflare.models.training import Recipe, TrainingRun, train

pytestmark = pytest.mark.trains


def with_statistics(model):
    """The model with batch normalisations that do something, some of them by a negative scale."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            *shift, variance = [rng.normal(0.5, 1, part.shape) for part in layer.get_weights()]
            layer.set_weights([*shift, np.abs(variance) + 0.5])
    return model


# 160 halves to 5 at block 5; 301 is odd itself, and its half, and so on.
@pytest.mark.parametrize("size", [128, 160, 301])
def test_the_dense_cnn_answers_as_its_layers_do(size):
    model = with_statistics(build_dense_cnn((size, size, 1), growth=5))
    names = [LAST_CONVOLUTION, "block1_conv3x3", "block2_pool", "logits"]
    outputs = [model.get_layer(name).output for name in names]
    images = tf.constant(np.random.default_rng(2).uniform(-1, 1, (2, size, size, 1)), tf.float32)
    layers = keras.Model(model.input, outputs)

    def answers(run):
        with tf.GradientTape() as tape:
            tape.watch(images)
            values = run()
            score = values[-1][:, 1]
        return [*values, *tape.gradient(score, [values[0], images])]

    found = tf.function(lambda: answers(lambda: infer(model, images, outputs)))()
    for one, expected in zip(found, answers(lambda: layers(images, training=False)), strict=True):
        np.testing.assert_allclose(one, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_a_convolution_that_nobody_asks_for_is_made_in_steps_of_two():
    model = build_dense_cnn((128, 128, 1), growth=5)

    def sides(*asked):
        outputs = [model.get_layer(name).output for name in asked]
        graph = tf.function(lambda images: infer(model, images, outputs)).get_concrete_function(
            tf.TensorSpec((None, 128, 128, 1), tf.float32)
        )
        made = [one.outputs[0].shape for one in graph.graph.get_operations() if one.type == "Conv2D"]
        return [shape[1] for shape in made if shape[3] == 5]

    # Of the 3×3 convolutions of five blocks: at 64 to 4 pixels, or at half of that.
    assert sides("logits") == [32, 16, 8, 4, 2]
    assert sides("block1_conv3x3", "logits") == [64, 16, 8, 4, 2]


def convolution_sides(model, channels, **options):
    """Of a batch of two, of convolutions of so many channels."""
    call = tf.function(lambda images: model(images, **options))
    graph = call.get_concrete_function(tf.TensorSpec((2, *model.input_shape[1:]), tf.float32)).graph
    made = [one.outputs[0].shape for one in graph.get_operations() if one.type == "Conv2D"]
    return [shape[1] for shape in made if shape[3] == channels]


@pytest.mark.parametrize("readers", [False, True])
def test_training_learns_as_by_layers(readers):
    rng = np.random.default_rng(3)
    images = rng.uniform(-1, 1, (4, 128, 128, 1)).astype(np.float32)
    wanted = rng.normal(0, 1, (4, 32, 32, 4)).astype(np.float32) if readers else np.eye(2)[[0, 1, 1, 0]]

    def trained(by_infer):
        keras.utils.set_random_seed(5)
        model = build_dense_cnn((128, 128, 1), growth=5)
        model = _readers(model) if readers else model
        if by_infer:
            train_by_infer(model)
        model.compile(keras.optimizers.SGD(0.01), "mse" if readers else "categorical_crossentropy")
        losses = [model.train_on_batch(images, wanted) for _ in range(3)]
        return losses, model.get_weights(), model.predict(images, verbose=0)

    (losses, weights, answers), (*found, answered) = trained(False), trained(True)
    assert losses[2] < losses[0]
    np.testing.assert_allclose(found[0], losses, rtol=1e-5)
    for one, expected in zip(found[1], weights, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answered, answers, atol=1e-5)


def test_what_is_fitted_is_made_in_steps_of_two_and_answers_by_its_layers(tmp_path):
    images, labels = np.random.default_rng(4).uniform(-1, 1, (2, 128, 128, 1)).astype(np.float32), np.array([0, 1])
    data = tf.data.Dataset.from_tensors((images, np.eye(2, dtype=np.float32)[labels]))
    recipe = Recipe(1, 2, 1e-3, patience=1, class_weights=(1.0, 1.0), steps_per_epoch=1)
    model = build_dense_cnn((128, 128, 1), growth=5)
    assert convolution_sides(model, 5, training=True) == [64, 32, 16, 8, 4]
    train(model, data.repeat(), data, labels == 1, recipe=recipe, run=TrainingRun(tmp_path / "run", {}))
    assert convolution_sides(model, 5, training=True) == [32, 16, 8, 4, 2]
    assert convolution_sides(model, 5, training=False) == [64, 32, 16, 8, 4]


def test_a_network_of_other_layers_is_trained_by_them():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.AveragePooling2D(2)(keras.layers.Conv2D(5, 3, padding="same")(image)))
    train_by_infer(model)
    assert convolution_sides(model, 5, training=True) == [8]


@pytest.mark.parametrize("scale", [True, False])
def test_layers_of_another_kind_are_run_as_they_are(scale):
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 1, padding="same")(image)
    x = keras.layers.BatchNormalization(scale=scale, center=scale)(x)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = keras.layers.Concatenate()([x, y])
    x = keras.layers.AveragePooling2D(2, padding="same")(x)
    model = with_statistics(keras.Model(image, x))
    images = tf.constant(np.random.default_rng(2).normal(0, 1, (2, 6, 6, 3)), tf.float32)
    np.testing.assert_allclose(
        infer(model, images, [model.output])[0], model(images, training=False), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, 3), ({"kernel_size": 1}, 1), ({"kernel_size": (1, 3)}, 0), ({"padding": "valid"}, 0), ({"strides": 2}, 0),
        ({"dilation_rate": 2}, 0), ({"activation": "relu"}, 0), ({"use_bias": False}, 0), ({"groups": 2}, 0),
        ({"dtype": "mixed_float16"}, 0),
    ],
)  # fmt: skip
def test_which_convolutions_are_plain(options, side):
    assert convolution_side(keras.layers.Conv2D(4, **{"kernel_size": 3, "padding": "same"} | options)) == side


def test_another_layer_is_none():
    assert convolution_side(keras.layers.MaxPooling2D(3)) == 0
