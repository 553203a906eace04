"""What a client meets between itself and its servers: kills, restarts, slowness, TLS."""

import asyncio
import contextlib
import itertools
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pandas as pd
import pytest

from kflare.errors import ServingError, SettingError
from kflare.serving import AsyncClient, Client
from kflare.serving.messages.declared_messages import RPC_METHODS, SignatureDefMap
from kflare.serving.messages.tensor_values import fill_tensor

from .stand_in import start as start_stand_in

INPUTS = {"AREA": np.zeros(2, np.float32)}
TLS = Path(__file__).parents[2] / "serving" / "tls"


@pytest.fixture
def stand_in():
    """Start servers of tests/serving/stand_in.py: returns port, and with `killable` the process too."""
    with contextlib.ExitStack() as started:

        def start(*options, killable=False):
            if not killable:
                stop, port = start_stand_in(*options)
                started.callback(stop)
                return port
            command = [sys.executable, Path(__file__).with_name("stand_in.py"), *map(str, options)]
            process = started.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            started.callback(process.kill)
            return process, int(process.stdout.readline())

        yield start


def ask(client, seconds, stop, answers, failures):
    """Ask again and again; count answers by version, and keep what failed and how long each took."""
    inputs = {"AREA": np.zeros(100_000, np.float32)}  # 400 kB: by default gRPC sends no more than 256 KiB again
    while not stop.is_set():
        start = time.monotonic()
        try:
            answers[client.predict("defn-c", inputs).version] += 1
        except ServingError as error:
            failures.append(str(error))
        seconds.append(time.monotonic() - start)


