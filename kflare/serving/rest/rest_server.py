"""The HTTP side of the embedded server: TensorFlow Serving's REST API and metrics, on one port.

Paths, bodies and status codes follow g3doc/api_rest.md, model_servers/http_rest_api_util.cc and http_server.cc.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
import rapidjson
import tornado.httpserver
import tornado.httputil
import tornado.netutil
import tornado.web

from kflare.errors import ServingError
from kflare.serving.messages.statuses import RequestError, invalid, status_of_request
from kflare.serving.rest.json_tensors import fill_request, parse, require_examples, response_json

if TYPE_CHECKING:
    from kflare.serving.server.limits import Limits
    from kflare.serving.server.request_handler import RequestHandler
    from kflare.serving.server.tls import ServerTls

METRICS_PATH = "/monitoring/prometheus/metrics"  # PrometheusExporter::kPrometheusPath

_TIMEOUT = 30.0  # --rest_api_timeout_in_ms
_REFUSED_BYTES = 2**30  # of a refused body that are read on, so that its client comes to read the answer
_WEIGHT = 8  # bytes that a decoded byte takes as JSON and as Python's numbers and lists
# kPredictionApiGegex and kModelStatusApiRegex: the case matters in the method and in "metadata", which are compared.
_VERSION = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(rf"(?i:/v1/models/([^/:]+){_VERSION}):(classify|regress|predict)")
_STATUS = re.compile(rf"(?i:/v1/models(?:/([^/:]+))?{_VERSION})(?i:/(metadata))?")
_ORIGIN = re.compile(r"^http://[^/]*")  # a proxy may be sent the whole address
_PATH = re.compile(r"(?:[\w/:.~!$&'()*+,;=@?#-]|%[0-9a-f]{2})*", re.ASCII | re.IGNORECASE)  # evhttp_uri_parse
_CODE = grpc.StatusCode
_HTTP = {
    _CODE.CANCELLED: 499, _CODE.INVALID_ARGUMENT: 400, _CODE.DEADLINE_EXCEEDED: 504, _CODE.NOT_FOUND: 404,
    _CODE.ALREADY_EXISTS: 409, _CODE.PERMISSION_DENIED: 403, _CODE.RESOURCE_EXHAUSTED: 429,
    _CODE.FAILED_PRECONDITION: 400, _CODE.ABORTED: 409, _CODE.OUT_OF_RANGE: 400, _CODE.UNIMPLEMENTED: 501,
    _CODE.UNAVAILABLE: 503, _CODE.UNAUTHENTICATED: 401,
}  # fmt: skip


class RestServer:
    """Listens for HTTP in a thread of its own; idle connections cost no thread.

    Port 0 takes a free one, see `port` after `start`; `metrics_path` is where Prometheus asks, None = nowhere.
    """

    def __init__(
        self, handler: "RequestHandler", limits: "Limits", *, host: str, port: int, tls: "ServerTls | None" = None,
        metrics_path: str | None = METRICS_PATH
    ) -> None:  # fmt: skip
        self.port = port
        self._host = host
        self._limits = limits
        # Lists of nothing take twenty times the bytes of their text.
        most = min(max(1, limits.work_bytes // 16), limits.message_bytes)
        self._tls = tls
        self._threads = ThreadPoolExecutor(limits.requests + 4, thread_name_prefix="kflare-rest")
        shared = {"handler": handler, "threads": self._threads, "metrics_path": metrics_path}
        self._application = tornado.web.Application(
            [(r".*", _Handler, shared)], log_function=lambda _: None, busy=0, held=0, most=most
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._http: Any = None

    def start(self) -> None:
        """Listen; raises `ServingError` where the address cannot be bound."""
        try:
            sockets = tornado.netutil.bind_sockets(self.port, self._host, backlog=1024)
        except OSError as error:
            message = f"cannot listen on {self._host} port {self.port} for HTTP: {error.strerror or error}"
            raise ServingError(message) from error
        self.port = sockets[0].getsockname()[1]
        ready = threading.Event()

        async def serve() -> None:
            tls, idle = self._tls.context() if self._tls else None, self._limits.handshake_seconds
            # A body may have any size: `_Handler` refuses what is too large, and says why.
            sizes = {"max_body_size": 2**62, "max_buffer_size": 2**20, "max_header_size": 2**16}
            waits = {"idle_connection_timeout": idle, "body_timeout": _TIMEOUT}
            self._http = tornado.httpserver.HTTPServer(
                self._application, ssl_options=tls, decompress_request=True, **sizes, **waits
            )
            self._http.add_sockets(sockets)
            ready.set()

        self._loop = asyncio.new_event_loop()
        self._loop.create_task(serve())
        self._thread = threading.Thread(target=self._loop.run_forever, name="kflare-http", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self, grace: float) -> None:
        """Take no more connections, finish what was begun within `grace` seconds."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return

        async def close() -> None:
            self._http.stop()
            end = time.monotonic() + grace
            while self._application.settings["busy"] and time.monotonic() < end:
                await asyncio.sleep(0.01)
            await self._http.close_all_connections()

        asyncio.run_coroutine_threadsafe(close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()
        self._threads.shutdown(wait=False)


@tornado.web.stream_request_body
class _Handler(tornado.web.RequestHandler):
    """Takes a body into memory when there is room for it; what the settings count is on the loop's thread alone."""

    handler: "RequestHandler"
    threads: ThreadPoolExecutor
    metrics_path: str | None

    def initialize(self, handler: "RequestHandler", threads: ThreadPoolExecutor, metrics_path: str | None) -> None:
        self.handler, self.threads, self.metrics_path = handler, threads, metrics_path
        self._body, self._held, self._answering, self._refused = bytearray(), 0, False, 0
        self._connection: Any = self.request.connection

    async def prepare(self) -> None:
        headers, settings = self.request.headers, self.application.settings
        length = headers.get("Content-Length", "0")
        packed = {"Transfer-Encoding", "Content-Encoding", "X-Consumed-Content-Encoding"} & set(headers)
        most = settings["most"]
        size = most if packed or not length.isdecimal() else int(length)
        end = time.monotonic() + _TIMEOUT
        while settings["held"] and settings["held"] + size > most >= size and time.monotonic() < end:
            await asyncio.sleep(0.005)
        if size > most:
            await self._refuse(413, f"a body of {size} bytes is more than the {most} that are taken as JSON")
        elif settings["held"] and settings["held"] + size > most:
            await self._refuse(429, "too much is being received; try later")
        else:
            self._held = size
            settings["held"] += size

    async def data_received(self, chunk: bytes) -> None:
        most = self.application.settings["most"]
        if not self._refused and len(self._body) + len(chunk) > most:
            await self._refuse(413, f"the body is longer than the {most} bytes that are taken as JSON")
        if self._refused:
            self._refused += len(chunk)
            if self._refused > _REFUSED_BYTES:
                self._connection.close()
        else:
            self._body += chunk

    async def _refuse(self, status: int, message: str) -> None:
        """Answer at once; what still comes is thrown away, since closing now would reset the connection unread."""
        self._release()
        self._body, self._refused = bytearray(), 1
        self.request.headers.pop("Expect", None)  # it has been answered
        text = _error(message)
        self._head(status, "application/json")
        self.set_header("Content-Length", len(text.encode()))
        self.set_header("Connection", "close")
        self.write(text)
        await self.flush()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if not self._answering:
            self._release()

    def _release(self) -> None:
        self.application.settings["held"] -= self._held
        self._held = 0

    on_finish = _release

    async def _answer(self) -> None:
        if self._refused:
            self.finish()
            self._connection.close()
            return
        self._answering = True
        try:
            await self._route()
        finally:
            self._release()

    async def _route(self) -> None:
        # With the query, which makes the request another one (evhttp_request.cc, uri_path).
        method, path, body = self.request.method, _ORIGIN.sub("", self.request.uri or ""), bytes(self._body)
        if _PATH.fullmatch(path) is None:
            self._finish(400, "Bad Request", "text/plain")
        elif re.split("[?#]", path)[0] == self.metrics_path != path:
            self._finish(400, f"Unexpected path: {path}. Should be {self.metrics_path}", "text/plain")
        elif path == self.metrics_path:
            await self._reply(self.handler.metrics.page, "text/plain; version=0.0.4; charset=utf-8")
        elif not path.lower().startswith("/v1/"):
            self._finish(404, "Not Found", "text/plain")
        elif method == "POST":
            await self._reply(lambda: self._predicted(path, body))
        elif method == "GET":
            await self._reply(lambda: self._asked(path))
        elif method == "OPTIONS" and "Origin" in self.request.headers:
            self._finish(200, "", "text/plain")  # and says nothing: --enable_cors_support is off by default
        else:
            self._finish(400, _error(f"Malformed request: {method} {path}"), "application/json")

    get = post = head = put = delete = patch = options = _answer

    def write_error(self, status_code: int, **_: Any) -> None:
        # 405 is of a method that no server has, to libevent and RFC 9110.
        self._finish({405: 501}.get(status_code, status_code), _error(self._reason), "application/json")

    async def _reply(self, work: Callable[[], str], kind: str = "application/json") -> None:
        settings = self.application.settings
        settings["busy"] += 1  # requests under way
        try:
            text = await asyncio.get_running_loop().run_in_executor(self.threads, work)
            self._finish(200, text, kind)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with one request becomes its status
            code, message = status_of_request(error)
            self._finish(_HTTP.get(code, 500), _error(message), "application/json")
        finally:
            settings["busy"] -= 1

    def _finish(self, status: int, text: str, kind: str) -> None:
        if not self._finished:
            self._head(status, kind)
            self.finish(text)

    def _head(self, status: int, kind: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", kind)
        self.clear_header("Server")

    def _predicted(self, path: str, body: bytes) -> str:
        from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
        from tensorflow_serving.apis.predict_pb2 import PredictRequest
        from tensorflow_serving.apis.regression_pb2 import RegressionRequest

        match = _PREDICT.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: POST {path}")
        name, version, label, method = match.groups()
        request = {"predict": PredictRequest, "classify": ClassificationRequest, "regress": RegressionRequest}[method]()
        _specify(request, name, version, label)
        with self.handler.counted(request.model_spec.name, method, "REST"):
            most = self.handler.admission.limits.rows
            if body.count(b"{") > most + 1:  # each row is an object, and they take seconds to read
                raise RequestError(_CODE.RESOURCE_EXHAUSTED, f"more than {most} rows: send fewer at a time")
            document = parse(body)
            request.model_spec.signature_name = document.get("signature_name") or "serving_default"
            if method == "predict":
                return self._outputs(request, document)
            require_examples(document)
            self.handler.examples(request, method=f"tensorflow/serving/{method}")
        return ""  # not reached: there is no answer to examples

    def _outputs(self, request: Any, document: Mapping[str, Any]) -> str:
        key, rows = request.model_spec.signature_name, False

        def fill(servable: Any, filled: Any) -> None:
            nonlocal rows
            if key not in servable.signatures:
                raise invalid(f'Serving signature name: "{key}" not found in signature def')
            if not (inputs := servable.signatures[key].inputs):  # of the operation by which a model is made ready
                raise invalid(f"Failed to get input map for signature: {key}")
            rows = fill_request(filled, document, inputs)

        response = self.handler.predict(request, deadline=time.monotonic() + _TIMEOUT, fill=fill, weight=_WEIGHT)
        return response_json(response, rows=rows)

    def _asked(self, path: str) -> str:
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
        from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

        match = _STATUS.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: GET {path}")
        name, version, label, metadata = match.groups()
        if not name:
            raise invalid("Missing model name in request.")
        options = {"always_print_fields_with_no_presence": True, "preserving_proto_field_name": True}
        about, fields = metadata == "metadata", ["signature_def"]
        request = GetModelMetadataRequest(metadata_field=fields) if about else GetModelStatusRequest()
        _specify(request, name, version, label)
        with self.handler.counted(request.model_spec.name):
            if not about:
                return rapidjson.dumps(MessageToDict(self.handler.status(request), **options))
            response, signatures = self.handler.metadata(request), SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        answer = {
            "model_spec": MessageToDict(response.model_spec, **options),
            "metadata": {"signature_def": MessageToDict(signatures, **options)},
        }
        return rapidjson.dumps(answer)


def _specify(request: Any, name: str, version: str | None, label: str | None) -> None:
    request.model_spec.name = unquote(name)
    if version is not None:
        digits = version.lstrip("0") or "0"
        if len(digits) > 19 or int(digits) >= 2**63:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        request.model_spec.version.value = int(digits)
    if label is not None:
        request.model_spec.version_label = unquote(label)


def _error(message: str) -> str:
    return rapidjson.dumps({"error": message}, ensure_ascii=False)
