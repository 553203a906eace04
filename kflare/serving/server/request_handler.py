"""The answers to requests, whether they come by gRPC or by HTTP, and the services of gRPC.

Clients cannot tell the two servers apart: same services, status codes and messages. Classify, Regress and
MultiInference are refused in TensorFlow Serving's words too. Where this server differs on purpose: embedded_server.md.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc

from kflare.serving.messages.statuses import RequestError, invalid, status_of, status_of_request
from kflare.serving.server.config_files import model_settings
from kflare.serving.server.limits import Admission
from kflare.serving.server.metrics import Metrics
from kflare.serving.server.model_manager import ModelManager
from kflare.serving.server.servable import Servable
from kflare.serving.server.signature_checks import CLASSIFY, REGRESS, check_takes_examples

_LONGEST_MESSAGE = 1024  # grpc_status_util.cc, kErrorMessageLimit: over gRPC only

_Work = Callable[[Any, grpc.ServicerContext], Any]


@dataclass(frozen=True)
class RequestHandler:
    """Answers Predict, GetModelMetadata, GetModelStatus and HandleReloadConfigRequest; refuses what takes Examples.

    `folder`: where models of a new configuration lie, whatever base paths it names; `after_reload`: called after each.
    """

    models: ModelManager
    admission: Admission
    metrics: Metrics
    folder: Path | None
    after_reload: Callable[[], None]

    def predict(
        self, request: Any, *, deadline: float | None, fill: Callable[[Servable, Any], None] | None = None,
        weight: int = 1
    ) -> Any:  # fmt: skip
        """Answer a PredictRequest by `Servable.predict`; RESOURCE_EXHAUSTED where too much is asked at a time.

        `deadline` is of `time.monotonic`; `fill` completes the request once it is known which version answers; a
        decoded byte counts as `weight` bytes.
        """
        with self.admission.enter(weight=weight) as share:
            share.hold(request.ByteSize())
            # A request that waited for a thread longer than its client does is not worth an inference.
            if deadline is not None and deadline <= time.monotonic():
                raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the turn came")
            _require_model_spec(request)
            with self.models.use(request.model_spec) as servable:
                if fill is not None:
                    fill(servable, request)
                return servable.predict(request, deadline=deadline, share=share)

    def examples(self, request: Any, *, method: str, missing: str = "No signature was found with the name: {}") -> None:
        """Refuse a ClassificationRequest or RegressionRequest, as `method` says: in TensorFlow Serving's words."""
        _require_model_spec(request)
        with self.models.use(request.model_spec) as servable:
            key = request.model_spec.signature_name or "serving_default"
            if key not in servable.signatures:
                raise invalid(missing.format(key))
            if method not in {CLASSIFY, REGRESS}:
                raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")
            check_takes_examples(servable.signatures[key], method)
        message = "the embedded server runs no tensorflow.Examples: use Predict"
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)

    def multi_inference(self, request: Any) -> None:
        """Refuse a MultiInferenceRequest by its first task (servables/tensorflow/multi_inference.cc)."""
        task = request.tasks[0] if request.tasks else request.tasks.add()
        task.model_spec.SetInParent()  # one without a name is told so
        self.examples(task, method=task.method_name, missing="Requested signature not found in model graph: {}")

    def metadata(self, request: Any) -> Any:
        """Answer a GetModelMetadataRequest, as servables/tensorflow/get_model_metadata_impl.cc does."""
        from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap

        _require_model_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid(f"Metadata field {name} is not supported")
        response, signatures = GetModelMetadataResponse(), SignatureDefMap()
        with self.models.use(request.model_spec) as servable:
            for key, signature in servable.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.number
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, request: Any) -> Any:
        """Answer a GetModelStatusRequest."""
        from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

        _require_model_spec(request)
        response = GetModelStatusResponse()
        for version in self.models.status(request.model_spec):
            entry = response.model_version_status.add(version=version.number, state=int(version.state))
            entry.status.error_code = version.code.value[0]
            entry.status.error_message = version.message
        return response

    def reload(self, request: Any) -> Any:
        """Serve another list of models from now on (model_servers/model_service_impl.cc)."""
        from tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse

        if request.config.WhichOneof("config") != "model_config_list":
            fault = "ServerModelConfig type not supported by HandleReloadConfigRequest"
            raise invalid(f"{fault}. Only ModelConfigList is currently supported")
        try:
            self.models.reconfigure(model_settings(request.config, folder=self.folder))
        finally:
            self.after_reload()
        response = ReloadConfigResponse()
        response.status.SetInParent()  # there, and OK
        return response

    @contextmanager
    def counted(self, model: str, *way: str) -> Iterator[None]:
        """Count a request in the metrics, however it ends: all of REST, and those for an inference of gRPC.

        The `way` of an inference is its API, "Predict", "Classify" or "Regress", over REST as in the path
        (http_server.cc), and its entry point, "GRPC" or "REST"; then its time is kept, too.
        """
        # Labels are names of models only: else a client that asks for names at random would fill the memory.
        label = model if self.models.knows(model) else ""
        started, status = time.monotonic(), "OK"
        try:
            yield
        except Exception as error:
            status = status_of(error)[0].name
            raise
        else:
            if way:
                taken = (time.monotonic() - started) * 1e6
                self.metrics.observe(":tensorflow:serving:request_latency", taken, label, *way)
        finally:
            self.metrics.count(":tensorflow:serving:request_count", label, status)


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def add_services(handler: RequestHandler, server: grpc.Server) -> None:
    """Let a gRPC server answer the methods of both services by a request handler."""
    from tensorflow_serving.apis.model_service_pb2_grpc import add_ModelServiceServicer_to_server
    from tensorflow_serving.apis.prediction_service_pb2_grpc import add_PredictionServiceServicer_to_server

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        left = context.time_remaining()
        return handler.predict(request, deadline=None if left is None else time.monotonic() + left)

    def counted(api: str, work: _Work) -> _Work:
        def work_and_count(request: Any, context: grpc.ServicerContext) -> Any:
            with handler.counted(request.model_spec.name, api, "GRPC"):
                return work(request, context)

        return _method(work_and_count)

    prediction_service = SimpleNamespace(
        Predict=counted("Predict", predict),
        GetModelMetadata=_method(lambda request, _: handler.metadata(request)),
        Classify=counted("Classify", lambda request, _: handler.examples(request, method=CLASSIFY)),
        Regress=counted("Regress", lambda request, _: handler.examples(request, method=REGRESS)),
        MultiInference=_method(lambda request, _: handler.multi_inference(request)),
    )
    model_service = SimpleNamespace(
        GetModelStatus=_method(lambda request, _: handler.status(request)),
        HandleReloadConfigRequest=_method(lambda request, _: handler.reload(request)),
    )
    add_PredictionServiceServicer_to_server(prediction_service, server)
    add_ModelServiceServicer_to_server(model_service, server)


def _method(work: _Work) -> _Work:
    def method(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return work(request, context)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with one request becomes its status
            code, message = status_of_request(error)
        if len(message) > _LONGEST_MESSAGE:
            message = message[:_LONGEST_MESSAGE] + "...TRUNCATED"
        return context.abort(code, message)  # which raises

    return method
