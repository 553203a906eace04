"""The client's own messages against the originals: field by field, and in what they write and read."""

import numpy as np
import pytest

from kflare.serving.messages import declared_messages as messages
from kflare.serving.messages.declared_messages import RPC_METHODS, PredictRequest, TensorProto
from kflare.serving.messages.tensor_values import fill_tensor, read_tensor, type_name


@pytest.fixture(scope="module")
def originals():
    from google.protobuf import any_pb2, wrappers_pb2
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2, status_pb2

    every = (any_pb2, wrappers_pb2, tensor_pb2, tensor_shape_pb2, meta_graph_pb2, get_model_metadata_pb2)
    every += (get_model_status_pb2, model_pb2, predict_pb2, status_pb2)
    found = {name: message for module in every for name, message in module.DESCRIPTOR.message_types_by_name.items()}
    return {**found, "Dim": found["TensorShapeProto"].nested_types_by_name["Dim"]}


@pytest.mark.parametrize("name", list(messages._DECLARED["kflare.serving"]))
def test_fields_are_those_of_the_original(originals, name):
    for field in messages._CLASSES[name].DESCRIPTOR.fields:
        same_as(field, originals[name].fields_by_name[field.name])


def same_as(field, original):
    assert field.number == original.number
    assert field.is_repeated == original.is_repeated
    # Enums travel as int32 does.
    assert field.type == (field.TYPE_INT32 if original.type == field.TYPE_ENUM else original.type)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        assert original.message_type.GetOptions().map_entry
        assert original.message_type.name == field.message_type.name
        assert original.message_type.fields_by_name["value"].message_type.name == (
            field.message_type.fields_by_name["value"].message_type.name
        )
    elif field.message_type is not None:
        assert original.message_type.name == field.message_type.name


def test_methods_are_those_of_the_original():
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    for name, (path, reply) in RPC_METHODS.items():
        _, service, method = path.split("/")
        module = model_service_pb2 if service.endswith("ModelService") else prediction_service_pb2
        original = module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[method]
        assert original.containing_service.full_name == service
        assert (original.input_type.name, original.output_type.name) == (name, reply.DESCRIPTOR.name)


VALUES = [
    np.float32([[0.5, -1, np.nan], [np.inf, 0, 1e-40]]), np.float64([1e300]), np.float16([0.1, 65504]),
    np.arange(-3, 3, dtype=np.int8), np.uint8([255, 0]), np.int16([-7]), np.uint16([65535]), np.int32(-5).reshape(()),
    np.uint32([2**32 - 1]), np.int64([-(2**60)]), np.uint64([2**63]), np.array([[True], [False]]),
    np.zeros((0, 4), np.float32), np.arange(6, dtype=">f4").reshape(2, 3).T,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value.dtype}{value.shape}")
def test_tensors_are_read_by_tensorflow_and_read_what_it_writes(value):
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto as Original

    mine = TensorProto()
    fill_tensor(mine, value)
    np.testing.assert_array_equal(tf.make_ndarray(Original.FromString(mine.SerializeToString())), value)
    native = value.astype(value.dtype.newbyteorder("="))
    content = tf.make_tensor_proto(native)
    fields = Original(dtype=content.dtype, tensor_shape=content.tensor_shape)
    name = {"float32": "float_val", "float64": "double_val", "float16": "half_val", "int64": "int64_val"}.get(
        native.dtype.name, {"bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val"}.get(native.dtype.name)
    )
    flat = native.view(np.uint16) if native.dtype == np.float16 else native
    getattr(fields, name or "int_val").extend(flat.ravel().tolist())
    for original in (content, fields):
        read = read_tensor(TensorProto.FromString(original.SerializeToString()))
        assert read.dtype == native.dtype
        np.testing.assert_array_equal(read, native)


def test_strings():
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto as Original

    for value, shape in (([b"a", b"\xff\x00"], (2,)), (np.array([[b"x"], [b""]], object), (2, 1))):
        mine = TensorProto()
        fill_tensor(mine, value)
        read = tf.make_ndarray(Original.FromString(mine.SerializeToString()))
        assert read.shape == shape
        assert read.ravel().tolist() == np.asarray(value, object).ravel().tolist()
        np.testing.assert_array_equal(read_tensor(mine), read)


def test_missing_values_repeat_the_last_one_as_in_tensorflow():
    proto = TensorProto(dtype=1, float_val=[1, 2])
    proto.tensor_shape.dim.add(size=4)
    assert read_tensor(proto).tolist() == [1, 2, 2, 2]
    del proto.float_val[:]
    assert read_tensor(proto).tolist() == [0, 0, 0, 0]


def test_what_is_no_tensor_is_refused():
    for fields, dims, why in (
        ({"dtype": 1, "float_val": [1, 2, 3]}, [2], "3 values do not fit"),
        ({"dtype": 1}, [-1], "not fully known"),
        ({"dtype": 1}, [2**31, 2**31], "larger than a message"),
        ({"dtype": 1, "tensor_content": b"123"}, [1], "multiple of element size"),
        ({"dtype": 1, "tensor_content": b"1234"}, [2], "reshape"),
        ({"dtype": 99}, [1], "data type 99"),
    ):
        proto = TensorProto(**fields)
        for size in dims:
            proto.tensor_shape.dim.add(size=size)
        with pytest.raises(ValueError, match=why):
            read_tensor(proto)
    with pytest.raises(TypeError, match="datetime64"):
        fill_tensor(TensorProto(), np.array(["2024-05-10"], "M8[D]"))


def test_type_names():
    assert [type_name(number) for number in (1, 3, 7, 20)] == ["float32", "int32", "string", "type 20"]


def test_a_request_is_read_by_the_original():
    from tensorflow_serving.apis.predict_pb2 import PredictRequest as Original

    request = PredictRequest(output_filter=["probability"])
    request.model_spec.name, request.model_spec.version_label = "cnn-c", "stable"
    fill_tensor(request.inputs["image"], [b"\x89PNG"])
    read = Original.FromString(request.SerializeToString())
    assert (read.model_spec.name, read.model_spec.WhichOneof("version_choice")) == ("cnn-c", "version_label")
    assert (list(read.output_filter), list(read.inputs)) == (["probability"], ["image"])
    assert PredictRequest.FromString(read.SerializeToString()) == request
