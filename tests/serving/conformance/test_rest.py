"""The REST API and the metrics.

Sources, in tensorflow/serving: g3doc/api_rest.md; util/json_tensor.cc, model_servers/http_rest_api_handler.cc,
http_rest_api_util.cc and http_server.cc, util/net_http/server/internal/evhttp_request.cc, util/prometheus_exporter.cc.
"""

import base64
import gzip
import json
import math
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

ZERO = {"AREA": 0, "USFLUX": 0.0, "R_VALUE": 0}


def b64(value):
    buffer = BytesIO()
    Image.fromarray(np.full((32, 32), value, np.uint8)).save(buffer, format="PNG")
    return {"b64": base64.b64encode(buffer.getvalue()).decode()}


def test_the_row_format(target):
    # api_rest.md, "Specifying input tensors in row format": several outputs make an object per row.
    status, reply = target.http("/v1/models/defn-c:predict", {"instances": [ZERO, {**ZERO, "AREA": 2}]})
    assert status == 200
    first, second = reply["predictions"]
    # Logit ln 2 + AREA: 2/3, and 2 e^2 / (1 + 2 e^2) = 0.936621.
    assert first["probability"] == pytest.approx(2 / 3)
    assert second["probability"] == pytest.approx(0.936621, abs=1e-6)
    assert first["imputed"] == 0
    assert first["probabilities"] == pytest.approx([1 / 3, 2 / 3])


def test_the_columnar_format(target):
    columns = {"AREA": [0, 2], "USFLUX": [0, 0], "R_VALUE": [0, 0]}
    # FillTensorMapFromInputsMap looks for what the signature names; other keys, and an empty name, do no harm.
    for body in ({"inputs": columns}, {"signature_name": "", "inputs": {**columns, "FOO": "x"}}):
        status, reply = target.http("/v1/models/defn-c:predict", body)
        assert status == 200
        assert reply["outputs"]["probability"] == pytest.approx([2 / 3, 0.936621], abs=1e-6)


@pytest.mark.parametrize("inputs", [3, {"rounds": 3}])
def test_a_single_input_and_output_need_no_names(target, inputs):
    # api_rest.md: a scalar stays one in the columnar format.
    reply = target.http("/v1/models/cnn-c:predict", {"signature_name": "work", "inputs": inputs})
    assert reply == (200, {"outputs": 3})


def test_a_compressed_body(target):
    # evhttp_request.cc, NeedUncompressGzipContent; httpserver_interface.h: auto_uncompress_input is the default.
    body = gzip.compress(json.dumps({"instances": [ZERO]}).encode())
    status, reply = target.http("/v1/models/defn-c/versions/1:predict", body, **{"Content-Encoding": "gzip"})
    assert (status, reply["predictions"][0]["probability"]) == (200, 0.5)


@pytest.mark.parametrize("which", ["versions/1", "labels/stable"])
def test_versions_and_labels(target, which):
    status, reply = target.http(f"/v1/models/defn-c/{which}:predict", {"instances": [ZERO]})
    assert (status, reply["predictions"][0]["probability"]) == (200, 0.5)


@pytest.mark.parametrize("instances", [[b64(51), b64(255)], [{"image": b64(51)}, {"image": b64(255)}]])
def test_images_in_base64(target, instances):
    # api_rest.md, "Encoding binary values". The toy: probability = value / 255.
    body = {"signature_name": "predict_image", "instances": instances}
    status, reply = target.http("/v1/models/cnn-c:predict", body)
    assert status == 200
    assert [row["probability"] for row in reply["predictions"]] == pytest.approx([0.2, 1], abs=1e-6)


def test_floats_are_written_short_and_nan_is_read(target):
    # api_rest.md, "Float": 0.2 stays 0.2; NaN and Infinity are bare words.
    body = b'{"instances": [{"AREA": NaN, "USFLUX": 0, "R_VALUE": 0}]}'
    status, reply = target.http("/v1/models/defn-c/versions/1:predict", body)
    assert (status, reply["predictions"][0]["imputed"], reply["predictions"][0]["probability"]) == (200, 1, 0.5)
    # Infinity less infinity is NaN.
    body = b'{"instances": [{"AREA": -Infinity, "USFLUX": Infinity, "R_VALUE": 0}]}'
    status, reply = target.http("/v1/models/defn-c:predict", body)
    assert status == 200
    assert math.isnan(reply["predictions"][0]["probability"])
    body = {"signature_name": "predict_image", "instances": [b64(51)]}
    status, reply = target.http("/v1/models/cnn-c:predict", body)
    assert len(str(reply["predictions"][0]["probability"])) <= 12


