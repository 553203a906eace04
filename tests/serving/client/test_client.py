import asyncio
import inspect
import io
import json
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare import serving
from kflare.errors import DataError, ServingError, SettingError
from kflare.serving import AsyncClient, Client, TensorInfo
from kflare.serving.client.channel import _options
from kflare.serving.client.requests import ClientRequests

TABLE = pd.DataFrame(
    {
        "time": pd.to_datetime(["2014-03-18T12:00Z"] * 3),
        "region": ["HARP 1", "HARP 2", "HARP 3"],
        "noaa": pd.array([12001, None, 12003], "Int64"),
        "USFLUX": [0.0, 0.5, np.nan],
        "AREA": [0, 1, 2],
        "R_VALUE": pd.array([0.0, None, 1.0], "Float64"),
    }
)


@pytest.fixture
def dead_port():
    with socket.socket() as reserved:  # bound, never listening: connections are refused, and nobody else takes it
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def image(value, side=32):
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_regions(client):
    reply = client.predict_regions("defn-c", TABLE)
    assert (reply.model, reply.version) == ("defn-c", 2)
    # logit = ln 2 + AREA + 2 USFLUX + 3 R_VALUE, not measured = 0: ln 2, ln 2 + 1 + 1, ln 2 + 2 + 3
    logit = np.log(2) + np.array([0, 2, 5])
    np.testing.assert_allclose(reply.outputs["probability"], 1 / (1 + np.exp(-logit)), rtol=1e-6)
    assert reply.outputs["probabilities"].shape == (3, 2)
    assert reply.outputs["imputed"].tolist() == [0, 1, 1]
    assert client.predict_regions("defn-c", TABLE, version=1).version == 1


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (TABLE.drop(columns=["AREA", "USFLUX"]), "lacks `AREA`, `USFLUX`, which defn-c needs"),
        (TABLE.assign(area=1.0), "column `area` is no feature of defn-c"),
        (TABLE.assign(AREA=["1", "big", "3"]), "`AREA` must be numeric, got 'big' in row 1"),
        (TABLE.assign(AREA=["1", "2", "3"]), "`AREA` must be numeric, got the type"),
        (TABLE.assign(AREA=[1.0, np.inf, 2.0]), "`AREA` must be finite in float32, got inf in row 1"),
        (TABLE.assign(AREA=[1.0, 1e300, 2.0]), r"`AREA` must be finite in float32, got 1e\+300 in row 1"),
        (TABLE.iloc[:0], "no rows"),
    ],
)
def test_region_tables_are_refused_before_anything_is_sent(client, monkeypatch, table, why):
    client.metadata("defn-c")
    monkeypatch.setattr(client._requests, "predict", lambda *_, **__: pytest.fail("a request was sent"))
    with pytest.raises(DataError, match=why):
        client.predict_regions("defn-c", table)


EMPTY = {
    "regions": lambda client: client.predict_regions("defn-c", TABLE.iloc[:0]),
    "images": lambda client: client.predict_images("cnn-c", []),
    "magnetograms": lambda client: client.predict_magnetograms("cnn-c", np.zeros((0, 32, 32, 1))),
    "arrays": lambda client: client.predict("cnn-c", {"magnetogram": np.zeros((0, 32, 32, 1), np.float32)}),
    "bytes": lambda client: client.predict("cnn-c", {"image": []}, signature="predict_image"),
    "one of several": lambda client: client.predict("defn-c", {"AREA": np.zeros(1), "USFLUX": np.zeros(0)}),
}


