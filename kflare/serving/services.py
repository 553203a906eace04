"""The gRPC side of the embedded server: TensorFlow Serving's PredictionService and ModelService.

Clients cannot tell the two servers apart: same services, same status codes, same messages. Not answered: Classify,
Regress and MultiInference, for which kflare's models have no signatures.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from kflare.serving.answers import Answers
from kflare.serving.statuses import status_of

__all__ = ["ModelService", "PredictionService"]

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class PredictionService:
    """Answers `tensorflow.serving.PredictionService`; the method names are the service's."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run a signature of a model version."""
        left = context.time_remaining()
        deadline = None if left is None else time.monotonic() + left
        return _answer(context, lambda: self._answers.predict(request, entrypoint="GRPC", deadline=deadline))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Tell the signatures of a model version."""
        return _answer(context, lambda: self._answers.metadata(request))

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        """Say that there is no such service here."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the embedded server answers Predict and GetModelMetadata only")

    Regress = MultiInference = Classify


class ModelService:
    """Answers `tensorflow.serving.ModelService`; the method names are the service's."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Tell the state of a model's versions."""
        return _answer(context, lambda: self._answers.status(request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Serve another list of models from now on."""
        return _answer(context, lambda: self._answers.reload(request))


def _answer(context: grpc.ServicerContext, work: Callable[[], _Answer]) -> _Answer | None:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one request becomes its status
        code, message = status_of(error)
        if code is grpc.StatusCode.INTERNAL:
            _LOG.exception("a request failed in a way that was not foreseen")
    context.abort(code, message)
    return None  # not reached: abort raises
