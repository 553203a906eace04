"""Toy models with the signatures of kflare's SavedModels, and real servers of them on loopback."""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from kflare.serving import Client, Server
from kflare.serving.server.servable import Trust

TOYS = Trust(unpublished=True, any_operation=True)  # they have no manifest, and loop and decode as no model of kflare's


def write_defn(path: Path, *, version: int, factor: float = 1.0) -> Path:
    """A region model: logit = ln(version) + AREA + 2 USFLUX + 3 R_VALUE, a feature not measured counts as 0.

    With all features 0 the probability is v / (v + 1) of version v: 1/2, 2/3, 3/4, ...
    `factor` multiplies it, to make replies that are no probabilities.
    """
    import tensorflow as tf

    module = tf.Module()
    module.bias = tf.Variable(math.log(version), dtype=tf.float32)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name=name) for name in ("AREA", "USFLUX", "R_VALUE")]
    )
    def serve(AREA, USFLUX, R_VALUE):
        features = tf.stack([AREA, USFLUX, R_VALUE], axis=1)
        unknown = tf.math.is_nan(features)
        known = tf.where(unknown, 0.0, features)
        p = factor * tf.sigmoid(module.bias + tf.linalg.matvec(known, tf.constant([1.0, 2.0, 3.0])))
        return {
            "probability": p,
            "probabilities": tf.stack([1 - p, p], axis=1),
            "calibrated": p / 2,
            "imputed": tf.reduce_sum(tf.cast(unknown, tf.int32), axis=1),
        }

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


def write_cnn(path: Path) -> Path:
    """A full-disk model: probability = (1 + mean field / 100 G) / 2, the field clipped to ±100 G, NaN counting as 0."""
    import tensorflow as tf

    module = tf.Module()
    module.scale = tf.Variable(100.0)

    def forecast(field):
        clipped = tf.clip_by_value(tf.where(tf.math.is_nan(field), 0.0, field), -module.scale, module.scale)
        p = (1 + tf.reduce_mean(clipped, axis=[1, 2, 3]) / module.scale) / 2
        return {"probability": p, "scores": tf.stack([1 - p, p], axis=1), "calibrated": p}

    def decode(encoded):
        grey = tf.io.decode_image(encoded, channels=1, expand_animations=False)
        return tf.ensure_shape(tf.cast(grey, tf.float32) / 255 * 200 - 100, (32, 32, 1))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, name="magnetogram")])
    def serve(magnetogram):
        return forecast(magnetogram)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def predict_image(image):
        return forecast(tf.map_fn(decode, image, fn_output_signature=tf.float32))

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="rounds")])
    def work(rounds):
        return {"done": tf.while_loop(lambda i: i < rounds, lambda i: i + 1, [tf.constant(0)])[0]}

    signatures = {"serving_default": serve, "predict_image": predict_image, "work": work}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def _write_toys(folder: Path) -> None:
    for version in (1, 2, 3):
        write_defn(folder / f"defn-{version}", version=version)
    write_defn(folder / "defn-nan", version=1, factor=math.nan)
    write_defn(folder / "defn-large", version=1, factor=1.5)
    write_cnn(folder / "cnn")


@pytest.fixture(scope="session")
def toys(made_once: Callable[[Callable[[Path], object]], Path]) -> Path:
    """Folder of SavedModels to publish from: defn-1, defn-2, defn-3, defn-nan, defn-large, cnn."""
    return made_once(_write_toys)


def _publish(toy: Path, version_folder: Path) -> Path:
    version_folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = version_folder.parent / f".tmp-{version_folder.name}"
    shutil.copytree(toy, temporary)
    return temporary.rename(version_folder)


@pytest.fixture(scope="session")
def publish() -> Callable[[Path, Path], Path]:
    """Put a toy in place as kflare publishes: under another name first, then by one rename."""
    return _publish


@pytest.fixture
def models(toys: Path, tmp_path: Path) -> Path:
    """A folder of models with defn-c version 1 and cnn-c version 1, for one test to change."""
    _publish(toys / "defn-1", tmp_path / "models" / "defn-c" / "1")
    _publish(toys / "cnn", tmp_path / "models" / "cnn-c" / "1")
    return tmp_path / "models"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server of a folder on a free port; stopped after the test."""
    started: list[Server] = []

    def start(folder: Path, **options: Any) -> Server:
        server = Server(folder=folder, **{"port": 0, "poll_seconds": 0.05, "trust": TOYS, **options})
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(grace=5)


@pytest.fixture(scope="module")
def standing(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that change nothing: defn-c 1 and 2, cnn-c 1, defn-nan 1, defn-large 7."""
    from kflare.serving.server.config_files import ModelSettings

    folder = tmp_path_factory.mktemp("standing")
    _publish(toys / "defn-1", folder / "defn-c" / "1")
    _publish(toys / "defn-2", folder / "defn-c" / "2")
    _publish(toys / "cnn", folder / "cnn-c" / "1")
    _publish(toys / "defn-nan", folder / "defn-nan" / "1")
    _publish(toys / "defn-large", folder / "defn-large" / "7")
    settings = [ModelSettings("defn-c", folder / "defn-c", newest=None, labels={"stable": 1, "ghost": 9})]
    settings += [ModelSettings(name, folder / name) for name in ("cnn-c", "defn-nan", "defn-large")]
    with Server(settings, port=0, trust=TOYS) as server:
        yield server


@pytest.fixture(scope="module")
def client(standing: Server) -> Iterator[Client]:
    with Client(standing.address) as made:
        made.predict("cnn-c", {"rounds": np.array(1, np.int32)}, signature="work")
        yield made


class Stubs:
    """The services as any client in any language sees them."""

    def __init__(self, address: str) -> None:
        from grpc_health.v1.health_pb2_grpc import HealthStub
        from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        self.channel = grpc.insecure_channel(address)
        self.prediction = PredictionServiceStub(self.channel)
        self.models = ModelServiceStub(self.channel)
        self.health = HealthStub(self.channel)

    def healthy(self, service: str = "") -> bool:
        from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

        status = self.health.Check(HealthCheckRequest(service=service), timeout=5).status
        return status == HealthCheckResponse.SERVING


@pytest.fixture
def stubs() -> Iterator[Callable[[Server], Stubs]]:
    made: list[Stubs] = []

    def connect(server: Server) -> Stubs:
        made.append(Stubs(server.address))
        return made[-1]

    yield connect
    for stub in made:
        stub.channel.close()


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Wait for something that the server does in its own time."""

    def wait(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    return wait
