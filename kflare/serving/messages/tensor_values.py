"""numpy arrays to a TensorProto and back, without TensorFlow.

Values stand either as raw bytes (`tensor_content`) or in a repeated field of the type's own (`float_val`, ...), as
TensorFlow Serving answers by default; numpy reads such a field about twenty times faster than `tf.make_ndarray`.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import ml_dtypes  # noqa: F401 - numpy knows bfloat16 by it
import numpy as np

from kflare.io.arrays import AnyArray
from kflare.serving.messages.declared_messages import PackedValues
from kflare.serving.messages.message_fields import read_varint

# tensorflow/core/framework/types.proto, and the field of TensorProto that holds the type's values.
_TYPES = {
    1: ("float32", "float_val"), 2: ("float64", "double_val"), 3: ("int32", "int_val"), 4: ("uint8", "int_val"),
    5: ("int16", "int_val"), 6: ("int8", "int_val"), 8: ("complex64", "scomplex_val"), 9: ("int64", "int64_val"),
    10: ("bool", "bool_val"), 14: ("bfloat16", "half_val"), 17: ("uint16", "int_val"), 19: ("float16", "half_val"),
    22: ("uint32", "uint32_val"), 23: ("uint64", "uint64_val"), 18: ("complex128", "dcomplex_val"),
}  # fmt: skip
_NUMBERS = {name: number for number, (name, _) in _TYPES.items()}
_STRING, _BOOL = 7, 10
# What the elements of a field are, where they are not the type's: bits of a half, and both parts of a complex number.
_PARTS = {"half_val": np.uint16, "scomplex_val": np.float32, "dcomplex_val": np.float64}
_LARGEST = 2**31 - 1  # bytes; gRPC carries no larger message, so a larger tensor can only be a hostile shape
_LARGEST_FILLED = 2**16  # bytes; a few bytes of message that stand for more are hostile too


class TooLargeError(ValueError):
    """A tensor whose shape stands for far more than was sent."""


def type_name(number: int) -> str:
    """Name of a TensorFlow data type: "float32", "string", ...; "type 14" for one that kflare does not read."""
    return "string" if number == _STRING else _TYPES.get(number, (f"type {number}",))[0]


def type_word(number: int) -> str:
    """TensorFlow's word for a data type in its messages: "float", "half", "string", ...; needs TensorFlow."""
    from tensorflow.core.framework.types_pb2 import DataType

    return DataType.Name(number).removeprefix("DT_").lower() if number in DataType.values() else f"type {number}"


def numpy_type(number: int) -> np.dtype[Any] | None:
    """The numpy type of a TensorFlow data type, object for strings; None for one that kflare does not read."""
    return np.dtype(object if number == _STRING else _TYPES[number][0]) if number in {_STRING, *_TYPES} else None


def fill_tensor(proto: Any, value: AnyArray | Sequence[bytes], *, typed_fields: bool = False) -> None:
    """Write an array into a TensorProto, the client's message or TensorFlow's, in place of what it held.

    A sequence of bytes becomes a string tensor (N,), an array of objects one of its shape. `typed_fields`: numbers to
    `float_val`, ... instead of `tensor_content`. TypeError: no type of a model's; ValueError: larger than a message.
    """
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    else:  # numpy would take the zeros off the ends of bytes
        array = np.empty(len(value), object)
        array[:] = list(value)
    proto.Clear()
    proto.tensor_shape.SetInParent()  # a scalar's is empty, but there
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        proto.dtype = _STRING
        proto.string_val.extend(array.ravel().tolist())
        return
    if array.dtype.name not in _NUMBERS:
        raise TypeError(f"an input must be numbers or a list of bytes, got an array of {array.dtype}")
    if array.nbytes > _LARGEST:
        raise ValueError(f"{array.nbytes} bytes are more than a message can hold, 2 GiB: send fewer rows at a time")
    proto.dtype = _NUMBERS[array.dtype.name]
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    if not typed_fields:
        proto.tensor_content = raw
    elif (field := _TYPES[proto.dtype][1]) in {"float_val", "double_val"}:
        # A packed field of fixed width is its bytes on the wire: parsing them is a copy, `extend` visits each number.
        proto.MergeFromString(PackedValues(**{field: raw}).SerializeToString())
    else:
        values = array.ravel().view(_PARTS.get(field, array.dtype))
        getattr(proto, field).extend(values.tolist())


def read_tensor(proto: Any) -> AnyArray:
    """Array of a TensorProto that is not trusted, read as TensorFlow's C++ does; strings as objects, bytes.

    Missing values repeat the last one, none at all are zero, in tensors up to 64 KiB. ValueError: unknown type or
    shape, or values that do not fit it, also more of them than the shape has, which TensorFlow passes over;
    TooLargeError: more than may be in memory.
    """
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} is not fully known")
    dtype = numpy_type(proto.dtype)
    if dtype is None:
        raise ValueError(f"data type {proto.dtype} is none that kflare reads")
    count = math.prod(shape)
    if count * dtype.itemsize > _LARGEST:
        raise TooLargeError(f"shape {shape} is larger than a message can be")
    content = proto.tensor_content  # read once: each time it is copied
    if content and proto.dtype != _STRING:
        values: AnyArray = np.frombuffer(content, dtype.newbyteorder("<"))
        if proto.dtype == _BOOL and np.frombuffer(content, np.uint8).max() > 1:
            raise ValueError("a bool has a byte other than 0 and 1")
        return values.reshape(shape).astype(dtype, copy=False)
    if proto.dtype == _STRING:
        strings = _split(content, count) if content else list(proto.string_val)
        values = np.array([*strings, None], object)[:-1]
    else:
        field = _TYPES[proto.dtype][1]
        values = np.array(getattr(proto, field), np.dtype(_PARTS.get(field, dtype))).view(dtype)
    if values.size > count:
        raise ValueError(f"{values.size} values do not fit shape {shape}")
    if values.size < count:
        if count * dtype.itemsize > _LARGEST_FILLED:
            raise TooLargeError(f"{values.size} values are too few for shape {shape}: send all of them")
        last = values[-1:] if values.size else np.array([b"" if proto.dtype == _STRING else 0], dtype)
        values = np.concatenate([values, last.repeat(count - values.size)])
    return values.reshape(shape)


def _split(content: bytes, count: int) -> list[bytes]:
    """The strings of a `tensor_content`: their lengths as varints, then their bytes (port::DecodeStringList)."""
    sizes: list[int] = []
    at = 0
    while len(sizes) < count and at < len(content):
        size, at = read_varint(content, at)
        sizes.append(size)
    ends = [*accumulate(sizes, initial=at)]
    if len(sizes) < count or ends[-1] != len(content):
        raise ValueError(f"{len(content)} bytes are no {count} strings with their lengths")
    return [content[start:end] for start, end in pairwise(ends)]
