"""What goes wrong around a server, and who is harmed: nobody else."""

import contextlib
import json
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import psutil
import pytest

from kflare.errors import ServingError
from kflare.serving.client import Client

ZEROS = {name: np.zeros(1, np.float32) for name in ("AREA", "USFLUX", "R_VALUE")}


@contextlib.contextmanager
def asking(target, threads=3, **options):
    """Clients that ask without a pause; a record of answers (times) and of failures, and the longest wait."""
    stopped, answers, failures = threading.Event(), [], []

    def ask():
        with Client(target, timeout=20, **options) as client:
            while not stopped.is_set():
                started = time.monotonic()
                try:
                    client.predict("defn-c", ZEROS)
                    answers.append((time.monotonic(), time.monotonic() - started))
                except ServingError as error:
                    failures.append(str(error))

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield answers, failures
    finally:
        stopped.set()
        for thread in running:
            thread.join()


@contextlib.contextmanager
def process(models, *options, port=0):
    command = [sys.executable, "-m", "kflare.serve", "--models", models, "--port", port, "--rest-api-port", 0, *options]
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True) as started:
        try:
            found = re.search(r"listening on (\S+) and (\S+), ", started.stderr.readline())
            yield started, found[1], found[2]
        finally:
            started.kill()


def test_a_server_restarted_under_load_loses_no_request(models, serve, until):
    first = serve(models)
    port = first.port
    with asking(first.address) as (answers, failures):
        until(lambda: len(answers) > 20)
        first.stop(grace=0)  # those in hand are cut off, as by a kill
        time.sleep(1)
        serve(models, port=port)
        again = len(answers)
        until(lambda: len(answers) > again + 20)
    # What was cut off in the middle has no answer, and may not be sent twice unasked; all else waited and was answered.
    assert all("CANCELLED" in failure for failure in failures), failures[:3]
    assert len(failures) <= 3
    assert max(wait for _, wait in answers) < 20


def test_one_of_three_servers_down(models, serve, until):
    servers = [serve(models) for _ in range(3)]
    with asking(",".join(server.address for server in servers)) as (answers, failures):
        until(lambda: len(answers) > 30)
        servers[1].stop()
        stopped = len(answers)
        until(lambda: len(answers) > stopped + 100)
    assert failures == []


def test_a_stop_under_load_loses_no_request(models, serve, until):
    servers = [serve(models, rest_port=0) for _ in range(2)]
    rest = servers[0].rest_address
    body = json.dumps({"instances": [dict.fromkeys(ZEROS, 0)]}).encode()
    with asking(",".join(server.address for server in servers), max_attempts=2) as (answers, failures):
        until(lambda: len(answers) > 10)
        with urllib.request.urlopen(f"{rest}/v1/models/defn-c:predict", body) as reply:
            assert json.load(reply)["predictions"][0]["probability"] == 0.5
        servers[0].stop()
        seen = len(answers)
        until(lambda: len(answers) > seen + 20)
    assert failures == []
    servers[0].stop()  # a second time does no harm
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{rest}/v1/models/defn-c")


def test_a_slow_server(models, serve):
    server = serve(models)
    with Client(server.address, timeout=0.5, max_attempts=5) as client:
        started = time.monotonic()
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            client.predict("cnn-c", {"rounds": np.array(100_000_000, np.int32)}, signature="work")
        assert time.monotonic() - started < 2
        assert client.predict("defn-c", ZEROS, timeout=10).version == 1


def test_a_client_killed_in_the_middle_of_a_request(models, serve, until):
    server = serve(models)
    port = server.port
    half = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(half[: 24 + np.random.default_rng(1).integers(9)])
    with Client(server.address) as client:
        assert client.predict("defn-c", ZEROS).version == 1


@pytest.mark.slow
def test_a_message_of_1_gb_and_10000_idle_connections(models, until):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, most - 1000)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle = []
    try:
        with process(models) as (server, address, rest), Client(address, timeout=60) as client:
            client.predict("defn-c", ZEROS)
            small = psutil.Process(server.pid).memory_info().rss
            with asking(address, threads=1) as (answers, failures):
                huge = np.zeros((1, 16384, 16384, 1), np.float32)  # 1 GiB
                with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
                    client.predict_magnetograms("cnn-c", huge)
                del huge
                ports = (int(address.rpartition(":")[2]), int(rest.rpartition(":")[2]))
                idle.extend(socket.create_connection(("127.0.0.1", ports[number % 2])) for number in range(count))
                seen = len(answers)
                until(lambda: len(answers) > seen + 50)
            assert failures == []
            assert max(wait for _, wait in answers) < 10
            with urllib.request.urlopen(f"{rest}/v1/models/defn-c", timeout=20) as reply:
                assert json.load(reply)["model_version_status"][0]["state"] == "AVAILABLE"
            with Client(address, timeout=20) as newcomer:
                assert newcomer.predict("defn-c", ZEROS).version == 1
            assert psutil.Process(server.pid).memory_info().rss - small < 1.2e9  # 10,000 connections are ~50 kB each
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
