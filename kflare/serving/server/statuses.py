"""One place where a failure on the server becomes a gRPC status, with the codes that TensorFlow Serving uses."""

import grpc

from kflare.errors import ModelError, ServingError, SettingError

__all__ = ["RequestError", "status_of"]

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(ServingError):
    """A request that the embedded server answers with a status other than OK.

    Attributes
    ----------
    code : grpc.StatusCode
        The status code of the answer.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """The gRPC status that stands for an error: TensorFlow's codes are gRPC's own numbers.

    Parameters
    ----------
    error : BaseException
        Anything raised while a version was loaded or a request answered.

    Returns
    -------
    (grpc.StatusCode, str)
        The code and a message that is not empty.
    """
    if isinstance(error, RequestError):
        code = error.code
    elif isinstance(error, SettingError):
        code = grpc.StatusCode.INVALID_ARGUMENT
    elif isinstance(error, ModelError):  # a version that does not match its manifest
        code = grpc.StatusCode.DATA_LOSS
    elif isinstance(error, MemoryError):
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
    elif isinstance(error, FileNotFoundError):
        code = grpc.StatusCode.NOT_FOUND
    elif isinstance(number := getattr(error, "error_code", None), int):  # tf.errors.OpError
        code = _CODES.get(number, grpc.StatusCode.UNKNOWN)
    else:
        code = grpc.StatusCode.INTERNAL
    # `Session.run` adds Python's view of the graph to a message; the runtime's own words are in the error before.
    before = (
        error.__context__ if code is not grpc.StatusCode.INTERNAL and type(error.__context__) is type(error) else None
    )
    return code, str(getattr(before or error, "message", None) or error) or type(error).__name__