@pytest.mark.parametrize("ask", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_empty_is_refused_before_anything_is_sent(standing, kind, ask):
    """Some requests without rows are never answered by TensorFlow Serving."""

    async def asked():
        async with AsyncClient(standing.address) as client:
            await client.metadata("defn-c")
            client._send = refuse
            await ask(client)

    async def refuse(*_):
        pytest.fail("a request was sent")

    def asked_at_once():
        with Client(standing.address) as client:
            client.metadata("defn-c")
            client._requests._send = refuse
            ask(client)

    with pytest.raises(DataError, match=r"no rows|non-empty|\(N, H, W, 1\)"):
        asked_at_once() if kind is Client else asyncio.run(asked())


def test_other_columns_can_be_passed_over(client):
    assert client.predict_regions("defn-c", TABLE.assign(flux24=1e-5), ignore=["flux24"]).version == 2


def test_images(client):
    # Byte 255 is +100 G, 0 is -100 G, 51 is -60 G: probability (1 + B / 100) / 2.
    reply = client.predict_images("cnn-c", [image(255), image(0), image(51)])
    np.testing.assert_allclose(reply.outputs["probability"], [1.0, 0.0, 0.2], atol=1e-6)
    for wrong in ([], image(1), [b""], ["name.png"]):
        with pytest.raises(DataError, match="`images`"):
            client.predict_images("cnn-c", wrong)


def test_magnetograms(client):
    field = np.full((2, 32, 32, 1), 50.0)
    field[1] = np.nan
    reply = client.predict_magnetograms("cnn-c", field)
    np.testing.assert_allclose(reply.outputs["probability"], [0.75, 0.5])
    with pytest.raises(DataError, match=r"shape \(N, H, W, 1\), got \(32, 32\)"):
        client.predict_magnetograms("cnn-c", np.zeros((32, 32)))


def test_outputs_can_be_chosen(client):
    field = np.zeros((1, 32, 32, 1), np.float32)
    assert set(client.predict("cnn-c", {"magnetogram": field}, outputs=["scores"]).outputs) == {"scores"}


def test_metadata(client):
    metadata = client.metadata("cnn-c")
    assert (metadata.model, metadata.version) == ("cnn-c", 1)
    assert metadata.inputs["serving_default"] == {"magnetogram": TensorInfo("float32", (None, None, None, 1))}
    assert metadata.inputs["predict_image"] == {"image": TensorInfo("string", (None,))}
    assert metadata.outputs["predict_image"]["scores"] == TensorInfo("float32", (None, 2))
    assert set(metadata.inputs) == {"serving_default", "predict_image", "work"}


def test_status_and_waiting(client):
    assert [(s.version, s.state, s.error) for s in client.status("defn-c")] == [
        (2, "AVAILABLE", ""),
        (1, "AVAILABLE", ""),
    ]
    assert client.served() == {"cnn-c": [1], "defn-c": [2, 1]}
    assert client.wait_until_available("defn-c") == 2
    with pytest.raises(ServingError, match=r"`cnn-m` at .* is not available after 0\.3 s: `cnn-m` is not served"):
        client.wait_until_available("cnn-m", 0.3)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("defn-nan", r"`probability` of defn-nan version 1 must lie in \[0, 1\], got nan at index \[0\]"),
        ("defn-large", r"`probability` of defn-large version 7 must lie in \[0, 1\], got 1\.4\d+ at index \[1\]"),
    ],
)
def test_replies_that_are_no_probabilities_are_refused(client, model, why):
    with pytest.raises(ServingError, match=why):
        client.predict_regions(model, TABLE.assign(AREA=[0.0, 9.0, 9.0]).fillna({"USFLUX": 0}))


def test_what_is_not_served(client):
    with pytest.raises(
        ServingError, match=r"`cnn-m` is not served at .*NOT_FOUND.*served there: cnn-c \(1\), defn-c \(2, 1\)"
    ):
        client.predict("cnn-m", {})
    with pytest.raises(ServingError, match=r"version 8 of `defn-c` is not served .* defn-c \(2, 1\)"):
        client.predict("defn-c", {}, version=8)
    with pytest.raises(ServingError, match="`x` is not served"):
        client.status("x")
    with pytest.raises(ServingError, match="version ghost of `defn-c` is not served"):
        client.predict("defn-c", {}, version="ghost")


