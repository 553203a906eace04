"""numpy arrays to TensorFlow's own TensorProto, as the embedded server answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["encode_tensor"]

# By DataType of tensorflow/core/framework/types.proto; numbers of enums and fields never change.
_VALUE_FIELDS = {
    1: "float_val", 2: "double_val", 3: "int_val", 4: "int_val", 5: "int_val", 6: "int_val", 9: "int64_val",
    10: "bool_val", 17: "int_val", 22: "uint32_val", 23: "uint64_val",
}  # fmt: skip
_PACKED_TAGS = {1: b"\x2a", 2: b"\x32"}  # float_val is field 5, double_val field 6; wire type 2 (length-delimited)


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


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
