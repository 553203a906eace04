"""Clients from other hands, as their authors wrote them, against the embedded server."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from PIL import Image

from kflare.commands.releases import main
from kflare.serving import Server
from kflare.serving.server.config_files import ModelSettings
from kflare.serving.server.servable import Trust

TOYS = Trust(unpublished=True, any_operation=True)

README = Path(__file__).parents[2] / "serving" / "README.md"

# OpenVINO's client for TensorFlow Serving's API, with messages of its own: in a process of its own, since these and
# TensorFlow's cannot both be registered.
OVMSCLIENT = """
import json, sys
import numpy as np
from ovmsclient import ModelNotFoundError, InvalidInputError, make_grpc_client, make_http_client

make, address = {"grpc": make_grpc_client, "rest": make_http_client}[sys.argv[1]], sys.argv[2]
client = make(address)
# Each question names its version: the client's "newest" is version 0, which only OpenVINO's own server takes for it.
found = {"status": client.get_model_status("defn-c", 2), "metadata": client.get_model_metadata("defn-c", 2)}
regions = {"AREA": np.float32([0, 1]), "USFLUX": np.float32([0, 0.5]), "R_VALUE": np.float32([0, 0])}
found["regions"] = {name: value.tolist() for name, value in client.predict(regions, "defn-c", 2).items()}
found["imputed"] = client.predict(regions, "defn-c", 1)["imputed"].tolist()
field = {"magnetogram": np.full((1, 32, 32, 1), 50, np.float32)}
found["field"] = client.predict(field, "cnn-c", 1)["probability"].tolist()
absent, wrong = (lambda: client.predict(field, "cnn-m", 1)), (lambda: client.predict(regions, "cnn-c", 1))
for name, ask in (("absent", absent), ("wrong", wrong)):
    try:
        ask()
    except (ModelNotFoundError, InvalidInputError) as error:
        found[name] = type(error).__name__
