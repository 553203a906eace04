"""TensorFlow Serving's configuration files, read as protobuf text with the real message types.

`tensorflow-serving-api` carries the message of `models.config` only. The three others are declared here, field for
field: BatchingParameters (servables/tensorflow/session_bundle_config.proto), SSLConfig (config/ssl_config.proto) and
MonitoringConfig (config/monitoring_config.proto). In text form the names count, so these read what
tensorflow_model_server reads.
"""

from functools import cache
from pathlib import Path
from typing import Any

from kflare.errors import SettingError

__all__ = ["message_type", "read_config"]

_WRAPPERS = {"Int64Value", "StringValue", "BoolValue"}
_MESSAGES: dict[str, dict[str, str]] = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
    },
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
}


@cache
def message_type(name: str) -> Any:
    """The message class of `tensorflow.serving.<name>`: BatchingParameters, SSLConfig or MonitoringConfig."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    field_type = descriptor_pb2.FieldDescriptorProto
    scalars = {"int64": field_type.TYPE_INT64, "bool": field_type.TYPE_BOOL, "string": field_type.TYPE_STRING}
    file = descriptor_pb2.FileDescriptorProto(
        name="kflare/serving_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            label = field_type.LABEL_REPEATED if kind.startswith("repeated ") else field_type.LABEL_OPTIONAL
            added = declared.field.add(name=field, number=number, label=label)
            bare = kind.removeprefix("repeated ")
            if bare in scalars:
                added.type = scalars[bare]
            else:
                added.type = field_type.TYPE_MESSAGE
                added.type_name = f".google.protobuf.{bare}" if bare in _WRAPPERS else f".tensorflow.serving.{bare}"
    pool = descriptor_pool.DescriptorPool()  # its own: a later tensorflow-serving-api may bring these messages
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


def read_config(path: Path, message: Any, *, what: str) -> Any:
    """Fill a message from its text form.

    Parameters
    ----------
    path : Path
        The file.
    message : protobuf message
        Empty; filled and returned.
    what : str
        What the file is, for the error messages: "models configuration".

    Raises
    ------
    SettingError
        No such file, or not in the form of the message (it names the line).
    """
    from google.protobuf import text_format

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingError(f"no {what} {path}: see the examples in serving/") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read as a {what}: {error}") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise SettingError(f"{path} is no valid {what}, line {error.GetLine() or 1}: {error}") from error
