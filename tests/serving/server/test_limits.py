"""What a server refuses, so that one client cannot harm the others."""

import socket
import ssl
import subprocess
import threading
import urllib.request

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.errors import ServingError, SettingError
from kflare.serving import Client
from kflare.serving.messages.tensor_values import fill_tensor
from kflare.serving.server.limits import Limits
from kflare.serving.server.metrics import Metrics
from kflare.serving.server.tls import ServerTls

ZEROS = {name: np.zeros(1, np.float32) for name in ("AREA", "USFLUX", "R_VALUE")}


def predict_request(model="defn-c", signature="", **inputs):
    made = PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    for name, value in (inputs or ZEROS).items():
        fill_tensor(made.inputs[name], value)
    return made


def code(call, sent, timeout=20):
    with pytest.raises(grpc.RpcError) as caught:
        call(sent, timeout=timeout)
    return caught.value.code().name


def test_more_requests_at_a_time_than_allowed(models, serve, stubs, until):
    server = serve(models, limits=Limits(requests=2))
    stub = stubs(server)
    long = predict_request("cnn-c", "work", rounds=np.array(100_000_000, np.int32))
    held = [stub.prediction.Predict.future(long, timeout=3) for _ in range(2)]
    until(lambda: ":kflare:serving:requests_in_flight{} 2" in server.metrics.page())
    assert code(stub.prediction.Predict, predict_request()) == "RESOURCE_EXHAUSTED"
    assert stub.healthy()  # whoever watches over the server is still answered
    for call in held:
        assert call.exception(timeout=20).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: ":kflare:serving:requests_in_flight{} 0" in server.metrics.page())
    assert stub.prediction.Predict(predict_request(), timeout=10).model_spec.version.value == 1


def test_a_message_larger_than_allowed(models, serve, stubs):
    server = serve(models, rest_port=0, limits=Limits(message_bytes=2**20))
    stub = stubs(server)
    large = predict_request("cnn-c", magnetogram=np.zeros((1, 1024, 1024, 1), np.float32))
    assert code(stub.prediction.Predict, large) == "RESOURCE_EXHAUSTED"
    host, _, port = server.rest_address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/models/cnn-c:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert connection.recv(4096)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 413"}  # at once: its length is enough
    assert stub.prediction.Predict(predict_request(), timeout=10).model_spec.version.value == 1


def test_connections_that_say_nothing_are_closed(models, serve, stubs):
    server = serve(models, rest_port=0, limits=Limits(handshake_seconds=1))
    ports = (server.port, int(server.rest_address.rpartition(":")[2]))
    silent = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(5)]
    assert stubs(server).prediction.Predict(predict_request(), timeout=10).model_spec.version.value == 1
    for connection in silent:
        connection.settimeout(15)
        try:
            while connection.recv(4096):  # until the server closes it
                pass
        except ConnectionResetError:
            pass
        connection.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory, request):
    """Folders of `ca`, `server` and `client` (pem and key): ours, a stranger's, and ours long ago."""
    made = {name: tmp_path_factory.mktemp(name) for name in ("ours", "stranger", "expired")}
    script = request.config.rootpath / "serving" / "tls" / "make-test-certificates"
    for folder in made.values():
        subprocess.run([script, folder], check=True, capture_output=True)
    old = made["expired"]
    (old / "index.txt").touch()
    (old / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {old}/index.txt\nnew_certs_dir = {old}\nrand_serial = yes\n"
        "default_md = sha256\npolicy = p\nx509_extensions = x\nunique_subject = no\n[p]\ncommonName = supplied\n"
        "[x]\nsubjectAltName = IP:127.0.0.1\n"
    )
    asking = ["openssl", "req", "-new", "-key", old / "server.key", "-subj", "/CN=old", "-out", old / "server.csr"]
    subprocess.run(asking, check=True, capture_output=True)
    signing = ["openssl", "ca", "-batch", "-config", old / "ca.cnf"]
    signing += ["-cert", old / "ca.pem", "-keyfile", old / "ca.key"]
    signing += ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    signing += ["-in", old / "server.csr", "-out", old / "server.pem", "-notext"]
    subprocess.run(signing, check=True, capture_output=True)
    return made


@pytest.fixture
def tls(tmp_path, request):
    """Write `ssl.config` of a folder of certificates: whole, or as another program may leave it."""
    script, path = request.config.rootpath / "serving" / "tls" / "ssl-config", tmp_path / "ssl.config"

    def write(folder, *, mutual=False, key=None):
        files = [key or folder / "server.key", folder / "server.pem", *([folder / "ca.pem"] if mutual else [])]
        part = path.with_suffix(".part")
        part.write_bytes(subprocess.run([script, *files], check=True, capture_output=True).stdout)
        return part.rename(path)

    return write


def asked(address, **options):
    with Client(address, max_attempts=1, timeout=10, **options) as client:
        return client.predict("defn-c", ZEROS).version


