"""TensorFlow Serving's messages and configuration files, without TensorFlow.

The classes of `tensorflow-serving-api` import all of TensorFlow (seconds and half a gigabyte), or are in no package.
Over the wire only field numbers and types count, in text form only names; fields that are left out pass through unread.
Each field of the requests and replies is compared with the original in tests/serving/messages.
"""

import configparser
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from kflare.errors import SettingError


def _declare(package: str, messages: Mapping[str, str]) -> dict[str, Any]:
    """Message classes by name, from the fields of each message, "name number type, ...".

    The type is a scalar of protobuf's or one of the messages, with `*` behind it if repeated, or "map TYPE" for a map
    from strings. Enums are int32. They live in a pool of their own: the originals may be in the same process.
    """
    file = FileDescriptorProto(name=f"kflare/{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            _declare_field(message, text, package)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def _declare_field(message: DescriptorProto, text: str, package: str) -> None:
    name, number, *_, kind = text.split()
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if " map " in text:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")  # the name that protoc gives
        entry.options.map_entry = True
        _declare_field(entry, "key 1 string", package)
        _declare_field(entry, f"value 2 {kind}", package)
        kind = f"{message.name}.{entry.name}*"
    if kind.endswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
        kind = kind[:-1]
    if kind[0].isupper():
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


_DECLARED = configparser.ConfigParser()
_DECLARED.optionxform = str  # type: ignore[method-assign,assignment]
_DECLARED.read_string(files("kflare.serving.messages").joinpath("messages.ini").read_text(encoding="utf-8"))
_CLASSES = _declare("kflare.serving", _DECLARED["kflare.serving"])

PackedValues: Any = _declare("kflare.packed", _DECLARED["kflare.packed"])["PackedValues"]
TensorProto: Any = _CLASSES["TensorProto"]
PredictRequest: Any = _CLASSES["PredictRequest"]
GetModelMetadataRequest: Any = _CLASSES["GetModelMetadataRequest"]
GetModelStatusRequest: Any = _CLASSES["GetModelStatusRequest"]
SignatureDefMap: Any = _CLASSES["SignatureDefMap"]

_SERVICES = {"Predict": "PredictionService", "GetModelMetadata": "PredictionService", "GetModelStatus": "ModelService"}
RPC_METHODS: dict[str, tuple[str, Any]] = {
    f"{method}Request": (f"/tensorflow.serving.{service}/{method}", _CLASSES[f"{method}Response"])
    for method, service in _SERVICES.items()
}
"""Path and answer of each request, by the request's name."""

CONFIG_MESSAGES = _declare("tensorflow.serving", _DECLARED["tensorflow.serving"])
"""Of session_bundle_config.proto, ssl_config.proto and monitoring_config.proto; the field numbers are not theirs."""


def read_config(path: Path, message: Any, *, what: str) -> Any:
    """Read a message from its text form, of a file that is `what`; `SettingError` names the file and the wrong line."""
    path = Path(path)
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message())
    except FileNotFoundError as error:
        raise SettingError(f"no {what} {path}: see the examples in serving/") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read as a {what}: {error}") from error
    except text_format.ParseError as error:
        raise SettingError(f"{path} is no valid {what}, line {error.GetLine() or 1}: {error}") from error


def protoset() -> bytes:
    """A serialized `FileDescriptorSet` of both services and grpc.health.v1, each file after those that it imports.

    `grpcurl -protoset`, Node's proto-loader and others read it in place of some hundred `.proto` files.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from grpc_health.v1 import health_pb2
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    found = FileDescriptorSet()
    seen: set[str] = set()

    def add(files: Iterable[Any]) -> None:
        for file in files:
            if file.name not in seen:
                seen.add(file.name)
                add(file.dependencies)
                file.CopyToProto(found.file.add())

    add(module.DESCRIPTOR for module in (prediction_service_pb2, model_service_pb2, health_pb2))
    return found.SerializeToString()
