"""What an operator sees when something breaks: the table in serving/README.md.

The embedded server's column is played, TensorFlow Serving's read from the answers of its core.
"""

import shutil
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kflare.errors import ServingError
from kflare.serving import Client, Server
from kflare.serving.server.config_files import BatchingParameters, read_models_config
from kflare.serving.server.servable import Trust

from .real_answers.answers import rows

TOYS = Trust(unpublished=True, any_operation=True)
ZERO = {name: np.zeros(1, np.float32) for name in ("AREA", "USFLUX", "R_VALUE")}
README = (Path(__file__).parents[2] / "serving" / "README.md").read_text()


def break_version(version):
    (version / "saved_model.pb").write_bytes(b"garbage")
    return version


def spoil_warmup(version):
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    log = PredictionLog()
    log.predict_log.request.model_spec.signature_name = "absent"
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(version / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    return version


def unbatched(version):
    (version / "batching_params.pbtxt").write_text("max_batch_size { value: 0 }")
    return version


@pytest.fixture
def folder(toys, publish, tmp_path):
    """defn-c version 1 and defn-m version 1."""
    publish(toys / "defn-1", tmp_path / "defn-c" / "1")
    publish(toys / "defn-1", tmp_path / "defn-m" / "1")
    return tmp_path


def config(folder, *, label=1, more=""):
    one = 'config {{ name: "{0}" base_path: "{1}/{0}" model_platform: "tensorflow" {2} }}'
    labelled = f'version_labels {{ key: "stable" value: {label} }} model_version_policy {{ all {{}} }}'
    return f"model_config_list {{ {one.format('defn-c', folder, labelled)} {one.format('defn-m', folder, '')} {more} }}"


def settings(folder, **options):
    (folder / "models.config").write_text(config(folder, **options))
    return read_models_config(folder / "models.config")


def states(client, model="defn-c"):
    return [(state.version, state.state) for state in client.status(model)]


def reload(stub, text):
    """Code of the answer to a reload, in the call or in its status."""
    request = ReloadConfigRequest(config=text_format.Parse(text, ModelServerConfig()))
    try:
        code = stub.models.HandleReloadConfigRequest(request, timeout=30).status.error_code
    except grpc.RpcError as error:
        return error.code().name
    return next(one.name for one in grpc.StatusCode if one.value[0] == code)


def test_broken_at_the_start(folder, toys, publish):
    break_version(publish(toys / "defn-2", folder / "defn-c" / "2"))
    with Server(settings(folder), port=0, trust=TOYS) as server, Client(server.address) as client:
        assert states(client) == [(2, "END"), (1, "AVAILABLE")]
        assert client.served(["defn-c", "defn-m"]) == {"defn-c": [1], "defn-m": [1]}


def test_a_model_without_a_version(folder, toys, publish, until):
    shutil.rmtree(folder / "defn-m")
    with Server(settings(folder), port=0, poll_seconds=0.05, trust=TOYS) as server, Client(server.address) as client:
        assert client.served(["defn-c", "defn-m"]) == {"defn-c": [1]}
        publish(toys / "defn-1", folder / "defn-m" / "1")
        until(lambda: client.served(["defn-m"]) == {"defn-m": [1]})


@pytest.mark.parametrize("harm", [break_version, spoil_warmup, unbatched])
def test_broken_while_it_runs(folder, toys, publish, until, harm):
    batching = {"batching": BatchingParameters(), "own_batching": True}
    with (
        Server(settings(folder), port=0, poll_seconds=0.05, trust=TOYS, **batching) as server,
        Client(server.address) as client,
    ):
        shutil.copytree(toys / "defn-2", folder / "defn-c" / ".harmed")
        harm(folder / "defn-c" / ".harmed").rename(folder / "defn-c" / "2")
        publish(toys / "defn-2", folder / "defn-m" / "2")
        until(lambda: client.served(["defn-m"]) == {"defn-m": [2]})  # the good one does not wait for it
        until(lambda: states(client)[0] == (2, "END"))
        assert client.predict("defn-c", ZERO).version == 1
        assert client.status("defn-c")[0].error


def test_labels(folder, toys, publish, until, stubs):
    with Server(settings(folder, label=2), port=0, poll_seconds=0.05, trust=TOYS) as server:
        stub = stubs(server)
        with Client(server.address) as client:
            with pytest.raises(ServingError, match="stable"):
                client.predict("defn-c", ZERO, version="stable")
            publish(toys / "defn-2", folder / "defn-c" / "2")
            until(lambda: client.served(["defn-c"]) == {"defn-c": [2, 1]})
            assert client.predict("defn-c", ZERO, version="stable").version == 2
            assert reload(stub, config(folder, label=3)) == "FAILED_PRECONDITION"  # not loaded yet: it stays
            assert client.predict("defn-c", ZERO, version="stable").version == 2
            (folder / "defn-c" / "2").rename(folder / "defn-c" / ".withdrawn-2")
            until(lambda: client.served(["defn-c"]) == {"defn-c": [1]})
            with pytest.raises(ServingError, match="NOT_FOUND"):
                client.predict("defn-c", ZERO, version="stable")


def test_reloads(folder, stubs, publish, toys):
    bad = f'config {{ name: "q" base_path: "{folder}/defn-m"'
    with Server(settings(folder), port=0, trust=TOYS) as server:
        stub = stubs(server)
        for kind in ("", 'model_platform: "pytorch"', 'model_type: TENSORFLOW model_platform: "tensorflow"'):
            assert reload(stub, config(folder, more=f"{bad} {kind} }}")) == "INVALID_ARGUMENT"
            assert reload(stub, config(folder)) == "OK"  # TensorFlow Serving refuses this one, too
        break_version(publish(toys / "defn-1", folder / "broken" / "1"))
        broken = f'config {{ name: "broken" base_path: "{folder}/broken" model_platform: "tensorflow" }}'
        assert reload(stub, config(folder, more=broken)) == "UNKNOWN"
        with Client(server.address) as client:
            assert client.served(["defn-c", "defn-m", "broken"]) == {"defn-c": [1], "defn-m": [1]}
            assert states(client, "broken") == [(1, "END")]


def test_a_bad_request_in_a_batch_fails_alone(folder, stubs):
    """In TensorFlow Serving's batches its mates fail with it."""
    batching = BatchingParameters(max_batch_size=64, batch_timeout_micros=200_000, num_batch_threads=1)
    with Server(settings(folder), port=0, trust=TOYS, batching=batching) as server, Client(server.address) as client:
        request = PredictRequest()
        request.model_spec.name = "defn-c"
        for name in ZERO:
            request.inputs[name].dtype = 1
            request.inputs[name].tensor_shape.dim.add(size=1)
            request.inputs[name].float_val.append(0)
        request.inputs["AREA"].dtype = 2  # double
        request.inputs["AREA"].double_val.append(0)
        stub, found = stubs(server), []

        def ask_badly():
            try:
                stub.prediction.Predict(request, timeout=30)
            except grpc.RpcError as error:
                found.append(error.code().name)

        def ask():
            found.append(client.predict("defn-c", ZERO).version)

        threads = [threading.Thread(target=ask_badly if number % 4 == 0 else ask) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(str, found)) == ["1"] * 9 + ["INVALID_ARGUMENT"] * 3


def test_the_table_says_what_is_tested_here():
    (table,) = (part for part in README.split("\n## ") if part.startswith("When something breaks"))
    assert "`tests/serving/test_broken.py`" in table
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 12


def test_the_other_column_is_what_the_core_of_tensorflow_serving_answered():
    def core(*setups):
        return {row["request"]: (row.get("code"), str(row["reply"])) for row in rows("server_core", *setups)}

    assert core("s18")["start"][0] == "exits 255"  # a broken version at the start
    assert "did not become available" in core("s18")["start"][1]
    stalled = core("s12")  # default flags: nothing of t/2 after 12 s
    assert stalled["Predict t (which version answers)"][1].startswith('name: "t" version { value: 1 }')
    threads, retries = core("s13"), core("s14")  # four threads; two retries a second apart
    for found in (threads, retries):
        assert "2:AVAILABLE" in found["t: sequence of GetModelStatus answers"][1]
        assert found["HandleReloadConfigRequest adds model u"][0] == "OK"
    assert "state: END" in retries["GetModelStatus s 10 s later"][1]
    assert [core(setup)["start"][0] for setup in ("s16", "s17")] == [
        "OK",
        "exits 255",
    ]  # labels ahead, with and without
    gone = core("s34")
    assert gone["HandleReloadConfigRequest with labels a=1, b=9 (9 not loaded)"][0] == "FAILED_PRECONDITION"
    assert gone["2 s later Predict label a"][0] == "NOT_FOUND"
    reloads = {request.partition("]")[0]: answer for request, answer in core("s35").items()}
    for kind in ("no platform", "model_type and platform", "model_type OTHER"):
        assert reloads[f"HandleReloadConfigRequest [{kind}"][0] == "INVALID_ARGUMENT"
        assert reloads[f"HandleReloadConfigRequest [{kind}, then the valid one"][0] == "INVALID_ARGUMENT"
    broken = [answer for request, answer in core("s4").items() if "Request [broken model added]" in request]
    assert broken[0][0] == "UNKNOWN"
    mates = [answer[0] for request, answer in core("s6").items() if request.startswith("check: one bad among three")]
    assert mates == ["INVALID_ARGUMENT"] * 3
    warmup = core("s7")["GetModelStatus w_bad_input"][1]
    assert "version: 2 state: END" in warmup
    assert "version: 1 state: AVAILABLE" in warmup
    for name in ("garbage", "empty"):
        assert "version: 2 state: END" in core("s32")[f"GetModelStatus {name}"][1]
