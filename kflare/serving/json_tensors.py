"""JSON of TensorFlow Serving's REST API to PredictRequest, and PredictResponse to JSON.

Forms, checks and wording follow tensorflow_serving/util/json_tensor.cc and g3doc/api_rest.md: the row format
(`instances` to `predictions`), the columnar format (`inputs` to `outputs`), bytes as `{"b64": ...}`, NaN and Infinity
as bare words.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from kflare.serving.statuses import RequestError
from kflare.serving.tensors import decode_tensor, encode_tensor

__all__ = ["fill_request", "parse", "response_json"]

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
_NAMES = {1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64", 10: "bool",
          22: "uint32", 23: "uint64"}  # fmt: skip
_KINDS = {bool: "Number", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def parse(body: bytes) -> dict[str, Any]:
    """Read a request's body.

    Raises
    ------
    RequestError
        INVALID_ARGUMENT: no JSON, or no object.
    """
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise _invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _invalid(f"JSON Value: {_shown(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        message = "not formatted correctly. 'signature_name' key must be a string value."
        raise _invalid(f"JSON Value: {_shown(document)} {message}")
    return document


def fill_request(request: Any, document: Mapping[str, Any], infos: Mapping[str, Any]) -> bool:
    """Put the tensors of a parsed body into a PredictRequest.

    Parameters
    ----------
    request : PredictRequest
        Its `inputs` are filled.
    document : mapping
        From `parse`.
    infos : mapping of str to TensorInfo
        The signature's inputs.

    Returns
    -------
    bool
        Whether the body was in the row format, and so must the answer be.

    Raises
    ------
    RequestError
        INVALID_ARGUMENT: what does not fit the signature.
    """
    rows, columns = document.get("instances"), document.get("inputs")
    if "instances" in document and "inputs" in document:
        message = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise _invalid(f"JSON Value: {_shown(document)} {message}")
    if "instances" in document:
        if not isinstance(rows, list):
            raise _invalid(f"JSON Value: {_shown(document)} Excepting 'instances' to be an list/array")
        if not rows:
            raise _invalid(f"JSON Value: {_shown(document)} No values in 'instances' array")
        values = _columns(rows, infos)
    elif "inputs" in document:
        values = _named(columns, infos)
    else:
        raise _invalid("Missing 'inputs' or 'instances' key")
    for name, value in values.items():
        array = _array(value, infos[name].dtype)
        request.inputs[name].CopyFrom(encode_tensor(array))
        request.inputs[name].dtype = infos[name].dtype
    return "instances" in document


def response_json(response: Any, *, rows: bool) -> str:
    """The JSON of a PredictResponse, in the format of the request.

    Raises
    ------
    RequestError
        INVALID_ARGUMENT: outputs without a common number of rows cannot be told row by row.
    """
    values = {}
    sizes: dict[str, int] = {}
    for name, proto in sorted(response.outputs.items()):
        array = decode_tensor(proto)
        if rows:
            if array.ndim == 0:
                raise _invalid(f"Tensor name: {name} has no shape information ")
            sizes[name] = len(array)
            if len(array) != (size := next(iter(sizes.values()))):
                raise _invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}")
        values[name] = _plain(array, as_bytes=name.endswith("_bytes"))
    if len(values) == 1:
        (content,) = values.values()
    elif rows:
        content = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    else:
        content = values
    return json.dumps({"predictions" if rows else "outputs": content})


def _columns(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(infos)
    named = _is_object(rows[0])
    if not named and len(names) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for count, row in enumerate(rows):
        if named and not _is_object(row):
            raise _invalid(f"Expecting object but got list at item {count} of input list")
        if not named and _is_object(row):
            raise _invalid(f"Expecting value/list but got object at item {count} of input list")
        if named and sorted(row) != names:
            raise _invalid(
                f"Failed to process element: {count} of 'instances' list. JSON object: {_shown(row)} keys must be "
                f"equal to: {','.join(names)}"
            )
    if not named:
        return {names[0]: rows}
    return {name: [row[name] for row in rows] for name in names}


def _named(value: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(value):
        if len(infos) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {next(iter(infos)): value}
    for name in sorted(infos):
        if name not in value:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: value[name] for name in infos}


def _array(value: Any, dtype: int) -> npt.NDArray[Any]:
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


def _decimal(read: npt.NDArray[Any], dtype: int) -> npt.NDArray[Any]:
    if read.dtype.kind in "iu" and read.size:
        largest = max(abs(int(read.min())), abs(int(read.max())))
        if largest > 2 ** (24 if dtype == 1 else 53) - 1:
            raise _invalid(f"Cannot convert JSON value: {largest} to {_NAMES[dtype]} without loss of precision.")
    with np.errstate(over="ignore"):
        array = read.astype(_DECIMAL[dtype])
    beyond = read[np.isfinite(read) & ~np.isfinite(array)]
    if beyond.size:
        raise _invalid(f"Cannot convert JSON value: {beyond.flat[0]} to {_NAMES[dtype]} without loss of precision.")
    return array


def _collect(value: Any, level: int, shape: list[int], dtype: int, leaves: list[Any]) -> None:
    """FillTensorProto of json_tensor.cc: values in order, or which one does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
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
                raise _invalid(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
            text = value["b64"]
            try:
                return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            except (binascii.Error, ValueError) as error:
                raise _invalid("Unable to base64 decode") from error
    elif dtype not in _NAMES:
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {_shown(value)} to type: {dtype}")
    elif dtype in _DECIMAL and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    elif dtype in _WHOLE and isinstance(value, int) and not isinstance(value, bool):
        limits = np.iinfo(_WHOLE[dtype])
        if limits.min <= value <= limits.max:
            return value
    elif dtype == 10 and isinstance(value, bool):
        return value
    kind = "Null" if value is None else str(value) if isinstance(value, bool) else _KINDS[type(value)]
    raise _invalid(f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: {_NAMES[dtype]}")


def _plain(array: npt.NDArray[Any], *, as_bytes: bool) -> Any:
    if array.dtype == object:
        text = [
            {"b64": base64.b64encode(item).decode()} if as_bytes else item.decode(errors="replace")
            for item in array.ravel()
        ]
        flat = np.empty(len(text), object)
        flat[:] = text
        return flat.reshape(array.shape).tolist()
    if array.dtype == np.float32:
        # The shortest decimal that is this float32: 0.2, not 0.20000000298023224.
        array = array.astype("U32").astype(np.float64)
    return array.tolist()


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (list(value) == ["b64"] and isinstance(value["b64"], str))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 256 else text[:256] + "..."


def _invalid(message: str) -> RequestError:
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)
