"""numpy arrays to TensorProto and back, for the client and the embedded server alike.

A TensorProto holds its values either as raw bytes (`tensor_content`) or in a repeated field of the type's own
(`float_val`, ...). TensorFlow Serving answers in the second form unless it is told otherwise, so both must be read,
and fast: numpy takes a repeated field about twenty times faster than `tf.make_ndarray` does.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["decode_tensor", "encode_tensor"]

_STRING = 7  # DT_STRING in tensorflow/core/framework/types.proto; numbers of enums and fields never change
_VALUE_FIELDS = {
    1: "float_val", 2: "double_val", 3: "int_val", 4: "int_val", 5: "int_val", 6: "int_val", 9: "int64_val",
    10: "bool_val", 17: "int_val", 22: "uint32_val", 23: "uint64_val",
}  # fmt: skip
_PACKED_TAGS = {1: b"\x2a", 2: b"\x32"}  # float_val is field 5, double_val field 6; wire type 2 (length-delimited)
_LARGEST = 2**31 - 1  # bytes; gRPC carries no larger message, so a larger tensor can only be a hostile shape


def encode_tensor(value: npt.NDArray[Any] | Sequence[bytes], *, typed_fields: bool = False) -> Any:
    """Make a TensorProto.

    Parameters
    ----------
    value : ndarray or sequence of bytes
        Any shape; a sequence of bytes becomes a string tensor of shape (N,).
    typed_fields : bool
        Put numbers into `float_val`, `int_val`, ... as TensorFlow Serving's answers do by default, instead of
        `tensor_content`.

    Returns
    -------
    tensorflow.TensorProto
    """
    import tensorflow as tf

    if not isinstance(value, np.ndarray):
        return tf.make_tensor_proto(list(value), dtype=tf.string, shape=[len(value)])
    if value.dtype == object:
        return tf.make_tensor_proto(value, dtype=tf.string)
    number = tf.as_dtype(value.dtype).as_datatype_enum
    if not typed_fields or number not in _VALUE_FIELDS:
        return tf.make_tensor_proto(value)
    proto = tf.make_tensor_proto(np.zeros(0, value.dtype))
    proto.tensor_shape.Clear()
    for size in value.shape:
        proto.tensor_shape.dim.add(size=size)
    if number in _PACKED_TAGS:
        # A packed field of fixed width is its bytes on the wire: parsing them is a copy, `extend` visits each number.
        raw = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        proto.MergeFromString(_PACKED_TAGS[number] + _varint(len(raw)) + raw)
    else:
        getattr(proto, _VALUE_FIELDS[number]).extend(value.ravel().tolist())
    return proto


def decode_tensor(proto: Any) -> npt.NDArray[Any]:
    """Read a TensorProto as TensorFlow's C++ does: missing values repeat the last one, none at all are zero.

    Parameters
    ----------
    proto : tensorflow.TensorProto
        From a request or a reply; not trusted.

    Returns
    -------
    ndarray
        Of the proto's shape and type; strings as object array of bytes.

    Raises
    ------
    ValueError
        The shape is unknown or too large, or does not fit the values.
    """
    import tensorflow as tf

    try:
        tensor_type = tf.as_dtype(proto.dtype)
    except TypeError as error:
        raise ValueError(f"data type {proto.dtype} is unknown") from error
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} is not fully known")
    count = math.prod(shape)
    if count * max(tensor_type.size or 1, 1) > _LARGEST:
        raise ValueError(f"shape {shape} is larger than a message can be")
    if proto.tensor_content and proto.dtype != _STRING:
        stored = np.dtype(tensor_type.as_numpy_dtype).newbyteorder("<")
        return np.frombuffer(proto.tensor_content, stored).reshape(shape).astype(tensor_type.as_numpy_dtype)
    if proto.dtype == _STRING:
        values: npt.NDArray[Any] = np.empty(len(proto.string_val), object)
        values[:] = list(proto.string_val)
        filler: Any = b""
    elif proto.dtype in _VALUE_FIELDS:
        values = np.array(getattr(proto, _VALUE_FIELDS[proto.dtype]), tensor_type.as_numpy_dtype)
        filler = 0
    else:
        return np.asarray(tf.make_ndarray(proto))
    if values.size > count:
        raise ValueError(f"{values.size} values do not fit shape {shape}")
    if values.size < count:
        padded = np.full(count, values[-1] if values.size else filler, values.dtype)
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
