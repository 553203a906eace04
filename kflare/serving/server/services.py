"""The gRPC side of the embedded server: TensorFlow Serving's PredictionService and ModelService.

Clients cannot tell the two servers apart: same services, status codes and messages. Classify, Regress and
MultiInference are refused in its words too. Where the embedded server is stricter or kinder on purpose, a comment says
so: versions.py, batching.py, limits.py, signature_checks.py, model_manager.py and json_values.py.
"""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc

from kflare.serving.messages.statuses import status_of_request
from kflare.serving.server.request_handler import RequestHandler
from kflare.serving.server.signature_checks import CLASSIFY, REGRESS

__all__ = ["add_services"]

_LONGEST_MESSAGE = 1024  # grpc_status_util.cc, kErrorMessageLimit: over gRPC only

_Work = Callable[[Any, grpc.ServicerContext], Any]


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
