"""The embedded server: TensorFlow Serving's gRPC API on one machine, without its program."""

import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from kflare.errors import ServingError
from kflare.serving.model_manager import ModelManager
from kflare.serving.models_config import ModelSettings
from kflare.serving.services import ModelService, PredictionService

__all__ = ["Server", "check_address"]

_INT32_MAX = 2**31 - 1
_OPTIONS = (
    ("grpc.max_receive_message_length", _INT32_MAX),  # as server.cc does: builder.SetMaxMessageSize(kint32max)
    ("grpc.max_send_message_length", _INT32_MAX),
    ("grpc.so_reuseport", 0),  # two servers on one port would each get some of the requests
)
_HEALTH_NAMES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


def check_address(host: str, port: int) -> None:
    """Find out early, and in plain words, that an address cannot be listened on.

    Raises
    ------
    ServingError
        The port is taken, the host is unknown or not this machine's, or the port needs more rights.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        message = f"cannot listen on {_address(host, port)}: {error.strerror or error}; choose another `port` or `host`"
        raise ServingError(message) from error


class Server:
    """TensorFlow Serving's PredictionService and ModelService, and grpc.health.v1, over the models of this machine.

    Parameters
    ----------
    models : sequence of ModelSettings
        What to serve.
    folder : Path, optional
        Where the models of later configurations (HandleReloadConfigRequest) lie, as `folder`/<name>, whatever base
        paths they name.
    discover : Path, optional
        A folder whose sub-folders are models too, also those that appear later.
    host, port
        Where to listen; port 0 takes a free one, see `port` after `start`. There is no authentication: whoever reaches
        the port can ask, and reload the configuration.
    poll_seconds : float
        How often to look for versions; 0 = only at the start.
    tensor_content : bool
        Answer in `tensor_content`, like TensorFlow Serving with `--enable_serialization_as_tensor_content`.

    Notes
    -----
    `with Server(...) as server:` starts and stops it.
    """

    def __init__(
        self,
        models: Sequence[ModelSettings],
        *,
        folder: Path | None = None,
        discover: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 8500,
        poll_seconds: float = 1.0,
        tensor_content: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.models = ModelManager(models, discover=discover, typed_fields=not tensor_content)
        self._folder = folder
        self._discover = discover
        self._poll_seconds = poll_seconds
        self._grpc: Any = None
        self._health: Any = None

    @property
    def address(self) -> str:
        """Host and port as a client's target."""
        return _address(self.host, self.port)

    def start(self) -> None:
        """Load what is there, then listen.

        Raises
        ------
        ServingError
            No model has a version that can be loaded, or the address cannot be listened on.
        """
        from grpc_health.v1.health import HealthServicer
        from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
        from tensorflow_serving.apis.model_service_pb2_grpc import add_ModelServiceServicer_to_server
        from tensorflow_serving.apis.prediction_service_pb2_grpc import add_PredictionServiceServicer_to_server

        self.models.poll(trust=True)
        if not any(self.models.available().values()):
            failures = "; ".join(f"{name} {why}" for name, why in self.models.failures().items())
            raise ServingError(f"no model to serve: {failures or self._nothing_found()}")
        threads = max(8, 4 * (os.cpu_count() or 1))
        self._grpc = grpc.server(ThreadPoolExecutor(threads, thread_name_prefix="kflare-serve"), options=_OPTIONS)
        self._health = HealthServicer()
        add_PredictionServiceServicer_to_server(PredictionService(self.models), self._grpc)
        add_ModelServiceServicer_to_server(ModelService(self.models, self._folder, self._report_health), self._grpc)
        add_HealthServicer_to_server(self._health, self._grpc)
        check_address(self.host, self.port)
        try:
            self.port = self._grpc.add_insecure_port(self.address)
        except RuntimeError as error:
            raise ServingError(f"cannot listen on {self.address}: {error}") from error
        self._report_health()
        self._grpc.start()
        if self._poll_seconds > 0:
            self.models.watch(self._poll_seconds, after=self._report_health)

    def stop(self, grace: float = 30.0) -> None:
        """Refuse new requests, finish those begun within `grace` seconds, end the watch."""
        if self._grpc is None:
            return
        self._health.enter_graceful_shutdown()
        self._grpc.stop(grace).wait()
        self.models.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _nothing_found(self) -> str:
        where = f"in {self._discover}" if self._discover else f"for {', '.join(self.models.available())}"
        return f"no <name>/<version>/saved_model.pb {where}; publish one with python -m kflare.fit"

    def _report_health(self) -> None:
        from grpc_health.v1.health_pb2 import HealthCheckResponse

        ready = all(self.models.available().values())
        for name in _HEALTH_NAMES:
            self._health.set(name, HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
