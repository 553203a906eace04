"""TensorFlow Serving's messages and configuration files, without TensorFlow.

The classes of `tensorflow-serving-api` import all of TensorFlow (seconds and half a gigabyte), or are in no package.
Over the wire only field numbers and types count, in text form only names; fields that are left out pass through unread.
Each field of the requests and replies is compared with the original in tests/serving/messages.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from kflare.errors import SettingError

__all__ = [
    "CONFIG_MESSAGES",
    "RPC_METHODS",
    "GetModelMetadataRequest",
    "GetModelStatusRequest",
    "PredictRequest",
    "SignatureDefMap",
    "TensorProto",
    "protoset",
    "read_config",
]


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


# From tensorflow/core/framework tensor.proto, tensor_shape.proto, tensorflow/core/protobuf/meta_graph.proto, and
# tensorflow_serving/apis model.proto, predict.proto, get_model_metadata.proto, get_model_status.proto, status.proto
# (2.21); google/protobuf wrappers, any.
_MESSAGES = {
    "Dim": "size 1 int64",
    "TensorShapeProto": "dim 2 Dim*, unknown_rank 3 bool",
    "TensorProto": "dtype 1 int32, tensor_shape 2 TensorShapeProto, tensor_content 4 bytes, half_val 13 int32*, "
    "float_val 5 float*, double_val 6 double*, int_val 7 int32*, string_val 8 bytes*, int64_val 10 int64*, "
    "bool_val 11 bool*, uint32_val 16 uint32*, uint64_val 17 uint64*",
    "TensorInfo": "name 1 string, dtype 2 int32, tensor_shape 3 TensorShapeProto",
    "SignatureDef": "inputs 1 map TensorInfo, outputs 2 map TensorInfo, method_name 3 string",
    "Int64Value": "value 1 int64",
    "Any": "type_url 1 string, value 2 bytes",
    "ModelSpec": "name 1 string, version 2 Int64Value, version_label 4 string, signature_name 3 string",
    "PredictRequest": "model_spec 1 ModelSpec, inputs 2 map TensorProto, output_filter 3 string*",
    "PredictResponse": "model_spec 2 ModelSpec, outputs 1 map TensorProto",
    "GetModelMetadataRequest": "model_spec 1 ModelSpec, metadata_field 2 string*",
    "GetModelMetadataResponse": "model_spec 1 ModelSpec, metadata 2 map Any",
    "SignatureDefMap": "signature_def 1 map SignatureDef",
    "GetModelStatusRequest": "model_spec 1 ModelSpec",
    "StatusProto": "error_code 1 int32, error_message 2 string",
    "ModelVersionStatus": "version 1 int64, state 2 int32, status 3 StatusProto",
    "GetModelStatusResponse": "model_version_status 1 ModelVersionStatus*",
}
_CLASSES = _declare("kflare.serving", _MESSAGES)

TensorProto: Any = _CLASSES["TensorProto"]
PredictRequest: Any = _CLASSES["PredictRequest"]
GetModelMetadataRequest: Any = _CLASSES["GetModelMetadataRequest"]
GetModelStatusRequest: Any = _CLASSES["GetModelStatusRequest"]
SignatureDefMap: Any = _CLASSES["SignatureDefMap"]

RPC_METHODS: dict[str, tuple[str, Any]] = {
    f"{method}Request": (f"/tensorflow.serving.{service}/{method}", _CLASSES[f"{method}Response"])
    for service, method in (
        ("PredictionService", "Predict"),
        ("PredictionService", "GetModelMetadata"),
        ("ModelService", "GetModelStatus"),
    )
}
"""Path and answer of each request, by the request's name."""

CONFIG_MESSAGES = _declare(
    "tensorflow.serving",
    {
        "Int64Value": "value 1 int64",
        "StringValue": "value 1 string",
        "BoolValue": "value 1 bool",
        "BatchingParameters": "max_batch_size 1 Int64Value, batch_timeout_micros 2 Int64Value, "
        "max_enqueued_batches 3 Int64Value, num_batch_threads 4 Int64Value, thread_pool_name 5 StringValue, "
        "allowed_batch_sizes 6 int64*, pad_variable_length_inputs 7 bool, enable_large_batch_splitting 8 BoolValue, "
        "max_execution_batch_size 9 Int64Value",
        "SSLConfig": "server_key 1 string, server_cert 2 string, custom_ca 3 string, client_verify 4 bool",
        "PrometheusConfig": "enable 1 bool, path 2 string",
        "MonitoringConfig": "prometheus_config 1 PrometheusConfig",
    },
)
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
