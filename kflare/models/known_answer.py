"""A question with a known answer in each published version: by it a health check tells a right server from a wrong one.

A server that answers with status 200 may still give another model's number, or what is left of an earlier answer. The
question is the first row of the smallest warm-up request, as TensorFlow Serving takes it over each port: a serialized
PredictRequest and the body of a REST request. `serving/check-models` and `python -m kflare.releases --check` ask it.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from kflare.errors import ModelError
from kflare.io.arrays import AnyArray, Float64Array
from kflare.models.registry import DISK

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
KNOWN_QUESTION = Path("assets.extra") / "known_question.pb"  # beside it known_question.json, the body by REST
KNOWN_ANSWER = Path("assets.extra") / "known_answer.txt"  # a line for each output of float32: name and numbers
_MOST_VALUES = 16  # of an output that is kept: no maps
_SHARE, _LEAST = 0.01, 1e-6  # other processors and versions differ by less, other models by more


def write_known_answer(version: Path, name: str, number: int, run: Callable[..., dict[str, AnyArray]]) -> None:
    """Write question and answer into a version's folder, which has its warm-up requests; else nothing.

    `run` is of `load_signatures`. Nothing where no output is of float32 either; ModelError where one is not finite.
    """
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(version / WARMUP))]
    if not logs:
        return
    requests = (log.predict_log.request for log in logs)
    # A calibration alone would not tell another network.
    request = min((one for one in requests if one.model_spec.signature_name != DISK), key=lambda one: one.ByteSize())
    row = {key: tf.make_ndarray(value)[:1] for key, value in request.inputs.items()}
    replies = sorted(run(request.model_spec.signature_name, row).items())
    answer = {key: one.ravel() for key, one in replies if one.dtype == np.float32 and one.size <= _MOST_VALUES}
    if not all(np.isfinite(value).all() for value in answer.values()):
        raise ModelError(f"{name} answers its warm-up request with what no server can be known by: {answer}")
    if not answer:
        return
    request.model_spec.name, request.model_spec.version.value = name, number
    request.output_filter[:] = answer
    for key, value in row.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    instance = {
        key: {"b64": b64encode(value[0]).decode()} if value.dtype == object else value[0].tolist()
        for key, value in row.items()
    }
    body = {"signature_name": request.model_spec.signature_name, "instances": [instance]}
    (version / KNOWN_QUESTION).write_bytes(request.SerializeToString(deterministic=True))
    (version / KNOWN_QUESTION).with_suffix(".json").write_text(json.dumps(body) + "\n", encoding="utf-8")
    lines = [" ".join([key, *(f"{one:.9g}" for one in value)]) + "\n" for key, value in answer.items()]
    (version / KNOWN_ANSWER).write_text("".join(lines), encoding="utf-8")


def known_answer(version: Path) -> dict[str, Float64Array]:
    """The known answer, the values of each output in order; `ModelError` where the version has none."""
    try:
        lines = [line.split() for line in (version / KNOWN_ANSWER).read_text(encoding="utf-8").splitlines()]
        return {name: np.array(values, np.float64) for name, *values in lines}
    except (OSError, ValueError) as error:
        what = f"{version} has no known answer to hold a server to ({error})"
        raise ModelError(f"{what}: publish it again, kflare.fit goes on from its run") from error


def wrong_output(found: Mapping[str, AnyArray], known: Mapping[str, Float64Array]) -> str | None:
    """The first output that is not the known one within 1 % and 1e-6, in words; None where all are."""
    for name, wanted in known.items():
        values = np.ravel(found.get(name, ()))
        if values.shape != wanted.shape or not np.all(np.abs(values - wanted) <= _SHARE * np.abs(wanted) + _LEAST):
            return f"`{name}` is {values.tolist()} and must be {wanted.tolist()}"
    return None
