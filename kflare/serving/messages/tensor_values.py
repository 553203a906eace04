"""numpy arrays to a TensorProto and back, without TensorFlow.

Values stand either as raw bytes (`tensor_content`) or in a repeated field of the type's own (`float_val`, ...), as
TensorFlow Serving answers by default; numpy reads such a field about twenty times faster than `tf.make_ndarray`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TooLargeError", "fill_tensor", "numpy_type", "read_tensor", "type_name"]

# tensorflow/core/framework/types.proto, and the field of TensorProto that holds the type's values.
_TYPES = {
    1: ("float32", "float_val"), 2: ("float64", "double_val"), 3: ("int32", "int_val"), 4: ("uint8", "int_val"),
    5: ("int16", "int_val"), 6: ("int8", "int_val"), 9: ("int64", "int64_val"), 10: ("bool", "bool_val"),
    17: ("uint16", "int_val"), 19: ("float16", "half_val"), 22: ("uint32", "uint32_val"), 23: ("uint64", "uint64_val"),
}  # fmt: skip
_NUMBERS = {name: number for number, (name, _) in _TYPES.items()}
_STRING = 7
_PACKED_TAGS = {"float32": b"\x2a", "float64": b"\x32"}  # float_val is field 5, double_val 6; wire type 2
_LARGEST = 2**31 - 1  # bytes; gRPC carries no larger message, so a larger tensor can only be a hostile shape
_LARGEST_FILLED = 2**16  # bytes; a few bytes of message that stand for more are hostile too


class TooLargeError(ValueError):
    """A tensor whose shape stands for far more than was sent."""


def type_name(number: int) -> str:
    """Name of a TensorFlow data type: "float32", "string", ...; "type 14" for one that kflare does not read."""
    return "string" if number == _STRING else _TYPES.get(number, (f"type {number}",))[0]


def numpy_type(number: int) -> np.dtype[Any] | None:
    """The numpy type of a TensorFlow data type, object for strings; None for one that kflare does not read."""
    return np.dtype(object if number == _STRING else _TYPES[number][0]) if number in {_STRING, *_TYPES} else None


def fill_tensor(proto: Any, value: npt.NDArray[Any] | Sequence[bytes], *, typed_fields: bool = False) -> None:
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
    elif array.dtype.name in _PACKED_TAGS:
        # A packed field of fixed width is its bytes on the wire: parsing them is a copy, `extend` visits each number.
        proto.MergeFromString(_PACKED_TAGS[array.dtype.name] + _varint(len(raw)) + raw)
    else:
        values = array.view(np.uint16) if array.dtype == np.float16 else array
        getattr(proto, _TYPES[proto.dtype][1]).extend(values.ravel().tolist())


def read_tensor(proto: Any) -> npt.NDArray[Any]:
    """Array of a TensorProto that is not trusted, read as TensorFlow's C++ does; strings as objects, bytes.

    Missing values repeat the last one, none at all are zero, in tensors up to 64 KiB. ValueError: unknown type or
    shape, or values that do not fit it; TooLargeError: more than may be in memory.
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
    if proto.dtype != _STRING and (content := proto.tensor_content):  # read once: each time it is copied
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
    if proto.dtype == _STRING:
        values: npt.NDArray[Any] = np.empty(len(proto.string_val), object)
        values[:] = list(proto.string_val)
    elif dtype == np.float16:  # its bits, as integers
        values = np.array(proto.half_val, np.uint16).view(np.float16)
    else:
        values = np.array(getattr(proto, _TYPES[proto.dtype][1]), dtype)
    if values.size > count:
        raise ValueError(f"{values.size} values do not fit shape {shape}")
    if values.size < count:
        if count * dtype.itemsize > _LARGEST_FILLED:
            raise TooLargeError(f"{values.size} values are too few for shape {shape}: send all of them")
        padded = np.full(count, values[-1] if values.size else (b"" if proto.dtype == _STRING else 0), dtype)
        padded[: values.size] = values
        values = padded
    return values.reshape(shape)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
