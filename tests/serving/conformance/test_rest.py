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


@pytest.mark.parametrize("body", [{"instances": [1]}, {"inputs": {}}, {}])
def test_the_signature_by_which_a_model_is_made_ready_takes_no_inputs(target, body):
    # FillPredictRequestFromJson: before the body's tensors are looked at. Every model of TensorFlow 2 has it.
    body = {"signature_name": "__saved_model_init_op", **body}
    status, reply = target.http("/v1/models/defn-c:predict", body)
    assert (status, reply["error"]) == (400, "Failed to get input map for signature: __saved_model_init_op")


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
    target.http("/v1/models/defn-c:predict", {"instances": [ZERO]})
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


def test_the_metrics_count_all_of_rest_at_one_path(target):
    # http_rest_api_handler.cc counts whatever it answers; http_server.cc, ProcessPrometheusRequest.
    path, seen = "/monitoring/prometheus/metrics", []
    for asked in ("/v1/models/defn-c", "/v1/models/defn-c/metadata", None):
        status, page = target.http(path)
        if status == 404 and not target.name.startswith("embedded"):
            pytest.skip(f"{target.name} was started without --monitoring_config_file")
        counts = re.findall(r'request_count{model_name="defn-c",status="OK"} (\d+)', page)
        seen.append(int(counts[0]) if counts else 0)
        if asked is not None:
            assert target.http(asked)[0] == 200
    assert [seen[1] - seen[0], seen[2] - seen[1]] == [1, 1]
    assert target.http(path, method="HEAD") == (200, "")
    assert target.http(f"{path}?name=x") == (400, f"Unexpected path: {path}?name=x. Should be {path}")
