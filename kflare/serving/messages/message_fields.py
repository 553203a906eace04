"""How many fields a message has, counted on the wire before it is parsed.

An empty field of two bytes becomes up to a hundred of a parsed message: 70 MiB of them took 5 GB and 20 s. What a field
holds is skipped unless that is a message itself. Packed whole numbers count as a field for 128 bytes.
"""

from typing import Any, Final

import grpc
from google.protobuf.descriptor import FieldDescriptor as Field

from kflare.serving.messages.statuses import RequestError

MOST_FIELDS: Final = 2**17
"""A tenth of a second to count; a request of all features of thousands of regions has a few hundred."""
_VARINT, _BYTES, _WIDTHS = 0, 2, {1: 8, 5: 4}  # wire types, https://protobuf.dev/programming-guides/encoding
_WHOLE: Final = {Field.CPPTYPE_INT32, Field.CPPTYPE_INT64, Field.CPPTYPE_UINT32, Field.CPPTYPE_UINT64}


def require_few_fields(data: bytes, descriptor: Any, *, most: int = MOST_FIELDS) -> None:
    """`RequestError` RESOURCE_EXHAUSTED if a message of this type has more fields, its parts included.

    What is no message is for the parser to refuse.
    """
    if len(data) <= most:  # a field takes a byte at least
        return
    left, parts = most, [(0, len(data), descriptor)]
    while parts:
        at, end, kind = parts.pop()
        while at < end:
            left -= 1
            tag, at = read_varint(data, at)
            wire = tag & 7
            if wire == _VARINT:
                _, at = read_varint(data, at)
            elif wire == _BYTES:
                size, at = read_varint(data, at)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.cpp_type in _WHOLE:
                    left -= size // 128
                elif field is not None and field.message_type is not None:
                    parts.append((at, min(at + size, end), field.message_type))
                at += size
            else:
                at += _WIDTHS.get(wire, 0)
            if left < 0:
                message = f"the message has more than {most} fields: send numbers packed, and fewer inputs at a time"
                raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; bytes that are not there count as 0."""
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return value, at + 1
