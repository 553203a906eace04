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
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

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


REFUSALS = {
    "no model spec": (lambda ask: PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "empty name": (lambda ask: ask(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown model": (lambda ask: ask(name="x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
    "unknown version": (
        lambda ask: ask(version=3), "NOT_FOUND", "Servable not found for request: Specific(defn-c, 3)",
    ),
    # A version may be 0; asking for it is not asking for the newest (ModelSpec.version is a message).
    "version 0": (lambda ask: ask(version=0), "NOT_FOUND", "Servable not found for request: Specific(defn-c, 0)"),
    "version -1": (lambda ask: ask(version=-1), "NOT_FOUND", "Servable not found for request: Specific(defn-c, -1)"),
    "unknown label": (
        lambda ask: ask(version_label="new"), "INVALID_ARGUMENT", "Unrecognized servable version label: new",
    ),
    "label of an unknown model": (
        lambda ask: ask(name="x", version_label="stable"), "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "label of a version that is not there": (
        lambda ask: ask(version_label="ahead"), "NOT_FOUND", "Servable not found for request: Specific(defn-c, 9)",
    ),
    "unknown signature": (
        lambda ask: ask(signature_name="x"), "FAILED_PRECONDITION", 'Serving signature key "x" not found.',
    ),
    # RunPredict looks the signature up before it looks at the inputs, and at the inputs before the outputs.
    "unknown signature, input and output": (
        lambda ask: ask({"FOO": ZERO}, ["x"], signature_name="x"), "FAILED_PRECONDITION",
        'Serving signature key "x" not found.',
    ),
    "no input and an unknown output": (
        lambda ask: ask({}, ["x"]), "INVALID_ARGUMENT",
        ("input size does not match signature: 0!=3 len({}) != len({AREA,R_VALUE,USFLUX}). "
        "Sent extra: {}. Missing but required: {AREA,R_VALUE,USFLUX}."),
    ),
    "missing input": (
        lambda ask: ask({"AREA": ZERO}), "INVALID_ARGUMENT",
        ("input size does not match signature: 1!=3 len({AREA}) != len({AREA,R_VALUE,USFLUX}). "
        "Sent extra: {}. Missing but required: {R_VALUE,USFLUX}."),
    ),
    "extra input": (
        lambda ask: ask({**ZEROS, "FOO": ZERO}), "INVALID_ARGUMENT",
        ("input size does not match signature: 4!=3 len({AREA,FOO,R_VALUE,USFLUX}) != len({AREA,R_VALUE,USFLUX}). "
        "Sent extra: {FOO}. Missing but required: {}."),
    ),
    "misnamed input": (
        lambda ask: ask({"area": ZERO, "USFLUX": ZERO, "R_VALUE": ZERO}), "INVALID_ARGUMENT",
        ("Signature input alias: AREA(feed name: serving_default_AREA:0) not found in request and no default value "
        "provided. Inputs expected to be in the request {R_VALUE,USFLUX,area}, or default input alias set: "),
    ),
    "unknown output": (
        lambda ask: ask(outputs=["x"]), "INVALID_ARGUMENT",
        ("output tensor alias not found in signature: x Outputs expected to be in the set "
        "{calibrated,imputed,probabilities,probability}."),
    ),
    "output without a name": (
        lambda ask: ask(outputs=[""]), "INVALID_ARGUMENT",
        ("output tensor alias not found in signature:  Outputs expected to be in the set "
        "{calibrated,imputed,probabilities,probability}."),
    ),
    "output asked for twice": (
        lambda ask: ask(outputs=["imputed", "imputed"]), "INVALID_ARGUMENT",
        "duplicate output tensor alias: imputed",
    ),
    # Here the words are the runtime's own, and not promised.
    "mistyped input": (lambda ask: ask({**ZEROS, "AREA": [b"many"]}), "INVALID_ARGUMENT", None),
    "integers for decimals": (lambda ask: ask({**ZEROS, "AREA": np.zeros(1, np.int64)}), "INVALID_ARGUMENT", None),
    "misshaped input": (
        lambda ask: ask({**ZEROS, "R_VALUE": np.zeros((1, 1), np.float32)}), "INVALID_ARGUMENT", None,
    ),
    "inputs of different length": (
        lambda ask: ask({**ZEROS, "AREA": np.zeros(2, np.float32)}), "INVALID_ARGUMENT", None,
    ),
    "undecodable image": (
        lambda ask: ask({"image": [b"no image"]}, name="cnn-c", signature_name="predict_image"),
        "INVALID_ARGUMENT", None,
    ),
    "half an image": (
        lambda ask: ask({"image": [png(0)[:50]]}, name="cnn-c", signature_name="predict_image"),
        "INVALID_ARGUMENT", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(target, ask, refusal, first_line, case):
    make, code, message = REFUSALS[case]
    given, details = refusal(target.prediction.Predict, make(ask))
    assert given == code
    assert details
    assert message is None or first_line(details) == message


# The method name of a signature does not count: main.cc, --enable_signature_method_name_check is false by default.
EXAMPLES = {
    "no model spec": (ClassificationRequest, None, "INVALID_ARGUMENT", "Missing ModelSpec"),
    "unknown model": (RegressionRequest, {"name": "x"}, "NOT_FOUND", "Servable not found for request: Latest(x)"),
    "unknown signature": (
        ClassificationRequest, {"signature_name": "x"}, "INVALID_ARGUMENT", "No signature was found with the name: x",
    ),
    "classify by several inputs": (ClassificationRequest, {}, "INVALID_ARGUMENT", "Expected one input Tensor."),
    "regress by several inputs": (RegressionRequest, {}, "INVALID_ARGUMENT", "Expected one input Tensor."),
    "classify into three outputs": (
        ClassificationRequest, {"name": "cnn-c"}, "INVALID_ARGUMENT", "Expected one or two output Tensors, found 3",
    ),
    "regress to three outputs": (
        RegressionRequest, {"name": "cnn-c"}, "INVALID_ARGUMENT", "Expected one output Tensor.",
    ),
    "classify by another name": (
        ClassificationRequest, {"name": "cnn-c", "signature_name": "work"}, "INVALID_ARGUMENT",
        "No classification inputs found in SignatureDef: ",
    ),
    "regress by another name": (
        RegressionRequest, {"name": "cnn-c", "signature_name": "work"}, "INVALID_ARGUMENT",
        "No regression inputs found in SignatureDef: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXAMPLES)
def test_classify_and_regress_need_signatures_of_their_own(target, ask, refusal, case):
    kind, spec, code, message = EXAMPLES[case]
    call = target.prediction.Classify if kind is ClassificationRequest else target.prediction.Regress
    given, details = refusal(call, kind() if spec is None else ask(kind=kind, **spec))
    assert given == code
    assert details.startswith(message)


TASKS = {
    "none": ("", "", "", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown model": ("x", "", "tensorflow/serving/regress", "NOT_FOUND", "Servable not found for request: Latest(x)"),
    "unknown signature": (
        "defn-c", "x", "tensorflow/serving/regress", "INVALID_ARGUMENT",
        "Requested signature not found in model graph: x",
    ),
    "predict": (
        "defn-c", "", "tensorflow/serving/predict", "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
    "classify": ("defn-c", "", "tensorflow/serving/classify", "INVALID_ARGUMENT", "Expected one input Tensor."),
}  # fmt: skip


@pytest.mark.parametrize("case", TASKS)
def test_multi_inference_needs_them_too(target, refusal, case):
    # multi_inference_helper.cc, multi_inference.cc (Infer).
    model, signature, method, code, message = TASKS[case]
    sent = MultiInferenceRequest()
    if model:
        task = sent.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    assert refusal(target.prediction.MultiInference, sent) == (code, message)


def test_a_tensor_whose_bytes_do_not_fit_its_shape(target, ask, refusal):
    # util.cc, GetInputValues: "tensor parsing error: " and the input's alias.
    sent = ask()
    sent.inputs["AREA"].tensor_content = b"12345"
    code, message = refusal(target.prediction.Predict, sent)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("tensor parsing error: AREA")


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
