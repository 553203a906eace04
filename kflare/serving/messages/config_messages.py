"""TensorFlow Serving's configuration files, read as protobuf text.

`tensorflow-serving-api` has the message of `models.config` only. Declared here are all fields of the others:
BatchingParameters (servables/tensorflow/session_bundle_config.proto), SSLConfig (config/ssl_config.proto) and
MonitoringConfig (config/monitoring_config.proto). In text form only the names count.
"""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from kflare.errors import SettingError
from kflare.serving.messages.declared_messages import declare

__all__ = ["MESSAGES", "read_config"]

MESSAGES = declare(
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
"""Message classes by name; the field numbers are none of TensorFlow Serving's."""


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