def test_refusals_carry_the_servers_reason(client):
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: input size does not match"):
        client.predict("cnn-c", {})
    with pytest.raises(ServingError, match="FAILED_PRECONDITION: Serving signature key"):
        client.predict("cnn-c", {}, signature="x")
    with pytest.raises(ServingError) as caught:
        client.predict_images("cnn-c", [b"no image"])
    assert "\n" not in str(caught.value)


def test_a_server_that_is_down(dead_port):
    with Client(f"127.0.0.1:{dead_port}", max_attempts=2) as client:
        message = rf"no server at 127\.0\.0\.1:{dead_port} .*python -m kflare\.serve.*just now.*UNAVAILABLE"
        with pytest.raises(ServingError, match=message) as caught:
            client.predict_regions("defn-c", TABLE)
        assert "\n" not in str(caught.value)
        with pytest.raises(ServingError, match="not available after"):
            client.wait_until_available("defn-c", 0.3)
        with pytest.raises(ServingError, match="no server at"):  # which is not "nothing is served"
            client.served()


def test_a_server_that_comes_back_is_found_again(models, serve):
    server = serve(models)
    with Client(server.address) as client:
        client.predict_regions("defn-c", TABLE)
        server.stop()
        with Client(server.address, max_attempts=1) as other, pytest.raises(ServingError, match="UNAVAILABLE"):
            other.status("defn-c")
        serve(models, port=server.port)
        assert client.predict_regions("defn-c", TABLE).version == 1


def test_the_deadline_is_kept(client, standing):
    work = {"rounds": np.array(2_000_000, np.int32)}
    with Client(standing.address, timeout=0.2) as hasty:
        hasty.status("cnn-c")
        start = time.monotonic()
        with pytest.raises(ServingError, match=r"within the deadline of 0\.2 s"):
            hasty.predict("cnn-c", work, signature="work")
        assert time.monotonic() - start < 5
    assert client.predict_magnetograms("cnn-c", np.zeros((1, 32, 32, 1))).version == 1


