"""Messages with too many fields are refused before they are parsed; what is no message is left to the parser."""

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.serving.messages.message_fields import require_few_fields
from kflare.serving.messages.statuses import RequestError
from kflare.serving.messages.tensor_values import fill_tensor

DESCRIPTOR = PredictRequest.DESCRIPTOR


def refused(sent: bytes, most: int) -> bool:
    try:
        require_few_fields(sent, DESCRIPTOR, most=most)
    except RequestError as error:
        return error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


def test_every_field_of_every_part_counts_once() -> None:
    made = PredictRequest(output_filter=["a", "b"])  # 2
    made.model_spec.name = "m"  # model_spec and its name: 2
    made.model_spec.version.value = 300  # version and its value: 2
    fill_tensor(made.inputs["x"], np.zeros((3, 5), np.float32))
    # inputs, its key, its value; dtype, tensor_shape, two dims with a size each, tensor_content: 3 + 1 + 1 + 4 + 1
    count = 2 + 2 + 2 + 10
    assert not refused(made.SerializeToString(), count)
    assert refused(made.SerializeToString(), count - 1)


def test_what_the_numbers_of_a_large_tensor_are_does_not_matter() -> None:
    made = PredictRequest()
    fill_tensor(made.inputs["magnetogram"], np.full((1, 1024, 1024, 1), 32.0, np.float32))
    fill_tensor(made.inputs["packed"], np.full((1024, 1024), 32.0, np.float32), typed_fields=True)
    assert not refused(made.SerializeToString(), 100)


def test_packed_whole_numbers_count_by_their_bytes() -> None:
    made = PredictRequest()
    made.inputs["x"].int64_val.extend([1] * 1280)  # 3 fields and 10 times 128 bytes
    assert not refused(made.SerializeToString(), 14)
    assert refused(made.SerializeToString(), 13)


@given(st.binary(max_size=200))
def test_no_bytes_are_too_much(sent: bytes) -> None:
    assert not refused(sent, 100_000)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_message_that_was_changed_is_left_to_the_parser(put: bytes, at: int) -> None:
    made = PredictRequest()
    made.model_spec.name = "m"
    fill_tensor(made.inputs["x"], np.zeros((3, 5), np.float32))
    whole = made.SerializeToString()
    assert not refused(whole[:at] + put + whole[at:], 1000)


@pytest.mark.parametrize("wire", range(8))
def test_counting_ends_whatever_the_wire_type(wire: int) -> None:
    assert refused(bytes([1 << 3 | wire]) * 1000, 100) or wire in (0, 1, 2, 5)
    assert not refused(bytes([1 << 3 | wire]) * 1000, 1000)
