"""One set of tests for every server of TensorFlow Serving's API.

They run against the embedded server, with and without batching; against `tensorflow_model_server` where it is on the
PATH; and against a server that runs already where `KFLARE_SERVER` names its gRPC address. Such a server must see, under
the same path, the folder that `KFLARE_SERVER_MODELS` names: the toy models are written there and its configuration is
replaced by HandleReloadConfigRequest; it needs --allow_version_labels_for_unavailable_models. `KFLARE_SERVER_REST`
names its HTTP address ("http://host:8501"), if it has one.

What is asked for is what TensorFlow Serving documents or its sources do, cited beside each test. Words are compared
where the sources have them; where they come from the runtime, or differ between releases, only the code is. What its
own code answers to some 3,000 requests, row by row, is asked of the embedded server in real_answers.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from kflare.serving import Server
from kflare.serving.messages.tensor_values import fill_tensor
from kflare.serving.server.config_files import BatchingParameters, read_models_config
from kflare.serving.server.servable import Trust

PROGRAM = shutil.which("tensorflow_model_server")
ADDRESS = os.environ.get("KFLARE_SERVER")
SHARED = os.environ.get("KFLARE_SERVER_MODELS")
SERVERS = ["embedded", "embedded, batching"]
SERVERS += ["tensorflow_model_server"] if PROGRAM else []
SERVERS += ["KFLARE_SERVER"] if ADDRESS and SHARED else []
CONFIG = """
  config {{ name: "defn-c" base_path: "{0}/defn-c" model_platform: "tensorflow"
           model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: 1 }}
           version_labels {{ key: "ahead" value: 9 }} }}
  config {{ name: "cnn-c" base_path: "{0}/cnn-c" model_platform: "tensorflow" }}
  config {{ name: "moving" base_path: "{0}/moving" model_platform: "tensorflow" }}
"""
FEATURES = ("AREA", "USFLUX", "R_VALUE")


@dataclass
class Target:
    """A server, where its models lie, and how to ask it."""

    name: str
    address: str
    rest: str | None
    folder: Path

    def __post_init__(self) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(self.address, options)
        self.prediction = PredictionServiceStub(self.channel)
        self.models = ModelServiceStub(self.channel)

    @property
    def everything(self) -> str:
        """The configuration that the tests start from."""
        return CONFIG.format(self.folder)

    def reload(self, models: str | None) -> Any:
        """HandleReloadConfigRequest with the `config {...}` of some models, or without a configuration."""
        text = "" if models is None else f"config {{ model_config_list {{ {models} }} }}"
        return self.models.HandleReloadConfigRequest(text_format.Parse(text, ReloadConfigRequest()), timeout=60)

    def states(self, model: str) -> dict[int, str]:
        """State of each version, by number."""
        request = GetModelStatusRequest()
        request.model_spec.name = model
        found = self.models.GetModelStatus(request, timeout=10).model_version_status
        return {entry.version: type(entry).State.Name(entry.state) for entry in found}

    def http(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> tuple[int, Any]:
        """Status and content of a GET, or of a POST where there is a body; JSON is read."""
        if self.rest is None:
            pytest.skip(f"{self.name} has no HTTP port (KFLARE_SERVER_REST)")
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            asked = urllib.request.Request(self.rest + path, data=data, headers=headers, method=method)
            with opener.open(asked, timeout=30) as reply:
                status, content, kind = reply.status, reply.read(), reply.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            with error:
                status, content, kind = error.code, error.read(), error.headers["Content-Type"]
        return status, json.loads(content) if content and "json" in (kind or "") else content.decode()


@pytest.fixture(scope="package", params=SERVERS)
def target(request, toys, publish, tmp_path_factory):
    """A server of `defn-c` 1 (label "stable") and 2, `cnn-c` 1 and, to change, `moving` 1."""
    folder = Path(SHARED) if request.param == "KFLARE_SERVER" else tmp_path_factory.mktemp("conformance")
    for toy, place in (
        ("defn-1", "defn-c/1"),
        ("defn-2", "defn-c/2"),
        ("cnn", "cnn-c/1"),
        ("defn-1", "moving/1"),
    ):
        if not (folder / place).exists():
            publish(toys / toy, folder / place)
    config = folder / "models.config"
    config.write_text(f"model_config_list {{ {CONFIG.format(folder)} }}")
    if request.param.startswith("embedded"):
        batching = BatchingParameters(batch_timeout_micros=2000) if "batching" in request.param else None
        settings, trust = read_models_config(config), Trust(unpublished=True, any_operation=True)
        with Server(settings, port=0, rest_port=0, poll_seconds=0.2, batching=batching, trust=trust) as server:
            yield Target(request.param, server.address, server.rest_address, folder)
    elif request.param == "tensorflow_model_server":
        yield from _program(config, folder)
    else:
        made = Target(request.param, ADDRESS, os.environ.get("KFLARE_SERVER_REST"), folder)
        made.reload(made.everything)
        yield made


@pytest.fixture(scope="session")
def not_asked():
    """Servers that are not there, and why."""
    missing = [] if PROGRAM else ["tensorflow_model_server is not on the PATH"]
    if not (ADDRESS and SHARED):
        missing.append("KFLARE_SERVER and KFLARE_SERVER_MODELS name no server and no folder that it sees too")
    return missing


def _program(config, folder):
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    ports = [_free_port(), _free_port()]
    command = [
        PROGRAM, f"--port={ports[0]}", f"--rest_api_port={ports[1]}", f"--model_config_file={config}",
        "--file_system_poll_wait_seconds=1", "--max_num_load_retries=0",
        "--allow_version_labels_for_unavailable_models=true", f"--monitoring_config_file={monitoring}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        made = Target("tensorflow_model_server", f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", folder)
        try:
            grpc.channel_ready_future(made.channel).result(timeout=60)
            yield made
        finally:
            process.terminate()


def _free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _request(inputs=None, outputs=(), kind=PredictRequest, **spec):
    """A request for `defn-c` with all features 0, unless told otherwise."""
    made = kind()
    version = spec.pop("version", None)
    for key, value in {"name": "defn-c", **spec}.items():
        setattr(made.model_spec, key, value)
    if version is not None:
        made.model_spec.version.value = version
    if kind is PredictRequest:
        made.output_filter.extend(outputs)
        zeros = {name: np.zeros(1, np.float32) for name in FEATURES}
        for name, value in (zeros if inputs is None else inputs).items():
            fill_tensor(made.inputs[name], value)
    return made


@pytest.fixture(scope="session")
def ask():
    return _request


def _refusal(call, sent, timeout=30):
    with pytest.raises(grpc.RpcError) as caught:
        call(sent, timeout=timeout)
    return caught.value.code().name, caught.value.details()


@pytest.fixture(scope="session")
def refusal():
    """Code and message of a call that must fail."""
    return _refusal


@pytest.fixture(scope="session")
def first_line():
    """A message without what the runtime adds of its own: the node, whose name has a number that changes."""
    return lambda message: re.sub(r"\n.*", "", message, flags=re.DOTALL)
