"""The embedded server as any gRPC client sees it: codes and messages of TensorFlow Serving."""

import shutil
import socket
import threading

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.errors import ServingError
from kflare.serving.client import Client
from kflare.serving.server import Server, check_address
from kflare.serving.tensors import decode_tensor, encode_tensor

ZEROS = {name: np.zeros(1, np.float32) for name in ("AREA", "USFLUX", "R_VALUE")}


def request(inputs=ZEROS, outputs=(), kind=PredictRequest, **spec):
    made = kind()
    version = spec.pop("version", None)
    for key, value in {"name": "defn-c", **spec}.items():
        setattr(made.model_spec, key, value)
    if version is not None:
        made.model_spec.version.value = version
    if kind is PredictRequest:
        made.output_filter.extend(outputs)
        for name, value in inputs.items():
            made.inputs[name].CopyFrom(encode_tensor(value))
    return made


def refusal(call, sent):
    with pytest.raises(grpc.RpcError) as caught:
        call(sent, timeout=10)
    return caught.value.code().name, caught.value.details()


@pytest.fixture
def asked(standing, stubs):
    return stubs(standing)


def test_the_newest_version_answers_and_says_so(asked):
    reply = asked.prediction.Predict(request(), timeout=10)
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("defn-c", 2, "serving_default")
    # Version 2: logit ln 2, so 2/3. Numbers come in float_val, as from TensorFlow Serving.
    assert list(reply.outputs["probability"].float_val) == pytest.approx([2 / 3])
    assert set(reply.outputs) == {"probability", "probabilities", "calibrated", "imputed"}
    assert list(reply.outputs["imputed"].int_val) == [0]


def test_versions_and_labels_can_be_asked_for(asked):
    for spec in ({"version": 1}, {"version_label": "stable"}):
        reply = asked.prediction.Predict(request(**spec), timeout=10)
        assert reply.model_spec.version.value == 1
        assert list(reply.outputs["probability"].float_val) == [0.5]


def test_output_filter(asked):
    reply = asked.prediction.Predict(request(outputs=["calibrated"]), timeout=10)
    assert set(reply.outputs) == {"calibrated"}


