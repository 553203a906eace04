"""Versions, their states, metadata and the configuration.

Sources, in tensorflow/serving: g3doc/serving_config.md; model_servers/get_model_status_impl.cc,
servables/tensorflow/get_model_metadata_impl.cc, model_servers/model_service_impl.cc, model_servers/server_core.cc;
core/availability_preserving_policy.cc; apis/get_model_status.proto.
"""

import shutil

import pytest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest


def test_every_version_that_the_policy_wants_is_available(target):
    # serving_config.md, "Serving a specific version of a model": `all {}`.
    assert target.states("defn-c") == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_the_state_of_one_version(target, ask):
    sent = ask(kind=GetModelStatusRequest, version=1)
    (entry,) = target.models.GetModelStatus(sent, timeout=10).model_version_status
    assert (entry.version, entry.status.error_code, entry.status.error_message) == (1, 0, "")


@pytest.mark.parametrize("spec", [{"name": "x"}, {"version": 99}])
def test_states_of_what_is_not_there(target, ask, refusal, spec):
    # get_model_status_impl.cc: "Could not find any versions of model", "Could not find version ... of model".
    code, message = refusal(target.models.GetModelStatus, ask(kind=GetModelStatusRequest, **spec))
    assert code == "NOT_FOUND"
    assert message.startswith("Could not find")


def test_a_status_without_a_model(target, refusal):
    assert refusal(target.models.GetModelStatus, GetModelStatusRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")


def test_metadata(target, ask):
    sent = ask(kind=GetModelMetadataRequest)
    sent.metadata_field.append("signature_def")
    reply = target.prediction.GetModelMetadata(sent, timeout=10)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("defn-c", 2)
    signatures = SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["serving_default"].inputs
    assert set(inputs) == {"AREA", "USFLUX", "R_VALUE"}
    assert inputs["AREA"].dtype == 1  # DT_FLOAT
    assert [dim.size for dim in inputs["AREA"].tensor_shape.dim] == [-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ],
)
def test_metadata_that_is_refused(target, ask, refusal, fields, message):
    sent = ask(kind=GetModelMetadataRequest)
    sent.metadata_field.extend(fields)
    assert refusal(target.prediction.GetModelMetadata, sent) == ("INVALID_ARGUMENT", message)


def test_metadata_of_what_is_not_there(target, ask, refusal):
    sent = ask(kind=GetModelMetadataRequest, name="x")
    sent.metadata_field.append("signature_def")
    assert refusal(target.prediction.GetModelMetadata, sent)[0] == "NOT_FOUND"


def test_versions_come_fail_and_go(target, toys, publish, until, ask):
    def answering():
        reply = target.prediction.Predict(ask(name="moving"), timeout=10)
        return reply.model_spec.version.value

    moving = target.folder / "moving"
    try:
        # availability_preserving_policy.cc: the new version is loaded before the old one is let go.
        publish(toys / "defn-2", moving / "2")
        until(lambda: target.states("moving").get(1) == "END")
        assert target.states("moving") == {1: "END", 2: "AVAILABLE"}
        assert answering() == 2
        # A version that cannot be loaded leaves the old one in place, and its error in the status.
        broken = shutil.copytree(toys / "defn-3", moving / ".3")
        (broken / "saved_model.pb").write_bytes(b"garbage garbage")
        broken.rename(moving / "3")
        until(lambda: target.states("moving").get(3) == "END" or target.name == "KFLARE_SERVER")
        assert target.states("moving")[2] == "AVAILABLE"
        assert answering() == 2
        if target.name != "KFLARE_SERVER":  # which may still be trying: --max_num_load_retries, default 5 in 5 minutes
            sent = ask(kind=GetModelStatusRequest, name="moving", version=3)
            (entry,) = target.models.GetModelStatus(sent, timeout=10).model_version_status
            assert entry.status.error_code != 0
            assert entry.status.error_message
        # A version whose folder vanishes is no longer served: the one before comes back.
        shutil.rmtree(moving / "3")
        shutil.rmtree(moving / "2")
        until(lambda: target.states("moving").get(1) == "AVAILABLE" and answering() == 1)
    finally:
        for number in ("2", "3"):
            shutil.rmtree(moving / number, ignore_errors=True)


def test_reloading_the_configuration(target, ask, refusal):
    # serving_config.md, "Reloading Model Server Configuration"; model_service.proto: models not listed are unloaded.
    one = f"""config {{ name: "defn-c" base_path: "{target.folder}/defn-c" model_platform: "tensorflow"
        model_version_policy {{ specific {{ versions: 1 }} }} version_labels {{ key: "stable" value: 1 }} }}"""
    try:
        assert target.reload(one).status.error_code == 0
        assert target.prediction.Predict(ask(), timeout=10).model_spec.version.value == 1
        assert refusal(target.prediction.Predict, ask(name="cnn-c"))[0] == "NOT_FOUND"
    finally:
        target.reload(target.everything)
    assert target.prediction.Predict(ask(), timeout=10).model_spec.version.value == 2


def test_configurations_that_are_refused(target, refusal):
    # model_service_impl.cc: only a ModelConfigList is supported.
    assert refusal(target.models.HandleReloadConfigRequest, ReloadConfigRequest())[0] == "INVALID_ARGUMENT"


def test_every_server_is_asked(not_asked):
    if not_asked:
        pytest.skip("; ".join(not_asked))
