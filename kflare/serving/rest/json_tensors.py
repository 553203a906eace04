"""JSON of TensorFlow Serving's REST API to PredictRequest, and PredictResponse to JSON.

Forms, checks and wording follow tensorflow_serving/util/json_tensor.cc and g3doc/api_rest.md: the row format
(`instances` to `predictions`), the columnar format (`inputs` to `outputs`), bytes as `{"b64": ...}`, NaN and Infinity
as bare words.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor
from kflare.serving.rest.json_values import read_array, shown

__all__ = ["fill_request", "parse", "require_examples", "response_json"]

_PARSE_ERRORS = {  # Python's words to those of rapidjson (error/en.h)
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Extra data": "The document root must not be followed by other values.",
}


def parse(body: bytes) -> dict[str, Any]:
    """Read a request's body; `RequestError` INVALID_ARGUMENT if it is no JSON object."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
        if b"\\u" in body:
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        message = _PARSE_ERRORS.get(error.msg, error.msg)
        raise invalid(f"JSON Parse error: {message} at offset: {error.pos}") from error
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, a number of thousands of digits, nested too deep
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {shown(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        message = "not formatted correctly. 'signature_name' key must be a string value."
        raise invalid(f"JSON Value: {shown(document)} {message}")
    return document


def require_examples(document: Mapping[str, Any]) -> None:
    """Check the form of a parsed body for :classify or :regress (FillClassifyRegressRequestFromJson)."""
    if "examples" not in document:
        # The word is the same for :regress.
        why = "When method is classify, key 'examples' is expected and was not found"
    elif not isinstance(document["examples"], list):
        why = "Expecting 'examples' value to be an list/array"
    elif not document["examples"]:
        why = "'examples' value is an empty array"
    else:
        return
    raise invalid(f"JSON Value: {shown(document)} {why}")


def fill_request(request: Any, document: Mapping[str, Any], infos: Mapping[str, Any]) -> bool:
    """Put a parsed body's tensors into a PredictRequest, by the signature's inputs; True if they are in row format."""
    rows, columns = document.get("instances"), document.get("inputs")
    if "instances" in document and "inputs" in document:
        message = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid(f"JSON Value: {shown(document)} {message}")
    if "instances" in document:
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {shown(document)} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {shown(document)} No values in 'instances' array")
        arrays = _columns(rows, infos)
    elif "inputs" in document:
        arrays = {name: read_array(value, infos[name].dtype) for name, value in _named(columns, infos).items()}
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    for name, array in arrays.items():
        fill_tensor(request.inputs[name], array)
    return "instances" in document


def response_json(response: Any, *, rows: bool) -> str:
    """The JSON of a PredictResponse, in the request's format; `RequestError` for outputs without the rows it needs."""
    values = {}
    sizes: dict[str, int] = {}
    for name, proto in sorted(response.outputs.items()):
        array = read_tensor(proto)
        if rows:
            if array.ndim == 0:
                raise invalid(f"Tensor name: {name} has no shape information ")
            sizes[name] = len(array)
            if len(array) != (size := next(iter(sizes.values()))):
                raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}")
        values[name] = _plain(array, as_bytes=name.endswith("_bytes"))
    if len(values) == 1:
        (content,) = values.values()
    elif rows:
        content = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    else:
        content = values
    return json.dumps({"predictions" if rows else "outputs": content})


def _columns(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    names = sorted(infos)
    named = _is_object(rows[0])
    if not named and len(names) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    try:
        if all(_is_object(row) == named and (not named or sorted(row) == names) for row in rows):
            columns = {name: [row[name] for row in rows] for name in names} if named else {names[0]: rows}
            return {name: read_array(column, infos[name].dtype) for name, column in columns.items()}
    except RequestError as error:
        raise _first_fault(rows, infos, names, named=named) from error
    raise _first_fault(rows, infos, names, named=named)


def _first_fault(rows: list[Any], infos: Mapping[str, Any], names: list[str], *, named: bool) -> RequestError:
    """The first error of FillTensorMapFromInstancesList, which goes row by row."""
    shapes: dict[str, tuple[int, ...]] = {}
    for count, row in enumerate(rows):
        if _is_object(row) != named:
            got = "object but got list" if named else "value/list but got object"
            return invalid(f"Expecting {got} at item {count} of input list")
        for name, value in row.items() if named else [(names[0], row)]:
            fault = _fault(name, value, infos, shapes)
            if fault is not None:
                which = f"{count} key: {name}" if named else str(count)
                error = f"{fault.code.name}: {fault}"
                return invalid(f"Failed to process element: {which} of 'instances' list. Error: {error}")
        if named and sorted(row) != names:
            return invalid(
                f"Failed to process element: {count} of 'instances' list. JSON object: {shown(row)} keys must be "
                f"equal to: {','.join(names)}"
            )
    return invalid("Rows of 'instances' do not make a tensor")


def _fault(name: str, value: Any, infos: Mapping[str, Any], shapes: dict[str, tuple[int, ...]]) -> RequestError | None:
    """AddInstanceItem of json_tensor.cc: what is wrong with one input of one row."""
    if name not in infos:
        return invalid(f"JSON object: does not have named input: {name}")
    try:
        shape = read_array(value, infos[name].dtype).shape
    except RequestError as error:
        return error
    first = shapes.setdefault(name, shape)
    if math.prod(first) != math.prod(shape):
        return invalid(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
    if first != shape:
        expected, got = (f"[{','.join(map(str, sizes))}]" for sizes in (first, shape))
        return invalid(f"Expecting shape {expected} but got: {got}")
    return None


def _named(value: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {next(iter(infos)): value}
    for name in sorted(infos):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: value[name] for name in infos}


def _plain(array: npt.NDArray[Any], *, as_bytes: bool) -> Any:
    if array.dtype == object:
        text = [
            {"b64": base64.b64encode(item).decode()} if as_bytes else item.decode(errors="replace")
            for item in array.ravel()
        ]
        flat = np.empty(len(text), object)
        flat[:] = text
        return flat.reshape(array.shape).tolist()
    if array.ndim > 2:  # a row at a time: what follows takes a hundred times the bytes of a number
        return [_plain(row, as_bytes=as_bytes) for row in array]
    if array.dtype == np.float32:
        # The shortest decimal that is this float32: 0.2, not 0.20000000298023224.
        array = array.astype("U32").astype(np.float64)
    return array.tolist()


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (list(value) == ["b64"] and isinstance(value["b64"], str))
