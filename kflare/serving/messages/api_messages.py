"""TensorFlow Serving's messages as far as a client reads and writes them, without TensorFlow.

The classes of `tensorflow-serving-api` import all of TensorFlow: seconds and half a gigabyte. Each field is compared
with the original in `tests/serving/client/test_messages.py`; fields that are left out pass through unread.
"""

from typing import Any

from kflare.serving.messages.declared_messages import declare

__all__ = [
    "RPC_METHODS",
    "GetModelMetadataRequest",
    "GetModelStatusRequest",
    "PredictRequest",
    "SignatureDefMap",
    "TensorProto",
]

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
_CLASSES = declare("kflare.serving", _MESSAGES)

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