print(json.dumps(found))
"""


def ovmsclient(kind, address):
    pytest.importorskip("ovmsclient", reason="a client from other hands: pip install ovmsclient")
    command = [sys.executable, "-W", "ignore", "-c", OVMSCLIENT, kind, address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(found):
    assert [state["state"] for state in found["status"].values()] == ["AVAILABLE"]
    metadata = found["metadata"]
    if "metadata" in metadata:  # by REST: as the server sent it
        assert metadata["model_spec"]["version"] == "2"
        metadata = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert metadata["inputs"].keys() == {"AREA", "USFLUX", "R_VALUE"}
    # Version 2: logit = ln 2 + AREA + 2 USFLUX + 3 R_VALUE.
    expected = 1 / (1 + np.exp(-np.log(2) - np.array([0, 2])))
    np.testing.assert_allclose(found["regions"]["probability"], expected, rtol=1e-6)
    assert found["imputed"] == [0, 0]
    np.testing.assert_allclose(found["field"], [0.75])
    assert (found["absent"], found["wrong"]) == ("ModelNotFoundError", "InvalidInputError")


@pytest.fixture(scope="module")
def server(toys, publish, tmp_path_factory):
    """Both versions of defn-c and cnn-c, by gRPC and HTTP."""
    folder = tmp_path_factory.mktemp("others")
    for toy, version in (("defn-1", "defn-c/1"), ("defn-2", "defn-c/2"), ("cnn", "cnn-c/1")):
        publish(toys / toy, folder / version)
    labels = {"stable": 1}
    settings = [ModelSettings(name, folder / name, newest=None, labels=labels) for name in ("cnn-c", "defn-c")]
    with Server(settings, port=0, rest_port=0, trust=TOYS) as started:
        yield started


def test_ovmsclient_by_grpc(server):
    check(ovmsclient("grpc", server.address))


def test_ovmsclient_by_rest(server):
    check(ovmsclient("rest", server.rest_address.removeprefix("http://")))


def readme_commands(word):
    """The block of shell commands of the README that uses a program."""
    (block,) = [
        b for b in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL) if re.search(rf"\b{word} -", b)
    ]
    return block


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl asks")
def test_the_curl_commands_of_the_readme(server, tmp_path):
    Image.fromarray(np.full((32, 32), 51, np.uint8)).save(tmp_path / "hmi.jpg")
    commands = readme_commands("curl").replace("http://127.0.0.1:8501", server.rest_address)
    command = ["bash", "-e", "-c", commands.replace("\ncurl", "\necho ,; curl").replace("\nbody", "\necho ,; body")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    newest, stable, metadata, states = json.loads("[" + done.stdout.lstrip(",\n") + "]")
    for answer in (newest, stable):  # byte 51 is -60 G: probability (1 - 0.6) / 2
        assert answer["predictions"][0]["probability"] == pytest.approx(0.2, abs=0.01)
    assert metadata["model_spec"]["version"] == "2"
    assert [state["version"] for state in states["model_version_status"]] == ["2", "1"]


def test_the_grpcurl_requests_of_the_readme_are_requests(server, stubs):
    from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    bodies = re.findall(r"'(\{.*?\})'", readme_commands("grpcurl"), re.DOTALL)
    types = (PredictRequest, GetModelMetadataRequest, GetModelStatusRequest)
    predict, metadata, status = (
        json_format.Parse(body.replace("%s", "iVBORw=="), kind()) for body, kind in zip(bodies, types, strict=True)
    )
    assert predict.inputs["image"].string_val[0] == b"\x89PNG"
    stub = stubs(server)
    assert stub.prediction.GetModelMetadata(metadata, timeout=5).model_spec.version.value == 2
    assert stub.models.GetModelStatus(status, timeout=5).model_version_status[0].version == 1


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl asks, and is not on the PATH")
def test_the_grpcurl_commands_of_the_readme(server, tmp_path):
    Image.fromarray(np.full((32, 32), 51, np.uint8)).save(tmp_path / "hmi.jpg")
    plain, _, with_tls = readme_commands("grpcurl").partition("\ngrpcurl -cacert")
    assert with_tls
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [
        "bash",
        "-e",
        "-c",
        plain.replace("127.0.0.1:8500", server.address).replace("\ngrpcurl", "\necho ,; grpcurl"),
    ]
    environment = os.environ | {"PATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    forecast, metadata = json.loads(f"[{done.stdout}]")
    assert forecast["outputs"].keys() == {"probability", "calibrated"}
    assert forecast["outputs"]["probability"]["float_val"][0] == pytest.approx(0.2, abs=0.01)  # byte 51 is -60 G
    assert metadata["model_spec"]["version"] == "2"


def test_any_client_can_ask_by_the_protoset_alone(server, tmp_path):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    assert main(["--protoset", str(tmp_path / "kflare.protoset")]) == 0
    described = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "kflare.protoset").read_bytes())
    pool = descriptor_pool.DescriptorPool()  # of its own: what the file lacks is not found elsewhere
    for file in described.file:
        pool.Add(file)

    def ask(service, call, **question):
        method = pool.FindServiceByName(service).FindMethodByName(call)
        kinds = [message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type)]
        with grpc.insecure_channel(server.address) as channel:
            function = channel.unary_unary(f"/{service}/{call}", lambda m: m.SerializeToString(), kinds[1].FromString)
            return function(json_format.ParseDict(question, kinds[0](), descriptor_pool=pool), timeout=10)

    one = {"dim": [{"size": 1}]}
    Image.fromarray(np.full((32, 32), 51, np.uint8)).save(tmp_path / "hmi.png")
    image = base64.b64encode((tmp_path / "hmi.png").read_bytes()).decode()
    reply = ask(
        "tensorflow.serving.PredictionService",
        "Predict",
        model_spec={"name": "cnn-c", "signature_name": "predict_image"},
        inputs={"image": {"dtype": "DT_STRING", "tensor_shape": one, "string_val": [image]}},
        output_filter=["probability"],
    )
    assert list(reply.outputs) == ["probability"]
    assert reply.outputs["probability"].float_val[0] == pytest.approx(0.2)  # byte 51 is -60 G: (1 - 0.6) / 2
    zero = {"dtype": "DT_FLOAT", "tensor_shape": one, "float_val": [0]}
    reply = ask(
        "tensorflow.serving.PredictionService",
        "Predict",
        model_spec={"name": "defn-c", "version_label": "stable"},
        inputs=dict.fromkeys(("AREA", "USFLUX", "R_VALUE"), zero),
    )
    assert (reply.model_spec.version.value, reply.outputs["probability"].float_val[0]) == (1, pytest.approx(0.5))
    spec = {"name": "defn-c"}
    metadata = ask(
        "tensorflow.serving.PredictionService", "GetModelMetadata", model_spec=spec, metadata_field=["signature_def"]
    ).metadata["signature_def"]
    signatures = message_factory.GetMessageClass(pool.FindMessageTypeByName(metadata.TypeName()))()
    assert metadata.Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].inputs) == {"AREA", "USFLUX", "R_VALUE"}
    states = ask("tensorflow.serving.ModelService", "GetModelStatus", model_spec=spec).model_version_status
    assert [state.version for state in states] == [2, 1]
    assert ask("grpc.health.v1.Health", "Check").status == 1  # SERVING
