"""Protobuf messages declared by lines of text, where their own classes import all of TensorFlow or are in no package.

Over the wire only field numbers and types count, in text form only names. They live in a descriptor pool of their own,
so that the originals can be in the same process.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["declare"]


def declare(package: str, messages: Mapping[str, str]) -> dict[str, Any]:
    """Message classes by name, from the fields of each message, "name number type, ...".

    The type is a scalar of protobuf's or one of the messages, with `*` behind it if repeated, or "map TYPE" for a map
    from strings. Enums are int32.
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