def test_tls(models, serve, certificates, tls):
    ours = certificates["ours"]
    server = serve(models, tls=ServerTls(tls(ours)), rest_port=0)
    assert server.rest_address.startswith("https://")
    assert asked(server.address, ca=ours / "ca.pem") == 1
    for options in ({"ca": certificates["stranger"] / "ca.pem"}, {}):  # a wrong authority; no TLS at all
        with pytest.raises(Exception, match="UNAVAILABLE"):
            asked(server.address, **options)
    assert asked(server.address, ca=ours / "ca.pem") == 1


def test_mutual_tls(models, serve, certificates, tls):
    ours, stranger = certificates["ours"], certificates["stranger"]
    server = serve(models, tls=ServerTls(tls(ours, mutual=True)), rest_port=0)
    own = {"ca": ours / "ca.pem", "cert": ours / "client.pem", "key": ours / "client.key"}
    assert asked(server.address, **own) == 1
    known, unknown = (ssl.create_default_context(cafile=ours / "ca.pem") for _ in range(2))
    known.load_cert_chain(ours / "client.pem", ours / "client.key")
    with urllib.request.urlopen(f"{server.rest_address}/v1/models/defn-c", context=known, timeout=10) as reply:
        assert reply.status == 200
    with pytest.raises(OSError, match=r"certificate required|reset|EOF"):
        urllib.request.urlopen(f"{server.rest_address}/v1/models/defn-c", context=unknown, timeout=10)
    for options in (
        {"ca": ours / "ca.pem"},
        {**own, "cert": stranger / "client.pem", "key": stranger / "client.key"},
    ):
        with pytest.raises(Exception, match="UNAVAILABLE"):
            asked(server.address, **options)


def test_an_expired_certificate(models, serve, certificates, tls):
    expired = certificates["expired"]
    server = serve(models, tls=ServerTls(tls(expired)))
    with pytest.raises(Exception, match="UNAVAILABLE"):
        asked(server.address, ca=expired / "ca.pem")


def test_the_tls_file(tmp_path, certificates, tls):
    path = tls(certificates["ours"], mutual=True)
    assert ServerTls(path).context().verify_mode is ssl.CERT_REQUIRED
    path.write_text('server_key: "x" server_cert: "x"')
    with pytest.raises(SettingError, match=r"`server_key` in .* must be the content of a PEM file"):
        ServerTls(path)
    tls(certificates["ours"], key=certificates["stranger"] / "server.key")
    with pytest.raises(SettingError, match="cannot be used"):
        ServerTls(path)


def test_a_renewed_certificate_is_taken_up(models, serve, certificates, tls, until, caplog):
    expired, ours = certificates["expired"], certificates["ours"]
    path = tls(expired)
    server = serve(models, tls=ServerTls(path), rest_port=0)

    def both_answer(authority):
        trusting = ssl.create_default_context(cafile=authority)
        try:
            with urllib.request.urlopen(f"{server.rest_address}/v1/models/defn-c", context=trusting, timeout=10):
                pass
            return asked(server.address, ca=authority) == 1
        except (OSError, ServingError):
            return False

    assert not both_answer(expired / "ca.pem")
    tls(ours)
    until(lambda: both_answer(ours / "ca.pem"))
    # From here on nothing may be interrupted, and whoever is connected stays so.
    with Client(server.address, ca=ours / "ca.pem", max_attempts=1) as connected:
        (path.parent / "nonsense").write_text("server_key: nonsense")
        (path.parent / "nonsense").rename(path)
        until(lambda: "the TLS configuration stays as it was" in caplog.text)
        path.unlink()
        until(lambda: "no TLS configuration" in caplog.text)
        assert both_answer(ours / "ca.pem")
        tls(ours, mutual=True)
        until(lambda: "`client_verify` in" in caplog.text)
        assert both_answer(ours / "ca.pem")
        assert connected.predict("defn-c", ZEROS).version == 1
        tls(certificates["stranger"])
        until(lambda: both_answer(certificates["stranger"] / "ca.pem"))
        assert not both_answer(ours / "ca.pem")
        assert connected.predict("defn-c", ZEROS).version == 1
    assert caplog.text.count("stays as it was") == 3  # once for each of the three files that could not be used


def test_metrics_from_many_threads_and_odd_labels():
    metrics = Metrics()

    def count():
        for value in range(1000):
            metrics.count(":tensorflow:serving:request_count", 'a"b\\c\n', "OK")
            metrics.observe(":tensorflow:serving:batching_session:input_batch_size", value % 4)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = metrics.page().splitlines()
    assert r':tensorflow:serving:request_count{model_name="a\"b\\c\n",status="OK"} 4000' in page
    # 0 and 1 are at most 1, 2 at most 2, 3 at most 4; 0 + 1 + 2 + 3 a thousand times over.
    size = ":tensorflow:serving:batching_session:input_batch_size"
    assert {f'{size}_bucket{{le="1"}} 2000', f'{size}_bucket{{le="2"}} 3000', f'{size}_bucket{{le="4"}} 4000'} <= set(
        page
    )
    assert {f"{size}_sum{{}} 6000", f"{size}_count{{}} 4000"} <= set(page)
