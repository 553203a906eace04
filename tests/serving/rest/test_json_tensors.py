"""JSON to tensors and back, beyond what real_answers asks of a whole server."""

import json
import sys
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
from kflare.serving.rest.json_values import read_array

FLOAT, INT32, STRING, BOOL = 1, 3, 7, 10


def read(value):
    request = PredictRequest()
    assert not fill_request(request, {"inputs": value}, {"x": SimpleNamespace(dtype=FLOAT)})
    return read_tensor(request.inputs["x"])


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
    found = read(told)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(("value", "dtype"), [(1, FLOAT), (2.5, FLOAT), (3, INT32), (True, BOOL)])
def test_numbers_are_read_at_once_however_many(value, dtype):
    calls = []
    sys.setprofile(lambda _, event, __: calls.append(event) if event == "call" else None)
    try:
        found = read_array([[value, value]] * 1000, dtype)
    finally:
        sys.setprofile(None)
    assert found.tolist() == [[value, value]] * 1000
    assert len(calls) < 50


@pytest.mark.parametrize("text", ["QQ==", "QQ", "Q\tQ = =", "QQ..", "QR=="])
def test_base64_has_all_its_padding_or_none(text):
    """absl::Base64Unescape: of the last four characters, whatever the white space; a dot is padding, too."""
    assert read_array({"b64": text}, STRING) == b"A"
    assert read_array({"b64": "QUJD"}, STRING) == b"ABC"


@pytest.mark.parametrize("text", ["QQ=", "QQ===", "QUJD=", "QUI==", "QUJD====", "=", "Q", "Q.Q=", "QQ=A", "Q\u00a0Q=="])
def test_base64_with_other_padding_is_refused(text):
    with pytest.raises(RequestError, match="Unable to base64 decode"):
        read_array({"b64": text}, STRING)


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


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
@pytest.mark.parametrize(
    ("last", "message"),
    [
        ([0.0, 1.0], "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        (5.0, "JSON Value: 5.0 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        (["a"], 'JSON Value: "a" Type: String is not of expected type: float'),
    ],
)
def test_what_does_not_fit_is_found_behind_many_values_that_do(count, last, message):
    with pytest.raises(RequestError) as refused:
        read_array([[0.5]] * count + [last], 1)
    assert str(refused.value) == message


def test_large_whole_numbers_are_read_among_many_others():
    found = read_array([[1.5]] * 2500 + [[2**70]], 1)
    assert found.shape == (2501, 1)
    assert (found[0, 0], found[-1, 0], found.dtype) == (1.5, np.float32(2.0**70), np.float32)