REFUSALS = {
    "empty": (b"", "JSON Parse error: The document is empty"),
    "no JSON": (b"instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
    "half a surrogate pair": (
        rb'{"signature_name": "\ud800", "instances": [1]}',
        "JSON Parse error: The surrogate pair in string is invalid.",
    ),
    "a signature without a name": ({"signature_name": 100}, "'signature_name' key must be a string value."),
    "no object": ([1], "Is not object"),
    "no inputs": ({}, "Missing 'inputs' or 'instances' key"),
    "both forms": ({"instances": [ZERO], "inputs": ZERO}, "expecting only one of 'inputs' or 'instances'"),
    "no rows": ({"instances": []}, "No values in 'instances' array"),
    "no list of rows": ({"instances": ZERO}, "Excepting 'instances' to be an list/array"),
    "rows without names": ({"instances": [1]}, "expecting list of objects as multiple input tensors required"),
    "missing input": ({"instances": [{"AREA": 1}]}, "keys must be equal to: AREA,R_VALUE,USFLUX"),
    # FillTensorMapFromInstancesList goes row by row, and in a row key by key.
    "extra input": (
        {"instances": [ZERO, {"FOO": 1, **ZERO}]},
        r"Failed to process element: 1 key: FOO of 'instances' list\. Error: .*does not have named input: FOO",
    ),
    "text for a number in a row": (
        {"instances": [ZERO, {**ZERO, "AREA": "x"}]},
        r"Failed to process element: 1 key: AREA of 'instances' list\. Error: .*JSON Value: .x. Type: String is not of",
    ),
    "a row that is no object": ({"instances": [ZERO, [1]]}, "Expecting object but got list at item 1 of input list"),
    "magnetograms of different size": (
        {"instances": [[[[0]]], [[[0], [0]]]]},
        r"Failed to process element: 1 of 'instances' list\. Error: .*Expecting tensor size: 1 but got: 2",
    ),
    "magnetograms of different shape": (
        {"instances": [[[[0], [0]]], [[[0]], [[0]]]]}, r"Expecting shape \[1,2,1\] but got: \[2,1,1\]",
    ),
    "no columns": ({"inputs": None}, "inputs is a plain value/list, but expecting an object as multiple input tensors"),
    "missing column": ({"inputs": {"AREA": [1]}}, "Missing named input: "),
    "text for a number": ({"inputs": {**ZERO, "AREA": ["x"]}}, 'JSON Value: "x" Type: String is not of expected type'),
    "lists of unequal length": ({"inputs": {"AREA": [[1], [1, 2]], "USFLUX": [0], "R_VALUE": [0]}}, "unexpected size"),
    "a number too large": ({"inputs": {**ZERO, "AREA": [1e39]}}, "without loss of precision"),
    "unknown signature": ({"signature_name": "x", "instances": [ZERO]}, 'Serving signature name: "x" not found'),
    "bad base64": ({"signature_name": "predict_image", "instances": [{"b64": "*"}]}, "Unable to base64 decode"),
    "undecodable image": ({"signature_name": "predict_image", "instances": [{"b64": "AAAA"}]}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_with_400(target, case):
    body, message = REFUSALS[case]
    model = "cnn-c" if "image" in str(body) or "magneto" in case else "defn-c"
    status, reply = target.http(f"/v1/models/{model}:predict", body)
    assert status == 400
    assert message in reply["error"] or re.search(message, reply["error"])


def test_what_is_not_there(target):
    status, reply = target.http("/v1/models/x:predict", {"instances": [1]})
    assert (status, reply["error"]) == (404, "Servable not found for request: Latest(x)")
    # json_tensor.cc, FillPredictRequestFromJson: the body is read before the model is looked up.
    status, reply = target.http("/v1/models/x:predict", b"{")
    assert (status, reply["error"][:16]) == (400, "JSON Parse error")
    status, reply = target.http("/v1/models/defn-c/versions/99")
    assert (status, reply["error"]) == (404, "Could not find version 99 of model defn-c")
    # The whole message, however long (MakeJsonFromStatus).
    status, reply = target.http(f"/v1/models/defn-c/labels/{'x' * 2000}:predict", {"instances": [ZERO]})
    assert (status, reply["error"]) == (400, f"Unrecognized servable version label: {'x' * 2000}")
    assert target.http("/elsewhere")[0] == 404


PREDICT = {"instances": [ZERO]}
MALFORMED = [
    ("GET", "/v1/models/defn-c:predict"), ("GET", "/v1/models/defn-c/"), ("GET", "/v1/models/"), ("GET", "/v1/x"),
    ("GET", "/v1/models/a/b"), ("GET", "/v1/models/defn-c/versions/one"), ("GET", "/v1/models/defn-c/versions/-1"),
    ("GET", "/v1/models/defn-c/versions/1/labels/stable"), ("POST", "/v1/models/defn-c"), ("POST", "/v1/x"),
    ("POST", "/v1/models/defn-c/versions/1/labels/stable:predict"), ("POST", "/v1/models/defn-c/metadata"),
    ("POST", "/v1/models/defn-c:predict/"), ("POST", "/v1/models/defn-c:PREDICT"),
    ("POST", "/v1/models/defn-c:predict?verbose=1"), ("PUT", "/v1/models/defn-c:predict"),
    ("DELETE", "/v1/models/defn-c"), ("PATCH", "/v1/models/defn-c"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_malformed_requests(target, method, path):
    # http_rest_api_handler.cc, ProcessRequest; http_rest_api_util_test.cc. The path is compared with its query
    # (evhttp_request.cc, uri_path).
    body = PREDICT if method in {"POST", "PUT"} else None
    assert target.http(path, body, method=method) == (400, {"error": f"Malformed request: {method} {path}"})


def test_other_ways_to_write_a_path(target):
    # The pattern begins with (?i), and its parts are unescaped (DecodeArg).
    assert target.http("/V1/Models/defn-c/Versions/1:predict", PREDICT)[0] == 200
    assert target.http("/v1/models/defn%2Dc/labels/%73table:predict", PREDICT)[0] == 200
    assert target.http("/v1/models/defn-c", method="HEAD")[0] == 400
    assert target.http("/v1/models") == (400, {"error": "Missing model name in request."})
    assert target.http(f"/v1/models/defn-c/versions/{2**64}")[0] == 400
    assert target.http("/v1/models/defn-c/versions/0001")[0] == 200


def test_a_status_by_label_tells_of_all_versions(target):
    # get_model_status_impl.cc asks for a version's number only.
    status, reply = target.http("/v1/models/defn-c/labels/stable")
    assert status == 200
    assert [entry["version"] for entry in reply["model_version_status"]] == ["2", "1"]


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("defn-c:classify", {"examples": [{"x": 1.0}]}, 400, "Expected one input Tensor."),
        ("cnn-c:regress", {"examples": [{"x": 1.0}]}, 400, "Expected one output Tensor."),
        ("x:regress", {"examples": [{"x": 1.0}]}, 404, "Servable not found for request: Latest(x)"),
        (
            "x:classify",
            {"instances": [1]},
            400,
            "When method is classify, key 'examples' is expected and was not found",
        ),
        ("x:regress", {"examples": []}, 400, "'examples' value is an empty array"),
    ],
)
def test_classify_and_regress_need_signatures_of_their_own(target, path, body, code, message):
    # json_tensor.cc, FillClassifyRegressRequestFromJson; servables/tensorflow/classifier.cc and regressor.cc.
    status, reply = target.http(f"/v1/models/{path}", body)
    assert status == code
    assert message in reply["error"]


def test_the_status(target):
    # api_rest.md, "Model status API".
    status, reply = target.http("/v1/models/cnn-c")
    assert status == 200
    assert reply == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


def test_the_metadata(target):
    # api_rest.md, "Model Metadata API"; field by field as in http_rest_api_handler_test.cc (GetModelMetadata), whose
    # answer is in servables/tensorflow/testdata/saved_model_half_plus_two_2_versions_metadata.json.
    for path, version in (("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")):
        status, reply = target.http(f"/v1/models/defn-c{path}/metadata")
        assert status == 200
        assert reply["model_spec"] == {"name": "defn-c", "signature_name": "", "version": version}
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["AREA"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "serving_default_AREA:0",
    }
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_the_metrics(target, ask):
    # prometheus_exporter.cc: "/" becomes ":"; servables/tensorflow/util.cc: request_count, request_latency, ...
    target.prediction.Predict(ask(), timeout=30)
    target.http("/v1/models/defn-c:predict", PREDICT)
    target.http("/v1/models/defn-c:predict", b"{")
    status, page = target.http("/monitoring/prometheus/metrics")
    if status == 404 and not target.name.startswith("embedded"):
        pytest.skip(f"{target.name} was started without --monitoring_config_file")
    assert status == 200
    # prometheus_exporter.cc, SerializeScalar; the status is error::Code_Name.
    for code in ("OK", "INVALID_ARGUMENT"):
        count = rf'^:tensorflow:serving:request_count{{model_name="defn-c",status="{code}"}} (\d+)$'
        assert int(re.findall(count, page, re.MULTILINE)[0]) >= 1
    assert "# TYPE :tensorflow:serving:request_count counter" in page
    # The API is named as in the service, and over HTTP as in the path (issue 1959 of tensorflow/serving shows both).
    for way in ('API="Predict",entrypoint="GRPC"', 'API="predict",entrypoint="REST"'):
        assert re.search(rf'^:tensorflow:serving:request_latency_bucket{{model_name="defn-c",{way},le="32.4"}} \d+$',
                         page, re.MULTILINE)  # fmt: skip
    assert "# TYPE :tensorflow:serving:runtime_latency histogram" in page