class Load:
    """Four threads that ask one client."""

    def __init__(self, client):
        self.stop, self.answers, self.failures, self.seconds = threading.Event(), Counter(), [], []
        rest = (client, self.seconds, self.stop, self.answers, self.failures)
        self.threads = [threading.Thread(target=ask, args=rest) for _ in range(4)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_a_server_killed_and_restarted_under_load_costs_no_request(stand_in, until):
    process, port = stand_in(killable=True)
    with Client(f"127.0.0.1:{port}", timeout=15) as client:
        client.wait_until_available("defn-c")
        with Load(client) as load:
            until(lambda: load.answers[1] > 100)
            process.kill()
            process.wait()
            time.sleep(1)  # the outage; the retries reach over 9 of the 15 s at least
            stand_in("--port", port, "--version", 2)
            until(lambda: load.answers[2] > 100)
    assert load.failures == []
    assert max(load.seconds) > 0.9  # somebody waited the outage out


def test_one_of_three_servers_down_is_not_noticed(stand_in, until):
    killed, port = stand_in("--version", 2, killable=True)
    ports = [stand_in("--version", 1), port, stand_in("--version", 3)]
    with Client(",".join(f"127.0.0.1:{port}" for port in ports), timeout=5) as client:
        with Load(client) as load:
            until(lambda: min(load.answers[version] for version in (1, 2, 3)) > 50)  # round robin
            killed.kill()
            killed.wait()
            before = dict(load.answers)
            until(lambda: all(load.answers[version] > before[version] + 100 for version in (1, 3)))
        assert load.failures == []


def test_an_answer_cut_off_in_the_middle_is_asked_for_again(stand_in):
    # gRPC's own retries end with the first byte of an answer.
    ports = [stand_in("--dies", killable=True)[1], stand_in("--version", 2)]
    with Client(",".join(f"127.0.0.1:{port}" for port in ports)) as client:
        assert {client.predict("defn-c", INPUTS).version for _ in range(4)} == {2}
    _, port = stand_in("--dies", killable=True)
    with Client(f"127.0.0.1:{port}", max_attempts=1) as client, pytest.raises(ServingError, match="Stream removed"):
        client.predict("defn-c", INPUTS)


def test_an_unhealthy_one_of_several_servers_is_passed_over(stand_in):
    ports = [stand_in("--version", 1), stand_in("--version", 2, "--unhealthy")]
    with Client(",".join(f"localhost:{port}" for port in ports)) as client:
        assert {client.predict("defn-c", INPUTS).version for _ in range(10)} == {1}


def test_a_slow_server_does_not_hold_a_client_past_its_deadline(stand_in):
    port = stand_in("--delay", 10)
    with Client(f"127.0.0.1:{port}", timeout=30) as client:
        client.wait_until_available("defn-c")
        for ask_now in (
            lambda: client.predict("defn-c", INPUTS, timeout=0.3),
            lambda: list(client.predict_bulk("defn-c", [INPUTS] * 9, timeout=0.3)),
            lambda: asyncio.run(ask_async(port)),
        ):
            start = time.monotonic()
            with pytest.raises(ServingError, match=r"within the deadline of 0\.3 s"):
                ask_now()
            assert time.monotonic() - start < 5  # the answer would have come after 10


async def ask_async(port):
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        return await client.predict("defn-c", INPUTS, timeout=0.3)


class Liar:
    """A server that answers what it is told to: functions of request name to reply or bytes."""

    def __init__(self):
        self.says, self.asked = {}, []
        self.server = grpc.server(ThreadPoolExecutor(4))
        for name, (path, _) in RPC_METHODS.items():
            _, service, method = path.split("/")
            handler = grpc.unary_unary_rpc_method_handler(
                lambda _, context, name=name: self.answer(name, context),
                response_serializer=lambda said: said if isinstance(said, bytes) else said.SerializeToString(),
            )
            self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def answer(self, name, context):
        self.asked.append(name)
        return self.says[name](context)


@pytest.fixture
def liar():
    made = Liar()
    yield made
    made.server.stop(0)


def reply(version=1, **outputs):
    made = RPC_METHODS["PredictRequest"][1]()
    made.model_spec.version.value = version
    for name, values in outputs.items():
        fill_tensor(made.outputs[name], values)
    return made


HALF, TWO = np.full(2, 0.5, np.float32), np.zeros((2, 8, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (reply(), "has no `probability`, `calibrated`, only nothing"),
        (reply(probability=HALF), "has no `calibrated`, only probability"),
        (reply(probability=HALF, calibrated=HALF[:1]), r"`calibrated` .* must have 2 rows, .* got shape \(1,\)"),
        (reply(probability=HALF[0], calibrated=HALF), r"`probability` .* must have 2 rows, .* got shape \(\)"),
        (reply(probability=[b"a", b"b"], calibrated=HALF), "`probability` .* must be numbers, got object"),
        (reply(probability=HALF, calibrated=HALF * np.inf), r"`calibrated` .* must lie in \[0, 1\], got inf"),
        (reply(version=2, probability=HALF, calibrated=HALF), "version 2 .* is not used: version 1 was asked"),
        (b"\xff\xff\xff", "the answer of .* for cnn-c cannot be read: .*DecodeError|Wire format|parsing"),
    ],
)
def test_replies_that_cannot_be_are_not_used(liar, said, why):
    liar.says["PredictRequest"] = lambda _: said
    with Client(liar.target) as client, pytest.raises(ServingError, match=why):
        client.predict_magnetograms("cnn-c", TWO, version=1)

    async def question():
        async with AsyncClient(liar.target) as client:
            await client.predict_magnetograms("cnn-c", TWO, version=1)

    with pytest.raises(ServingError, match=why):
        asyncio.run(question())


def test_a_closed_client_says_so(liar):
    liar.says["PredictRequest"] = lambda _: time.sleep(3)

    for ask_now in (
        lambda client: client.predict("defn-c", INPUTS),
        lambda client: list(client.predict_bulk("defn-c", [INPUTS] * 9)),
    ):
        client = Client(liar.target)
        timer = threading.Timer(0.3, client.close)
        timer.start()
        start = time.monotonic()
        for _ in ("while it is asked", "afterwards"):
            with pytest.raises(ServingError, match="is closed: make another one"):
                ask_now(client)
        assert time.monotonic() - start < 2.5  # the answer would have come after 3
        timer.join()

    async def question():
        client = AsyncClient(liar.target)
        asked = asyncio.create_task(client.predict("defn-c", INPUTS))
        await asyncio.sleep(0.3)
        await client.close()
        with pytest.raises(ServingError, match="is closed: make another one"):  # and no CancelledError
            await asked
        with pytest.raises(ServingError, match="is closed: make another one"):
            await client.served()

    asyncio.run(question())


def test_a_question_of_several_calls_has_one_deadline(liar):
    signatures = SignatureDefMap()
    signatures.signature_def["serving_default"].inputs["AREA"].dtype = 1

    def metadata(_):
        time.sleep(2)
        made = RPC_METHODS["GetModelMetadataRequest"][1]()
        made.metadata["signature_def"].value = signatures.SerializeToString()
        return made

    liar.says = {"GetModelMetadataRequest": metadata, "PredictRequest": lambda _: time.sleep(6)}
    with Client(liar.target) as client:
        start = time.monotonic()
        with pytest.raises(ServingError, match=r"within the deadline of 3 s"):
            client.predict_regions("defn-c", pd.DataFrame({"AREA": [1.0]}), timeout=3)
        assert time.monotonic() - start < 4.7  # with a deadline for each call: 5
    assert liar.asked == ["GetModelMetadataRequest", "PredictRequest"]


def test_a_refusal_is_not_sent_again_and_says_no_more_than_the_deadline_allows(liar):
    def slowly(context):
        if len(liar.asked) > 1:
            time.sleep(4)
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")

    liar.says = {"PredictRequest": slowly, "GetModelStatusRequest": slowly}
    with Client(liar.target, timeout=0.5) as client:
        start = time.monotonic()
        with pytest.raises(ServingError, match=r"NOT_FOUND: nothing here\); served there: unknown"):
            client.predict("cnn-c", {})
        assert time.monotonic() - start < 3  # the second answer would have come after 4
    assert liar.asked == ["PredictRequest", "GetModelStatusRequest"]


def test_a_connection_that_takes_long_to_be_made_is_used(stand_in):
    port = stand_in()
    with socket.create_server(("127.0.0.1", 0)) as far:

        def pump(source, sink, seconds):
            with contextlib.suppress(OSError):
                time.sleep(seconds)
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        def relay():
            near, _ = far.accept()
            with near, socket.create_connection(("127.0.0.1", port)) as server:
                forth = threading.Thread(target=pump, args=(near, server, 0))
                forth.start()
                pump(server, near, 1.0)  # the handshake of a server that is busy, or at the other end of the world
                forth.join()

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        with Client(f"127.0.0.1:{far.getsockname()[1]}") as client:
            assert client.predict("defn-c", INPUTS).version == 1
        thread.join(10)


def test_a_bulk_asks_no_more_than_so_many_at_a_time(stand_in):
    port = stand_in("--delay", 0.1)
    taken = itertools.count()
    with Client(f"127.0.0.1:{port}") as client:
        client.wait_until_available("defn-c")
        replies = client.predict_bulk("defn-c", (INPUTS for _ in taken), in_flight=4)  # endless
        for reply in itertools.islice(replies, 20):
            assert reply.outputs["probability"].tolist() == [0.25, 0.25]
        asked = next(taken)
        replies.close()
        assert asked <= 20 + 4


def certificate(folder, name, *, start="20200101000000Z", end="20200201000000Z"):
    """A certificate for the server's key that was valid in the past (openssl x509 makes none)."""
    database, serial, config = folder / f"{name}.index", folder / f"{name}.serial", folder / f"{name}.cnf"
    database.touch()
    serial.write_text("01\n")
    config.write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={database}\nserial={serial}\nnew_certs_dir={folder}\n"
        f"default_md=sha256\npolicy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n"
        f"[names]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
    )
    request = folder / f"{name}.csr"
    run("req", "-new", "-key", folder / "server.key", "-subj", f"/CN={name}", "-out", request)
    signer = ["-cert", folder / "ca.pem", "-keyfile", folder / "ca.key"]
    out = ["-in", request, "-out", folder / f"{name}.pem", "-startdate", start, "-enddate", end, "-notext"]
    run("ca", "-batch", "-config", config, *signer, *out)
    return folder / f"{name}.pem"


