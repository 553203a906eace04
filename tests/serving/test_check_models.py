"""The health check of the deployment, `serving/check-models`, and its twin in Python, on right and wrong servers."""

import http.server
import json
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from kflare.commands.releases import main
from kflare.errors import ModelError
from kflare.models.known_answer import KNOWN_ANSWER, KNOWN_QUESTION, known_answer, wrong_output
from kflare.models.publish import METADATA, publish_version, verify_manifest
from kflare.serving import Server

from .stand_in import start

SCRIPT = Path(__file__).parents[2] / "serving" / "check-models"
PROBABILITY = 1 / (1 + np.exp(-0.5))  # of defn-c for an AREA of 0
RIGHT = {"probability": PROBABILITY, "calibrated": PROBABILITY / 2, "scores": [1 - PROBABILITY, PROBABILITY]}


def write_network(path, *, bias):
    """probability = sigmoid(bias + AREA), calibrated = half of it, scores = both classes."""
    import tensorflow as tf

    module = tf.Module()
    module.bias = tf.Variable(bias)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="AREA")])
    def serve(AREA):
        p = tf.sigmoid(AREA + module.bias)
        return {"probability": p, "calibrated": p / 2, "scores": tf.stack([1 - p, p], axis=1)}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """defn-c and defn-m, version 1 of each."""
    root = tmp_path_factory.mktemp("published")
    for name, bias in (("defn-c", 0.5), ("defn-m", -3.0)):
        cases = [("serving_default", {"AREA": np.zeros(2, np.float32)}, {})]
        publish_version(
            root, name, export=lambda path, bias=bias: write_network(path, bias=bias), cases=cases, metadata={}
        )
    return root


