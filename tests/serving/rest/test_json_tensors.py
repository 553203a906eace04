"""JSON to tensors and back, beyond what conformance/test_rest.py asks of a whole server."""

import json
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from kflare.serving.messages.statuses import RequestError
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor
from kflare.serving.rest.json_tensors import fill_request, parse, response_json

FLOAT, INT32, UINT8, STRING, INT64, BOOL = 1, 3, 4, 7, 9, 10


def read(value, dtype, form="inputs"):
    request = PredictRequest()
    rows = fill_request(request, {form: value}, {"x": SimpleNamespace(dtype=dtype)})
    assert rows == (form == "instances")
    return read_tensor(request.inputs["x"])


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (1.5, FLOAT, ()), ([1, 2.5], FLOAT, (2,)), ([[1, 2], [3, 4]], FLOAT, (2, 2)), ([], FLOAT, (0,)),
        ([[]], FLOAT, (1, 0)), ([1, -2], INT32, (2,)), (2**40, INT64, ()), ([True, False], BOOL, (2,)),
        (["a", {"b64": "Y Q==\n"}, {"b64": "YQ"}], STRING, (3,)), ([float("nan"), float("-inf")], FLOAT, (2,)),
    ],
)  # fmt: skip
def test_values_that_fit(value, dtype, shape):
    found = read(value, dtype)
    assert found.shape == shape
    if dtype == STRING:
        assert found.tolist() == [b"a", b"a", b"a"]
    else:
        np.testing.assert_array_equal(found, np.array(value, found.dtype).reshape(shape))


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ("x", FLOAT, 'JSON Value: "x" Type: String is not of expected type: float'),
        ([None], FLOAT, "JSON Value: null Type: Null is not of expected type: float"),
        ([True], FLOAT, "is not of expected type: float"),
        ([1.5], INT32, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ([2**31], INT32, "is not of expected type: int32"),
        ([256], UINT8, "is not of expected type: uint8"),
        ([10**30], INT64, "is not of expected type: int64"),
        ([2**24 + 1], FLOAT, "to float without loss of precision"),
        ([10**400, 1], FLOAT, "to float without loss of precision"),
        (-1e300, FLOAT, "Cannot convert JSON value: -1e.300 to float without loss of precision"),
        ([[1], 2], FLOAT, "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([1, [2]], FLOAT, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1, 2], [3]], FLOAT, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ([{"b64": 1}], STRING, "not formatted correctly for base64 data"),
        ({"x": [{"a": 1}]}, FLOAT, "Type: Object is not of expected type: float"),
        ([1], STRING, "Type: Number is not of expected type: string"),
        ([1], 8, "Conversion of JSON Value: 1 to type: 8"),  # complex64: UNIMPLEMENTED
    ],
)
def test_values_that_do_not(value, dtype, message):
    with pytest.raises(RequestError, match=message) as caught:
        read(value, dtype)
    expected = grpc.StatusCode.UNIMPLEMENTED if dtype == 8 else grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.code is expected


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'{"signature_name": 3}', b"[" * 100_000, b"9" * 9999])
def test_bodies_that_are_refused(body):
    with pytest.raises(RequestError) as caught:
        parse(body)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(str(caught.value)) < 500


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(width=32, allow_nan=False)))
def test_float32_goes_there_and_back_exactly(array):
    response = PredictResponse()
    fill_tensor(response.outputs["y"], array)
    told = json.loads(response_json(response, rows=False))["outputs"]
    found = read(told, FLOAT)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array)


def test_answers_row_by_row_need_rows():
    response = PredictResponse()
    fill_tensor(response.outputs["a"], np.zeros(2, np.float32))
    fill_tensor(response.outputs["b_bytes"], [b"x", b"y"])
    rows = json.loads(response_json(response, rows=True))["predictions"]
    assert rows == [{"a": 0.0, "b_bytes": {"b64": "eA=="}}, {"a": 0.0, "b_bytes": {"b64": "eQ=="}}]
    fill_tensor(response.outputs["c"], np.zeros(3, np.float32))
    with pytest.raises(RequestError, match="Tensor name: c has inconsistent batch size: 3 expecting: 2"):
        response_json(response, rows=True)
    fill_tensor(response.outputs["c"], np.zeros((), np.float32))
    with pytest.raises(RequestError, match="Tensor name: c has no shape information"):
        response_json(response, rows=True)
