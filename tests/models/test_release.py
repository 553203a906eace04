import json
from datetime import UTC, datetime
from importlib.metadata import version

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from kflare.attribution.compiled import CompiledAttribution
from kflare.datasets.splits import Split
from kflare.errors import ModelError
from kflare.models.calibration import Calibration
from kflare.models.defn import build_defn
from kflare.models.feature_scaling import fit_scaling
from kflare.models.fitting import FittedNetwork, fingerprint, model_metadata
from kflare.models.image_models import publish_image_model
from kflare.models.known_answer import KNOWN_QUESTION, known_answer
from kflare.models.publish import read_metadata, verify_manifest
from kflare.models.region_models import publish_region_model
from kflare.models.registry import OUTPUTS
from kflare.models.savedmodel import load_signatures
from kflare.models.training import TrainingRun
from kflare.regions.feature_table import features_named
from kflare.verification.evaluation import evaluate

pytestmark = pytest.mark.trains

FEATURES = features_named(["AREA", "R_VALUE", "Chis"])
TABLE = pd.DataFrame(
    {"AREA": [10.0, 100.0, np.nan], "R_VALUE": [0.0, 3.5, 4.0], "Chis": pd.array([0, 2, None], "Int64")}
)
TIMES = pd.Series(pd.date_range("2014-01-01", periods=6, freq="D", tz="UTC"))
OBSERVED = np.array([True, False] * 3)
SPLIT = Split(*(np.arange(6) // 2 == part for part in range(3)))


def fitted(model, folder, **parts):
    scores = [evaluate("network", "test", OBSERVED[4:], np.array([0.9, 0.2]), threshold=0.4)]
    return FittedNetwork(
        model, TrainingRun(folder, {}), Calibration(0.8, -0.5, 0.01), 0.4, scores, pd.DataFrame(), **parts
    )


def small_cnn(seed):
    """All that publication needs of a dense CNN: an image in, a convolution to explain, two scores out."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((128, 128, 1), name="magnetogram")
    x = keras.layers.Conv2D(4, 8, strides=8, activation="relu")(inputs)
    x = keras.layers.Conv2D(4, 4, strides=4, name="last")(x)
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Activation("softmax", name="scores")(x))


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return fitted(small_cnn(1), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def published_cnn(cnn, tmp_path_factory):
    attribution = CompiledAttribution(cnn.model, layer="last")
    root = tmp_path_factory.mktemp("models")
    return publish_image_model(cnn, root, "cnn-c", attribution=attribution, metadata={"class": "C+"})


@pytest.fixture(scope="module")
def defn(tmp_path_factory):
    keras.utils.set_random_seed(1)
    return fitted(build_defn(3), tmp_path_factory.mktemp("run"), scaling=fit_scaling(TABLE, FEATURES))


@pytest.fixture(scope="module")
def published_defn(defn, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return publish_region_model(defn, root, "defn-m", example=TABLE, metadata={"class": "M+"})


def warm_up_requests(published):
    file = published / "assets.extra" / "tf_serving_warmup_requests"
    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    return [log.predict_log.request for log in logs]


def test_dense_cnn_is_published_whole(published_cnn):
    assert published_cnn.parts[-2:] == ("cnn-c", "1")
    verify_manifest(published_cnn)
    content = read_metadata(published_cnn)
    assert content == {"model": "cnn-c", "version": 1, "class": "C+", "image_size": 128}


def test_a_published_model_has_a_small_known_question(published_cnn, published_defn):
    for published, signature, outputs in (
        (published_cnn, "predict_image", {"probability", "calibrated", "scores"}),
        (published_defn, "serving_default", {"probability", "calibrated", "probabilities"}),
    ):
        body = json.loads((published / KNOWN_QUESTION).with_suffix(".json").read_text())
        assert (body["signature_name"], len(body["instances"])) == (signature, 1)
        assert (published / KNOWN_QUESTION).stat().st_size < 16_000  # one frame of HTTP/2
        assert set(known_answer(published)) == outputs


def test_dense_cnn_is_warmed_up_in_every_signature(published_cnn):
    requests = warm_up_requests(published_cnn)
    assert [r.model_spec.signature_name for r in requests] == [
        "serving_default", "predict_image", "attribute", "attribute_image",
    ]  # fmt: skip
    assert {r.model_spec.name for r in requests} == {"cnn-c"}
    run = load_signatures(published_cnn)
    replies = [
        run(r.model_spec.signature_name, {name: tf.make_ndarray(value) for name, value in r.inputs.items()})
        for r in requests
    ]
    assert all(np.isfinite(value).all() for reply in replies for value in reply.values())
    # The example is a Sun: space around it, strong fields on it.
    field = tf.make_ndarray(requests[0].inputs["magnetogram"])
    assert 0.3 < np.isnan(field).mean() < 0.5  # 1 - pi 0.44² = 0.39
    assert np.nanmax(np.abs(field)) > 100


def test_an_attribution_of_another_network_is_not_published(cnn, tmp_path):
    other = CompiledAttribution(small_cnn(2), layer="last")
    with pytest.raises(ModelError, match="output `probability` of signature `serving_default` changed by"):
        publish_image_model(cnn, tmp_path, "cnn-c", attribution=other, metadata={})
    assert list((tmp_path / "cnn-c").iterdir()) == []


def test_defn_is_published_with_its_features(published_defn, defn):
    verify_manifest(published_defn)
    content = read_metadata(published_defn)
    assert (content["model"], content["version"], content["class"]) == ("defn-m", 1, "M+")
    assert content["features"] == defn.scaling.as_json()
    assert [(f["name"], f["unit"]) for f in content["features"]] == [
        ("AREA", "uHem"), ("R_VALUE", "log10 Mx"), ("Chis", "count"),
    ]  # fmt: skip


def test_defn_is_warmed_up_with_its_training_rows_and_one_without_measurements(published_defn, defn):
    (request,) = warm_up_requests(published_defn)
    assert (request.model_spec.name, request.model_spec.signature_name) == ("defn-m", "serving_default")
    inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
    np.testing.assert_array_equal(inputs["AREA"], np.array([10, 100, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(inputs["Chis"], np.array([0, 2, np.nan, np.nan], np.float32))
    reply = load_signatures(published_defn)("serving_default", inputs)
    assert reply["imputed"].tolist() == [0, 0, 2, 3]
    expected = defn.model(defn.scaling.of_table(TABLE), training=False)
    np.testing.assert_allclose(reply["probabilities"][:3], expected, rtol=1e-5)


def test_a_defn_without_scaling_is_refused(cnn, tmp_path):
    with pytest.raises(ModelError, match="without its feature scaling"):
        publish_region_model(cnn, tmp_path, "defn-c", example=TABLE, metadata={})


def test_description_says_what_is_forecast_from_which_data_and_how_well(defn):
    before = datetime.now(UTC).replace(microsecond=0)
    content = model_metadata(
        defn, event="M", times=TIMES, split=SPLIT, data={"flares": "flares.csv"}, fingerprint="12ab"
    )  # fmt: skip
    assert content["event"] == "largest flare >= M1.0 starting within 24 h"
    assert (content["class"], content["window_hours"], content["decision_threshold"]) == ("M+", 24.0, 0.4)
    assert content["calibration"] == {
        "method": "Platt scaling on validation data", "slope": 0.8, "offset": -0.5, "lowest": 0.01,
    }  # fmt: skip
    assert content["spans"]["validation"] == {
        "first": "2014-01-03T00:00:00+00:00", "last": "2014-01-04T00:00:00+00:00", "samples": 2,
    }  # fmt: skip
    assert list(content["spans"]) == ["train", "validation", "test"]
    assert (content["data"], content["data_fingerprint"]) == ({"flares": "flares.csv"}, "12ab")
    assert [(score["method"], score["tss"]) for score in content["scores"]] == [("network", 1.0)]
    assert before <= datetime.fromisoformat(content["created"]) <= datetime.now(UTC)
    assert content["packages"]["tensorflow"] == version("tensorflow")
    assert set(content["packages"]) == {"kflare", "tensorflow", "keras", "numpy", "tf-keras-vis"}


class TestFingerprint:
    samples = pd.DataFrame({"time": TIMES, "region": [f"HARP {n}" for n in range(6)], "AREA": np.arange(6.0)})

    def test_is_the_same_for_the_same_data(self):
        digest = fingerprint(self.samples, OBSERVED)
        assert len(digest) == 64
        # The index is no datum: a table read anew has another one.
        assert fingerprint(self.samples.set_index(np.arange(10, 16)), OBSERVED.copy()) == digest

    @pytest.mark.parametrize(
        "change",
        [
            lambda samples, observed: (samples.assign(AREA=samples["AREA"].replace(3.0, 3.1)), observed),
            lambda samples, observed: (samples.assign(AREA=samples["AREA"].replace(3.0, np.nan)), observed),
            lambda samples, observed: (samples.assign(region=samples["region"].replace("HARP 1", "HARP 7")), observed),
            lambda samples, observed: (samples.iloc[::-1], observed),
            lambda samples, observed: (samples, ~observed),
        ],
        ids=["value", "missing value", "region", "order", "labels"],
    )
    def test_changes_with_every_cell_and_label(self, change):
        assert fingerprint(*change(self.samples, OBSERVED)) != fingerprint(self.samples, OBSERVED)


def test_published_models_have_the_outputs_that_clients_ask_for(published_cnn, published_defn):
    for published, kind in ((published_cnn, "image"), (published_defn, "region")):
        signatures = tf.saved_model.load(str(published)).signatures
        for signature in signatures.values():
            assert set(OUTPUTS[kind]) <= set(signature.structured_outputs)