@pytest.fixture(scope="module")
def right(models):
    with Server(folder=models, port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def wrong(models, tmp_path_factory):
    """A server that gives the answers of defn-m for defn-c."""
    folder = tmp_path_factory.mktemp("wrong")
    shutil.copytree(models / "defn-m" / "1", folder / "defn-c" / "1")
    with Server(folder=folder, port=0, rest_port=0) as server:
        yield server


def check(models, *names, **ports):
    options = [text for port, address in ports.items() for text in (f"--{port}", address.removeprefix("http://"))]
    command = [SCRIPT, *options, models, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers as TensorFlow Serving does (g3doc/api_rest.md), with the states and predictions that it is given."""

    states, predictions, written = (), (), b""

    def do_GET(self):
        found = [
            {"version": str(n), "state": state, "status": {"error_code": "OK", "error_message": message}}
            for n, state, message in self.states
        ]
        self.answer({"model_version_status": found})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.written or {"predictions": self.predictions})

    def answer(self, content):
        body = content if isinstance(content, bytes) else json.dumps(content, indent=4).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def stand_in(**answers):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (StandIn,), answers))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


AVAILABLE = [(1, "AVAILABLE", "")]


def test_a_version_brings_a_question_and_its_answer(models):
    version = models / "defn-c" / "1"
    verify_manifest(version)
    body = json.loads((version / KNOWN_QUESTION).with_suffix(".json").read_text())
    assert body == {"signature_name": "serving_default", "instances": [{"AREA": 0.0}]}  # the first row alone
    assert (version / KNOWN_QUESTION).stat().st_size < 16_000  # one frame of HTTP/2
    known = known_answer(version)
    assert list(known) == ["calibrated", "probability", "scores"]
    assert wrong_output({name: np.float32([value]) for name, value in RIGHT.items()}, known) is None


def test_a_right_server_passes_over_each_port(models, right):
    ports = {"rest": right.rest_address, "grpc": right.address}
    for chosen in ({"rest"}, {"grpc"}, {"rest", "grpc"}):
        assert check(models, "defn-c", "defn-m", **{port: ports[port] for port in chosen}) == (0, "")


def test_another_models_number_with_status_200_fails(models, wrong):
    code, line = check(models, "defn-c", rest=wrong.rest_address)
    assert (code, line.partition(" is ")[0]) == (3, "defn-c/1: by REST calibrated")
    code, line = check(models, "defn-c", grpc=wrong.address)
    wanted = "defn-c/1: by gRPC calibrated is 0.023712"  # half of sigmoid(-3)
    assert (code, line.rpartition(" and must be ")[0][: len(wanted)]) == (3, wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"calibrated": PROBABILITY},  # the number of the output before, as is left in its buffer
        {"probability": 1.3e-44},
        {"probability": 1 - PROBABILITY},
        {"scores": [PROBABILITY, 1 - PROBABILITY]},
        {"scores": [1 - PROBABILITY]},
        {"probability": float("nan")},
        {"probability": float("inf")},
        {"probability": -PROBABILITY},
        {"probability": 1e300},
        {"probability": "0.622459352"},
        {"probability": None},
    ],
    ids=str,
)
def test_wrong_numbers_with_status_200_fail(models, change):
    with stand_in(states=AVAILABLE, predictions=[RIGHT]) as address:
        assert check(models, "defn-c", rest=address) == (0, "")
    with stand_in(states=AVAILABLE, predictions=[RIGHT | change]) as address:
        code, line = check(models, "defn-c", rest=address)
        assert code == 3
        assert line.startswith(f"defn-c/1: by REST {next(iter(change))} is ")


def test_what_is_no_answer_fails(models):
    for predictions in ([], [{}], [PROBABILITY], "\0"):
        with stand_in(states=AVAILABLE, predictions=predictions) as address:
            assert check(models, "defn-c", rest=address)[0] == 3
    stop, port = start("--version", 1)  # by gRPC: probability 0.25, and nothing else
    try:
        code, line = check(models, "defn-c", grpc=f"127.0.0.1:{port}")
        assert (code, line) == (3, "defn-c/1: by gRPC calibrated is missing and must be 0.311229676")
    finally:
        stop()
    with stand_in(states=AVAILABLE, predictions=[RIGHT]) as address:  # the REST port is no gRPC port
        assert check(models, "defn-c", grpc=address) == (1, "defn-c/1: no answer by gRPC, status unknown")


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE])
def test_a_status_of_grpc_is_told(models, code):
    def refuse(_, context):
        context.abort(code, "no")

    handler = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService", {"Predict": grpc.unary_unary_rpc_method_handler(refuse)}
    )
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        wanted = (1, f"defn-c/1: no answer by gRPC, status {code.value[0]}")
        assert check(models, "defn-c", grpc=f"127.0.0.1:{port}") == wanted
    finally:
        server.stop(0).wait()


# As json_tensor.cc lays its rows out (rest.jsonl of the real server's answers).
REAL = b"""{
    "predictions": [
        {
            "scores": [0.377540678, 0.622459352],
            "probability": %s,
            "calibrated": 0.311229676
        }
    ]
}"""


@pytest.mark.parametrize(
    ("number", "code"), [(b"0.622459352", 0), (b"6.22459352e-01", 0), (b"6.22459352e-02", 3), (b"NaN", 3)]
)
def test_the_real_writers_layout_is_read(models, number, code):
    with stand_in(states=AVAILABLE, written=REAL % number) as address:
        assert check(models, "defn-c", rest=address)[0] == code


def test_loading_is_told_from_failed(models):
    states = [(3, "END", "OUT_OF_RANGE: Read less bytes than requested"), (2, "LOADING", "")]
    with stand_in(states=states) as address:
        code, line = check(models, "defn-c", rest=address)
    why = "3 is END OUT_OF_RANGE: Read less bytes than requested; 2 is LOADING"
    assert (code, line) == (1, f"defn-c: no version is AVAILABLE at {address}; {why}")
    assert check(models, "defn-c", rest=address) == (1, f"defn-c: no server at {address}")
    assert check(models, "defn-c", grpc=address) == (1, f"defn-c/1: no server at {address}")


def test_a_wrong_number_is_not_waited_for_nor_hidden_by_a_model_that_is_missing(models, wrong):
    """`defn-m` is not served; 3 is what stops a server, 1 what waits for one."""
    for names in (("defn-m", "defn-c"), ("defn-c", "defn-m")):
        code, line = check(models, *names, rest=wrong.rest_address, wait="600")
        assert (code, line.partition(" is ")[0]) == (3, "defn-c/1: by REST calibrated")
    code, line = check(models, "defn-m", rest=wrong.rest_address, wait="1")
    assert code == 1
    assert line.startswith("defn-m: no version is AVAILABLE")


def test_every_version_that_answers_is_asked(models, tmp_path):
    shutil.copytree(models, tmp_path / "models")
    second = shutil.copytree(models / "defn-c" / "1", tmp_path / "models" / "defn-c" / "2")
    (second / METADATA).write_text((second / METADATA).read_text().replace('"version": 1', '"version": 2'))
    with stand_in(states=[(2, "AVAILABLE", ""), (1, "AVAILABLE", "")], predictions=[RIGHT]) as address:
        assert check(tmp_path / "models", "defn-c", rest=address) == (0, "")
        (tmp_path / "models" / "defn-c" / "1" / KNOWN_ANSWER).unlink()
        code, line = check(tmp_path / "models", "defn-c", rest=address)
    assert code == 1
    assert line.startswith("defn-c/1: no known answer in ")


def test_a_server_of_the_wrong_model_is_not_healthy_for_its_own_known_answer(models, tmp_path, capsys):
    """Copied into the folder of another, it answers its known question rightly over each port."""
    shutil.copytree(models, tmp_path / "models")
    shutil.copytree(models / "defn-c" / "1", tmp_path / "models" / "defn-m" / "2")
    with Server(folder=tmp_path / "models", port=0, rest_port=0) as server:
        ports = {"rest": server.rest_address, "grpc": server.address}
        code, line = check(tmp_path / "models", "defn-c", "defn-m", **ports)
        assert (code, line) == (3, "defn-m/2: the folder holds another model or version")
        assert main(["--check", server.address, "--models", str(tmp_path / "models")]) == 1
    assert "defn-m/2 says that it is defn-c version 1" in capsys.readouterr().err


def test_the_command_asks_the_same(models, right, wrong, tmp_path, capsys):
    def command(server, folder):
        code = main(["--check", server.address, "defn-c", "--models", str(folder)])
        return code, "".join(capsys.readouterr())

    assert command(right, models) == (0, "defn-c (1)\n")
    code, said = command(wrong, models)
    assert code == 1
    assert "defn-c version 1 at" in said
    assert "answers wrongly, stop that server: `calibrated` is [0.0237" in said
    shutil.copytree(models, tmp_path / "models")
    (tmp_path / "models" / "defn-c" / "1" / KNOWN_ANSWER).unlink()
    code, said = command(right, tmp_path / "models")
    assert code == 1
    assert "has no known answer to hold a server to" in said
    assert main(["--check", wrong.address, "defn-c"]) == 0  # states alone


def test_a_model_that_cannot_be_known_by_its_numbers_is_not_published(tmp_path):
    cases = [("serving_default", {"AREA": np.zeros(1, np.float32)}, {})]
    with pytest.raises(ModelError, match="what no server can be known by"):
        publish_version(
            tmp_path, "defn-c", export=lambda path: write_network(path, bias=float("nan")), cases=cases, metadata={}
        )
