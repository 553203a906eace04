"""What goes wrong around a server, and who is harmed: nobody else."""

import asyncio
import contextlib
import http.client
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
from kflare.serving import AsyncClient, Client

ZEROS = {name: np.zeros(1, np.float32) for name in ("AREA", "USFLUX", "R_VALUE")}
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 3.4: preface, SETTINGS
IMAGE = np.zeros((1, 512, 512, 1), np.float32)  # 1 MiB: more than gRPC keeps for a retry unless it is told to


@contextlib.contextmanager
def asking(target, threads=3, tasks=0, **options):
    """Clients that ask without a pause; a record of answers (when, and after how long) and of failures."""
    stopped, answers, failures = threading.Event(), [], []

    def note(started, error=None):
        if error is None:
            answers.append((time.monotonic(), time.monotonic() - started))
        else:
            failures.append(f"{type(error).__name__} {error}")

    def ask(image):
        with Client(target, **{"timeout": 20, **options}) as client:
            while not stopped.is_set():
                started = time.monotonic()
                try:
                    if image:
                        client.predict_magnetograms("cnn-c", IMAGE)
                    else:
                        client.predict("defn-c", ZEROS)
                    note(started)
                except ServingError as error:
                    note(started, error)

    async def ask_too():
        async with AsyncClient(target, **{"timeout": 20, **options}) as client:
            while not stopped.is_set():
                started = time.monotonic()
                try:
                    await client.predict("defn-c", ZEROS)
                    note(started)
                except ServingError as error:
                    note(started, error)

    async def ask_together():
        await asyncio.gather(*(ask_too() for _ in range(tasks)))

    # Of several threads the first sends images.
    running = [threading.Thread(target=ask, args=(threads > 1 and not number,)) for number in range(threads)]
    running.append(threading.Thread(target=lambda: asyncio.run(ask_together())))
    for thread in running:
        thread.start()
    try:
        yield answers, failures
    finally:
        stopped.set()
        for thread in running:
            thread.join()


class Process:
    """`python -m kflare.serve` in the folder that holds `savedmodels`, its default."""

    def __init__(self, folder, port=0):
        command = [sys.executable, "-m", "kflare.serve", "--port", str(port), "--rest-api-port", "0"]
        command += ["--allow-unpublished", "--allow-any-operation"]  # toys
        self.started = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def listening(self):
        assert self.started.stderr.readline() == "kflare.serve: serves the models in savedmodels\n"
        assert self.started.stderr.readline().startswith("kflare.serve: loads ")
        self.line = self.started.stderr.readline()
        self.address, self.rest = re.search(r"listening on (\S+) and (\S+), ", self.line).groups()
        self.ports = [int(address.rpartition(":")[2]) for address in (self.address, self.rest)]
        return self

    def kill(self):
        self.started.kill()
        self.started.communicate()


@pytest.fixture(scope="module")
def killing(toys, publish, tmp_path_factory):
    """Two processes of the same models, to be killed, and their folder; a start takes seven seconds."""
    folder = tmp_path_factory.mktemp("killing")
    publish(toys / "defn-1", folder / "savedmodels" / "defn-c" / "1")
    publish(toys / "cnn", folder / "savedmodels" / "cnn-c" / "1")
    processes = [Process(folder) for _ in range(2)]
    servers = [process.listening() for process in processes]
    yield servers, folder
    for process in servers:
        process.kill()


@pytest.mark.slow
def test_one_of_several_servers_killed_under_load(killing, until):
    servers, _ = killing
    with asking(",".join(server.address for server in servers), tasks=3) as (answers, failures):
        until(lambda: len(answers) > 50)
        servers[0].kill()
        killed = len(answers)
        until(lambda: len(answers) > killed + 200)
    assert failures == []


@pytest.mark.slow
def test_a_server_killed_and_restarted_under_load_loses_no_request(killing, until):
    servers, folder = killing
    with asking(servers[1].address, tasks=3, timeout=60) as (answers, failures):
        until(lambda: len(answers) > 50)
        servers[1].kill()
        killed = time.monotonic()
        servers[1] = Process(folder, port=servers[1].ports[0]).listening()
        outage, again = time.monotonic() - killed, len(answers)
        until(lambda: len(answers) > again + 100, seconds=60)
    assert failures == []
    # Somebody asked while nobody was there, and was patient.
    assert max(wait for _, wait in answers) > outage * 0.9


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
        assert time.monotonic() - started < 10
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


def refuse_a_gigabyte(server):
    with Client(server.address, timeout=60) as client, pytest.raises(ServingError, match="RESOURCE_EXHAUSTED"):
        client.predict_magnetograms("cnn-c", np.zeros((1, 16384, 16384, 1), np.float32))
    path = "/v1/models/cnn-c:predict"
    count = 1000  # of MiB; of more than 1 GiB nothing is read on, and the client may find the connection reset
    for lengths in ({"Content-Length": str(count * 2**20)}, {"Transfer-Encoding": "chunked"}):
        connection = http.client.HTTPConnection("127.0.0.1", server.ports[1], timeout=60)
        parts = (bytes(2**20) for _ in range(count))
        with contextlib.closing(connection):
            connection.request("POST", path, parts, lengths, encode_chunked="Transfer-Encoding" in lengths)
            assert connection.getresponse().status == 413


@pytest.mark.slow
def test_a_message_of_1_gb_and_10000_idle_connections(killing, until):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, before[1] - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    idle = []
    try:
        server = killing[0][1]
        with asking(server.address, threads=1) as (answers, failures):
            memory = psutil.Process(server.started.pid)
            until(lambda: len(answers) > 500)
            small = memory.memory_info().rss
            refuse_a_gigabyte(server)
            # What tells its length is refused by that; what does not, at the largest message allowed, 256 MiB.
            assert memory.memory_info().rss - small < 600e6
            small = memory.memory_info().rss
            for number in range(count):
                idle.append(socket.create_connection(("127.0.0.1", server.ports[number % 2])))
                if number % 4 == 0:  # a client that has shaken hands, and then says nothing
                    idle[-1].sendall(HTTP2)
            opened = len(answers)
            until(lambda: len(answers) > opened + 500)
            assert failures == []  # nobody waited past the deadline
            # They cost memory, 12 kB each.
            assert memory.memory_info().rss - small < 40e3 * count
            with urllib.request.urlopen(f"{server.rest}/v1/models/defn-c", timeout=20) as reply:
                assert json.load(reply)["model_version_status"][0]["state"] == "AVAILABLE"
            with Client(server.address, timeout=20) as newcomer:
                assert newcomer.predict("defn-c", ZEROS).version == 1
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_one_line_when_ready_and_a_clean_stop(killing):
    server = killing[0][1]
    assert re.search(r"serving cnn-c \(1\), defn-c \(1\); loaded in \d+ s\n$", server.line)
    with Client(server.address) as client:
        assert client.predict("defn-c", ZEROS).outputs["probability"].tolist() == [0.5]
    server.started.send_signal(signal.SIGTERM)
    assert server.started.wait(20) == 0
    assert server.started.stderr.read() == ""  # nothing but these lines, whatever the clients did
    assert server.started.stdout.read() == ""
