"""What is asked of the toy models by gRPC and HTTP, row by row (README.md)."""

import base64

import grpc
import pytest

from kflare.serving import Server

from .answers import Asked, http, http_line, parsed, rest_body, rows
from .conftest import TRUST
from .differences import PAGE, page

TOYS = """
  config {{ name: "toy" base_path: "{0}/toy" model_platform: "tensorflow" model_version_policy {{ all {{}} }}
           version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 2 }}
           version_labels {{ key: "gone" value: 5 }} version_labels {{ key: "7" value: 1 }} }}
  config {{ name: "nodefault" base_path: "{0}/nodefault" model_platform: "tensorflow" }}
  config {{ name: "a b" base_path: "{0}/nodefault" model_platform: "tensorflow" }}
  config {{ name: "a.b-c_d" base_path: "{0}/nodefault" model_platform: "tensorflow" }}
"""


@pytest.fixture(scope="module")
def server(toys, read, tmp_path_factory):
    settings = read(tmp_path_factory.mktemp("config"), f"model_config_list {{ {TOYS.format(toys)} }}")
    with Server(settings, port=0, rest_port=0, trust=TRUST) as server:
        yield server


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def test_rest_bodies(server):
    asked = Asked("rest")
    for row in rows("rest"):
        asked.http(server.rest_address, row, "POST", "/v1/models/toy/versions/1:predict", rest_body(row))
    asked.verdict()


def test_lists_of_any_depth_end_in_a_clean_error(server):
    # Just below its thousandth level Python, not the parser, has enough.
    for depth in (65, 200, 985, 990, 999, 1000, 100_000):
        nested = b"[" * depth + b"1" + b"]" * depth
        for body in (nested, b'{"inputs":' + nested + b"}", b'{"instances":[{"x":' + nested + b"}]}"):
            status, reply = http(server.rest_address, "POST", "/v1/models/toy/versions/1:predict", body)
            assert status in {400, 429}, reply


def test_predict_requests(channel):
    asked = Asked("predict")
    for row in rows("predict"):
        row["reply"] = base64.b64decode(row["reply_base64"]) if row["code"] == "OK" else row["message"]
        asked.grpc(channel, row, "Predict", parsed("Predict", row["request"]))
    asked.verdict()


def test_http_requests(server):
    asked = Asked("http")
    for row in rows("server_core", "s2", "s31"):
        method, path, headers, body = http_line(row["request"])
        encoding = "latin-1" if row["setup"] == "s31" else "utf-8"
        asked.http(server.rest_address, row, method, path, body, headers, encoding=encoding)
    asked.verdict()


def test_the_other_methods(channel):
    asked = Asked("services")
    for row in rows("server_core", "s3"):
        method, _, request = row["request"].partition(" ")
        asked.grpc(channel, row, method, parsed(method, request))
    asked.verdict()


def test_the_page_of_differences_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/serving/real_answers/differences.py"
