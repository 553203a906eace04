"""What a server refuses, so that one client cannot harm the others."""

import gzip
import io
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from PIL import Image
from tensorflow.core.framework.tensor_pb2 import VariantTensorDataProto
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.errors import ServingError, SettingError
from kflare.serving import Client
from kflare.serving.messages.statuses import RequestError
from kflare.serving.messages.tensor_values import fill_tensor
from kflare.serving.server.limits import Admission, Limits, RunGate
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


def filled(model, name, *shape):
    """A tensor of a large shape of which one value is sent."""
    made = predict_request(model, **{name: np.zeros(1, np.float32)})
    made.inputs[name].tensor_shape.ClearField("dim")
    for size in shape:
        made.inputs[name].tensor_shape.dim.add(size=size)
    made.inputs[name].tensor_content = b""
    made.inputs[name].float_val.append(1.0)
    return made


def image(kind, side):
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, kind)
    return buffer.getvalue()


def images(count, encoded):
    return predict_request("cnn-c", "predict_image", image=[encoded] * count)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (filled("cnn-c", "magnetogram", 64, 512, 512, 1), "1 values are too few"),
        (filled("cnn-c", "magnetogram", 2**16, 2**16, 2**16, 1), "MiB once decoded, more than the 80 MiB"),
        (filled("cnn-c", "magnetogram", 10_000, 2, 2, 1), "stands for 1e.04 MiB once decoded"),
        (predict_request(**{name: np.zeros(2**17 + 1, np.float32) for name in ZEROS}), "131073 rows are more than"),
        (images(1000, image("JPEG", 8)), "stands for 1e.03 MiB"),
        (images(1, image("PNG", 5000)), "stands for 95.4 MiB"),
        (images(1, image("GIF", 9000)), "stands for 309 MiB"),
        (images(3, image("BMP", 2900)), "stands for 96.2 MiB"),
        (images(1, image("PNG", 14_000)), "MiB once decoded"),  # beyond what Pillow opens without a warning
    ],
)
def test_a_request_that_stands_for_more_work_than_allowed_is_refused_before_it_is_decoded(refusing, sent, why):
    assert sent.ByteSize() < 30_000_000
    began = time.monotonic()
    with pytest.raises(grpc.RpcError, match=why) as caught:
        refusing.prediction.Predict(sent, timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert time.monotonic() - began < 10
    assert refusing.prediction.Predict(predict_request(), timeout=10).model_spec.version.value == 2


def repeated(part, **field):
    """A request with more of a field than are counted: a few hundred kB that would be parsed to tens of MB."""
    made = predict_request()
    tensor = made.inputs["AREA"] if part == "tensor" else made
    for name, value in field.items():
        getattr(tensor.tensor_shape if name == "dim" else tensor, name).extend([value] * 131_073)
    return made.SerializeToString()


def unknown_inputs():
    made = PredictRequest()
    for number in range(50_000):
        made.inputs[f"n{number}"].dtype = 1
    return made.SerializeToString()


@pytest.mark.parametrize(
    "sent",
    [
        repeated("tensor", dim=TensorShapeProto.Dim(size=1)),
        repeated("tensor", string_val=b""),
        repeated("tensor", variant_val=VariantTensorDataProto()),
        repeated("request", output_filter=""),
        PredictRequest().SerializeToString() + b"\x0a\x00" * 131_073,  # model_spec, each in place of the one before
        unknown_inputs(),
    ],
)  # fmt: skip
def test_a_message_of_too_many_fields_is_refused_before_it_is_parsed(refusing, sent):
    with pytest.raises(grpc.RpcError, match="the message has more than 131072 fields") as caught:
        refusing.raw(sent, timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # What is no message at all is for the parser to say.
    with pytest.raises(grpc.RpcError, match="Error parsing message") as caught:
        refusing.raw(b"\xff" * 10, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INTERNAL


@pytest.fixture(scope="module")
def refusing(standing):
    with grpc.insecure_channel(standing.address, [("grpc.max_send_message_length", -1)]) as channel:
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        class Standing:
            prediction = PredictionServiceStub(channel)
            raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

        yield Standing


def test_an_image_whose_header_tells_no_size_is_refused(refusing):
    for broken in (image("JPEG", 8)[:4], b"\x89PNG\r\n\x1a\n" + b"\0" * 8, b"GIF8", b"BM"):
        assert code(refusing.prediction.Predict, images(1, broken)) == "INVALID_ARGUMENT"


def test_a_large_legal_request_runs_in_pieces(models, serve, stubs):
    server = serve(models, limits=Limits(run_bytes=3 * 2**20))
    field = np.linspace(-50, 50, 8, dtype=np.float32)[:, None, None, None] * np.ones((1, 32, 32, 1), np.float32)
    reply = stubs(server).prediction.Predict(predict_request("cnn-c", magnetogram=field), timeout=20)
    found = np.array(reply.outputs["probability"].float_val)
    np.testing.assert_allclose(found, (1 + field[:, 0, 0, 0] / 100) / 2, atol=1e-6)
    # A row counts as 1 MiB: 3 + 3 + 2.
    runs = ':tensorflow:serving:runtime_latency_count{model_name="cnn-c",API="Predict",runtime="TF1"} 3'
    assert runs in server.metrics.page().splitlines()


def test_the_bytes_of_all_requests_under_way_are_bounded():
    admission = Admission(Limits(message_bytes=10, work_bytes=25), Metrics())
    with admission.enter() as one, admission.enter() as two:
        one.hold(10)
        one.hold(4)  # what is held is not given back before the end
        two.hold(10)
        with pytest.raises(RequestError, match="are under way"), admission.enter() as three:
            three.hold(6)
        with pytest.raises(RequestError, match="once decoded, more than"), admission.enter(weight=8) as json_text:
            json_text.hold(2)
        with admission.enter() as four:
            four.hold(1, rows=5, row_bytes=1)
    assert admission.idle
    with admission.enter() as again:
        again.hold(10)


def test_runs_take_their_turn_in_order_within_the_limit_or_alone():
    gate, begun, end = RunGate(10), [], threading.Event()

    def run(size):
        with gate.run(size, None):
            begun.append(size)
            end.wait(20)

    threads = []
    for size in (6, 40, 3):  # 40 waits to be alone, and 3 for its turn though it would fit
        threads.append(threading.Thread(target=run, args=(size,)))
        threads[-1].start()
        time.sleep(0.05)
    assert begun == [6]
    with pytest.raises(RequestError, match="deadline") as late, gate.run(1, time.monotonic() + 0.05):
        pass
    assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    end.set()
    for thread in threads:
        thread.join(20)
    assert begun == [6, 40, 3]


def test_messages_that_are_slow_to_arrive_make_way(models, serve, stubs):
    server = serve(models)
    stub, go_on = stubs(server), threading.Event()

    def half():
        go_on.wait(60)
        yield b""

    with grpc.insecure_channel(server.address) as slow:
        method = slow.stream_unary("/tensorflow.serving.PredictionService/Predict")
        held = [method.future(half(), timeout=60) for _ in range(20)]
        time.sleep(0.2)
        assert stub.prediction.Predict(predict_request(), timeout=15).model_spec.version.value == 1
        assert stub.healthy()
        go_on.set()
        for call in held:
            call.cancel()


def test_a_body_that_is_read_takes_its_turn(models, serve):
    server = serve(models, rest_port=0, limits=Limits(message_bytes=2**20, work_bytes=2**20))  # bodies: 64 KiB
    host, port = server.rest_address.removeprefix("http://").split(":")
    url = f"{server.rest_address}/v1/models/defn-c:predict"
    whole = json.dumps({"instances": [dict.fromkeys(ZEROS, 0.0)]}).encode()
    head = b"POST /v1/models/defn-c:predict HTTP/1.1\r\nHost: x\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(head + b"Content-Length: 65500\r\n\r\n{")
        time.sleep(0.2)
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(urllib.request.urlopen(url, whole, timeout=20).status))
        waiting.start()
        time.sleep(0.3)
        assert not answers  # it is not read yet
    waiting.join(20)
    assert answers == [200]
    rows = json.dumps({"instances": [{"magnetogram": [[[0.0]]]}] * 3}).encode()
    with pytest.raises(urllib.error.HTTPError, match="429"):
        urllib.request.urlopen(f"{server.rest_address}/v1/models/cnn-c:predict", rows, timeout=20)
    with socket.create_connection((host, int(port)), timeout=10) as large:
        large.sendall(head + b"Content-Length: 70000\r\n\r\n")
        assert large.recv(4096)[:10] == b"HTTP/1.1 4"


@pytest.mark.parametrize("how", ["length", "chunks", "packed", "far too long"])
def test_a_body_that_is_too_large_is_answered_before_the_connection_is_closed(models, serve, how):
    server = serve(models, rest_port=0, limits=Limits(message_bytes=2**20, work_bytes=2**20))  # bodies: 64 KiB
    url = f"{server.rest_address}/v1/models/defn-c:predict"
    # More than the buffers of the connection hold: who does not read on cannot be answered.
    body, headers = b" " * 2**24, {}
    if how == "chunks":
        body = iter([body] * 2)
    elif how == "packed":
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        assert len(body) < 2**16
    elif how == "far too long":
        body = b" " * 2**28
    with pytest.raises(urllib.error.HTTPError, match="413") as refused:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30)
    assert re.search("the 65536 (bytes )?that are taken as JSON", json.loads(refused.value.read())["error"])
    whole = json.dumps({"instances": [dict.fromkeys(ZEROS, 0.0)]}).encode()
    assert urllib.request.urlopen(url, whole, timeout=20).status == 200


def test_who_asks_first_is_answered_before_sending_a_body_that_is_too_large(models, serve):
    server = serve(models, rest_port=0)
    host, port = server.rest_address.removeprefix("http://").split(":")
    head = b"POST /v1/models/defn-c:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head % 10**9)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in answer
    assert b"a body of 1000000000 bytes is more than the 8388608 that are taken as JSON" in answer


def test_more_rows_than_allowed_are_refused_before_they_are_read(models, serve):
    server = serve(models, rest_port=0)
    rows = b'{"instances":[' + b'{"AREA":[],"a":0},' * 131_072 + b"{}]}"
    with pytest.raises(urllib.error.HTTPError, match="429") as refused:
        urllib.request.urlopen(f"{server.rest_address}/v1/models/defn-c:predict", rows, timeout=20)
    assert "more than 131072 rows" in refused.value.read().decode()


@pytest.mark.parametrize("levels", [63, 64, 900, 975, 980, 985, 990, 995, 1000, 100_000])
def test_lists_in_lists_are_refused_as_invalid_however_deep(models, serve, levels):
    """Each step that walks them has its own depth at which it gives up, and none is a reason to try again."""
    server = serve(models, rest_port=0)
    for key in ("instances", "inputs", "signature_name"):
        body = f'{{"signature_name":"work","{key}":{"[" * levels}1{"]" * levels}}}'.encode()
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"{server.rest_address}/v1/models/cnn-c:predict", body, timeout=20)


def test_settings_of_limits():
    with pytest.raises(SettingError, match="`rows` must be more than 0, got 0"):
        Limits(rows=0)
    with pytest.raises(SettingError, match="`work_bytes` must be at least `message_bytes`"):
        Limits(work_bytes=2**20)


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
