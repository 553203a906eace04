"""One JSON value as a numpy array of the type that a signature asks for.

Checks and wording follow tensorflow_serving/util/json_tensor.cc: GetDenseTensorShape, FillTensorProto,
AddValueToTensor. What a float32 cannot hold is rounded, to Infinity at last, as there.
"""

import base64
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import numpy as np
from rapidjson import NM_NAN, WM_SINGLE_LINE_ARRAY, dumps

from kflare.io.arrays import AnyArray
from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.messages.tensor_values import numpy_type, type_word

_TYPES = {1, 2, 3, 4, 5, 6, 7, 9, 10, 22, 23}  # tensorflow.DataType of what JSON has values for
_FITTING: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}  # by numpy's kind of type
_AT_ONCE = 1000
_KINDS = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def read_array(value: Any, dtype: int) -> AnyArray:
    """Read a parsed JSON value: scalars or lists of lists of them, bytes as `{"b64": ...}`; `dtype` is a tf.DataType.

    `RequestError` INVALID_ARGUMENT for unequal lists, other types, above 64 levels; UNIMPLEMENTED: no JSON type.
    """
    target = (numpy_type(dtype) if dtype in _TYPES else None) or np.dtype(object)
    with np.errstate(over="ignore"):
        with suppress(ValueError, OverflowError):  # lists of unequal length, whole numbers beyond the type
            values = np.array(value, object)
            if set(map(type, values.ravel().tolist())) <= _FITTING.get(target.kind, set()):
                return values.astype(target)
        shape: list[int] = []
        inner = value
        while isinstance(inner, list):
            shape.append(len(inner))
            inner = inner[0] if inner else None
        leaves: list[Any] = []
        _collect(value, 0, shape, partial(_leaf, dtype=dtype, target=target), leaves)
        array = np.empty(len(leaves), target)
        array[:] = leaves
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise invalid(f"Lists of {len(shape)} levels are more than this server takes, 64") from error


def shown(value: Any) -> str:
    """A JSON value for a message, as TensorFlow Serving writes it: cut before the first comma beyond 256 characters."""
    text = dumps(value, ensure_ascii=False, number_mode=NM_NAN, write_mode=WM_SINGLE_LINE_ARRAY)
    comma = text.find(",", 256)
    return text if comma < 0 else text[:comma]


def _collect(value: Any, level: int, shape: list[int], leaf: partial[Any], leaves: list[Any]) -> None:
    """FillTensorProto of json_tensor.cc: values in order, or which one does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(leaf(value))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for start in range(0, len(value), _AT_ONCE):
        part, target = value[start : start + _AT_ONCE], leaf.keywords["target"]
        with suppress(ValueError, OverflowError):  # what fits is not looked at one by one
            values = np.array(part, object)
            fits = values.shape[1:] == tuple(shape[level + 1 :]) and len(value) > _AT_ONCE
            if fits and set(map(type, flat := values.ravel().tolist())) <= _FITTING.get(target.kind, set()):
                leaves += np.array(flat).astype(target).tolist()
                continue
        for inner in part:
            _collect(inner, level + 1, shape, leaf, leaves)


def _leaf(value: Any, *, dtype: int, target: np.dtype[Any]) -> Any:
    if dtype not in _TYPES:
        message = f"Conversion of JSON Value: {shown(value)} to type: {type_word(dtype)}"
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
    if type(value) in _FITTING.get(target.kind, ()):
        with suppress(OverflowError):
            return target.type(value) if target.kind in "iu" else value
    elif target.kind == "O" and isinstance(value, str):
        return value.encode()
    elif target.kind == "O" and isinstance(value, dict):
        return _bytes(value)
    kind = "Null" if value is None else str(value) if isinstance(value, bool) else _KINDS[type(value)]
    raise invalid(f"JSON Value: {shown(value)} Type: {kind} is not of expected type: {type_word(dtype)}")


def _bytes(value: dict[str, Any]) -> bytes:
    if list(value) != ["b64"] or not isinstance(value["b64"], str):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = b"".join(value["b64"].encode().split()).replace(b".", b"=")
    bare = text.rstrip(b"=")
    padded = bare + b"=" * (-len(bare) % 4)
    with suppress(ValueError):
        if text in {bare, padded}:  # absl::Base64Unescape: all of the padding or none
            return base64.b64decode(padded, validate=True)
    raise invalid("Unable to base64 decode")
