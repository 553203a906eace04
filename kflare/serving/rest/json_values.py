"""One JSON value as a numpy array of the type that a signature asks for.

Checks and wording follow tensorflow_serving/util/json_tensor.cc: GetDenseTensorShape, FillTensorProto,
AddValueToTensor. Not as strict: `true` among numbers counts as 1, and a whole number beyond 2^24 among decimals is
rounded; telling them apart would mean to visit each value of a large tensor.
"""

import base64
import binascii
import json
import math
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.messages.tensor_values import numpy_type

__all__ = ["read_array", "shown"]

# The types that JSON has values for (tensorflow.DataType), by TensorFlow's names.
_NAMES = {1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64", 10: "bool",
          22: "uint32", 23: "uint64"}  # fmt: skip
_KINDS = {bool: "Number", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def read_array(value: Any, dtype: int) -> npt.NDArray[Any]:
    """Read a parsed JSON value: scalars or lists of lists of them, bytes as `{"b64": ...}`; `dtype` is a tf.DataType.

    `RequestError` INVALID_ARGUMENT for lists of unequal length or values of another type; UNIMPLEMENTED: no JSON type.
    """
    target = _numpy_type(dtype)
    if target.kind != "O":
        try:
            read = np.array(value)
        except (ValueError, OverflowError):
            read = np.empty(0, object)  # lists of unequal length, or numbers beyond any type
        given = read.dtype.kind
        if given in "iuf" and target.kind == "f":
            return _decimal(read, dtype)
        if given in "iu" and target.kind in "iu":
            limits = np.iinfo(target)
            if read.size == 0 or (int(read.min()) >= limits.min and int(read.max()) <= limits.max):
                return read.astype(target)
        if given == target.kind == "b":
            return read
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    leaves: list[Any] = []
    _collect(value, 0, shape, dtype, leaves)
    array = np.empty(len(leaves), target)
    array[:] = leaves
    return array.reshape(shape)


def shown(value: Any) -> str:
    """A JSON value for a message, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 256 else text[:256] + "..."


def _numpy_type(dtype: int) -> np.dtype[Any]:
    return (numpy_type(dtype) if dtype in _NAMES else None) or np.dtype(object)


def _decimal(read: npt.NDArray[Any], dtype: int) -> npt.NDArray[Any]:
    if read.dtype.kind in "iu" and read.size:
        largest = max(abs(int(read.min())), abs(int(read.max())))
        if largest > 2 ** (24 if dtype == 1 else 53) - 1:
            raise _lossy(largest, dtype)
    with np.errstate(over="ignore"):
        array = read.astype(_numpy_type(dtype))
    beyond = read[np.isfinite(read) & ~np.isfinite(array)]
    if beyond.size:
        raise _lossy(beyond.flat[0], dtype)
    return array


def _collect(value: Any, level: int, shape: list[int], dtype: int, leaves: list[Any]) -> None:
    """FillTensorProto of json_tensor.cc: values in order, or which one does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for inner in value:
        _collect(inner, level + 1, shape, dtype, leaves)


def _leaf(value: Any, dtype: int) -> Any:
    if dtype not in _NAMES:
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {dtype}")
    number = isinstance(value, int) and not isinstance(value, bool)
    match (target := _numpy_type(dtype)).kind:
        case "O" if isinstance(value, str):
            return value.encode()
        case "O" if isinstance(value, dict):
            return _bytes(value)
        case "f" if number or isinstance(value, float):
            if float(np.finfo(target).max) < abs(value) != math.inf:
                raise _lossy(value, dtype)
            return value
        case "i" | "u" if number and np.iinfo(target).min <= value <= np.iinfo(target).max:
            return value
        case "b" if isinstance(value, bool):
            return value
    kind = "Null" if value is None else str(value) if isinstance(value, bool) else _KINDS[type(value)]
    raise invalid(f"JSON Value: {shown(value)} Type: {kind} is not of expected type: {_NAMES[dtype]}")


def _bytes(value: dict[str, Any]) -> bytes:
    if list(value) != ["b64"] or not isinstance(value["b64"], str):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = "".join(value["b64"].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _lossy(value: Any, dtype: int) -> RequestError:
    return invalid(f"Cannot convert JSON value: {value} to {_NAMES[dtype]} without loss of precision.")
