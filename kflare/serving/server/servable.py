"""One loaded version of a model: what `Predict` and `GetModelMetadata` are asked of.

It runs in a `Session`, as in TensorFlow Serving: a deadline then ends a run, and closing it frees its memory (functions
of `tf.saved_model.load` stay for good). All outputs of a signature are run, whatever the `output_filter`: a session
prepares itself anew for each set of outputs (0.1 to 0.3 s), and a Keras signature takes as long for one as for all.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from kflare.errors import ModelError
from kflare.models.known_answer import WARMUP
from kflare.models.publish import BATCHING, MANIFEST, verify_manifest
from kflare.serving.messages.statuses import RequestError, invalid, status_of
from kflare.serving.messages.tensor_values import fill_tensor
from kflare.serving.server import signature_checks as checks
from kflare.serving.server.batching import Arrays, BatchScheduler
from kflare.serving.server.config_files import BatchingParameters
from kflare.serving.server.limits import Limits, OneRequest, RunGate
from kflare.serving.server.metrics import Metrics

_MOST_WARMUP_RECORDS = 1000  # WarmupConsts::kMaxNumRecords in servables/tensorflow/saved_model_warmup_util.h
_LEAST_IMAGE_BYTES = 2**20  # that a row of an image model counts as: a network of 256 x 256 takes ten times as much
_CODE = grpc.StatusCode


@dataclass(frozen=True)
class Trust:
    """What a version must show before it is loaded: a graph may do whatever its operations can.

    A manifest that is there is checked in any case.

    `unpublished`: serve versions without a manifest, too. `any_operation`: also operations that kflare's own models do
    not have, such as those that read files. `key`: serve only versions signed with it
    (`kflare.models.signing.read_public_key`).
    """

    unpublished: bool = False
    any_operation: bool = False
    key: Any = None

    def check(self, path: Path) -> None:
        """`ModelError` where a version's folder breaks a rule."""
        if self.key is not None:
            from kflare.models.signing import verify_signature

            verify_signature(path, self.key)
        if (path / MANIFEST).is_file():
            verify_manifest(path)
        elif not self.unpublished:
            raise ModelError(f"{path} has no {MANIFEST}: publish it with kflare.fit, or --allow-unpublished serves it")
        if not self.any_operation:
            from kflare.models.savedmodel import check_ops

            check_ops(path)


