import math

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.internal.encoder import _VarintBytes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tensorflow.core.framework.tensor_pb2 import TensorProto

from kflare.serving.messages.tensor_values import fill_tensor, read_tensor


def filled(value, **options):
    made = TensorProto()
    fill_tensor(made, value, **options)
    return made


_DTYPES = [np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.int8, np.bool_, np.uint32, np.uint64]


@given(
    npst.arrays(st.sampled_from(_DTYPES), npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    st.booleans(),
)
def test_arrays_come_back_as_they_went(array, typed_fields):
    proto = TensorProto.FromString(filled(array, typed_fields=typed_fields).SerializeToString())
    back = read_tensor(proto)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)  # another reader sees the same


def test_typed_fields_are_those_of_tensorflow_serving():
    proto = filled(np.array([[1.5, 2.5]], np.float32), typed_fields=True)
    assert list(proto.float_val) == [1.5, 2.5]
    assert not proto.tensor_content
    # 40,000 values: the length of the packed field, 160,000 bytes, needs three bytes of varint.
    many = np.arange(40_000, dtype=np.float32)
    np.testing.assert_array_equal(np.array(filled(many, typed_fields=True).float_val), many)


def test_strings():
    proto = filled([b"\xff\xd8", b""])
    assert proto.dtype == tf.string.as_datatype_enum
    assert read_tensor(proto).tolist() == [b"\xff\xd8", b""]
    assert read_tensor(filled(np.array([[b"a", b"b"]], object))).tolist() == [[b"a", b"b"]]


def proto(values, *shape, dtype=tf.float32):
    made = TensorProto(dtype=dtype.as_datatype_enum, float_val=values)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


def test_missing_values_repeat_the_last_one():
    assert read_tensor(proto([1, 2], 2, 2)).tolist() == [[1, 2], [2, 2]]
    assert read_tensor(proto([], 3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (proto([1, 2, 3], 2), "3 values do not fit"),
        (proto([1], -1), "not fully known"),
        (proto([1], 1 << 40, 1 << 40), "larger than a message"),
        (proto([1], 1 << 28), "1 values are too few"),  # 1 GiB of memory for 20 bytes
        (TensorProto(dtype=9999), "9999 is none that kflare reads"),
        (TensorProto(dtype=1, tensor_content=b"123"), "buffer size"),
    ],
)
def test_malformed_tensors_are_refused_before_memory_is_taken(bad, why):
    with pytest.raises(ValueError, match=why):
        read_tensor(bad)


FLOATS, BITS = st.floats(width=32), st.integers(0, 2**16 - 1)
FIELDS = {
    tf.float32: ("float_val", FLOATS), tf.float64: ("double_val", st.floats()), tf.bool: ("bool_val", st.booleans()),
    tf.int8: ("int_val", st.integers(-128, 127)), tf.uint64: ("uint64_val", st.integers(0, 2**64 - 1)),
    tf.string: ("string_val", st.binary(max_size=3)), tf.half: ("half_val", BITS), tf.bfloat16: ("half_val", BITS),
    tf.complex64: ("scomplex_val", FLOATS), tf.complex128: ("dcomplex_val", st.floats()),
}  # fmt: skip


@given(st.sampled_from(list(FIELDS)), st.lists(st.integers(0, 3), max_size=2), st.integers(0, 9), st.data())
def test_values_are_read_as_tensorflow_reads_them(dtype, shape, count, data):
    field, values = FIELDS[dtype]
    count = min(count, math.prod(shape)) * (2 if dtype.is_complex else 1)
    made = TensorProto(
        dtype=dtype.as_datatype_enum, **{field: data.draw(st.lists(values, min_size=count, max_size=count))}
    )
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    read, theirs = read_tensor(made), tf.io.parse_tensor(made.SerializeToString(), dtype).numpy()
    assert read.shape == np.shape(theirs)
    if dtype == tf.string:
        assert read.ravel().tolist() == np.ravel(np.asarray(theirs, object)).tolist()
    else:
        assert read.tobytes() == theirs.tobytes()


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_strings_in_one_content_are_read(strings):
    lengths = b"".join(_VarintBytes(len(string)) for string in strings)
    written = TensorProto(dtype=7, tensor_content=lengths + b"".join(strings))
    written.tensor_shape.dim.add(size=len(strings))
    assert tf.io.parse_tensor(written.SerializeToString(), tf.string).numpy().tolist() == strings
    assert read_tensor(written).tolist() == strings
    written.tensor_content += b"x"
    with pytest.raises(ValueError, match="strings with their lengths"):
        read_tensor(written)


def test_the_last_string_repeats_with_its_nul():
    made = TensorProto(dtype=7, string_val=[b"a\0"])
    made.tensor_shape.dim.add(size=2)
    assert read_tensor(made).tolist() == [b"a\0", b"a\0"]


def test_a_bool_is_a_byte_of_0_or_1():
    made = TensorProto(dtype=10, tensor_content=b"\x01\x02")
    made.tensor_shape.dim.add(size=2)
    with pytest.raises(ValueError, match="other than 0 and 1"):
        read_tensor(made)


def test_the_shape_of_a_scalar_is_sent():
    assert filled(np.float32(1)).HasField("tensor_shape")


def test_outputs_of_other_types_are_written_too():
    for array in (np.array([1 + 2j, 3], np.complex64), np.ones(2, tf.bfloat16.as_numpy_dtype)):
        for options in ({}, {"typed_fields": True}):
            written = filled(array, **options)
            np.testing.assert_array_equal(tf.make_ndarray(written), array)
            np.testing.assert_array_equal(read_tensor(written), array)
