"""The REST API and the metrics: g3doc/api_rest.md, util/json_tensor.cc, model_servers/http_rest_api_util.cc."""

import base64
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
    status, reply = target.http("/v1/models/defn-c:predict", {"inputs": columns})
    assert status == 200
    assert reply["outputs"]["probability"] == pytest.approx([2 / 3, 0.936621], abs=1e-6)


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
    body = {"signature_name": "predict_image", "instances": [b64(51)]}
    status, reply = target.http("/v1/models/cnn-c:predict", body)
    assert len(str(reply["predictions"][0]["probability"])) <= 12


REFUSALS = {
    "empty": (b"", "JSON Parse error: The document is empty"),
    "no JSON": (b"{", "JSON Parse error"),
    "no object": ([1], "Is not object"),
    "no inputs": ({}, "Missing 'inputs' or 'instances' key"),
    "both forms": ({"instances": [ZERO], "inputs": ZERO}, "expecting only one of 'inputs' or 'instances'"),
    "no rows": ({"instances": []}, "No values in 'instances' array"),
    "rows without names": ({"instances": [1]}, "expecting list of objects as multiple input tensors required"),
    "missing input": ({"instances": [{"AREA": 1}]}, "keys must be equal to: AREA,R_VALUE,USFLUX"),
    "missing column": ({"inputs": {"AREA": [1]}}, "Missing named input: "),
    "text for a number": ({"inputs": {**ZERO, "AREA": ["x"]}}, 'JSON Value: "x" Type: String is not of expected type'),
    "lists of unequal length": ({"inputs": {"AREA": [[1], [1, 2]], "USFLUX": [0], "R_VALUE": [0]}}, "unexpected size"),
    "a number too large": ({"inputs": {**ZERO, "AREA": [1e39]}}, "without loss of precision"),
    "unknown signature": ({"signature_name": "x", "instances": [ZERO]}, 'Serving signature name: "x" not found'),
    "bad base64": ({"signature_name": "predict_image", "instances": [{"b64": "*"}]}, "Unable to base64 decode"),
    "undecodable image": ({"signature_name": "predict_image", "instances": [{"b64": "AAAA"}]}, ""),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_with_400(target, case):
    body, message = REFUSALS[case]
    model = "cnn-c" if "image" in str(body) else "defn-c"
    status, reply = target.http(f"/v1/models/{model}:predict", body)
    assert status == 400
    assert message in reply["error"]


def test_what_is_not_there(target):
    status, reply = target.http("/v1/models/x:predict", {"instances": [1]})
    assert (status, reply["error"]) == (404, "Servable not found for request: Latest(x)")
    status, reply = target.http("/v1/models/defn-c/versions/99")
    assert (status, reply["error"]) == (404, "Could not find version 99 of model defn-c")
    status, reply = target.http("/v1/models/defn-c/labels/new:predict", {"instances": [ZERO]})
    assert status == 400
    assert target.http("/elsewhere")[0] == 404


@pytest.mark.parametrize("path", ["/v1/models/defn-c:predict", "/v1/models/a/b", "/v1/x", "/v1/models"])
def test_malformed_requests(target, path):
    # http_rest_api_util_test.cc: a GET of :predict is none; a status needs a name.
    assert target.http(path)[0] == 400


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
    # api_rest.md, "Model Metadata API".
    status, reply = target.http("/v1/models/defn-c/metadata")
    assert status == 200
    assert (reply["model_spec"]["name"], reply["model_spec"]["version"]) == ("defn-c", "2")
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["AREA"]["dtype"] == "DT_FLOAT"
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_the_metrics(target, ask):
    # prometheus_exporter.cc: "/" becomes ":"; servables/tensorflow/util.cc: request_count, request_latency, ...
    target.prediction.Predict(ask(), timeout=30)
    status, page = target.http("/monitoring/prometheus/metrics")
    if status == 404 and not target.name.startswith("embedded"):
        pytest.skip(f"{target.name} was started without --monitoring_config_file")
    assert status == 200
    counts = re.findall(
        r'^:tensorflow:serving:request_count\{model_name="defn-c",status="OK"\} (\d+)$', page, re.MULTILINE
    )
    assert int(counts[0]) >= 1
    latency = r'^:tensorflow:serving:request_latency_bucket\{model_name="defn-c",.*le="\+Inf"\} \d+$'
    assert re.search(latency, page, re.MULTILINE)
    assert "# TYPE :tensorflow:serving:runtime_latency histogram" in page
