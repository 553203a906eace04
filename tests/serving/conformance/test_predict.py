"""Predict: who answers, what with, and what is refused how.

Sources, in tensorflow/serving: servables/tensorflow/predict_util.cc (VerifyRequestInputsSize, PreProcessPrediction),
servables/tensorflow/predict_impl.cc, model_servers/server_core.cc (ServableRequestFromModelSpec,
GetModelVersionForLabel), core/basic_manager.cc (GetUntypedServableHandle), servables/tensorflow/classifier.cc,
regressor.cc and multi_inference.cc; in tensorflow/tensorflow: cc/saved_model/util.cc (GetInputValues).
"""

from io import BytesIO

import grpc
import numpy as np
import pytest
from PIL import Image
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.serving.messages.tensor_values import read_tensor

ZERO = np.zeros(1, np.float32)
ZEROS = dict.fromkeys(("AREA", "USFLUX", "R_VALUE"), ZERO)


def png(value):
    buffer = BytesIO()
    Image.fromarray(np.full((32, 32), value, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_the_newest_version_answers_and_says_so(target, ask):
    # util.cc, MakeModelSpec: name, version and signature of what answered. Version 2: logit ln 2, so 2/3.
    reply = target.prediction.Predict(ask(), timeout=30)
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("defn-c", 2, "serving_default")
    assert read_tensor(reply.outputs["probability"]) == pytest.approx([2 / 3])
    assert set(reply.outputs) == {"probability", "probabilities", "calibrated", "imputed"}
    assert [dim.size for dim in reply.outputs["probabilities"].tensor_shape.dim] == [1, 2]


@pytest.mark.parametrize("spec", [{"version": 1}, {"version_label": "stable"}])
def test_versions_and_labels_can_be_asked_for(target, ask, spec):
    # g3doc/serving_config.md, "Assigning string labels to model versions".
    reply = target.prediction.Predict(ask(**spec), timeout=30)
    assert reply.model_spec.version.value == 1
    assert read_tensor(reply.outputs["probability"]).tolist() == [0.5]


def test_output_filter(target, ask):
    reply = target.prediction.Predict(ask(outputs=["imputed", "calibrated"]), timeout=30)
    assert set(reply.outputs) == {"calibrated", "imputed"}
    assert read_tensor(reply.outputs["calibrated"]) == pytest.approx([1 / 3])


def test_rows_are_answered_in_order(target, ask):
    # Logit = AREA for version 1: the sigmoid of each row's own value, NaN counting as 0.
    areas = np.array([-2, 0, 3, np.nan], np.float32)
    rows = {"AREA": areas, "USFLUX": np.zeros(4, np.float32), "R_VALUE": np.zeros(4, np.float32)}
    reply = target.prediction.Predict(ask(rows, version=1), timeout=30)
    assert read_tensor(reply.outputs["probability"]) == pytest.approx([0.119203, 0.5, 0.952574, 0.5], abs=1e-6)
    assert read_tensor(reply.outputs["imputed"]).tolist() == [0, 0, 0, 1]


def test_no_rows_are_answered_with_none(target, ask):
    reply = target.prediction.Predict(ask(dict.fromkeys(ZEROS, np.zeros(0, np.float32))), timeout=30)
    assert [dim.size for dim in reply.outputs["probabilities"].tensor_shape.dim] == [0, 2]


def test_images_are_sent_as_bytes(target, ask):
    # The toy: 0..255 is -100..+100 G, probability = (1 + mean / 100) / 2 = value / 255.
    sent = ask({"image": [png(0), png(51), png(255)]}, name="cnn-c", signature_name="predict_image")
    reply = target.prediction.Predict(sent, timeout=30)
    assert read_tensor(reply.outputs["probability"]) == pytest.approx([0, 0.2, 1], abs=1e-6)


def test_values_may_come_as_bytes_or_as_numbers_and_the_last_one_repeats(target, ask):
    # tensor.cc, FromProtoField: "If the proto has fewer values than the shape, the last one is repeated".
    sent = ask(version=1)
    for name in ZEROS:
        sent.inputs[name].ClearField("tensor_content")
        sent.inputs[name].tensor_shape.dim[0].size = 3
        sent.inputs[name].float_val.append(0)
    reply = target.prediction.Predict(sent, timeout=30)
    assert read_tensor(reply.outputs["probability"]).tolist() == [0.5, 0.5, 0.5]


def test_messages_larger_than_grpcs_own_limit_pass(target, ask):
    # server.cc: builder.SetMaxMessageSize(kint32max). 8 MiB; gRPC's own limit is 4.
    sent = ask({"magnetogram": np.zeros((2, 1024, 1024, 1), np.float32)}, name="cnn-c")
    assert read_tensor(target.prediction.Predict(sent, timeout=60).outputs["probability"]).tolist() == [0.5, 0.5]


def test_fields_that_this_server_has_no_use_for_are_passed_over(target, ask):
    """For streams and language models; and whatever the next release brings."""
    from tensorflow_serving.apis.predict_pb2 import PredictResponse

    sent = PredictRequest.FromString(ask(version=1).SerializeToString())
    sent.predict_streamed_options.return_single_response = True
    sent.predict_streamed_options.split_dimensions["AREA"] = 0
    sent.client_id = b"a client"
    sent.request_options.deterministic_mode = 1
    sent.request_options.max_cache_length = 8
    future = b"\xfa\x3f\x03new"  # field 1023
    with grpc.insecure_channel(target.address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        plain, told, later = (
            PredictResponse.FromString(predict(content, timeout=30)).SerializeToString(deterministic=True)
            for content in (
                ask(version=1).SerializeToString(),
                sent.SerializeToString(),
                sent.SerializeToString() + future,
            )
        )
    assert plain == told == later


def test_an_undecodable_image_says_what_is_wrong(target, ask, refusal):
    sent = ask({"image": [png(0), b"no image"]}, name="cnn-c", signature_name="predict_image")
    code, message = refusal(target.prediction.Predict, sent)
    assert code == "INVALID_ARGUMENT"
    assert "image" in message.lower()


def test_long_messages_are_cut(target, ask, refusal):
    # grpc_status_util.cc, ToGRPCStatus.
    _, message = refusal(target.prediction.Predict, ask(version_label="x" * 2000))
    assert message == f"Unrecognized servable version label: {'x' * 2000}"[:1024] + "...TRUNCATED"


def test_the_deadline_is_kept(target, ask, refusal):
    # main.cc: run_options.set_timeout_in_ms(DeadlineToTimeoutMillis(...)). 30 million rounds take seconds.
    rounds = ask({"rounds": np.array(30_000_000, np.int32)}, name="cnn-c", signature_name="work")
    code, _ = refusal(target.prediction.Predict, rounds, timeout=0.3)
    assert code == "DEADLINE_EXCEEDED"
    assert target.prediction.Predict(ask(), timeout=10).model_spec.version.value == 2  # and the server is free again


def test_what_is_not_served_is_unimplemented(target, refusal):
    call = target.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Nothing",
        request_serializer=PredictRequest.SerializeToString,
        response_deserializer=PredictRequest.FromString,
    )
    assert refusal(call, PredictRequest())[0] == grpc.StatusCode.UNIMPLEMENTED.name
