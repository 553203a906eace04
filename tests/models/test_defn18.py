"""`build_defn` is the network of Nishizuka et al. (2018): with the published weights it answers as their own graph.

For parity only. The order of the 79 features and the means and standard deviations that they were standardised with are
not public, so the checkpoint of https://github.com/komeisugiura/defn18 cannot be applied to new observations. Its files
are under the BSD-3-Clause *Clear* licence, which expressly grants no patent rights.
"""

import numpy as np
import pytest
import tensorflow as tf

from kflare.models.defn import build_defn

CHECKPOINT = "charval2017X_M24_Emodel.ckpt"  # common stem of the published files


@pytest.fixture(scope="module")
def published(real_data):
    return real_data / "defn18"


@pytest.fixture(scope="module")
def model(published):
    """`build_defn(79)` with the published weights; the checkpoint's biases `ext_b_1` to `ext_b_6` are never used."""
    reader = tf.train.load_checkpoint(str(published / CHECKPOINT))
    names = {"hidden1": ["ext_w_0", "ext_b_0"], "logits": ["ext_w_7", "ext_b_7"]}
    for index in range(1, 7):
        names[f"hidden{index + 1}"] = [f"ext_w_{index}"]
        names[f"bn{index + 1}"] = [f"ext_BN_{index}/{part}" for part in ("beta", "moving_mean", "moving_variance")]
    network = build_defn(79)
    for layer, variables in names.items():
        network.get_layer(layer).set_weights([reader.get_tensor(name) for name in variables])
    return network


def of_own_graph(folder, features):
    """The output of the graph that the authors saved with the weights, run as they ran it."""
    prefix = str(folder / CHECKPOINT)
    with tf.Graph().as_default() as graph:
        saver = tf.compat.v1.train.import_meta_graph(f"{prefix}.meta")
        (softmax,) = [operation for operation in graph.get_operations() if operation.type == "Softmax"]
        # Placeholder_2 holds the features (N, 79); the others without a shape are dropout's share kept and "training".
        feed = {"Placeholder_2:0": features, "Placeholder:0": 1.0, "Placeholder_1:0": False}
        with tf.compat.v1.Session(graph=graph) as session:
            saver.restore(session, prefix)
            return session.run(softmax.outputs[0], feed)


# Standard normal features all stay below 0.5; five times as wide, about one in six is called a flare.
@pytest.mark.parametrize(("deviation", "flares"), [(1, 0), (5, 175)])
def test_parity_with_the_checkpoints_own_graph(published, model, deviation, flares):
    features = np.random.default_rng(2018).normal(scale=deviation, size=(1000, 79)).astype(np.float32)
    expected = of_own_graph(published, features)
    assert np.count_nonzero(expected[:, 1] > 0.5) == pytest.approx(flares, abs=2)
    np.testing.assert_allclose(model.predict(features, verbose=0), expected, rtol=0, atol=1e-6)


def test_answer_to_zeros(model):
    # docs/science.md, from a forward pass in numpy.
    np.testing.assert_allclose(model(np.zeros((1, 79))), [[0.96788263, 0.03211737]], rtol=0, atol=1e-6)


def test_columns_with_the_largest_weights(model):
    # docs/science.md.
    norms = np.linalg.norm(model.get_layer("hidden1").kernel, axis=1)
    assert np.argsort(-norms)[:10].tolist() == [71, 63, 66, 73, 75, 74, 64, 65, 13, 69]
