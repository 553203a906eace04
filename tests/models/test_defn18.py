import shutil

import numpy as np
import pytest
import tensorflow as tf

from kflare.errors import ModelError
from kflare.models.defn import CHECKPOINT, read_defn18

DATA = f"{CHECKPOINT}.data-00000-of-00001"
INDEX = f"{CHECKPOINT}.index"


@pytest.fixture(scope="module")
def published(real_data):
    return real_data / "defn18"


@pytest.fixture(scope="module")
def model(published):
    return read_defn18(published)


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
    # SCIENCE.md C.2, from a forward pass in numpy.
    np.testing.assert_allclose(model(np.zeros((1, 79))), [[0.96788263, 0.03211737]], rtol=0, atol=1e-6)


def test_columns_with_the_largest_weights(model):
    # SCIENCE.md C.2.
    norms = np.linalg.norm(model.get_layer("hidden1").kernel, axis=1)
    assert np.argsort(-norms)[:10].tolist() == [71, 63, 66, 73, 75, 74, 64, 65, 13, 69]


@pytest.mark.parametrize("absent", [INDEX, DATA])
def test_a_missing_file_is_named(published, tmp_path, absent):
    for name in {INDEX, DATA} - {absent}:
        shutil.copyfile(published / name, tmp_path / name)
    with pytest.raises(ModelError, match=rf"no file `.*{absent}`: get the folder `model` of https://github.com"):
        read_defn18(tmp_path)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / INDEX).write_text("<html>404: Not Found</html>")
    (tmp_path / DATA).write_bytes(b"")
    with pytest.raises(ModelError, match=rf"{INDEX}` is no TensorFlow checkpoint \(.*\): get the folder"):
        read_defn18(tmp_path)


@pytest.mark.parametrize("damage", ["cut short", "bytes changed"])
def test_damaged_weights_are_named(published, tmp_path, damage):
    shutil.copyfile(published / INDEX, tmp_path / INDEX)
    content = (published / DATA).read_bytes()
    (tmp_path / DATA).write_bytes(content[:9000] if damage == "cut short" else bytes(len(content)))
    with pytest.raises(ModelError, match=rf"{DATA}` is damaged at `ext_\w+.*get the folder"):
        read_defn18(tmp_path)


@pytest.mark.parametrize(
    ("name", "seen"), [("ext_w_0", r"must have the shape \(79, 200\), got \(78, 200\)"), ("other", "no such variable")]
)
def test_another_network_is_refused(tmp_path, name, seen):
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / CHECKPOINT), tensor_names=[name], shape_and_slices=[""], tensors=[tf.zeros((78, 200))]
    )
    with pytest.raises(ModelError, match=rf"`ext_w_0` in `.*{CHECKPOINT}` .*{seen}"):
        read_defn18(tmp_path)
