"""JSON of TensorFlow Serving's REST API to PredictRequest, and PredictResponse to JSON.

Forms, checks and wording follow tensorflow_serving/util/json_tensor.cc and g3doc/api_rest.md: the row format
(`instances` to `predictions`), the columnar format (`inputs` to `outputs`), bytes as `{"b64": ...}`, NaN and Infinity
as bare words. The parser is the same, RapidJSON; of keys that come twice the first counts; text behind is ignored.
"""

import base64
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import rapidjson

from kflare.io.arrays import AnyArray
from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor
from kflare.serving.rest.json_values import read_array, shown

_BASE64 = np.frompyfunc(lambda item: {"b64": base64.b64encode(item).decode()}, 1, 1)
_TEXT = np.frompyfunc(lambda item: item.decode(errors="replace"), 1, 1)
_FAULT = re.compile(r"Parse error at offset (\d+): (.*)", re.DOTALL)
_AFTER = "The document root must not be followed by other values."


class _Decoder(rapidjson.Decoder):
    """Makes a dict of each object, in which the first of several values of a key counts."""

    def start_object(self) -> list[tuple[str, Any]]:
        return []

    def end_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        last = dict(pairs)
        return last if len(last) == len(pairs) else last | dict(reversed(pairs))


# Numbers as RapidJSON reads them by itself: whole ones beyond 64 bits are doubles, beyond a double an error.
_DECODE = _Decoder(number_mode=rapidjson.NM_NATIVE | rapidjson.NM_NAN)


def parse(body: bytes) -> dict[str, Any]:
    """Read a request's body; `RequestError` INVALID_ARGUMENT if it is no JSON object, or nested a thousand levels deep.

    Bytes that are no UTF-8 become U+FFFD.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8-sig", errors="replace")
    try:
        document = _DECODE(text)
    except (rapidjson.JSONDecodeError, RecursionError) as error:
        found = _FAULT.fullmatch(str(error))
        offset, what = found.groups() if found else (0, str(error))
        if what == _AFTER:
            return parse(text.encode()[: int(offset)])
        # TensorFlow Serving's RapidJSON has one word for both.
        what = what.replace("Invalid encoding in string", "Invalid escape character in string")
        raise invalid(f"JSON Parse error: {what} at offset: {offset}") from error
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
            raise invalid(f"JSON Value: {shown(document)} Expecting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {shown(document)} No values in 'instances' array")
        arrays = _columns(rows, infos)
    elif "inputs" in document:
        arrays = {name: read_array(value, infos[name].dtype) for name, value in _named(columns, infos).items()}
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    for name, array in arrays.items():
        fill_tensor(request.inputs[name], array)
        request.inputs[name].dtype = infos[name].dtype  # of an empty one, for which JSON need have no values
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
    answer = {"predictions" if rows else "outputs": content}
    return rapidjson.dumps(answer, ensure_ascii=False, number_mode=rapidjson.NM_NAN)


def _columns(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, AnyArray]:
    names = sorted(infos)
    named = _is_object(rows[0])
    if not isinstance(rows[0], dict) and len(names) > 1:
        raise _needs_names("instances is a plain list, but expecting list of objects")
    with suppress(RequestError):
        if all(_is_object(row) == named and (not named or sorted(row) == names) for row in rows):
            columns = {name: [row[name] for row in rows] for name in names} if named else {names[0]: rows}
            return {name: read_array(column, infos[name].dtype) for name, column in columns.items()}
    # What is wrong is told as FillTensorMapFromInstancesList does, row by row.
    shapes: dict[str, tuple[int, ...]] = {}
    for count, row in enumerate(rows):
        if _is_object(row) != named:
            got = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {got} at item {count} of input list")
        process = f"Failed to process element: {count}"
        for name, value in row.items() if named else [(names[0], row)]:
            try:
                _check_item(name, value, infos, shapes)
            except RequestError as error:
                which = f" key: {name}" if named else ""
                raise invalid(f"{process}{which} of 'instances' list. Error: {error.code.name}: {error}") from error
        if named and sorted(row) != names:
            keys = f"JSON object: {shown(row)} keys must be equal to: {','.join(names)}"
            raise invalid(f"{process} of 'instances' list. {keys}")
    raise invalid("Rows of 'instances' do not make a tensor")


def _check_item(name: str, value: Any, infos: Mapping[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    """AddInstanceItem of json_tensor.cc, for one input of one row."""
    if name not in infos:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape = read_array(value, infos[name].dtype).shape
    first = shapes.setdefault(name, shape)
    if math.prod(first) != math.prod(shape):
        raise invalid(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
    if first != shape:
        expected, got = (f"[{','.join(map(str, sizes))}]" for sizes in (first, shape))
        raise invalid(f"Expecting shape {expected} but got: {got}")


def _needs_names(what: str) -> RequestError:
    return invalid(f"{what} as multiple input tensors required as per tensorinfo_map")


def _named(value: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(value):
        if len(infos) > 1:
            raise _needs_names("inputs is a plain value/list, but expecting an object")
        return {next(iter(infos)): value}
    for name in sorted(infos):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: value[name] for name in infos}


def _plain(array: AnyArray, *, as_bytes: bool) -> Any:
    if array.dtype == object:
        told = _BASE64 if as_bytes else _TEXT
        return told(array[None]).tolist()[0]
    if array.ndim > 2:  # a row at a time: what follows takes a hundred times the bytes of a number
        return [_plain(row, as_bytes=as_bytes) for row in array]
    if array.dtype == np.float32:
        # The shortest decimal that is this float32: 0.2, not 0.20000000298023224.
        array = array.astype("U32").astype(np.float64)
    return array.tolist()


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (list(value) == ["b64"] and isinstance(value["b64"], str))
