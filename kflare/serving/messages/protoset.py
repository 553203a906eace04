"""TensorFlow Serving's services described for clients that have no code of them: a protoset file.

`grpcurl -protoset`, Node's proto-loader and others read it in place of some hundred `.proto` files of two repositories.
"""

from collections.abc import Iterable
from typing import Any

__all__ = ["protoset"]


def protoset() -> bytes:
    """A serialized `FileDescriptorSet` of both services and grpc.health.v1, each file after those that it imports."""
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
