"""The embedded server's answers: TensorFlow Serving's PredictionService and ModelService.

Clients cannot tell the two servers apart: same services, same status codes, same messages (the sources followed are
named where they matter). Not answered: Classify, Regress and MultiInference, for which kflare's models have no
signatures.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from kflare.serving.model_manager import ModelManager
from kflare.serving.models_config import model_settings
from kflare.serving.statuses import RequestError, status_of

__all__ = ["ModelService", "PredictionService"]

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class PredictionService:
    """Answers `tensorflow.serving.PredictionService`; the method names are the service's."""

    def __init__(self, models: ModelManager) -> None:
        self._models = models

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run a signature of a model version."""

        def predict() -> Any:
            # A request that waited for a thread longer than its client does is not worth an inference.
            if (left := context.time_remaining()) is not None and left <= 0:
                raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the turn came")
            _require_model_spec(request)
            with self._models.use(request.model_spec) as servable:
                return servable.predict(request)

        return _answer(context, predict)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Tell the signatures of a model version."""
        return _answer(context, lambda: self._metadata(request))

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        """Say that there is no such service here."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the embedded server answers Predict and GetModelMetadata only")

    Regress = MultiInference = Classify

    def _metadata(self, request: Any) -> Any:
        """Follows servables/tensorflow/get_model_metadata_impl.cc."""
        from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap

        _require_model_spec(request)
        if not request.metadata_field:
            message = "GetModelMetadataRequest must specify at least one metadata_field"
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)
        for name in request.metadata_field:
            if name != "signature_def":
                raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, f"Metadata field {name} is not supported")
        response, signatures = GetModelMetadataResponse(), SignatureDefMap()
        with self._models.use(request.model_spec) as servable:
            for key, signature in servable.signatures.items():
                signatures.signature_def[key].CopyFrom(signature)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.number
        response.metadata["signature_def"].Pack(signatures)
        return response


class ModelService:
    """Answers `tensorflow.serving.ModelService`; the method names are the service's."""

    def __init__(self, models: ModelManager, folder: Path | None, after_reload: Callable[[], None]) -> None:
        self._models = models
        self._folder = folder
        self._after_reload = after_reload

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Tell the state of a model's versions."""
        from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

        def status() -> Any:
            _require_model_spec(request)
            response = GetModelStatusResponse()
            for version in self._models.status(request.model_spec):
                entry = response.model_version_status.add(version=version.number, state=int(version.state))
                entry.status.error_code = version.code.value[0]
                entry.status.error_message = version.message
            return response

        return _answer(context, status)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Serve another list of models from now on (model_servers/model_service_impl.cc)."""
        from tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse

        def reload() -> Any:
            if request.config.WhichOneof("config") != "model_config_list":
                message = (
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
                raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)
            try:
                self._models.reconfigure(model_settings(request.config, folder=self._folder))
            finally:
                self._after_reload()
            return ReloadConfigResponse()

        return _answer(context, reload)


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


def _answer(context: grpc.ServicerContext, work: Callable[[], _Answer]) -> _Answer | None:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one request becomes its status
        code, message = status_of(error)
        if code is grpc.StatusCode.INTERNAL:
            _LOG.exception("a request failed in a way that was not foreseen")
    context.abort(code, message)
    return None  # not reached: abort raises