def test_only_what_no_server_has_done_is_tried_again_and_at_most_five_times():
    config = json.loads(dict(_options("h:1", 10, 5))["grpc.service_config"])
    (method,) = config["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]
    assert method["retryPolicy"]["maxAttempts"] == 5
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert "methodConfig" not in json.loads(dict(_options("h:1", 10, 1))["grpc.service_config"])


def test_a_version_with_other_inputs_is_noticed(models, serve, toys, publish, until):
    server = serve(models)
    with Client(server.address) as client:
        assert client.predict_regions("defn-c", TABLE).version == 1
        publish(toys / "cnn", models / "defn-c" / "2")  # stands for a version that was trained on other columns
        until(lambda: server.models.available()["defn-c"] == [2])
        with pytest.raises(DataError, match="lacks `magnetogram`"):
            client.predict_regions("defn-c", TABLE)


def test_settings(tmp_path):
    for options, why in (
        ({"timeout": 0}, "`timeout`"),
        ({"timeout": float("inf")}, "`timeout`"),
        ({"timeout": float("nan")}, "`timeout`"),
        ({"max_attempts": 6}, "`max_attempts`"),
        ({"cert": tmp_path / "c"}, "`cert` and `key`"),
        ({"ca": tmp_path / "ca.pem"}, "`ca` cannot be read"),
    ):
        with pytest.raises(SettingError, match=why):
            Client(**options)


def test_any_deadline_is_kept_or_refused(client, standing):
    for timeout in (0, -1, float("inf"), float("nan")):  # to gRPC 0 is no deadline at all
        with pytest.raises(SettingError, match="`timeout` must be"):
            client.status("cnn-c", timeout=timeout)
        with pytest.raises(SettingError, match="`timeout` must be"):
            client.metadata("cnn-c", timeout=timeout)  # even if it is remembered
    with Client(standing.address, timeout=0.0001) as hasty:
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            hasty.predict("cnn-c", {"rounds": np.array(2_000_000, np.int32)}, signature="work")
        assert hasty.status("cnn-c", timeout=10)[0].version == 1


def test_what_the_batches_of_a_bulk_raise_ends_it(client):
    def batches():
        yield from [{"magnetogram": np.zeros((1, 32, 32, 1), np.float32)}] * 3
        raise OSError("the disk is gone")

    replies = client.predict_bulk("cnn-c", batches(), in_flight=2)
    assert next(replies).version == 1
    with pytest.raises(OSError, match="the disk is gone"):
        list(replies)
    assert client.status("cnn-c")  # the client is still good


def test_a_bulk_keeps_the_order(client):
    batches = [{"magnetogram": np.full((1, 32, 32, 1), float(field), np.float32)} for field in range(-50, 50)]
    got = [reply.outputs["probability"][0] for reply in client.predict_bulk("cnn-c", batches)]
    np.testing.assert_allclose(got, (1 + np.arange(-50, 50) / 100) / 2, atol=1e-6)
    replies = client.predict_bulk("cnn-c", [*batches[:3], {"magnetogram": np.zeros(3, np.float32)}], in_flight=2)
    assert [next(replies).version for _ in range(3)] == [1, 1, 1]
    with pytest.raises(ServingError, match="INVALID_ARGUMENT"):
        next(replies)
    assert list(client.predict_bulk("cnn-c", [])) == []
    with pytest.raises(SettingError, match="`in_flight` must be 1 or more"):
        next(client.predict_bulk("cnn-c", batches, in_flight=0))


def test_versions_by_label(client):
    assert client.predict_regions("defn-c", TABLE, version="stable").version == 1
    message = "labelled `new` .INVALID_ARGUMENT: Unrecognized .* served there: cnn-c .1., defn-c .2, 1."
    with pytest.raises(ServingError, match=message):
        client.predict_regions("defn-c", TABLE, version="new")


def test_images_may_be_named(client, tmp_path):
    (tmp_path / "a.png").write_bytes(image(255))
    assert client.predict_images("cnn-c", [tmp_path / "a.png"]).outputs["probability"].tolist() == [1.0]
    with pytest.raises(DataError, match=r"absent\.png cannot be read: No such file"):
        client.predict_images("cnn-c", [tmp_path / "absent.png"])


def test_what_cannot_be_sent_is_told_by_name(client):
    huge = np.broadcast_to(np.float32(0), (2048, 512, 512, 1))  # 2 GiB, were it there
    with pytest.raises(DataError, match=r"`magnetogram` .* cannot be sent: 2147483648 bytes .*: send fewer rows"):
        client.predict("cnn-c", {"magnetogram": huge})
    with pytest.raises(DataError, match=r"input `magnetogram` of cnn-c cannot be sent: .*datetime64"):
        client.predict("cnn-c", {"magnetogram": np.zeros((1, 32, 32, 1), "M8[s]")})


def test_asking_imports_no_tensorflow(standing):
    code = (
        "import sys, numpy as np\n"
        "from kflare.serving import Client\n"
        f"with Client('{standing.address}') as client:\n"
        "    client.metadata('cnn-c')\n"
        "    client.predict_magnetograms('cnn-c', np.zeros((1, 32, 32, 1)))\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'tensorflow_serving', 'pandas', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_there():
    for name in serving.__all__:
        assert getattr(serving, name).__name__ == name
    with pytest.raises(AttributeError, match="attribute Clients"):
        _ = serving.Clients


def test_both_clients_have_the_same_methods_with_their_docstrings():
    for name in (*(n for n in vars(ClientRequests) if not n.startswith("_")), "predict_bulk"):
        mine, other = getattr(Client, name), getattr(AsyncClient, name)
        assert mine.__doc__
        assert list(inspect.signature(mine).parameters) == list(inspect.signature(other).parameters)
    assert str(inspect.signature(Client.served)).endswith("-> dict[str, list[int]]")
