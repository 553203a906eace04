"""The embedded server: TensorFlow Serving's gRPC and REST APIs on a machine without TensorFlow Serving."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc

from kflare.errors import ServingError
from kflare.serving.client.channel import INT32_MAX
from kflare.serving.rest.rest_server import METRICS_PATH, RestServer
from kflare.serving.server.allocator import give_back_if_grown
from kflare.serving.server.batching import BatchScheduler
from kflare.serving.server.config_files import BatchingParameters, ModelSettings
from kflare.serving.server.limits import Admission, Limits, ReceivingGate, RunGate
from kflare.serving.server.metrics import Metrics
from kflare.serving.server.model_manager import ModelManager
from kflare.serving.server.request_handler import RequestHandler, add_services
from kflare.serving.server.servable import Servable, Trust
from kflare.serving.server.tls import ServerTls

_SPARE_THREADS = 8  # for status, metadata and refusals while as many requests as allowed are under way
_SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


def check_address(host: str, port: int) -> None:
    """`ServingError` if the port is taken or needs more rights, or the host is unknown or not this machine's."""
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

    `with Server(...) as server:` starts and stops it. To grpc.health.v1 the server and its services are SERVING while
    any model answers, so that one broken model does not take the others from the clients; each model is a service name
    of its own. All are NOT_SERVING once `stop` begins.

    Served are the `models`, or without any all in `folder`, also those that appear later. There models lie as
    `folder`/<name>, also those of later configurations (HandleReloadConfigRequest), whatever base paths they name.
    Every `poll_seconds` it looks for versions, and for another content of the TLS file; 0 = only at the start. A
    version must show the `trust` before it is loaded, by default that it was published and computes only; for
    `tensor_content` and `own_batching` see `Servable`. With `batching` requests run in batches; `limits` refuse others.

    It listens at `host` and `port`, with a `rest_port` for HTTP too; 0 takes a free one, see `port` after `start`.
    There is no authentication: everybody who reaches a port can ask, and reload the configuration. With `tls` both
    ports speak TLS; a renewed file holds for new connections. The HTTP port has metrics at `metrics_path`.
    """

    def __init__(
        self, models: Sequence[ModelSettings] = (), *, folder: Path | None = None, host: str = "127.0.0.1",
        port: int = 8500, poll_seconds: float = 1.0, tensor_content: bool = False, trust: Trust | None = None,
        batching: BatchingParameters | None = None, own_batching: bool = False, limits: Limits | None = None,
        tls: ServerTls | None = None, rest_port: int | None = None, metrics_path: str | None = METRICS_PATH
    ) -> None:  # fmt: skip
        self.host = host
        self.port = port
        self.metrics = Metrics()
        self._discovered = None if models else folder
        self._limits = limits or Limits()
        self._scheduler = None if batching is None else BatchScheduler(batching, self.metrics)
        given: dict[str, Any] = {"tensor_content": tensor_content, "trust": trust or Trust()}
        given |= {"scheduler": self._scheduler, "own_batching": own_batching, "metrics": self.metrics}
        given["gate"] = RunGate(self._limits.run_bytes)
        self.models = ModelManager(models, discover=self._discovered, load=partial(Servable, **given))
        self._tls = tls
        self._poll_seconds = poll_seconds
        self._grpc: Any = None
        self._health: Any = None
        self._reported: dict[str, int] = {}
        self._settled = 0
        admission = Admission(self._limits, self.metrics)
        self._handler = RequestHandler(self.models, admission, self.metrics, folder, self._report)
        self._rest: RestServer | None = None
        if rest_port is not None:
            where: dict[str, Any] = {"host": host, "port": rest_port, "tls": tls, "metrics_path": metrics_path}
            self._rest = RestServer(self._handler, self._limits, **where)

    @property
    def address(self) -> str:
        """Host and port as a client's target."""
        return _address(self.host, self.port)

    @property
    def rest_address(self) -> str | None:
        """Where HTTP is spoken, if it is."""
        if self._rest is None:
            return None
        return f"{'https' if self._tls else 'http'}://{_address(self.host, self._rest.port)}"

    def start(self) -> None:
        """Load what is there, listen, then warm up; `ServingError` if no version can be loaded or no address be had."""
        from grpc_health.v1.health import HealthServicer
        from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

        self.models.poll(trust=True, warm=False)
        if not any(self.models.available().values()):
            where = f"in {self._discovered}" if self._discovered else f"for {', '.join(self.models.available())}"
            absent = f"no <name>/<version>/saved_model.pb {where}; publish one with python -m kflare.fit"
            failures = "; ".join(f"{name} {why}" for name, why in self.models.failures().items())
            raise ServingError(f"no model to serve: {failures or absent}")
        threads = ThreadPoolExecutor(self._limits.requests + _SPARE_THREADS, thread_name_prefix="kflare-serve")
        gates = [ReceivingGate(self._limits.receiving)]
        self._grpc = grpc.server(threads, interceptors=gates, options=_options(self._limits))
        # Non-blocking: somebody who watches the health for hours holds no thread.
        self._health = HealthServicer(experimental_non_blocking=True)
        add_services(self._handler, self._grpc)
        add_HealthServicer_to_server(self._health, self._grpc)
        check_address(self.host, self.port)
        try:
            if self._tls is None:
                self.port = self._grpc.add_insecure_port(self.address)
            else:
                self.port = self._grpc.add_secure_port(self.address, self._tls.grpc_credentials())
        except RuntimeError as error:
            raise ServingError(f"cannot listen on {self.address}: {error}") from error
        self._report()
        if self._rest is not None:
            self._rest.start()
        self._grpc.start()
        self.models.watch(self._poll_seconds, after=self._after_look)

    def stop(self, grace: float = 30.0) -> None:
        """Refuse new requests, finish those begun within `grace` seconds, end the watch."""
        if self._grpc is None:
            return
        end = time.monotonic() + grace
        self._health.enter_graceful_shutdown()
        finished = self._grpc.stop(grace)
        if self._rest is not None:
            self._rest.stop(grace)
        finished.wait(max(0.0, end - time.monotonic()) + 1.0)
        if self._scheduler is not None:
            self._scheduler.stop()
        self.models.stop(max(0.0, end - time.monotonic()) + 1.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _after_look(self) -> None:
        if self._tls is not None:
            self._tls.renew()
        self._settled = give_back_if_grown(self._settled, idle=self._handler.admission.idle)
        self._report()

    def _report(self) -> None:
        from grpc_health.v1.health_pb2 import HealthCheckResponse

        answers = {name: bool(versions) for name, versions in self.models.available().items()}
        answers |= dict.fromkeys(_SERVICES, any(answers.values()))
        # Models that are no longer configured:
        states = dict.fromkeys(self._reported, HealthCheckResponse.SERVICE_UNKNOWN)
        for name, ready in answers.items():
            states[name] = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        for name in [name for name, state in states.items() if self._reported.get(name) != state]:
            self._health.set(name, states[name])
        self._reported = states
        for model, version in self.models.known():
            self.metrics.set(":kflare:serving:version_state", int(version.state), model, str(version.number))


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", min(limits.message_bytes, INT32_MAX)),
        ("grpc.max_send_message_length", INT32_MAX),
        ("grpc.http2.bdp_probe", 0),  # else megabytes of messages whose turn has not come would be taken in
        ("grpc.so_reuseport", 0),  # two servers on one port would each get some of the requests
        ("grpc.server_handshake_timeout_ms", int(limits.handshake_seconds * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.idle_seconds * 1000)),
    ]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
