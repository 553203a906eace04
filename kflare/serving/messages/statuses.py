"""One place where a failure on the server becomes a gRPC status, with the codes that TensorFlow Serving uses."""

import logging

import grpc

from kflare.errors import ModelError, ServingError, SettingError

_LOG = logging.getLogger(__name__)
_LONGEST = 4000  # characters of a message: headers of 8 KiB are what clients take
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(ServingError):
    """A request that the embedded server answers with the status `code`, a grpc.StatusCode other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        # It repeats what was sent, and travels in a header.
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}...")
        self.code = code


def invalid(message: str) -> RequestError:
    """INVALID_ARGUMENT."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def status_of_request(error: Exception) -> tuple[grpc.StatusCode, str]:
    """`status_of` an error that ended a request; what is a defect of the server is logged."""
    code, message = status_of(error)
    if code is grpc.StatusCode.INTERNAL:
        _LOG.error("a request failed in a way that was not foreseen", exc_info=error)
    return code, message


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Code and non-empty message of an error; TensorFlow's error codes are gRPC's own numbers."""
    match error:
        case RequestError():
            code = error.code
        case SettingError() | RecursionError():  # the latter of JSON of nearly a thousand levels
            code = grpc.StatusCode.INVALID_ARGUMENT
        case ModelError():  # a version that does not match its manifest
            code = grpc.StatusCode.DATA_LOSS
        case MemoryError():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
        case FileNotFoundError():
            code = grpc.StatusCode.NOT_FOUND
        case _ if isinstance(number := getattr(error, "error_code", None), int):  # tf.errors.OpError
            code = _CODES.get(number, grpc.StatusCode.UNKNOWN)
        case _:
            code = grpc.StatusCode.INTERNAL
    # `Session.run` adds Python's view of the graph to a message; the runtime's own words are in the error before.
    same = code is not grpc.StatusCode.INTERNAL and type(error.__context__) is type(error)
    told = error.__context__ if same else error
    return code, str(getattr(told, "message", None) or error) or type(error).__name__
