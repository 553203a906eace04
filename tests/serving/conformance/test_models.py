"""Versions, their states, metadata and the configuration.

Sources, in tensorflow/serving: g3doc/serving_config.md; model_servers/get_model_status_impl.cc,
servables/tensorflow/get_model_metadata_impl.cc, model_servers/model_service_impl.cc, model_servers/server_core.cc;
core/availability_preserving_policy.cc, core/servable_state_monitor.h; apis/get_model_status.proto. In
tensorflow/tensorflow: cc/saved_model/reader.cc.
"""

import shutil
from urllib.parse import quote

import grpc
import pytest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest


def test_every_version_that_the_policy_wants_is_available(target):
    # serving_config.md, "Serving a specific version of a model": `all {}`.
    assert target.states("defn-c") == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_the_state_of_one_version(target, ask):
    sent = ask(kind=GetModelStatusRequest, version=1)
    (entry,) = target.models.GetModelStatus(sent, timeout=10).model_version_status
    assert (entry.version, entry.status.error_code, entry.status.error_message) == (1, 0, "")


@pytest.mark.parametrize("spec", [{}, {"version_label": "stable"}, {"version_label": "new"}])
def test_states_come_newest_first_whatever_the_label(target, ask, spec):
    # servable_state_monitor.h: VersionMap is sorted by std::greater. get_model_status_impl.cc asks has_version() only.
    found = target.models.GetModelStatus(ask(kind=GetModelStatusRequest, **spec), timeout=10).model_version_status
    assert [entry.version for entry in found] == [2, 1]


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
            assert entry.status.error_code == grpc.StatusCode.OUT_OF_RANGE.value[0]
            assert entry.status.error_message
        # A version whose folder vanishes is no longer served: the one before comes back.
        shutil.rmtree(moving / "3")
        shutil.rmtree(moving / "2")
        until(lambda: target.states("moving").get(1) == "AVAILABLE" and answering() == 1)
    finally:
        for number in ("2", "3"):
            shutil.rmtree(moving / number, ignore_errors=True)


ONE = """config {{ name: "defn-c" base_path: "{0}/defn-c" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 }} }} version_labels {{ key: "stable" value: 1 }} }}"""


@pytest.fixture
def restored(target, until):
    """The configuration that all tests start from, once a test is done."""
    yield
    target.reload(target.everything)
    # A changed policy holds from the next look at the file system on (file_system_storage_path_source.cc).
    until(lambda: target.states("defn-c") == {1: "AVAILABLE", 2: "AVAILABLE"})


def test_reloading_the_configuration(target, ask, refusal, until, restored):
    # serving_config.md, "Reloading Model Server Configuration"; model_service.proto: models not listed are unloaded.
    # servable_state_monitor.h: what is known of them is not forgotten.
    name = "any name, /2:x?"
    odd = f"""config {{ name: "{name}" base_path: "{target.folder}/moving" model_platform: "tensorflow" }}"""
    assert target.reload(ONE.format(target.folder) + odd).status.error_code == 0
    until(lambda: target.prediction.Predict(ask(), timeout=10).model_spec.version.value == 1)
    until(lambda: target.states("cnn-c") == {1: "END"})
    assert refusal(target.prediction.Predict, ask(name="cnn-c"))[0] == "NOT_FOUND"
    # A new model is there when the answer is (server_core.cc, WaitUntilModelsAvailable), under any name.
    assert target.prediction.Predict(ask(name=name), timeout=10).model_spec.name == name
    if target.rest is not None:
        status, reply = target.http(f"/v1/models/{quote(name, safe='')}/versions/1")
        assert (status, reply["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    # An empty list is a list.
    assert target.reload("").status.error_code == 0
    until(lambda: "AVAILABLE" not in target.states("defn-c").values())
    assert refusal(target.prediction.Predict, ask())[0] == "NOT_FOUND"


def test_a_new_model_that_cannot_be_loaded(target, ask, until, restored):
    # server_core.cc, WaitUntilModelsAvailable.
    if target.name == "KFLARE_SERVER":
        pytest.skip("a running server may go on trying for minutes: --max_num_load_retries")
    broken = target.folder / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"garbage garbage")
    new = f"""config {{ name: "broken" base_path: "{broken.parent}" model_platform: "tensorflow" }}"""
    with pytest.raises(grpc.RpcError) as caught:
        target.reload(ONE.format(target.folder) + new)
    assert caught.value.code().name == "UNKNOWN"
    assert caught.value.details().startswith("1 model(s) did not become available: {{{name: broken version: 1} due to")
    # The configuration holds all the same.
    until(lambda: target.states("defn-c")[2] == "END")
    assert target.states("broken") == {1: "END"}


def test_every_server_is_asked(not_asked):
    if not_asked:
        pytest.skip("; ".join(not_asked))