_PREDICT_REFUSALS = {
    "no model spec": (PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "empty name": (request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown model": (request(name="x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
    "unknown version": (request(version=3), "NOT_FOUND", "Servable not found for request: Specific(defn-c, 3)"),
    "unknown label": (
        request(version_label="new"), "INVALID_ARGUMENT", "Unrecognized servable version label: new",
    ),
    "label of a version that is not there": (
        request(version_label="ghost"), "NOT_FOUND", "Servable not found for request: Specific(defn-c, 9)",
    ),
    "unknown signature": (
        request(signature_name="x"), "FAILED_PRECONDITION", 'Serving signature key "x" not found.',
    ),
    "missing input": (
        request({"AREA": ZEROS["AREA"]}), "INVALID_ARGUMENT",
        ("input size does not match signature: 1!=3 len({AREA}) != len({AREA,R_VALUE,USFLUX}). "
        "Sent extra: {}. Missing but required: {R_VALUE,USFLUX}."),
    ),
    "extra input": (
        request({**ZEROS, "FOO": ZEROS["AREA"]}), "INVALID_ARGUMENT",
        ("input size does not match signature: 4!=3 len({AREA,FOO,R_VALUE,USFLUX}) != len({AREA,R_VALUE,USFLUX}). "
        "Sent extra: {FOO}. Missing but required: {}."),
    ),
    "misnamed input": (
        request({"area": ZEROS["AREA"], "USFLUX": ZEROS["AREA"], "R_VALUE": ZEROS["AREA"]}), "INVALID_ARGUMENT",
        ("Signature input alias: AREA(feed name: serving_default_AREA:0) not found in request and no default value "
        "provided. Inputs expected to be in the request {R_VALUE,USFLUX,area}, or default input alias set: "),
    ),
    "mistyped input": (
        request({**ZEROS, "AREA": [b"many"]}), "INVALID_ARGUMENT",
        "Expects arg[0] to be float but string is provided (input AREA)",
    ),
    "misshaped input": (
        request({**ZEROS, "R_VALUE": np.zeros((1, 1), np.float32)}), "INVALID_ARGUMENT",
        "Expects input R_VALUE to have shape [?] but [1,1] is provided",
    ),
    "inputs of different length": (
        request({**ZEROS, "AREA": np.zeros(2, np.float32)}), "INVALID_ARGUMENT",
        "Shapes of all inputs must match: values[0].shape = [2] != values[1].shape = [1]\n\t [[{{node stack}}]]",
    ),
    "unknown output": (
        request(outputs=["x"]), "INVALID_ARGUMENT",
        ("output tensor alias not found in signature: x Outputs expected to be in the set "
        "{calibrated,imputed,probabilities,probability}."),
    ),
    "output asked for twice": (
        request(outputs=["imputed", "imputed"]), "INVALID_ARGUMENT", "duplicate output tensor alias: imputed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", _PREDICT_REFUSALS)
def test_refusals_of_predict(asked, case):
    sent, code, message = _PREDICT_REFUSALS[case]
    assert refusal(asked.prediction.Predict, sent) == (code, message)


def test_malformed_tensors_and_undecodable_images_are_invalid(asked):
    sent = request()
    sent.inputs["AREA"].tensor_content = b"12345"
    code, message = refusal(asked.prediction.Predict, sent)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("tensor parsing error: AREA")
    sent = request({"image": [b"no image"]}, name="cnn-c", signature_name="predict_image")
    code, message = refusal(asked.prediction.Predict, sent)
    assert code == "INVALID_ARGUMENT"
    assert "Graph execution error" not in message
    assert "image" in message.lower()


def test_messages_larger_than_grpcs_default_pass(standing):
    big = np.zeros((2, 1024, 1024, 1), np.float32)  # 8 MiB; gRPC's own limit is 4
    with Client(standing.address) as client:
        assert client.predict_magnetograms("cnn-c", big).outputs["probability"].tolist() == [0.5, 0.5]


def test_replies_in_tensor_content(models, serve, stubs):
    reply = stubs(serve(models, tensor_content=True)).prediction.Predict(
        request({name: np.zeros(3, np.float32) for name in ZEROS}), timeout=10
    )
    assert reply.outputs["probability"].tensor_content
    assert decode_tensor(reply.outputs["probability"]).tolist() == [0.5, 0.5, 0.5]


def test_metadata(asked):
    sent = request(kind=GetModelMetadataRequest)
    assert refusal(asked.prediction.GetModelMetadata, sent) == (
        "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field",
    )  # fmt: skip
    sent.metadata_field.append("weights")
    assert refusal(asked.prediction.GetModelMetadata, sent) == (
        "INVALID_ARGUMENT", "Metadata field weights is not supported",
    )  # fmt: skip
    sent.metadata_field[:] = ["signature_def"]
    reply = asked.prediction.GetModelMetadata(sent, timeout=10)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("defn-c", 2)
    signatures = SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].inputs) == {"AREA", "USFLUX", "R_VALUE"}
    sent.model_spec.name = "x"
    assert refusal(asked.prediction.GetModelMetadata, sent)[0] == "NOT_FOUND"
    assert refusal(asked.prediction.GetModelMetadata, GetModelMetadataRequest())[1] == "Missing ModelSpec"


def test_status(asked):
    reply = asked.models.GetModelStatus(request(kind=GetModelStatusRequest), timeout=10)
    assert [(entry.version, entry.state) for entry in reply.model_version_status] == [(2, 30), (1, 30)]
    reply = asked.models.GetModelStatus(request(kind=GetModelStatusRequest, version=1), timeout=10)
    assert [entry.version for entry in reply.model_version_status] == [1]
    for sent, message in (
        (request(kind=GetModelStatusRequest, name="x"), "Could not find any versions of model x"),
        (request(kind=GetModelStatusRequest, version=8), "Could not find version 8 of model defn-c"),
    ):
        assert refusal(asked.models.GetModelStatus, sent) == ("NOT_FOUND", message)
    assert refusal(asked.models.GetModelStatus, GetModelStatusRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")


def test_services_that_are_not_there(asked):
    assert refusal(asked.prediction.Classify, ClassificationRequest())[0] == "UNIMPLEMENTED"


def test_health_needs_every_model(models, serve, stubs, toys, publish, until):
    server = serve(models)
    stub = stubs(server)
    assert stub.healthy()
    assert stub.healthy("tensorflow.serving.PredictionService")
    shutil.rmtree(models / "defn-c" / "1")
    until(lambda: not stub.healthy())
    publish(toys / "defn-2", models / "defn-c" / "2")
    until(stub.healthy)


def test_reloading_the_configuration(models, serve, stubs, toys, publish):
    stub = stubs(serve(models))
    publish(toys / "defn-2", models / "defn-c" / "2")
    config = """config { model_config_list { config {
        name: "defn-c" base_path: "/models/defn-c" model_platform: "tensorflow"
        model_version_policy { all {} } version_labels { key: "stable" value: 1 }
    } } }"""
    reply = stub.models.HandleReloadConfigRequest(text_format.Parse(config, ReloadConfigRequest()), timeout=20)
    assert reply.status.error_code == 0
    assert stub.prediction.Predict(request(version_label="stable"), timeout=10).model_spec.version.value == 1
    assert stub.prediction.Predict(request(version=2), timeout=10).model_spec.version.value == 2
    assert refusal(stub.prediction.Predict, request(name="cnn-c"))[0] == "NOT_FOUND"  # no longer listed
    assert refusal(stub.models.HandleReloadConfigRequest, ReloadConfigRequest())[0] == "INVALID_ARGUMENT"
    nameless = text_format.Parse(config.replace('"defn-c"', '""'), ReloadConfigRequest())
    assert refusal(stub.models.HandleReloadConfigRequest, nameless)[0] == "INVALID_ARGUMENT"


def test_versions_come_and_go_under_a_stream_of_requests_without_one_failure(models, serve, toys, publish, until):
    server = serve(models)
    stopped, failures, answered = threading.Event(), [], []

    def ask():
        with Client(server.address, max_attempts=1) as client:
            while not stopped.is_set():
                try:
                    reply = client.predict("defn-c", ZEROS)
                except ServingError as error:
                    failures.append(error)
                    return
                # Version v answers v / (v + 1): a reply never mixes two versions.
                answered.append(reply.version)
                assert reply.outputs["probability"] == pytest.approx([reply.version / (reply.version + 1)])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for newest in (2, 3):
        publish(toys / f"defn-{newest}", models / "defn-c" / str(newest))
        until(lambda newest=newest: newest in answered)
    broken = publish(toys / "defn-3", models / "defn-c" / "4")
    (broken / "saved_model.pb").write_bytes(b"garbage garbage")
    for newest in (3, 2):
        shutil.rmtree(models / "defn-c" / str(newest))
        seen = len(answered)
        until(lambda newest=newest, seen=seen: newest - 1 in answered[seen:])
    stopped.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(answered) == {1, 2, 3}


def test_a_stop_finishes_what_was_begun(models, serve, until):
    server = serve(models)
    replies = []

    def ask():
        with Client(server.address, max_attempts=1) as client:
            replies.append(client.predict("cnn-c", {"rounds": np.array(200_000, np.int32)}, signature="work"))

    with Client(server.address) as client:
        client.predict("cnn-c", {"rounds": np.array(1, np.int32)}, signature="work")
    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: any(v.in_flight for v in server.models._models["cnn-c"]._versions.values()) or replies)
    server.stop(grace=20)
    thread.join()
    assert replies[0].outputs["done"] == 200_000


def test_addresses_that_cannot_be_had():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            check_address("127.0.0.1", port)
    with pytest.raises(ServingError, match=r"cannot listen on 192\.0\.2\.1:0"):  # TEST-NET-1: nobody's address
        check_address("192.0.2.1", 0)


def test_a_folder_without_models(tmp_path, toys, publish):
    with pytest.raises(ServingError, match="no model to serve: no <name>/<version>"):
        Server([], discover=tmp_path, port=0).start()
    broken = publish(toys / "defn-1", tmp_path / "defn-c" / "1")
    (broken / "saved_model.pb").write_bytes(b"garbage garbage")
    with pytest.raises(ServingError, match="no model to serve: defn-c version 1 cannot be loaded"):
        Server([], discover=tmp_path, port=0).start()
