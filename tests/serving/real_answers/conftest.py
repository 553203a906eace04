"""Models in a folder of their own, and servers of them."""

import shutil
from pathlib import Path

import grpc
import pytest

from kflare.serving import Server
from kflare.serving.server.config_files import read_models_config
from kflare.serving.server.servable import Trust

from .toy_models import write_batcher, write_toys

TRUST = Trust(unpublished=True, any_operation=True)


@pytest.fixture(scope="session")
def toys(made_once):
    """Folder of the models that the tables were asked of: toy 1 and 2, nodefault 1."""
    return made_once(write_toys)


@pytest.fixture(scope="session")
def batcher(made_once):
    """A version that tells how many rows ran together."""
    return made_once(write_batcher) / "bt"


@pytest.fixture
def folder(tmp_path):
    """Where the models of a test are, /models in the tables."""
    made = tmp_path / "models"
    made.mkdir()
    return made


@pytest.fixture
def put(folder, toys):
    """Put versions of a model in place, copies of toy 2 unless told otherwise, each by one rename."""

    def copy(model: str, *names: str, source: Path = toys / "toy" / "2") -> Path:
        (folder / model).mkdir(exist_ok=True)
        for name in names:
            shutil.copytree(source, folder / model / ".new").rename(folder / model / name)
        return folder / model

    return copy


def _read(folder, text):
    """The settings of a configuration whose paths begin with /models."""
    path = folder / "models.config"
    path.write_text(text.replace("/models/", f"{folder}/"), encoding="utf-8")
    return read_models_config(path)


@pytest.fixture(scope="session")
def read():
    return _read


@pytest.fixture
def serve_models(folder):
    """Start a server of the `config {...}` of some models; returns it and a channel to it."""
    started = []

    def start(models, **options):
        settings = _read(folder, f"model_config_list {{ {models} }}")
        server = Server(settings, port=0, trust=TRUST, **{"poll_seconds": 0.05, **options})
        server.start()
        started.append((server, grpc.insecure_channel(server.address)))
        return started[-1]

    yield start
    for server, channel in started:
        channel.close()
        server.stop(grace=5)
