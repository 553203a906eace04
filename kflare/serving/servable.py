"""One loaded version of a model: what `Predict` and `GetModelMetadata` are asked of.

Checks, their order, codes and wording follow tensorflow/serving servables/tensorflow/predict_util.cc (RunPredict) and
tensorflow/tensorflow cc/saved_model/util.cc (GetInputValues); where they differ, a comment says why.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from kflare.serving.statuses import RequestError
from kflare.serving.tensors import decode_tensor, encode_tensor

__all__ = ["Servable"]

_WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_MOST_WARMUP_RECORDS = 1000  # WarmupConsts::kMaxNumRecords in servables/tensorflow/saved_model_warmup_util.h
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Servable:
    """A SavedModel in memory, warmed up and ready to answer.

    Loading is part of making one; whatever TensorFlow raises for a broken SavedModel or a failing warm-up request
    comes through.

    Parameters
    ----------
    path : Path
        The version's folder.
    name : str
        The model's name.
    number : int
        The version.
    typed_fields : bool
        Answer in `float_val`, `int_val`, ..., the default form of TensorFlow Serving; False = in `tensor_content`
        (its option `--enable_serialization_as_tensor_content`), faster for heat maps.
    """

    def __init__(self, path: Path, *, name: str, number: int, typed_fields: bool = True) -> None:
        import tensorflow as tf
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        self.name = name
        self.number = number
        self._typed_fields = typed_fields
        # The functions hold their variables weakly: without the loaded object they would be gone.
        self._loaded = tf.saved_model.load(str(path))
        self._functions = dict(self._loaded.signatures)
        saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
        self.signatures: dict[str, Any] = {
            key: signature
            for graph in saved.meta_graphs
            if "serve" in graph.meta_info_def.tags
            for key, signature in graph.signature_def.items()
        }
        self._warm_up(path / _WARMUP_FILE)

    def predict(self, request: Any) -> Any:
        """Answer a PredictRequest.

        Raises
        ------
        RequestError
            FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs or an `output_filter` that do
            not fit it.
        tensorflow.errors.OpError
            The graph itself failed on the inputs.
        """
        from tensorflow_serving.apis.predict_pb2 import PredictResponse

        key = request.model_spec.signature_name or "serving_default"
        if key not in self.signatures or key not in self._functions:
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
        signature = self.signatures[key]
        inputs = self._inputs(signature, request)
        wanted = _wanted_outputs(signature, request.output_filter)
        outputs = self._functions[key](**inputs)
        response = PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.number
        response.model_spec.signature_name = key
        for alias in wanted:
            value = outputs[alias].numpy()  # a bare number or bytes where the output is a scalar
            array = np.asarray(value, dtype=object if isinstance(value, bytes) else None)
            response.outputs[alias].CopyFrom(encode_tensor(array, typed_fields=self._typed_fields))
        return response

    def _inputs(self, signature: Any, request: Any) -> dict[str, Any]:
        import tensorflow as tf

        sent, expected = set(request.inputs), set(signature.inputs)
        if len(sent) > len(expected) or (len(sent) < len(expected) and not signature.defaults):
            raise RequestError(
                _INVALID,
                f"input size does not match signature: {len(sent)}!={len(expected)} len({_names(sent)}) != "
                f"len({_names(expected)}). Sent extra: {_names(sent - expected)}. "
                f"Missing but required: {_names(expected - sent)}.",
            )
        for alias in sorted(expected - sent - set(signature.defaults)):
            raise RequestError(
                _INVALID,
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and "
                f"no default value provided. Inputs expected to be in the request {_names(sent)}, or default input "
                f"alias set: {','.join(sorted(signature.defaults))}",
            )
        if sent - expected:
            raise RequestError(
                _INVALID,
                f"Inputs contains invalid name. Used request inputs: {','.join(sorted(sent & expected))}, "
                f"request input: {','.join(sorted(sent))}",
            )
        tensors = {}
        for position, alias in enumerate(sorted(expected)):
            proto = request.inputs[alias] if alias in sent else signature.defaults[alias]
            _check_declared(alias, position, proto, signature.inputs[alias])
            try:
                array = decode_tensor(proto)
            except (ValueError, TypeError) as error:
                raise RequestError(_INVALID, f"tensor parsing error: {alias}: {error}") from error
            tensors[alias] = tf.constant(array, dtype=proto.dtype)
        return tensors

    def _warm_up(self, path: Path) -> None:
        """Play the version's own requests (saved_model_warmup_util.cc); if one fails, the version is unfit."""
        import tensorflow as tf
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

        if not path.is_file():
            return
        for count, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator(), start=1):
            if count > _MOST_WARMUP_RECORDS:
                message = f"Number of warmup records exceeds the maximum ({_MOST_WARMUP_RECORDS}) at {path}"
                raise RequestError(_INVALID, message)
            log = PredictionLog.FromString(record)
            kind = log.WhichOneof("log_type")
            if kind == "predict_log":
                self.predict(log.predict_log.request)
            elif kind is not None:
                raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


def _check_declared(alias: str, position: int, proto: Any, info: Any) -> None:
    """Hold a tensor's type and shape to the signature before anything is decoded or run.

    A session checks the type of what it is fed ("Expects arg[0] to be float but string is provided") but leaves the
    shape to the operations, which then fail with INVALID_ARGUMENT or, worse, broadcast. Here the shape is held to the
    signature at once, with the same code.
    """
    import tensorflow as tf

    if proto.dtype != info.dtype:
        try:
            given = tf.as_dtype(proto.dtype).name
        except TypeError:
            given = f"type {proto.dtype}"
        expected = tf.as_dtype(info.dtype).name.replace("float32", "float")
        given = given.replace("float32", "float").replace("float64", "double")
        message = f"Expects arg[{position}] to be {expected} but {given} is provided (input {alias})"
        raise RequestError(_INVALID, message)
    if info.tensor_shape.unknown_rank:
        return
    expected_shape = [dim.size for dim in info.tensor_shape.dim]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    fits = len(shape) == len(expected_shape) and all(
        size in {-1, given} for size, given in zip(expected_shape, shape, strict=True)
    )
    if not fits:
        expected = ",".join("?" if size < 0 else str(size) for size in expected_shape)
        raise RequestError(
            _INVALID, f"Expects input {alias} to have shape [{expected}] but [{','.join(map(str, shape))}] is provided"
        )


def _wanted_outputs(signature: Any, output_filter: Iterable[str]) -> list[str]:
    wanted: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise RequestError(
                _INVALID,
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_names(signature.outputs)}.",
            )
        if alias in wanted:
            raise RequestError(_INVALID, f"duplicate output tensor alias: {alias}")
        wanted.append(alias)
    return wanted or sorted(signature.outputs)


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
