"""What TensorFlow Serving's own code answers (README.md), and how an answer is compared with it."""

import base64
import json
import lzma
import re
import shutil
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)

from .differences import unlisted

_CUT = 600  # characters of a long reply in the tables
_TABLES = Path(__file__).parent
SETUPS = json.loads((_TABLES / "server_setups.json").read_text(encoding="utf-8"))
ALL = "model_version_policy { all {} } "
ONES = (
    'inputs { key: "x" value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: [1, 2] } }'
)
_METHODS = {
    method.name: method
    for module, service in ((prediction_service_pb2, "PredictionService"), (model_service_pb2, "ModelService"))
    for method in module.DESCRIPTOR.services_by_name[service].methods
}


def rows(table: str, *setups: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, in its order; of server_core those of the setups."""
    with lzma.open(_TABLES / f"{table}.jsonl.xz", "rt", encoding="utf-8") as lines:
        yield from (row for row in map(json.loads, lines) if not setups or row["setup"] in setups)


def model(name: str, base: str, rest: str = "") -> str:
    """One model of a configuration, below /models."""
    return f'config {{ name: "{name}" base_path: "/models/{base}" model_platform: "tensorflow" {rest} }} '


def break_version(version: Path) -> None:
    """Leave nothing in a version but garbage."""
    shutil.rmtree(version)
    version.mkdir()
    (version / "saved_model.pb").write_bytes(b"garbage")


def call(channel: grpc.Channel, method: str, request: Message) -> tuple[str, Any]:
    """Code and answer of a method, or its message."""
    path, kind = f"/{_METHODS[method].containing_service.full_name}/{method}", _METHODS[method].output_type
    ask = channel.unary_unary(path, response_deserializer=GetMessageClass(kind).FromString)
    try:
        return "OK", ask(request.SerializeToString(), timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()


def parsed(method: str, text: str) -> Message:
    """A request in protobuf's text form; an empty message that is written out (`model_spec { }`) is there."""
    return text_format.Parse(text, GetMessageClass(_METHODS[method].input_type)())


def http(address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
    """Status and body of a request of any method and path."""
    host, port = address.removeprefix("http://").rsplit(":", 1)
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {len(body)}"]
    head += [f"{key}: {value}" for key, value in (headers or {}).items()]
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        reply = HTTPResponse(connection, method=method)
        reply.begin()
        return reply.status, reply.read()


def same_json(there: str, here: str) -> bool:
    """Whether two bodies say the same: numbers as float32, messages apart from white space.

    Where the real one is no JSON, such as a page of libevent's for 404, any body will do.
    """
    try:
        expected = json.loads(there, strict=False)
    except json.JSONDecodeError:
        return True
    try:
        return _same(expected, json.loads(here, strict=False))
    except json.JSONDecodeError:
        return False


def same_message(there: str, here: str) -> bool:
    """Whether two messages agree but for white space and the numbers that the graph's functions have."""
    plain = [re.sub(r"(?<=_)\d+(?=})|\s", "", text.replace("...TRUNCATED", "")) for text in (there, here)]
    return plain[0] == plain[1]


def _same(there: Any, here: Any) -> bool:
    if isinstance(there, float) and isinstance(here, float):
        with np.errstate(over="ignore"):
            return bool(np.array_equal(np.float32(there), np.float32(here), equal_nan=True))
    if type(there) is not type(here):
        return False
    if isinstance(there, dict):
        return there.keys() == here.keys() and all(_same(there[key], here[key]) for key in there)
    if isinstance(there, list):
        return len(there) == len(here) and all(map(_same, there, here))
    return same_message(there, here) if isinstance(there, str) else bool(there == here)


def same_answer(code: str, there: str | bytes, answer: tuple[str, Any]) -> bool:
    """Whether code and answer of a method (`call`) are the real ones.

    The real reply is in protobuf's text form or in bytes; of a Predict perhaps its spec only, of metadata in words.
    """
    given, here = answer
    if given != code or code != "OK":
        return given == code and same_message(str(there), here)
    kind = type(here)
    if isinstance(there, bytes):
        expected: Any = kind.FromString(there)
    elif kind is predict_pb2.PredictResponse and there.startswith("name:"):
        expected, here = text_format.Parse(there, model_pb2.ModelSpec()), here.model_spec
    elif kind is get_model_metadata_pb2.GetModelMetadataResponse:
        expected, here = _in_order(_metadata(there)), _in_order(here)
    elif len(there) == _CUT:
        return text_format.MessageToString(here, as_one_line=True).startswith(there)
    else:
        expected = text_format.Parse(there, kind())
    return expected.SerializeToString(deterministic=True) == here.SerializeToString(deterministic=True)


def _metadata(words: str) -> Message:
    found = re.fullmatch(r"(.*) keys signature_def url (\S+) signatures (.*)", words)
    if found is None:
        return text_format.Parse(words, get_model_metadata_pb2.GetModelMetadataResponse())
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, text in json.loads(found[3]).items():
        text_format.Parse(text, signatures.signature_def[key])
    made = get_model_metadata_pb2.GetModelMetadataResponse(
        model_spec=text_format.Parse(found[1], model_pb2.ModelSpec())
    )
    made.metadata["signature_def"].type_url = found[2]
    made.metadata["signature_def"].value = signatures.SerializeToString()
    return made


def _in_order(metadata: Any) -> Any:
    """The signatures within are bytes, in any order."""
    value = metadata.metadata["signature_def"].value
    signatures = get_model_metadata_pb2.SignatureDefMap.FromString(value)
    metadata.metadata["signature_def"].value = signatures.SerializeToString(deterministic=True)
    return metadata


def http_line(line: str) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers and body of `METHOD path {headers} body`; a path of the table may have one blank in it."""
    found = re.fullmatch(
        r'(\S+) (\S*(?: b\S*| :\S*)?)(?: (\{"[A-Z][A-Za-z-]*": "[^"]*"\}))?(?: ?(.*))', line, re.DOTALL
    )
    assert found, line
    method, path, headers, body = found.groups()
    return method, path, json.loads(headers or "{}"), b"" if method == "GET" else body.encode("latin-1")


def rest_body(row: dict[str, Any]) -> bytes:
    """The body of a row of rest.jsonl."""
    return row["body"].encode() if "body" in row else base64.b64decode(row["body_base64"])


def _words(answer: Any) -> str:
    code, text = answer
    return f"{code} {' '.join(str(text).split())}"


class Asked:
    """The rows of a group that were asked, and those whose answer is another."""

    def __init__(self, group: str) -> None:
        self.group, self.count = group, 0
        self.differing: list[tuple[str, str, str]] = []

    def note(self, request: Any, there: Any, here: Any, *, same: bool) -> None:
        self.count += 1
        if not same:
            self.differing.append((str(request), _words(there), _words(here)))

    def grpc(self, channel: grpc.Channel, row: dict[str, Any], method: str, request: Any) -> None:
        """Ask a row of a method."""
        code, message = answer = call(channel, method, request)
        there = row["code"], row["reply"]
        same = same_answer(*there, answer)
        self.note(
            row["request"],
            there,
            (code, message if code != "OK" else text_format.MessageToString(message, as_one_line=True)),
            same=same,
        )

    def http(self, address: str, row: dict[str, Any], *line: Any, encoding: str = "utf-8") -> None:
        """Ask a row of the REST API."""
        status, content = http(address, *line)
        there, here = row["status"], content.decode(encoding, errors="replace")
        same = status == there and same_json(row["reply"], here)
        self.note(row.get("request") or rest_body(row), (there, row["reply"]), (status, here), same=same)

    def verdict(self) -> None:
        wrong = unlisted(self.group, self.count, self.differing)
        assert not wrong, f"{len(wrong)} of {self.group} are not as listed in differences.toml:\n" + "\n".join(wrong)
