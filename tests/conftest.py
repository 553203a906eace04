"""What all tests share: a quiet TensorFlow and the place of the real data."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Observed data of others, never committed: $KFLARE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("KFLARE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}: set KFLARE_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def full_disk_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models' folder with cnn-m version 1: a dense CNN of 128 pixels with random weights, published as usual."""
    import keras
    import numpy as np

    from kflare.attribution.compiled import CompiledAttribution
    from kflare.models.calibration import Calibration
    from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
    from kflare.models.fitting import Fitted
    from kflare.models.release import release_dense_cnn

    keras.utils.set_random_seed(3)
    model = build_dense_cnn((128, 128, 1))
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            parts = (*rng.normal(1, 0.3, (1, n)), *rng.normal(0, 0.3, (2, n)), rng.random(n) + 0.5)
            layer.set_weights([part.astype(np.float32) for part in parts])
    folder = tmp_path_factory.mktemp("full-disk-models")
    release_dense_cnn(
        Fitted(model, None, Calibration(1.2, -0.3, 0.01), 0.5, [], None),
        folder,
        "cnn-m",
        attribution=CompiledAttribution(model, layer=LAST_CONVOLUTION),
        metadata={"class": "M+", "decision_threshold": 0.5},
    )
    return folder


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a PostgreSQL server without its database's name: $KFLARE_POSTGRESQL, or one of our own for the session."""
    given = os.environ.get("KFLARE_POSTGRESQL")
    if given:
        yield given.rstrip("/")
        return
    found = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql) and KFLARE_POSTGRESQL is not set")
    # PostgreSQL refuses to run as root; a short path since sockets allow no more than 107 characters.
    switch = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="kflare-pg-"))
    if switch:
        shutil.chown(folder, "postgres")
    control = [*switch, str(Path(found).with_name("pg_ctl")), "-D", f"{folder}/db", "-w"]
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    make = [*switch, found, "-D", f"{folder}/db", "-U", "kflare", "-A", "trust", "-E", "UTF8"]
    subprocess.run(make, check=True, capture_output=True, cwd=folder)
    # The server inherits the output: a pipe would never end.
    start = [*control, "-o", options, "-l", f"{folder}/log", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql+psycopg://kflare@/{{database}}?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database, dropped afterwards."""
    import uuid

    from sqlalchemy import create_engine, text

    name = f"kflare_{uuid.uuid4().hex}"
    admin = create_engine(_of_database(postgresql_server, "postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield _of_database(postgresql_server, name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def _of_database(server: str, name: str) -> str:
    return server.format(database=name) if "{database}" in server else f"{server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: once SQLite, once PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