class Servable:
    """A SavedModel in memory, which answers at once; what `warm_up` leaves out costs its first request a second.

    `tensor_content`: answer in raw bytes, faster for heat maps (--enable_serialization_as_tensor_content), instead of
    `float_val`, ... `own_batching`: by the version's own `batching_params.pbtxt`, if it has one
    (--enable_per_model_batching_parameters).

    ModelError: it is not what `trust` asks for. `RequestError` OUT_OF_RANGE: `saved_model.pb`
    is no SavedModel; NOT_FOUND: nothing to serve. tf.errors.OpError: broken variables.
    """

    def __init__(
        self, path: Path, *, name: str, number: int, tensor_content: bool = False, trust: Trust | None = None,
        scheduler: BatchScheduler | None = None, own_batching: bool = False, metrics: Metrics | None = None,
        gate: RunGate | None = None
    ) -> None:  # fmt: skip
        self.name = name
        self.number = number
        self._path = path
        self._tensor_content = tensor_content
        self._scheduler = scheduler
        self._batching: BatchingParameters | None = None
        if own_batching:
            self._scheduler = scheduler if (path / BATCHING).is_file() else None
            self._batching = BatchingParameters.read(path / BATCHING) if self._scheduler else None
        self._metrics = metrics or Metrics()
        self._gate = gate or RunGate(Limits().run_bytes)
        outcome = "fail"
        try:
            (trust or Trust(unpublished=True, any_operation=True)).check(path)
            self._load(path)
            outcome = "success"
        finally:
            self._metrics.count(":tensorflow:cc:saved_model:load_attempt_count", str(path), outcome)

    def close(self) -> None:
        """Free its memory; nobody may be using it."""
        self._session.close()

    def predict(self, request: Any, *, deadline: float | None = None, share: OneRequest | None = None) -> Any:
        """Answer a PredictRequest until the `deadline` of `time.monotonic`; without a `share` of any size.

        `RequestError` FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs or an `output_filter`
        that do not fit it, DEADLINE_EXCEEDED; tf.errors.OpError where the graph itself fails.
        """
        from tensorflow_serving.apis.predict_pb2 import PredictResponse

        key = request.model_spec.signature_name or "serving_default"
        signature = self.signatures.get(key)
        if signature is None:
            raise RequestError(_CODE.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
        least, answer = self._least_row_bytes(signature), sum(checks.row_bytes(signature.outputs))

        def admit(rows: int, size: int) -> None:
            if share is not None:
                share.hold(size + rows * answer, rows=rows, row_bytes=least)

        inputs = checks.read_inputs(signature, request, admit)
        wanted = checks.wanted_outputs(signature, request.output_filter)
        if self._decodes_images:
            images = checks.decoded_bytes(inputs, least=least)
            if share is not None:
                share.hold(0, rows=1, row_bytes=images)
        outputs = self._run(key, inputs, deadline)
        response = PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.number
        response.model_spec.signature_name = key
        for alias in wanted:
            array = np.asarray(outputs[alias], dtype=object if isinstance(outputs[alias], bytes) else None)
            fill_tensor(response.outputs[alias], array, typed_fields=not self._tensor_content)
        return response

    def _run(self, key: str, inputs: Arrays, deadline: float | None) -> Arrays:
        from tensorflow.compat.v1 import RunOptions

        signature = self.signatures[key]

        def run_piece(arrays: Arrays, until: float | None) -> Arrays:
            options = None
            if until is not None:
                if (left := until - time.monotonic()) <= 0:
                    raise RequestError(_CODE.DEADLINE_EXCEEDED, "the deadline passed before the turn came")
                options = RunOptions(timeout_in_ms=max(1, min(int(left * 1000), 2**31 - 1)))
            started = time.monotonic()
            feeds = {signature.inputs[alias].name: array for alias, array in arrays.items()}
            fetches = {alias: info.name for alias, info in signature.outputs.items()}
            outputs: Arrays = self._session.run(fetches, feeds, options=options)
            taken = (time.monotonic() - started) * 1e6
            self._metrics.observe(":tensorflow:serving:runtime_latency", taken, self.name, "Predict", "TF1")
            return outputs

        def run(arrays: Arrays, until: float | None) -> Arrays:
            rows, size = self._rows_and_bytes(signature, arrays)
            step = max(1, self._gate.most * rows // max(size, 1))
            pieces = []
            for start in range(0, rows, step):
                piece = arrays if step >= rows else {k: array[start : start + step] for k, array in arrays.items()}
                with self._gate.run(size * min(step, rows - start) // rows, until):
                    pieces.append(run_piece(piece, until))
            if len(pieces) == 1:
                return pieces[0]
            return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

        if self._scheduler is not None and checks.has_rows(signature):
            return self._scheduler.run((id(self), key), run, inputs, deadline=deadline, parameters=self._batching)
        return run(inputs, deadline)

    def _rows_and_bytes(self, signature: Any, arrays: Arrays) -> tuple[int, int]:
        """Into how many pieces inputs may be cut, at least 1, and how much work they are."""
        lengths = {len(array) for array in arrays.values()} if checks.has_rows(signature) else set()
        rows, least = max(1, lengths.pop() if len(lengths) == 1 else 1), self._least_row_bytes(signature)
        images = checks.decoded_bytes(arrays, least=least) if self._decodes_images else 0
        return rows, max(images, rows * least, sum(array.nbytes for array in arrays.values()))

    def _least_row_bytes(self, signature: Any) -> int:
        shapes = (info.tensor_shape for info in signature.inputs.values())
        image = "image" in signature.inputs or any(len(shape.dim) > 2 for shape in shapes)
        return self._image_row_bytes if image else 1

    def _load(self, path: Path) -> None:
        started = time.monotonic()
        self._session, saved = _open(path)
        self.signatures = dict(saved.signature_def)
        self._decodes_images = checks.decodes_images(saved.graph_def)
        largest = max((size for one in self.signatures.values() for size in checks.row_bytes(one.outputs)), default=0)
        self._image_row_bytes = max(_LEAST_IMAGE_BYTES, 2 * largest)
        taken = (time.monotonic() - started) * 1e6
        self._metrics.observe(":tensorflow:cc:saved_model:load_latency", taken, str(path))

    def warm_up(self, stopped: Callable[[], bool] = bool) -> None:
        """Play the version's own requests until `stopped` (saved_model_warmup_util.cc); if one fails, it is unfit."""
        if not (path := self._path / WARMUP).is_file():
            return
        started, status = time.monotonic(), "OK"
        try:
            self._play(path, stopped)
        except Exception as error:
            status = status_of(error)[0].name
            raise
        finally:
            taken = (time.monotonic() - started) * 1e6
            self._metrics.observe(":tensorflow:serving:model_warmup_latency", taken, str(self._path), status)

    def _play(self, path: Path, stopped: Callable[[], bool]) -> None:
        import tensorflow as tf
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(path)), start=1):
            if stopped():
                return
            if count > _MOST_WARMUP_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_WARMUP_RECORDS}) at {path}")
            try:
                log = PredictionLog.FromString(record)
            except DecodeError as error:
                raise invalid(f"Failed to parse warmup record: from {path}") from error
            kind = log.WhichOneof("log_type")
            if kind == "predict_log":
                self.predict(log.predict_log.request)
            elif kind is not None:
                number = PredictionLog.DESCRIPTOR.fields_by_name[kind].number
                raise RequestError(_CODE.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def _open(path: Path) -> tuple[Any, Any]:
    """Session and MetaGraphDef of a SavedModel."""
    import tensorflow as tf

    graph = tf.Graph()
    # A GPU's memory is shared with whatever else runs there, other versions first of all.
    # A graph is rewritten once and not twice: no request is answered sooner by a second time, and each signature later.
    once = {"rewrite_options": {"meta_optimizer_iterations": "ONE"}}
    config = tf.compat.v1.ConfigProto(gpu_options={"allow_growth": True}, graph_options=once)
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with graph.as_default():
            saved = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
    except BaseException as error:
        session.close()
        # The loader in Python has errors of its own; codes and words are those of tensorflow/cc/saved_model/reader.cc.
        if isinstance(error, OSError):
            message = f"Read less bytes than requested: {path}/saved_model.pb is no SavedModel"
            raise RequestError(_CODE.OUT_OF_RANGE, message) from error
        if isinstance(error, RuntimeError) and "MetaGraphDef" in str(error):
            message = "Could not find meta graph def matching supplied tags: { serve }."
            raise RequestError(_CODE.NOT_FOUND, message) from error
        raise
    return session, saved
