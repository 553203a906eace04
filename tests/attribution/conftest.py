"""A transparent model, published like any other, whose maps show the field itself."""

from pathlib import Path

import pytest

SIZE = 128
CELL = 32


@pytest.fixture(scope="session")
def field_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models' folder with cnn-m version 1: S = 128, h = 4.

    For "flare" the gradient is B / 100 G and Grad-CAM its mean in each cell; for "no flare" both the negative. Off the
    disk B = 0. The probability is the largest |B| / 100 G.
    """
    import tensorflow as tf

    from kflare.datasets.preprocessing import reduce_field
    from kflare.models.publish import publish_version

    module = tf.Module()
    module.limit = tf.Variable(100.0)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32, name="magnetogram")])
    def attribute(magnetogram):
        field = reduce_field(magnetogram, size=SIZE)
        field = tf.where(tf.math.is_nan(field), tf.zeros_like(field), field) / module.limit
        cells = tf.nn.avg_pool2d(field, CELL, CELL, "VALID")
        probability = tf.reduce_max(tf.maximum(field, -field), axis=(1, 2, 3))
        return {
            "probability": probability,
            "scores": tf.stack([1 - probability, probability], axis=1),
            "calibrated": probability / 2,
            "grad_cam": tf.concat([-cells, cells], axis=-1),
            "guided_backprop": tf.concat([-field, field], axis=-1),
        }

    folder = tmp_path_factory.mktemp("field-models")
    publish_version(
        folder,
        "cnn-m",
        export=lambda path: tf.saved_model.save(module, str(path), signatures={"attribute": attribute}),
        cases=[],
        metadata={"class": "M+", "decision_threshold": 0.5, "image_size": SIZE},
    )
    return folder
