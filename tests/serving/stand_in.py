"""A server of one model for tests of what happens between client and server: up in half a second, killed in none.

It speaks TensorFlow Serving's API by `messages/declared_messages.py`; whether they are right is tested elsewhere. It
runs in the process of the test, or by itself where it is to be killed.
"""

import argparse
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from kflare.serving.messages.declared_messages import RPC_METHODS, GetModelStatusRequest, PredictRequest
from kflare.serving.messages.tensor_values import fill_tensor


def start(*arguments):
    """Returns a function that stops the server, and its port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--dies", action="store_true", help="in the middle of its first answer")
    parser.add_argument("--unhealthy", action="store_true")
    parser.add_argument("--tls", nargs=3, type=Path, metavar=("KEY", "CERT", "CA"))
    options = parser.parse_args([str(argument) for argument in arguments])
    stopped = threading.Event()

    def predict(request, context):
        if options.dies:
            context.send_initial_metadata(())
            time.sleep(0.2)
            os._exit(1)
        stopped.wait(options.delay)
        reply = RPC_METHODS["PredictRequest"][1]()
        reply.model_spec.name = request.model_spec.name
        reply.model_spec.version.value = options.version
        rows = request.inputs["AREA"].tensor_shape.dim[0].size
        fill_tensor(reply.outputs["probability"], np.full(rows, 0.25, np.float32))
        return reply

    def status(*_):
        reply = RPC_METHODS["GetModelStatusRequest"][1]()
        reply.model_version_status.add(version=options.version, state=30)
        return reply

    server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    for name, request, method in (
        ("PredictRequest", PredictRequest, predict),
        ("GetModelStatusRequest", GetModelStatusRequest, status),
    ):
        _, service, call = RPC_METHODS[name][0].split("/")
        handler = grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=request.FromString, response_serializer=lambda reply: reply.SerializeToString()
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {call: handler})])
    about = health.HealthServicer()
    state = health_pb2.HealthCheckResponse
    about.set("", state.NOT_SERVING if options.unhealthy else state.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(about, server)
    address = f"127.0.0.1:{options.port}"
    if options.tls:
        key, cert, ca = (path.read_bytes() for path in options.tls)
        credentials = grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()

    def stop():
        stopped.set()
        server.stop(0).wait()

    return stop, port


if __name__ == "__main__":
    stop, port = start(*sys.argv[1:])  # a server that nobody holds is stopped
    print(port, flush=True)
    signal.pause()