def run(*arguments):
    subprocess.run(["openssl", *arguments], capture_output=True, check=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_mutual_tls_and_who_is_refused(stand_in, tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        subprocess.run([TLS / "make-test-certificates", folder], capture_output=True, check=True)
    expired = certificate(own, "expired")
    good = stand_in("--tls", own / "server.key", own / "server.pem", own / "ca.pem")
    old = stand_in("--tls", own / "server.key", expired, own / "ca.pem")
    identity = {"cert": own / "client.pem", "key": own / "client.key"}

    def answered(port, **tls):
        with Client(f"127.0.0.1:{port}", timeout=2, max_attempts=1, **tls) as client:
            return client.predict("defn-c", INPUTS).version

    assert answered(good, ca=own / "ca.pem", **identity) == 1
    for port, tls in (
        (good, {"ca": other / "ca.pem", **identity}),  # wrong authority
        (old, {"ca": own / "ca.pem", **identity}),  # expired certificate of the server
        (good, {"ca": own / "ca.pem", "cert": other / "client.pem", "key": other / "client.key"}),  # a stranger
        (good, {"ca": own / "ca.pem"}),  # no certificate
        (good, {}),  # no TLS at all
    ):
        with pytest.raises(ServingError, match="UNAVAILABLE") as caught:
            answered(port, **tls)
        assert "\n" not in str(caught.value)
    with pytest.raises(ServingError, match="check `ca`, `cert` and `key`"):
        answered(good, ca=other / "ca.pem", **identity)
    names = f"localhost:{good},127.0.0.1:{good}"  # two addresses, one certificate
    with Client(names, timeout=2, ca=own / "ca.pem", **identity) as client:
        assert client.predict("defn-c", INPUTS).version == 1


def test_addresses_that_cannot_be():
    with pytest.raises(SettingError, match="must be `host:port`, got 'b'"):
        Client("127.0.0.1:8500,b")
    with pytest.raises(ServingError, match=r"no address is known for nowhere\.invalid:8500"):
        Client("127.0.0.1:8500,nowhere.invalid:8500")


def test_nobody_there_is_told_within_the_deadline():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with Client(f"127.0.0.1:{reserved.getsockname()[1]}", timeout=2) as client:
            start = time.monotonic()
            with pytest.raises(ServingError, match="no server at"):
                client.predict("defn-c", INPUTS)
            assert time.monotonic() - start < 5
