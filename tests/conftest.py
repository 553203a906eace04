"""What all tests share: a quiet TensorFlow and the place of the real data."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest

from .postgresql import running

ROOT = Path(__file__).resolve().parents[1]

# Machines that run tests are busy: how long one example takes says nothing of the code.
hypothesis.settings.register_profile(
    "kflare",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("kflare")


#: Fixtures that export or train a network for whoever asks for them first.
_TRAINED = {"toys", "full_disk_models", "field_models", "models", "fitted", "office"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a trained or exported network as `trains`, which tools/test --fast leaves out."""
    for item in items:
        if _TRAINED & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.trains)


MadeOnce = Callable[[Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """The folder that a function fills, once in a session, by whichever worker asks first; nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(fill: Callable[[Path], object]) -> Path:
        name = f"{fill.__module__}.{fill.__qualname__}"
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Observed data of others, never committed: $KFLARE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("KFLARE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}: set KFLARE_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def full_disk_models(made_once: MadeOnce) -> Path:
    """Models' folder with cnn-m version 1: a dense CNN of 128 pixels with random weights, published as usual."""
    return made_once(_publish_random_cnn)


def _publish_random_cnn(folder: Path) -> None:
    import keras
    import numpy as np

    from kflare.attribution.compiled import CompiledAttribution
    from kflare.models.calibration import Calibration
    from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
    from kflare.models.fitting import FittedNetwork
    from kflare.models.image_models import publish_image_model

    keras.utils.set_random_seed(3)
    model = build_dense_cnn((128, 128, 1))
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            parts = (*rng.normal(1, 0.3, (1, n)), *rng.normal(0, 0.3, (2, n)), rng.random(n) + 0.5)
            layer.set_weights([part.astype(np.float32) for part in parts])
    publish_image_model(
        FittedNetwork(model, None, Calibration(1.2, -0.3, 0.01), 0.5, [], None),
        folder,
        "cnn-m",
        attribution=CompiledAttribution(model, layer=LAST_CONVOLUTION),
        metadata={"class": "M+", "decision_threshold": 0.5},
    )


@pytest.fixture(scope="session")
def field_models(made_once: MadeOnce) -> Path:
    """Models' folder with cnn-m version 1, a transparent model published like any other: S = 128, h = 4.

    For "flare" the gradient is B / 100 G, CAM and Grad-CAM its mean in each cell of 2 and 32 pixels; for "no flare" all
    the negative. Off the disk B = 0. The probability is the largest |B| / 100 G, the share of Grad-CAM 1/4.
    """
    return made_once(_publish_field_model)


def _publish_field_model(folder: Path) -> None:
    from typing import Any

    import tensorflow as tf

    from kflare.datasets.preprocessing import reduce_field
    from kflare.models.publish import publish_version

    module: Any = tf.Module()
    module.limit = tf.Variable(100.0)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32, name="magnetogram")])
    def attribute(magnetogram: Any) -> Any:
        field = reduce_field(magnetogram, size=128)
        field = tf.where(tf.math.is_nan(field), tf.zeros_like(field), field) / module.limit
        cells, fine = tf.nn.avg_pool2d(field, 32, 32, "VALID"), tf.nn.avg_pool2d(field, 2, 2, "VALID")
        probability = tf.reduce_max(tf.maximum(field, -field), axis=(1, 2, 3))
        return {
            "probability": probability,
            "scores": tf.stack([1 - probability, probability], axis=1),
            "calibrated": probability / 2,
            "cam": tf.concat([-fine, fine], axis=-1),
            "grad_cam": tf.concat([-cells, cells], axis=-1),
            "grad_cam_share": tf.fill([tf.shape(field)[0], 2], 0.25),
            "guided_backprop": tf.concat([-field, field], axis=-1),
        }

    publish_version(
        folder,
        "cnn-m",
        export=lambda path: tf.saved_model.save(module, str(path), signatures={"attribute": attribute}),
        cases=[],
        metadata={"class": "M+", "decision_threshold": 0.5, "image_size": 128},
    )


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a PostgreSQL server with "{database}" for its database: $KFLARE_POSTGRESQL, or one for the session."""
    try:
        with running() as url:
            yield url
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database, dropped afterwards."""
    import uuid

    from sqlalchemy import create_engine, text

    name = f"kflare_{uuid.uuid4().hex}"
    # A test may stop the server and start it again.
    url = postgresql_server.format(database="postgres")
    admin = create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgresql_server.format(database=name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: once SQLite, once PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture(scope="session")
def observed_sun(made_once: MadeOnce) -> Path:
    """Observations of the synthetic Sun at 256 pixels, 2014-01-02 00, 01 and 02 UT, as kflare.fetch leaves them."""
    return made_once(_write_observations)


def _write_observations(folder: Path) -> None:
    from datetime import UTC, datetime

    import pandas as pd

    from kflare.synthetic.sun import SyntheticSun
    from tests.observation_sets import write_observations

    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 3, seed=2)
    times = pd.date_range("2014-01-02T00:00Z", periods=3, freq="h", unit="us")
    write_observations(sun, folder, times, size=256)
