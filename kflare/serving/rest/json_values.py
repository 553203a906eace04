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

from kflare.serving.server.statuses import RequestError

__all__ = ["invalid", "read_array", "shown"]

_STRING = 7  # DT_STRING
_WHOLE: dict[int, type[np.integer[Any]]] = {
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    22: np.uint32,
    23: np.uint64,
}
_DECIMAL = {1: np.float32, 2: np.float64}
_LARGEST = {1: float(np.finfo(np.float32).max), 2: float(np.finfo(np.float64).max)}
_NAMES = {1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64", 10: "bool",
          22: "uint32", 23: "uint64"}  # fmt: skip
_KINDS = {bool: "Number", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def read_array(value: Any, dtype: int) -> npt.NDArray[Any]:
    """Read a JSON value, already parsed.

    Parameters
    ----------
    value : object
        A scalar, or lists of lists of them; bytes as `{"b64": ...}`.
    dtype : int
        Number of the type in tensorflow.DataType.

    Raises
    ------
    RequestError
        INVALID_ARGUMENT: lists of unequal length, or values of another type; UNIMPLEMENTED: a type without JSON.
    """
    if dtype != _STRING:
        try:
            read = np.array(value)
        except (ValueError, OverflowError):
            read = np.empty(0, object)  # lists of unequal length, or numbers beyond any type
        if read.dtype.kind in "iuf" and dtype in _DECIMAL:
            return _decimal(read, dtype)
        if read.dtype.kind in "iu" and dtype in _WHOLE:
            limits = np.iinfo(_WHOLE[dtype])
            if read.size == 0 or (int(read.min()) >= limits.min and int(read.max()) <= limits.max):
                return read.astype(_WHOLE[dtype])
        if read.dtype.kind == "b" and dtype == 10:
            return read
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    leaves: list[Any] = []
    _collect(value, 0, shape, dtype, leaves)
    if dtype == _STRING:
        array = np.empty(len(leaves), object)
        array[:] = leaves
        return array.reshape(shape)
    kind = _DECIMAL.get(dtype) or _WHOLE.get(dtype) or np.bool_
    return np.array(leaves, kind).reshape(shape)


def shown(value: Any) -> str:
    """A JSON value for a message, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 256 else text[:256] + "..."


def invalid(message: str) -> RequestError:
    """INVALID_ARGUMENT."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _decimal(read: npt.NDArray[Any], dtype: int) -> npt.NDArray[Any]:
    if read.dtype.kind in "iu" and read.size:
        largest = max(abs(int(read.min())), abs(int(read.max())))
        if largest > 2 ** (24 if dtype == 1 else 53) - 1:
            raise _lossy(largest, dtype)
    with np.errstate(over="ignore"):
        array = read.astype(_DECIMAL[dtype])
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
    if dtype == _STRING:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            if list(value) != ["b64"] or not isinstance(value["b64"], str):
                raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
            text = "".join(value["b64"].split())
            try:
                return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            except (binascii.Error, ValueError) as error:
                raise invalid("Unable to base64 decode") from error
    elif dtype not in _NAMES:
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {dtype}")
    elif dtype in _DECIMAL and isinstance(value, int | float) and not isinstance(value, bool):
        if _LARGEST[dtype] < abs(value) != math.inf:
            raise _lossy(value, dtype)
        return value
    elif dtype in _WHOLE and isinstance(value, int) and not isinstance(value, bool):
        limits = np.iinfo(_WHOLE[dtype])
        if limits.min <= value <= limits.max:
            return value
    elif dtype == 10 and isinstance(value, bool):
        return value
    kind = "Null" if value is None else str(value) if isinstance(value, bool) else _KINDS[type(value)]
    raise invalid(f"JSON Value: {shown(value)} Type: {kind} is not of expected type: {_NAMES[dtype]}")


def _lossy(value: Any, dtype: int) -> RequestError:
    return invalid(f"Cannot convert JSON value: {value} to {_NAMES[dtype]} without loss of precision.")
