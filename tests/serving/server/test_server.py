"""What the embedded server does beyond what every server of this API does; for that see conformance/."""

import shutil
import socket
import threading

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.errors import ServingError
from kflare.serving import Client, Server
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor
from kflare.serving.server.embedded_server import check_address

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
            fill_tensor(made.inputs[name], value)
    return made


def refusal(call, sent):
    with pytest.raises(grpc.RpcError) as caught:
        call(sent, timeout=10)
    return caught.value.code().name, caught.value.details()


@pytest.fixture
def asked(standing, stubs):
    return stubs(standing)


# Where the embedded server has words of its own; all others are in conformance/.
_PREDICT_REFUSALS = {
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
        "Shapes of all inputs must match: values[0].shape = [2] != values[1].shape = [1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", _PREDICT_REFUSALS)
def test_refusals_of_predict(asked, case):
    sent, code, message = _PREDICT_REFUSALS[case]
    given, details = refusal(asked.prediction.Predict, sent)
    # Behind its message the runtime names the node, whose function has a number that changes.
    assert (given, details.partition("\n")[0]) == (code, message)


def test_replies_in_tensor_content(models, serve, stubs):
    reply = stubs(serve(models, tensor_content=True)).prediction.Predict(
        request({name: np.zeros(3, np.float32) for name in ZEROS}), timeout=10
    )
    assert reply.outputs["probability"].tensor_content
    assert read_tensor(reply.outputs["probability"]).tolist() == [0.5, 0.5, 0.5]


def test_one_broken_model_does_not_take_the_others_away(models, serve, stubs, toys, publish, until):
    servers = [serve(models), serve(models)]
    stub = stubs(servers[0])
    services = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
    assert all(stub.healthy(name) for name in (*services, "defn-c", "cnn-c"))
    shutil.rmtree(models / "defn-c" / "1")
    until(lambda: not stub.healthy("defn-c"))
    assert all(stub.healthy(name) for name in (*services, "cnn-c"))
    # Several servers: gRPC passes over those that are not healthy.
    with Client(",".join(server.address for server in servers)) as client:
        until(lambda: client.served() == {"cnn-c": [1]})
        with pytest.raises(ServingError, match=r"`defn-c` is not served .*NOT_FOUND.* served there: cnn-c \(1\)"):
            client.predict("defn-c", ZEROS)
        assert client.predict_magnetograms("cnn-c", np.zeros((1, 32, 32, 1))).version == 1
    publish(toys / "defn-2", models / "defn-c" / "2")
    until(lambda: stub.healthy("defn-c"))
    for version in ("defn-c/2", "cnn-c/1"):
        shutil.rmtree(models / version)
    until(lambda: not stub.healthy())


def test_the_health_of_a_model_that_is_no_longer_configured_is_unknown(models, serve, stubs):
    stub = stubs(serve(models))
    config = 'config { model_config_list { config { name: "defn-c" base_path: "x" model_platform: "tensorflow" } } }'
    assert stub.healthy("cnn-c")
    stub.models.HandleReloadConfigRequest(text_format.Parse(config, ReloadConfigRequest()), timeout=20)
    assert stub.healthy("defn-c")
    assert not stub.healthy("cnn-c")
    assert stub.healthy()


def test_what_was_sent_is_not_repeated_without_end(models, serve, stubs):
    stub = stubs(serve(models))
    for name in ("x" * 50_000, "defn-c"):
        made = PredictRequest()
        made.model_spec.name, made.model_spec.signature_name = name, "y" * 50_000
        code, message = refusal(stub.prediction.Predict, made)
        assert code in {"NOT_FOUND", "FAILED_PRECONDITION"}
        assert 1000 < len(message) < 4100


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
        Server(folder=tmp_path, port=0).start()
    broken = publish(toys / "defn-1", tmp_path / "defn-c" / "1")
    (broken / "saved_model.pb").write_bytes(b"garbage garbage")
    with pytest.raises(ServingError, match="no model to serve: defn-c version 1 cannot be loaded"):
        Server(folder=tmp_path, port=0).start()
