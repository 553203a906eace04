"""TensorFlow Serving's messages as far as a client reads and writes them, without TensorFlow.

The classes of `tensorflow-serving-api` import all of TensorFlow: seconds and half a gigabyte for a program that only
asks. What travels are field numbers and types, not names, so the same messages are declared here a second time, in a
descriptor pool of their own; both sets can live in one process. `tests/serving/test_messages.py` holds each field to
the original; fields that are left out pass through unread.
"""

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = [
    "METHODS",
    "GetModelMetadataRequest",
    "GetModelStatusRequest",
    "PredictRequest",
    "SignatureDefMap",
    "TensorProto",
]

# "name number type"; `*` repeated, `map` from a string. Enums travel as int32. From tensorflow/core/framework
# tensor.proto, tensor_shape.proto, tensorflow/core/protobuf/meta_graph.proto, and tensorflow_serving/apis model.proto,
# predict.proto, get_model_metadata.proto, get_model_status.proto, status.proto (2.21); google/protobuf wrappers, any.
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


def _declare() -> dict[str, Any]:
    file = FileDescriptorProto(name="kflare/serving.proto", package="kflare.serving", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            _declare_field(message, text)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"kflare.serving.{name}")) for name in _MESSAGES}


def _declare_field(message: DescriptorProto, text: str) -> None:
    name, number, *_, kind = text.split()
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if " map " in text:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")  # the name that protoc gives
        entry.options.map_entry = True
        _declare_field(entry, "key 1 string")
        _declare_field(entry, f"value 2 {kind}")
        kind = f"{message.name}.{entry.name}*"
    if kind.endswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
        kind = kind[:-1]
    if kind[0].isupper():
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".kflare.serving.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


_CLASSES = _declare()
TensorProto: Any = _CLASSES["TensorProto"]
PredictRequest: Any = _CLASSES["PredictRequest"]
GetModelMetadataRequest: Any = _CLASSES["GetModelMetadataRequest"]
GetModelStatusRequest: Any = _CLASSES["GetModelStatusRequest"]
SignatureDefMap: Any = _CLASSES["SignatureDefMap"]

METHODS: dict[str, tuple[str, Any]] = {
    "PredictRequest": ("/tensorflow.serving.PredictionService/Predict", _CLASSES["PredictResponse"]),
    "GetModelMetadataRequest": (
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        _CLASSES["GetModelMetadataResponse"],
    ),
    "GetModelStatusRequest": ("/tensorflow.serving.ModelService/GetModelStatus", _CLASSES["GetModelStatusResponse"]),
}
"""Path and answer of each request, by the request's name."""
