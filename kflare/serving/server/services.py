"""The gRPC side of the embedded server: TensorFlow Serving's PredictionService and ModelService.

Clients cannot tell the two servers apart: same services, same status codes, same messages. Classify, Regress and
MultiInference are refused in its words too, since kflare's models have no signatures for them. Where the embedded
server is stricter or kinder on purpose, a comment says so: versions.py, batching.py, limits.py, signature_checks.py,
model_manager.py and json_values.py.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from kflare.serving.server.request_handler import RequestHandler
from kflare.serving.server.signature_checks import CLASSIFY, REGRESS
from kflare.serving.server.statuses import status_of

__all__ = ["ModelService", "PredictionService"]

_LONGEST_MESSAGE = 1024  # grpc_status_util.cc, kErrorMessageLimit: over gRPC only
_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class PredictionService:
    """RequestHandler `tensorflow.serving.PredictionService`; the method names are the service's."""

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run a signature of a model version."""
        left = context.time_remaining()
        deadline = None if left is None else time.monotonic() + left
        return self._counted("Predict", request, context, lambda: self._handler.predict(request, deadline=deadline))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The signatures of a model version."""
        return _answer(context, lambda: self._handler.metadata(request))

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Refuse: what the signature lacks."""
        return self._counted("Classify", request, context, lambda: self._handler.examples(request, method=CLASSIFY))

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Refuse: what the signature lacks."""
        return self._counted("Regress", request, context, lambda: self._handler.examples(request, method=REGRESS))

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Refuse: what the signature of the first task lacks."""
        return _answer(context, lambda: self._handler.multi_inference(request))

    def _counted(
        self, api: str, request: Any, context: grpc.ServicerContext, work: Callable[[], _Answer]
    ) -> _Answer | None:
        def counted() -> _Answer:
            with self._handler.counted(request.model_spec.name, api, "GRPC"):
                return work()

        return _answer(context, counted)


class ModelService:
    """RequestHandler `tensorflow.serving.ModelService`; the method names are the service's."""

    def __init__(self, handler: RequestHandler) -> None:
        self._handler = handler

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The state of a model's versions."""
        return _answer(context, lambda: self._handler.status(request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Serve another list of models from now on."""
        return _answer(context, lambda: self._handler.reload(request))


def _answer(context: grpc.ServicerContext, work: Callable[[], _Answer]) -> _Answer | None:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one request becomes its status
        code, message = status_of(error)
        if code is grpc.StatusCode.INTERNAL:
            _LOG.exception("a request failed in a way that was not foreseen")
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "...TRUNCATED"
    context.abort(code, message)
    return None  # not reached: abort raises
